"""When a key is looked at, beside what is due by the clock, and on which delegation it is accepted."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from bootstrap_support import CONTRADICTED, NOT_APPLICABLE, RETRY, UNDECIDED, bench
from receiver_support import CHILD, NOW, OTHER, ZONE, Clock
from trust_support import SILENCE, Scripted, accepts, delegation, eventually, found, key, nothing
from zonecut.plugin import BackendUnavailable
from zonecut.plugin.bootstrap import Candidate, Conclusion, Finding, Presence, Security, Sighting
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.keys.bootstrapper import CONCURRENT
from zonecut.receiver.keys.replacement import ALL_SILENT, EVIDENCE, SOME_SILENT
from zonecut.receiver.keys.retry import Retry
from zonecut.receiver.keys.waiting import WITHOUT_DS, Waiting
from zonecut.store import KeyState, Unpublished

COOL_DOWN = RETRY.cool_down
SIGNED, ELSEWHERE = delegation("ns.example.", ds=True), delegation("ns.new-holder.example.")
PATIENT = Retry(first=5, longest=3600, attempts=16)


async def test_a_child_that_had_a_ds_counts_as_one_without_only_after_a_while(tmp_path: Path) -> None:
    """A zone file is saved in two writes, and cut before the child's DS: the weaker methods must not apply."""
    method = Scripted(lambda candidate: UNDECIDED if candidate.delegation.ds else accepts(candidate.key))
    async with bench(tmp_path, ("at-ns", method)) as here:
        here.parent[CHILD] = SIGNED
        stored = await here.begin(key(1))
        await here.attempted(stored, 1)
        here.clock.now = half_saved = NOW + 7200.0
        here.parent[CHILD] = delegation("ns.example.")
        await here.begin(key(2))
        for each in (stored, await here.begin(key(3))):
            await here.reached(each, lambda bootstrap: "had a DS until lately" in bootstrap.reason)
        assert await here.trusted() == []
        await here.ends(stored, KeyState.TRUSTED)
        assert here.clock.now >= half_saved + WITHOUT_DS


@pytest.mark.parametrize("saved_before", [True, False])
async def test_that_a_child_had_a_ds_is_remembered_over_a_restart(tmp_path: Path, saved_before: bool) -> None:
    method = Scripted(lambda candidate: UNDECIDED if candidate.delegation.ds else accepts(candidate.key))
    async with bench(tmp_path, ("at-ns", method)) as here:
        here.parent[CHILD] = SIGNED
        stored = await here.begin(key(1))
        await here.attempted(stored, 1)
        if saved_before:
            here.parent[CHILD] = delegation("ns.example.")
            here.clock.now += 600
            await here.reached(await here.begin(key(2)), lambda each: "had a DS until lately" in each.reason)
        half_saved = here.clock.now
    async with bench(tmp_path, ("at-ns", method), clock=Clock(half_saved + 600)) as here:
        for each in (stored, await here.begin(key(3))):
            await here.begin(key(1))
            await here.reached(each, lambda bootstrap: "had a DS until lately" in bootstrap.reason)
        assert await here.trusted() == []
        await here.ends(stored, KeyState.TRUSTED)
        assert here.clock.now >= half_saved + WITHOUT_DS


async def test_that_a_child_with_a_trusted_key_has_a_ds_is_known_after_a_restart(tmp_path: Path) -> None:
    """Its key was validated on it: a stranger's upload meets the zone file half saved just after the start."""
    signed, weaker = Scripted(lambda candidate: accepts(candidate.key)), Scripted(lambda each: accepts(each.key))
    async with bench(tmp_path, ("at-apex", signed)) as here:
        here.parent[CHILD] = SIGNED
        await here.ends(await here.begin(key(1)), KeyState.TRUSTED)
    async with bench(tmp_path, ("at-ns", weaker)) as here:
        stored = await here.begin(key(2))
        await here.reached(stored, lambda bootstrap: "had a DS until lately" in bootstrap.reason)
        assert weaker.looks == []


# the delegation on which a method judged


@pytest.mark.parametrize("changed", [SIGNED, ELSEWHERE, Delegation(CHILD)])
async def test_a_key_is_not_accepted_on_a_delegation_that_changed_while_it_was_looked_at(
    tmp_path: Path, changed: Delegation
) -> None:
    method = Scripted(accepts(key(1)), hold=asyncio.Event())
    async with bench(tmp_path, ("unsigned", method)) as here:
        stored = await here.begin(key(1))
        await eventually(lambda: len(method.looks) == 1)
        here.parent[CHILD] = changed
        method.finding = NOT_APPLICABLE  # what the method says of the delegation as it is now
        assert method.hold is not None
        first, method.finding = method.finding, accepts(key(1))
        method.hold.set()
        bootstrap = await here.reached(stored, lambda bootstrap: bootstrap.looked_at > 0)
        assert bootstrap.reason == "the delegation changed while it was looked at"
        assert (bootstrap.attempts, bootstrap.evidence) == (0, {})
        assert bootstrap.next_at > here.clock.now
        assert (await here.now(stored))[0].state is KeyState.KNOWN
        method.finding = first
        if changed.is_delegated:
            await here.ends(stored, KeyState.VALIDATION_FAILED)
        else:
            # it may be away for a moment, which is no reason to give the key up
            here.clock.now = bootstrap.next_at
            here.bootstrapper.wake()
            await here.reached(stored, lambda bootstrap: bootstrap.reason == "the child is not delegated")
        assert await here.trusted() == []


async def test_a_look_that_starts_over_accepts_on_the_new_delegation(tmp_path: Path) -> None:
    method = Scripted(accepts(key(1)), hold=asyncio.Event())
    async with bench(tmp_path, ("at-apex", method)) as here:
        stored = await here.begin(key(1))
        await eventually(lambda: len(method.looks) == 1)
        here.parent[CHILD] = SIGNED
        assert method.hold is not None
        method.hold.set()
        await here.ends(stored, KeyState.TRUSTED)
        assert [candidate.delegation for candidate in method.looks] == [delegation("ns.example."), SIGNED]


async def test_a_delegation_that_cannot_be_read_at_the_end_accepts_nothing(tmp_path: Path) -> None:
    method = Scripted(accepts(key(1)), hold=asyncio.Event())
    async with bench(tmp_path, ("at-apex", method)) as here:
        stored = await here.begin(key(1))
        await eventually(lambda: len(method.looks) == 1)
        here.parent[CHILD] = BackendUnavailable("it is away")
        assert method.hold is not None
        method.hold.set()
        bootstrap = await here.reached(stored, lambda bootstrap: bool(bootstrap.reason))
        assert (bootstrap.reason, bootstrap.attempts) == ("the delegation cannot be read now", 0)
        here.parent[CHILD] = delegation("ns.example.")
        await here.ends(stored, KeyState.TRUSTED)


# trouble of ours


@pytest.mark.parametrize(
    "trouble", [KeyError("a defect"), BackendUnavailable("away"), OSError("a file"), TimeoutError()]
)
async def test_whatever_is_raised_in_an_attempt_makes_pauses_that_grow_and_costs_no_attempt(
    tmp_path: Path, trouble: Exception
) -> None:
    method = Scripted(accepts(key(1)))
    async with bench(tmp_path, ("at-apex", method)) as here:
        here.parent[CHILD] = trouble
        stored = await here.begin(key(1))
        pauses = []
        for count in range(1, 8):
            await eventually(lambda: len(here.reads) == count)  # noqa: B023
            bootstrap = await here.reached(stored, lambda bootstrap: bootstrap.next_at > here.clock.now)
            assert bootstrap.attempts == 0
            pauses.append(bootstrap.next_at - here.clock.now)
            await here.passes(0)
            assert len(here.reads) == count
            await here.passes(bootstrap.next_at - here.clock.now)
        for pause, full in zip(pauses, (30, 60, 120, 240, 480, 600, 600), strict=True):
            assert 0.8 * full <= pause <= full
        here.parent[CHILD] = delegation("ns.example.")
        await here.ends(stored, KeyState.TRUSTED)


async def test_a_child_whose_delegation_cannot_be_read_holds_up_no_other(tmp_path: Path) -> None:
    async with bench(tmp_path, ("at-apex", Scripted(lambda candidate: accepts(candidate.key)))) as here:
        here.parent[CHILD] = BackendUnavailable("it is away")
        here.parent[OTHER] = delegation("ns.example.", child=OTHER)
        for number in range(3 * CONCURRENT):
            await here.begin(key(number))
        await here.ends(await here.begin(key(1, OTHER)), KeyState.TRUSTED)


async def test_a_finding_that_is_our_own_fault_costs_no_attempt_and_keeps_what_it_says(tmp_path: Path) -> None:
    evidence = {"since": NOW, "count": 4}
    method = Scripted(Finding(Conclusion.UNDECIDED, "no resolver answers", evidence=evidence, is_ours=True))
    async with bench(tmp_path, ("unsigned", method), ("at-ns", Scripted(UNDECIDED))) as here:
        stored = await here.begin(key(1))
        for count in range(1, 3 * RETRY.attempts):
            await eventually(lambda: len(method.looks) == count)  # noqa: B023
            bootstrap = await here.reached(stored, lambda bootstrap: bootstrap.next_at > here.clock.now)
            await here.passes(bootstrap.next_at - here.clock.now)
        assert (bootstrap.attempts, bootstrap.evidence["unsigned"]) == (0, evidence)
        assert "unsigned: no resolver answers" in bootstrap.reason


# reasons to look again


async def test_a_key_that_waits_for_an_operator_is_looked_at_again_when_it_is_uploaded_again(tmp_path: Path) -> None:
    def finds(candidate: Candidate) -> Finding:
        return accepts(candidate.key) if candidate.delegation.ds else NOT_APPLICABLE

    method = Scripted(finds)
    async with bench(tmp_path, ("at-apex", method), manual=True) as here:
        stored = await here.begin(key(1))
        await here.waits(stored)
        here.clock.now += 86400
        here.parent[CHILD] = SIGNED
        await here.begin(key(1))
        await here.reached_state(stored, KeyState.TRUSTED)
        assert len(method.looks) == 2


async def test_who_waits_for_an_operator_still_does_after_a_look_that_finds_nothing_new(tmp_path: Path) -> None:
    method = Scripted(NOT_APPLICABLE)
    async with bench(tmp_path, ("at-apex", method), manual=True) as here:
        stored = await here.begin(key(1))
        await here.waits(stored)
        here.clock.now += 86400
        method.finding = replace(NOT_APPLICABLE, reason="has no DS yet")
        await here.begin(key(1))
        bootstrap = await here.reached(stored, lambda bootstrap: bootstrap.reason == "at-apex: has no DS yet")
        assert (bootstrap.manual, bootstrap.wanted_at) == (True, None)


async def test_a_child_that_mended_its_fault_is_looked_at_when_it_uploads_again(tmp_path: Path) -> None:
    method = Scripted(CONTRADICTED)
    async with bench(tmp_path, ("at-apex", method), retry=PATIENT) as here:
        stored = await here.begin(key(1))
        for attempts in range(1, 10):
            bootstrap = await here.attempted(stored, attempts)
            if attempts < 9:
                await here.passes(bootstrap.next_at - here.clock.now)
        assert bootstrap.next_at - here.clock.now > 900
        await here.passes(COOL_DOWN)
        method.finding = accepts(key(1))
        await here.begin(key(1))
        await here.reached_state(stored, KeyState.TRUSTED)


async def test_uploads_repeated_cause_one_look_per_cool_down_and_move_nothing_that_is_due(tmp_path: Path) -> None:
    method = Scripted(CONTRADICTED)
    async with bench(tmp_path, ("at-apex", method), retry=Retry(1000, 3600, 16, COOL_DOWN)) as here:
        stored = await here.begin(key(1))
        due = await here.attempted(stored, 1)
        for _ in range(100):
            await here.begin(key(1))
            await here.passes(5)
        bootstrap = (await here.now(stored))[1]
        assert bootstrap is not None
        assert (bootstrap.attempts, bootstrap.next_at) == (1, due.next_at)
        assert 2 <= len(method.looks) <= 1 + 500 / COOL_DOWN


async def test_a_key_that_failed_is_looked_at_again_after_the_cool_down_only(tmp_path: Path) -> None:
    method = Scripted(NOT_APPLICABLE)
    async with bench(tmp_path, ("at-apex", method)) as here:
        stored = await here.begin(key(1))
        await here.reached_state(stored, KeyState.VALIDATION_FAILED)
        for _ in range(10):
            await here.begin(key(1))
            await here.passes(COOL_DOWN / 12)
        assert len(method.looks) == 1
        method.finding = accepts(key(1))
        await here.passes(COOL_DOWN / 4)
        await here.reached_state(stored, KeyState.TRUSTED)


@pytest.mark.parametrize("manual", [False, True])
async def test_an_upload_that_comes_during_a_look_causes_another_one(tmp_path: Path, manual: bool) -> None:
    method = Scripted(NOT_APPLICABLE, hold=asyncio.Event())
    async with bench(tmp_path, ("at-apex", method), manual=manual) as here:
        stored = await here.begin(key(1))
        await eventually(lambda: len(method.looks) == 1)
        await here.begin(key(1))
        assert method.hold is not None
        method.hold.set()
        await here.reached(stored, lambda bootstrap: bootstrap.looked_at > 0)
        method.finding = accepts(key(1))
        await here.passes(COOL_DOWN)
        await here.reached_state(stored, KeyState.TRUSTED)


async def test_looks_beside_those_that_are_due_use_up_no_attempts(tmp_path: Path) -> None:
    method = Scripted(CONTRADICTED)
    async with bench(tmp_path, ("at-apex", method), retry=Retry(100_000, 100_000, 3, COOL_DOWN)) as here:
        stored = await here.begin(key(1))
        await here.attempted(stored, 1)
        for _ in range(10):
            await here.passes(COOL_DOWN)
            await here.begin(key(1))
        await here.attempted(stored, 1)
        assert len(method.looks) >= 10


async def test_a_delegation_that_is_seen_to_have_changed_causes_a_look(tmp_path: Path) -> None:
    method = Scripted(NOT_APPLICABLE)
    async with bench(tmp_path, ("at-apex", method), manual=True) as here:
        stored = await here.begin(key(1))
        await here.waits(stored)
        here.clock.now += COOL_DOWN
        await here.bootstrapper.seen(CHILD, delegation("ns.example."))
        await here.passes(1)
        assert len(method.looks) == 1
        here.parent[CHILD] = SIGNED
        method.finding = accepts(key(1))
        for _ in range(3):
            await here.bootstrapper.seen(CHILD, SIGNED)
        await here.reached_state(stored, KeyState.TRUSTED)


async def test_the_delegation_of_a_key_that_waits_is_read_ever_more_seldom_and_a_change_is_noticed(
    tmp_path: Path,
) -> None:
    method = Scripted(NOT_APPLICABLE)
    async with bench(tmp_path, ("at-apex", method), manual=True) as here:
        stored = await here.begin(key(1))
        await here.waits(stored)
        read: list[float] = []

        async def delegation_of(child: bytes) -> Delegation:
            read.append(here.clock.now - NOW)
            held = here.parent[child]
            assert isinstance(held, Delegation)
            await waiting.seen(child, held)
            return held

        waiting = Waiting(ZONE, here.store, delegation_of, COOL_DOWN, 3600, clock=here.clock)
        while here.clock.now < NOW + 86400:
            here.clock.now += COOL_DOWN / 2
            await waiting.once()
        pauses = [later - earlier for earlier, later in pairwise(read)]
        assert pauses == sorted(pauses)
        assert (pauses[0], pauses[-1], len(read) < 40) == (COOL_DOWN, 3600, True)
        assert len(method.looks) == 1
        here.parent[CHILD] = SIGNED
        method.finding = accepts(key(1))
        here.clock.now += 3600
        await waiting.once()
        here.bootstrapper.wake()
        await here.reached_state(stored, KeyState.TRUSTED)


async def test_a_child_that_cannot_be_read_keeps_no_other_from_being_noticed(tmp_path: Path) -> None:
    async with bench(tmp_path, ("at-apex", Scripted(NOT_APPLICABLE)), manual=True) as here:
        here.parent[OTHER] = delegation("ns.example.", child=OTHER)
        for child in (CHILD, OTHER):
            await here.waits(await here.begin(key(1, child)))
        read: list[bytes] = []

        async def delegation_of(child: bytes) -> Delegation:
            read.append(child)
            raise KeyError("a defect")

        waiting = Waiting(ZONE, here.store, delegation_of, COOL_DOWN, 3600, clock=here.clock)
        here.clock.now += 86400
        assert await waiting.once() == 2
        assert sorted(read) == sorted((CHILD, OTHER))


# what becomes of the child's other keys


async def test_an_upload_repeated_with_a_deletion_takes_the_deletion_into_account(tmp_path: Path) -> None:
    method = Scripted(UNDECIDED)
    async with bench(tmp_path, ("at-apex", method)) as here:
        await here.trust(key(9))
        stored = await here.begin(key(1), replaces=False)
        await here.begin(key(1), replaces=True)
        await here.begin(key(1), replaces=False)
        bootstrap = (await here.now(stored))[1]
        assert bootstrap is not None
        assert bootstrap.replaces
        assert [each.key for each in await here.trusted()] == [key(9)]
        method.finding = accepts(key(1))
        await here.ends(stored, KeyState.TRUSTED)
        assert [each.key for each in await here.trusted()] == [key(1)]


@pytest.mark.parametrize("unpublished", list(Unpublished))
async def test_no_trusted_key_goes_on_an_rrset_that_the_child_s_servers_do_not_serve(
    tmp_path: Path, unpublished: Unpublished
) -> None:
    """Who stole a key has its old RRset looked up, which a cache has or who stands in the way replays."""
    method = Scripted(lambda candidate: accepts(candidate.key), is_served=False)
    async with bench(tmp_path, ("at-apex", method), unpublished=unpublished) as here:
        await here.trust(key(9))
        served = (
            [found(key(9))],
            [found(key(2)), found(key(9))],
            [SILENCE, nothing(Presence.ABSENT, Security.INSECURE)],
        )
        for number, servers in enumerate(served, 1):
            here.world.servers = servers
            stored = await here.begin(key(number), replaces=unpublished is Unpublished.ALARM)
            bootstrap = await here.attempted(stored, 1)
            assert "no trusted key goes on an old one" in bootstrap.reason
            assert [each.key for each in await here.trusted()] == [key(9)]


@pytest.mark.parametrize(
    ("servers", "period"), [((found(key(1)), SILENCE), SOME_SILENT), ((SILENCE, SILENCE), ALL_SILENT), ((), ALL_SILENT)]
)
async def test_where_servers_are_silent_trusted_keys_go_at_a_second_look(
    tmp_path: Path, servers: Sequence[Sighting], period: float
) -> None:
    method = Scripted(lambda candidate: accepts(candidate.key), is_served=False)
    async with bench(tmp_path, ("at-apex", method)) as here:
        here.world.servers = servers
        await here.trust(key(9))
        began = here.clock.now
        stored = await here.begin(key(1))
        first = await here.reached(stored, lambda bootstrap: EVIDENCE in bootstrap.evidence)
        assert (first.next_at, first.attempts) == (began + period, 0)
        # a look without it begins anew
        method.finding = CONTRADICTED
        here.clock.now = began + period / 2
        await here.begin(key(1))
        await here.reached(stored, lambda bootstrap: EVIDENCE not in bootstrap.evidence)
        method.finding = accepts(key(1))
        here.clock.now = anew = began + period - 1
        await here.begin(key(1))
        await here.reached(stored, lambda bootstrap: EVIDENCE in bootstrap.evidence)
        await here.ends(stored, KeyState.TRUSTED)
        assert here.clock.now >= anew + period
        assert [each.key for each in await here.trusted()] == [key(1)]


async def test_a_trusted_key_that_is_not_published_any_more_is_told(tmp_path: Path) -> None:
    method = Scripted(lambda candidate: accepts(candidate.key, key(8)))
    async with bench(tmp_path, ("at-apex", method)) as here:
        await here.trust(key(8))
        other = await here.trust(key(9))
        await here.ends(await here.begin(key(1), replaces=False), KeyState.TRUSTED)
        assert [each.key for each in await here.trusted()] == [key(8), key(9), key(1)]
        (record,) = await here.store.audit.list(child=CHILD, event="key.unpublished")
        assert (record.entry.key_tag, record.entry.detail["key"]) == (key(9).tag, other.id)
        assert record.entry.detail["superseded"] is False


async def test_a_trusted_key_that_is_not_published_any_more_goes_where_that_is_wanted(tmp_path: Path) -> None:
    method = Scripted(lambda candidate: accepts(candidate.key, key(8)))
    async with bench(tmp_path, ("at-apex", method), unpublished=Unpublished.SUPERSEDE) as here:
        await here.trust(key(8))
        await here.trust(key(9))
        await here.ends(await here.begin(key(1), replaces=False), KeyState.TRUSTED)
        assert [each.key for each in await here.trusted()] == [key(8), key(1)]
        (record,) = await here.store.audit.list(child=CHILD, event="key.unpublished")
        assert record.entry.detail["superseded"] is True


@pytest.mark.parametrize("manual", [False, True])
async def test_no_more_keys_than_allowed_become_trusted_by_uploads(tmp_path: Path, manual: bool) -> None:
    method = Scripted(lambda candidate: accepts(candidate.key))
    async with bench(tmp_path, ("at-apex", method), max_trusted=3, manual=manual) as here:
        for number in range(1, 4):
            await here.ends(await here.begin(key(number), replaces=False), KeyState.TRUSTED)
        stored = await here.begin(key(4), replaces=False)
        expected = "4 keys of child.parent.example. would be trusted, more than trust.trusted_per_child (3)"
        if manual:
            assert expected in (await here.waits(stored)).reason
        else:
            assert expected in (await here.ends(stored, KeyState.VALIDATION_FAILED)).reason
        assert len(await here.trusted()) == 3
        here.clock.now += COOL_DOWN
        await here.begin(key(4), replaces=True)
        await here.ends(stored, KeyState.TRUSTED)
        assert [each.key for each in await here.trusted()] == [key(4)]
