"""Keys on their way to trust in the store: transitions, bounds, what goes together in one transaction."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Collection
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from receiver_support import CHILD, NOW, OTHER, ZONE, Clock
from trust_support import delegation, key, same_tag
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.errors import Refusal
from zonecut.protocol.keys import Key
from zonecut.store import (
    Acceptance,
    Bootstrap,
    ChangeKind,
    ChangeState,
    InvalidTransition,
    KeyState,
    NewChange,
    NotInStore,
    QuotaExceeded,
    Roll,
    Store,
    StoreConflict,
    StoredKey,
    StoreUnavailable,
    Upload,
)

KNOWN, TRUSTED, SUPERSEDED = KeyState.KNOWN, KeyState.TRUSTED, KeyState.SUPERSEDED
FAILED, REFUSED, REVOKED = KeyState.VALIDATION_FAILED, KeyState.REFUSED, KeyState.REVOKED


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db", clock=clock) as store:
        yield store


def of(
    key: Key, *, replaces: bool = True, manual: bool = False, source: str = "127.0.0.1", most: tuple[int, int, int]
) -> Upload:
    return Upload(key, ZONE, source, replaces, manual, NOW, NOW + 100, *most)


async def begin(
    store: Store,
    key: Key,
    *,
    replaces: bool = True,
    manual: bool = False,
    source: str = "127.0.0.1",
    most: tuple[int, int, int] = (10, 10, 10),
) -> StoredKey:
    return await store.bootstraps.begin(of(key, replaces=replaces, manual=manual, source=source, most=most))


async def trust(store: Store, key: Key) -> StoredKey:
    stored, _ = await store.keys.add(key, TRUSTED, "manual", "test")
    return stored


async def under_way(store: Store, stored: StoredKey) -> Bootstrap:
    bootstrap = await store.bootstraps.get(stored.id)
    assert bootstrap is not None
    return bootstrap


async def accept(store: Store, stored: StoredKey, *validated: Key, alone: bool = False) -> StoredKey:
    rdatas = {each.rdata for each in validated or (stored.key,)}
    bootstrap = await under_way(store, stored)
    replaced = frozenset(each.id for each in await store.keys.find(stored.key.owner) if each.key.rdata not in rdatas)
    judged = replace(acceptance(bootstrap, rdatas, alone=alone), replaced=replaced)
    return (await store.bootstraps.accept(judged)).stored


def acceptance(bootstrap: Bootstrap, validated: Collection[bytes], *, alone: bool = False) -> Acceptance:
    where = Delegation(bootstrap.owner)
    return Acceptance(bootstrap, "at-apex", "zonecut", "seen", where, frozenset(validated), alone=alone, max_trusted=8)


async def states(store: Store, owner: bytes = CHILD) -> list[KeyState]:
    return [stored.state for stored in await store.keys.find(owner)]


# uploads


async def test_an_upload_makes_a_key_known_and_begins_a_bootstrap(store: Store) -> None:
    stored = await begin(store, key(1))
    assert (stored.state, stored.method, stored.actor) == (KNOWN, "upload", "child.parent.example.")
    bootstrap = await under_way(store, stored)
    assert (bootstrap.owner, bootstrap.zone, bootstrap.replaces, bootstrap.manual) == (CHILD, ZONE, True, False)
    assert (bootstrap.attempts, bootstrap.evidence, bootstrap.expires_at) == (0, {}, NOW + 100)
    assert await store.bootstraps.list(CHILD) == [bootstrap]
    assert await store.bootstraps.list(OTHER) == []
    assert bootstrap.to_json()["child"] == "child.parent.example."


async def test_an_upload_repeated_goes_on_with_what_is_under_way(store: Store, clock: Clock) -> None:
    stored = await begin(store, key(1))
    progressed = replace(await under_way(store, stored), attempts=3, evidence={"at-apex": {"seen": 1}}, reason="no")
    await store.bootstraps.progress(progressed)
    clock.now += 5
    assert await begin(store, key(1), source="192.0.2.1", most=(0, 0, 0)) == stored
    assert await under_way(store, stored) == replace(progressed, wanted_at=clock.now, asked=1)


@pytest.mark.parametrize("state", [TRUSTED, REFUSED, REVOKED])
async def test_an_upload_leaves_what_was_decided_as_it_is(store: Store, state: KeyState) -> None:
    stored, _ = await store.keys.add(key(1), state, "manual", "somebody")
    assert await begin(store, key(1)) == stored
    assert await store.bootstraps.list() == []


async def test_a_key_that_failed_may_be_uploaded_again(store: Store) -> None:
    stored, _ = await store.keys.add(key(1), FAILED, "manual", "somebody")
    again = await begin(store, key(1))
    assert (again.id, again.state) == (stored.id, KNOWN)
    assert (await under_way(store, again)).attempts == 0


async def test_keys_of_one_tag_have_a_bootstrap_each(store: Store) -> None:
    first, second = [await begin(store, same_tag(number)) for number in range(2)]
    assert first.key.tag == second.key.tag
    await accept(store, first)
    assert await states(store) == [TRUSTED, KNOWN]
    assert await store.bootstraps.get(first.id) is None
    assert await store.bootstraps.get(second.id) is not None


async def test_an_upload_in_another_zone_moves_a_key_that_waits_there(store: Store, clock: Clock) -> None:
    """The zone in which it waited has the child no more: a zone was split, or is not configured any more."""
    stored = await begin(store, key(1), replaces=False)
    clock.now += 1e9
    inner = names.from_text("inner.example.")
    upload = Upload(key(1), inner, "127.0.0.1", True, False, clock.now, clock.now + 100, 9, 9, 9, cool_down=60)
    await store.bootstraps.begin(upload)
    (moved,) = await store.bootstraps.due(inner, clock.now, 9, ())
    assert (moved.key_id, moved.replaces, moved.expires_at) == (stored.id, True, clock.now + 100)
    assert await store.bootstraps.expired(ZONE, clock.now) == []
    assert await store.bootstraps.expired(inner, clock.now) == []


@pytest.mark.parametrize("failed", [False, True])
async def test_a_look_that_was_made_while_the_clock_was_fast_puts_off_no_other(
    store: Store, clock: Clock, failed: bool
) -> None:
    first = await begin(store, key(1))
    clock.now += 86400
    bootstrap = replace(await under_way(store, first), looked_at=clock.now, next_at=clock.now + 3600)
    await store.bootstraps.progress(bootstrap)
    if failed:
        await store.bootstraps.end(first.id, FAILED, "zonecut", "not there")
    clock.now -= 86000
    again = Upload(key(1), ZONE, "127.0.0.1", True, False, clock.now, clock.now + 1e6, 9, 9, 9, cool_down=60)
    await store.bootstraps.begin(again)
    assert (await under_way(store, first)).next_look <= clock.now + 60


# bounds


@pytest.mark.parametrize(
    ("most", "what"), [((2, 9, 9), r"child\.parent"), ((9, 2, 9), "source"), ((9, 9, 2), "2 keys are")]
)
async def test_a_newcomer_never_displaces_one_that_is_there(
    store: Store, most: tuple[int, int, int], what: str
) -> None:
    first, second = [await begin(store, key(number), most=most) for number in (1, 2)]
    with pytest.raises(QuotaExceeded, match=what):
        await begin(store, key(3), most=most)
    assert [bootstrap.key_id for bootstrap in await store.bootstraps.list()] == [first.id, second.id]
    assert len(await store.keys.find(CHILD)) == 2
    await store.bootstraps.end(first.id, FAILED, "zonecut", "no")
    assert (await begin(store, key(3), most=most)).state is KNOWN


async def test_bounds_of_one_child_or_source_are_not_those_of_another(store: Store) -> None:
    most = (1, 1, 9)
    await begin(store, key(1), most=most)
    with pytest.raises(QuotaExceeded, match=r"child\.parent"):
        await begin(store, key(2), source="192.0.2.1", most=most)
    with pytest.raises(QuotaExceeded, match="source"):
        await begin(store, key(1, OTHER), most=most)
    await begin(store, key(1, OTHER), source="192.0.2.1", most=most)


async def test_bounds_hold_for_uploads_that_come_at_once(store: Store) -> None:
    results = await asyncio.gather(
        *(begin(store, key(number), most=(3, 9, 9)) for number in range(1, 9)), return_exceptions=True
    )
    assert sum(isinstance(result, StoredKey) for result in results) == 3
    assert sum(isinstance(result, QuotaExceeded) for result in results) == 5
    assert len(await store.keys.find(CHILD)) == 3


async def test_a_failed_key_that_comes_again_counts_as_a_newcomer(store: Store) -> None:
    stored = await begin(store, key(1), most=(1, 9, 9))
    await store.bootstraps.end(stored.id, FAILED, "zonecut", "no")
    await begin(store, key(2), most=(1, 9, 9))
    with pytest.raises(QuotaExceeded):
        await begin(store, key(1), most=(1, 9, 9))
    assert await states(store) == [FAILED, KNOWN]


# how a bootstrap ends


async def test_trusted_keys_go_only_with_the_new_one_and_only_if_the_validated_rrset_lacks_them(store: Store) -> None:
    for number in (1, 2):
        await trust(store, key(number))
    stored = await begin(store, key(3))
    assert await states(store) == [TRUSTED, TRUSTED, KNOWN]
    trusted = await accept(store, stored, key(2), key(3))
    assert (trusted.state, trusted.method, trusted.reason) == (TRUSTED, "at-apex", "seen")
    first, second, third = await store.keys.find(CHILD)
    assert (first.state, second.state, third.state) == (SUPERSEDED, TRUSTED, TRUSTED)
    assert first.reason == f"replaced by key {key(3).tag}"
    assert first.changed_at == third.changed_at
    assert await store.bootstraps.list() == []


async def test_the_delegation_on_which_a_method_judged_is_what_trust_begins_with(store: Store) -> None:
    async def accepted(stored: StoredKey, server: str) -> Delegation:
        where = delegation(server)
        replaced = frozenset(each.id for each in await store.keys.find(CHILD) if each.id != stored.id)
        judged = acceptance(await under_way(store, stored), {stored.key.rdata})
        judged = replace(judged, delegation=where, replaced=replaced)
        await store.bootstraps.accept(judged)
        return where

    for number, server in ((1, "ns.example."), (2, "ns.elsewhere.example.")):
        where = await accepted(await begin(store, key(number)), server)
        watch = await store.watches.of(CHILD)
        assert watch is not None
        assert (watch.began, watch.zone, watch.seen, watch.is_absent) == (where, ZONE, where.ns, False)


async def test_no_key_goes_of_which_it_is_not_proven_that_it_is_replaced(store: Store) -> None:
    await trust(store, key(1))
    judged = acceptance(await under_way(store, await begin(store, key(2))), {key(2).rdata})
    with pytest.raises(InvalidTransition, match="nothing proves that they are replaced"):
        await store.bootstraps.accept(judged)
    assert await states(store) == [TRUSTED, KNOWN]


async def test_an_upload_that_deletes_nothing_replaces_nothing(store: Store) -> None:
    await trust(store, key(1))
    await accept(store, await begin(store, key(2), replaces=False))
    assert await states(store) == [TRUSTED, TRUSTED]
    await store.bootstraps.decide((await begin(store, key(3), replaces=False, manual=True)).id, "ann", "compared")
    assert await states(store) == [TRUSTED, TRUSTED, TRUSTED]


async def test_another_child_s_keys_are_never_touched(store: Store) -> None:
    await trust(store, key(1, OTHER))
    await accept(store, await begin(store, key(1)))
    await store.watches.end_by_operator(CHILD, "ann", "gone")
    await store.bootstraps.suspend_child(CHILD, "zonecut", "NS changed")
    assert await states(store, OTHER) == [TRUSTED]


async def test_alone_means_without_another_trusted_key(store: Store) -> None:
    stored = await begin(store, key(1))
    other = await trust(store, key(2))
    with pytest.raises(InvalidTransition, match="another key of the child is trusted by now"):
        await accept(store, stored, alone=True)
    assert await states(store) == [KNOWN, TRUSTED]
    await store.keys.set_state(other.id, REVOKED, "ann", "lost")
    await accept(store, stored, alone=True)
    assert await states(store) == [TRUSTED, REVOKED]


@pytest.mark.parametrize("state", [TRUSTED, FAILED, REFUSED, SUPERSEDED, REVOKED])
async def test_a_decision_made_meanwhile_overtakes_what_a_method_found(store: Store, state: KeyState) -> None:
    stored = await begin(store, key(1))
    bootstrap = await under_way(store, stored)
    await trust(store, key(2))
    await store.keys.set_state(stored.id, state, "ann", "decided")
    with pytest.raises(InvalidTransition, match=state.value):
        await store.bootstraps.accept(acceptance(bootstrap, {key(1).rdata}))
    await store.bootstraps.progress(replace(bootstrap, attempts=5))
    assert await store.bootstraps.list() == []
    assert (await store.bootstraps.end(stored.id, FAILED, "zonecut", "no")).state is state
    assert await states(store) == [state, TRUSTED]


async def test_what_an_earlier_bootstrap_found_says_nothing_about_a_later_one(store: Store, clock: Clock) -> None:
    stored = await begin(store, key(1))
    earlier = await under_way(store, stored)
    assert await store.watches.end_by_operator(CHILD, "ann", "gone") == 1
    clock.now += 1
    await begin(store, key(1))  # by whoever holds the key, for a name that may have another holder now
    with pytest.raises(InvalidTransition):
        await store.bootstraps.accept(acceptance(earlier, {key(1).rdata}))
    await store.bootstraps.progress(replace(earlier, evidence={"unsigned": {"since": 0}}))
    assert (await under_way(store, stored)).evidence == {}
    assert await states(store) == [KNOWN]


@pytest.mark.parametrize("state", [FAILED, REFUSED])
async def test_an_end_without_trust_changes_no_other_key(store: Store, state: KeyState) -> None:
    await trust(store, key(1))
    stored = await begin(store, key(2))
    ended = await store.bootstraps.end(stored.id, state, "zonecut", "in words")
    assert (ended.state, ended.reason) == (state, "in words")
    assert await states(store) == [TRUSTED, state]
    assert await store.bootstraps.list() == []


@pytest.mark.parametrize("state", [FAILED, REFUSED, SUPERSEDED])
async def test_an_operator_may_trust_what_nothing_else_may(store: Store, state: KeyState) -> None:
    stored, _ = await store.keys.add(key(1), state, "upload", "child")
    decided = await store.bootstraps.decide(stored.id, "ann", "compared over the telephone")
    assert (decided.state, decided.method, decided.actor) == (TRUSTED, "manual", "ann")


async def test_an_operator_s_trust_replaces_what_the_upload_asked_to_delete(store: Store) -> None:
    for number in (1, 2):
        await trust(store, key(number))
    await store.bootstraps.decide((await begin(store, key(3), manual=True)).id, "ann", "compared")
    assert await states(store) == [SUPERSEDED, SUPERSEDED, TRUSTED]


async def test_a_revoked_key_stays_revoked_and_takes_no_other_with_it(store: Store) -> None:
    await trust(store, key(1))
    stored, _ = await store.keys.add(key(2), REVOKED, "upload", "child")
    with pytest.raises(InvalidTransition, match="revoked"):
        await store.bootstraps.decide(stored.id, "ann", "please")
    assert await states(store) == [TRUSTED, REVOKED]


async def test_what_is_not_there_is_said_to_be_missing(store: Store) -> None:
    for attempt in (
        store.bootstraps.decide(99, "ann", ""),
        store.bootstraps.end(99, FAILED, "zonecut", ""),
    ):
        with pytest.raises(NotInStore):
            await attempt
    assert await store.bootstraps.get(99) is None


async def test_a_failure_half_way_leaves_the_replaced_key_and_the_new_one_as_they_were(
    store: Store, tmp_path: Path
) -> None:
    await trust(store, key(1))
    stored = await begin(store, key(2))
    bootstrap = await under_way(store, stored)
    with closing(sqlite3.connect(tmp_path / "zonecut.db")) as database, database:
        database.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON keys WHEN NEW.state = 'superseded'"
            " BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    database.close()
    with pytest.raises((StoreUnavailable, StoreConflict)):
        await accept(store, stored)
    assert await states(store) == [TRUSTED, KNOWN]
    assert await under_way(store, stored) == bootstrap
    with closing(sqlite3.connect(tmp_path / "zonecut.db")) as database, database:
        database.execute("DROP TRIGGER full")
    database.close()
    await accept(store, stored)
    assert await states(store) == [SUPERSEDED, TRUSTED]


# rolls


def no_check(_: Key) -> None:
    pass


def roll_of(signer: StoredKey, *steps: tuple[bool, Key | None], most: int = 8, identity: bytes = b"1") -> Roll:
    empty = Delegation(CHILD)
    record = NewChange(
        ZONE,
        empty,
        empty,
        "here",
        "child",
        b"wire",
        signer.id,
        signer.key.tag,
        identity,
        NOW + 100.0,
        NOW,
        ChangeKind.KEYS,
    )
    rdatas = tuple((adds, None if each is None else each.rdata) for adds, each in steps)
    return Roll(CHILD, rdatas, "child", signer.id, most, record, no_check)


async def test_a_roll_adds_and_deletes_in_its_order_and_is_in_the_ledger(store: Store) -> None:
    signer = await trust(store, key(1))
    after = await store.bootstraps.roll(roll_of(signer, (False, None), (True, key(2)), (True, key(3))))
    assert [stored.state for stored in after] == [SUPERSEDED, TRUSTED, TRUSTED]
    assert after[1].method == "rollover"
    (change,) = await store.changes.list(child=CHILD)
    assert (change.state, change.kind) == (ChangeState.APPLIED, ChangeKind.KEYS)
    assert [(each.inception, each.key_tag) for each in await store.changes.accepted(CHILD)] == [(NOW, signer.key.tag)]
    assert (await store.changes.latest(CHILD)).applied is None


@pytest.mark.parametrize(
    "steps",
    [
        [(False, None)],
        [(False, key(1))],
        [(False, key(1)), (True, key(1)), (False, key(1))],
        [(True, key(2)), (False, None)],
    ],
)
async def test_no_roll_deletes_the_last_trusted_key(store: Store, steps: list[tuple[bool, Key | None]]) -> None:
    signer = await trust(store, key(1))
    await begin(store, key(9))
    with pytest.raises(InvalidTransition, match="no trusted key of"):
        await store.bootstraps.roll(roll_of(signer, *steps))
    assert await states(store) == [TRUSTED, KNOWN]
    assert await store.changes.list() == []


@pytest.mark.parametrize("state", [REFUSED, REVOKED])
async def test_a_roll_brings_back_no_key_that_an_operator_rejected(store: Store, state: KeyState) -> None:
    signer = await trust(store, key(1))
    await store.keys.add(key(2), state, "upload", "child")
    with pytest.raises(InvalidTransition, match=state.value):
        await store.bootstraps.roll(roll_of(signer, (True, key(3)), (True, key(2)), (False, key(1))))
    assert await states(store) == [TRUSTED, state]


async def test_a_roll_trusts_a_pending_key_and_ends_its_bootstrap(store: Store) -> None:
    signer = await trust(store, key(1))
    await begin(store, key(2))
    await store.bootstraps.roll(roll_of(signer, (True, key(2))))
    assert await states(store) == [TRUSTED, TRUSTED]
    assert await store.bootstraps.list() == []


@pytest.mark.parametrize("state", [KNOWN, SUPERSEDED, REVOKED, FAILED])
async def test_a_roll_needs_a_signer_that_is_trusted_at_that_moment(store: Store, state: KeyState) -> None:
    signer, other = await trust(store, key(1)), await trust(store, key(2))
    await store.keys.set_state(signer.id, state, "ann", "lost")
    with pytest.raises(InvalidTransition, match="not trusted any more"):
        await store.bootstraps.roll(roll_of(signer, (True, key(3)), (False, key(2))))
    assert await states(store) == [state, TRUSTED]
    await store.bootstraps.roll(roll_of(other, (True, key(3))))


async def test_a_key_that_may_not_be_added_stops_the_whole_roll(store: Store) -> None:
    signer = await trust(store, key(1))

    def check(added: Key) -> None:
        if added == key(3):
            raise Refusal("key-usable", "no")

    with pytest.raises(Refusal):
        await store.bootstraps.roll(
            replace(roll_of(signer, (True, key(2)), (True, key(3)), (False, key(1))), check=check)
        )
    assert await states(store) == [TRUSTED]


async def test_a_roll_makes_no_more_keys_trusted_than_a_child_may_have(store: Store) -> None:
    signer = await trust(store, key(1))
    with pytest.raises(QuotaExceeded, match="4 keys of"):
        await store.bootstraps.roll(roll_of(signer, *((True, key(number)) for number in (2, 3, 4)), most=3))
    assert await states(store) == [TRUSTED]
    # who has more already may still replace one
    for number in (2, 3, 4):
        await trust(store, key(number))
    await store.bootstraps.roll(roll_of(signer, (False, key(4)), (True, key(5)), most=3))


async def test_a_roll_comes_once(store: Store) -> None:
    signer = await trust(store, key(1))
    await store.bootstraps.roll(roll_of(signer, (True, key(2)), identity=b"same"))
    with pytest.raises(StoreConflict):
        await store.bootstraps.roll(roll_of(signer, (False, key(2)), identity=b"same"))
    assert await states(store) == [TRUSTED, TRUSTED]


async def test_of_rolls_that_come_at_once_the_offender_alone_fails(store: Store) -> None:
    signer = await trust(store, key(1))
    results = await asyncio.gather(
        store.bootstraps.roll(roll_of(signer, (True, key(2)), identity=b"1")),
        store.bootstraps.roll(roll_of(signer, (False, None), identity=b"2")),
        store.bootstraps.roll(roll_of(signer, (True, key(3)), identity=b"3")),
        return_exceptions=True,
    )
    assert [isinstance(result, InvalidTransition) for result in results] == [False, True, False]
    assert await states(store) == [TRUSTED, TRUSTED, TRUSTED]


# the end of a delegation, and NS that somebody else changed


async def test_suspended_keys_are_not_pending_and_wait_for_an_operator_without_end(store: Store) -> None:
    stored = await trust(store, key(1))
    pending = await begin(store, key(2))
    assert await store.bootstraps.suspend_child(CHILD, "zonecut", "NS changed") == 1
    assert await states(store) == [KeyState.SUSPENDED, KNOWN]
    assert (await store.keys.find(CHILD))[0].reason == "NS changed"
    assert [each.key_id for each in await store.bootstraps.list()] == [pending.id]
    # uploaded again it stays what it is
    assert await begin(store, key(1)) == (await store.keys.find(CHILD))[0]
    assert [each.key_id for each in await store.bootstraps.list()] == [pending.id]
    await store.bootstraps.decide(stored.id, "ann", "asked them")
    assert await states(store) == [TRUSTED, KNOWN]


async def test_suspended_keys_fill_no_quota_of_their_child(store: Store) -> None:
    for number in range(1, 9):
        await trust(store, key(number))
    await store.bootstraps.suspend_child(CHILD, "zonecut", "NS changed")
    # the new holder's
    assert (await begin(store, key(9))).state is KNOWN


# what is due, and what is durable


async def test_what_is_due_comes_longest_waiting_first_and_within_bounds(store: Store) -> None:
    stored = [await begin(store, key(number)) for number in range(1, 6)]
    for each, next_at in zip(stored, (NOW + 4, NOW + 3, NOW + 2, NOW + 9, NOW + 1), strict=True):
        await store.bootstraps.progress(replace(await under_way(store, each), next_at=next_at))
    await store.bootstraps.progress(replace(await under_way(store, stored[4]), manual=True))
    due = await store.bootstraps.due(ZONE, NOW + 5, 10, ())
    assert [bootstrap.key_id for bootstrap in due] == [stored[2].id, stored[1].id, stored[0].id]
    due = await store.bootstraps.due(ZONE, NOW + 5, 1, {stored[2].id})
    assert [bootstrap.key_id for bootstrap in due] == [stored[1].id]
    assert await store.bootstraps.due(names.from_text("elsewhere.example."), NOW + 5, 10, ()) == []


async def test_keys_of_one_source_keep_no_other_source_waiting(store: Store) -> None:
    """Anybody can bring very many keys; all of them came first, and all are due."""
    many = [await begin(store, key(number), source="192.0.2.1", most=(100, 100, 100)) for number in range(1, 21)]
    honest = await begin(store, key(30), source="198.51.100.1", most=(100, 100, 100))
    await store.bootstraps.progress(replace(await under_way(store, honest), next_at=NOW + 4))
    due = [each.key_id for each in await store.bootstraps.due(ZONE, NOW + 5, 4, ())]
    assert due == [many[0].id, honest.id, many[1].id, many[2].id]
    # a source of which some are being looked at has had its turn
    busy = {stored.id for stored in many[:5]}
    (first,) = await store.bootstraps.due(ZONE, NOW + 5, 1, busy)
    assert first.key_id == honest.id
    # and what was looked at already comes after what was not
    await store.bootstraps.progress(replace(await under_way(store, many[0]), attempts=3))
    (first,) = await store.bootstraps.due(ZONE, NOW + 5, 1, ())
    assert first.key_id == many[1].id


async def test_all_that_came_in_datagrams_is_one_source(store: Store) -> None:
    """Their addresses may be forged, each another one."""
    for number in range(1, 21):
        await begin(store, key(number), source=f"192.0.2.{number} (UDP)", most=(100, 100, 100))
    honest = await begin(store, key(30), source="198.51.100.1", most=(100, 100, 100))
    await store.bootstraps.progress(replace(await under_way(store, honest), next_at=NOW + 4))
    assert honest.id in [each.key_id for each in await store.bootstraps.due(ZONE, NOW + 5, 2, ())]


async def test_everything_survives_a_restart(tmp_path: Path) -> None:
    url, clock = f"sqlite:///{tmp_path}/zonecut.db", Clock()
    async with Store.open(url, clock=clock) as store:
        await trust(store, key(1))
        stored = await begin(store, key(2))
        await trust(store, key(1, OTHER))
        await store.bootstraps.suspend_child(OTHER, "zonecut", "NS changed")
        progressed = replace(
            await under_way(store, stored),
            attempts=2,
            method="unsigned",
            reason="half-way",
            evidence={"unsigned": {"since": NOW + 0.125, "count": 3}},
            next_at=NOW + 7.5,
        )
        await store.bootstraps.progress(progressed)
    async with Store.open(url, clock=clock) as store:
        assert await under_way(store, stored) == progressed
        assert await states(store, OTHER) == [KeyState.SUSPENDED]
        await accept(store, stored)
        assert await states(store) == [SUPERSEDED, TRUSTED]


async def test_every_step_is_in_the_audit_trail(store: Store) -> None:
    await trust(store, key(1))
    await accept(store, await begin(store, key(2)))
    await store.bootstraps.end((await begin(store, key(3))).id, FAILED, "zonecut", "no")
    trail = [(record.entry.event, record.entry.key_tag) for record in await store.audit.list(child=CHILD)]
    assert trail[::-1] == [
        ("key.added", key(1).tag),
        ("key.added", key(2).tag),
        ("key.trusted", key(2).tag),
        ("key.superseded", key(1).tag),
        ("key.added", key(3).tag),
        ("key.validation-failed", key(3).tag),
    ]


async def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/zonecut.db")
    await store.close()
    with pytest.raises(StoreUnavailable):
        await begin(store, key(1))
    with pytest.raises(StoreUnavailable):
        await store.bootstraps.get(1)
