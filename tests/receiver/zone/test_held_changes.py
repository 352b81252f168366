"""Changes that wait for an operator: what a child is told, what puts an end to them, and what a decision does."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from receiver_support import CHILD, ZONE, Answer, Site, ns_of, replace_ns, site
from trust_support import key_record, new_pair
from zonecut.plugin import BackendUnavailable, Change, Reading
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import EdeCode, Rcode, RRType
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.change.policy import Policy
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.receiver.message.admission import Source
from zonecut.receiver.zone_settings import ZoneSettings
from zonecut.store import ChangeState, Decision, InvalidTransition, KeyState, NewChange, StoredChange

DS = bytes.fromhex("b40e0f02") + bytes(range(32))
OTHER_DS = bytes.fromhex("b40f0f02") + bytes(range(32))
NEW = "a.ns.example."
SETTINGS = ZoneSettings(answer_within=0.5)
Open = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setattr("zonecut.receiver.zone.decisions.PERIOD", 0.02)
    monkeypatch.setattr("zonecut.receiver.zone.decisions.AGAIN", (0.02, 0.1))
    monkeypatch.setattr("zonecut.receiver.writer.waits.BACKOFF", (0.01, 0.05))

    @asynccontextmanager
    async def opened(**further: object) -> AsyncIterator[Site]:
        """A receiver that holds what makes a child insecure, and a child with a DS."""
        policy = Policy(going_insecure="hold")
        async with site(tmp_path, policy=policy, settings=SETTINGS, **further) as here:  # type: ignore[arg-type]
            if not await here.store.changes.list():
                await here.trust(CHILD)
                assert (await here.ask(here.signed(message.add(CHILD, RRType.DS, 1, DS)))).rcode == Rcode.NOERROR
                await ended(here, 1, ChangeState.APPLIED)
                here.clock.now += 1
            yield here

    return opened


def remove_ds(here: Site, *more: bytes) -> bytes:
    return here.signed(message.delete_rrset(CHILD, RRType.DS), *more)


def assert_held(answer: Answer) -> None:
    assert answer.rcode == Rcode.NOERROR
    assert answer.error is not None
    assert answer.error.code == EdeCode.OTHER
    assert answer.error.text.startswith("accepted, and waits for an operator of the parent: child.parent.example. DS")


async def ended(here: Site, number: int, state: ChangeState) -> StoredChange:
    """A change once it is in a state."""
    async with asyncio.timeout(5):
        while True:
            stored = await here.store.changes.get(number)
            if stored is not None and stored.state is state:
                return stored
            await asyncio.sleep(0.01)


async def newest(here: Site) -> StoredChange:
    return (await here.store.changes.list(limit=1))[0]


async def decide(here: Site, number: int, decision: Decision) -> StoredChange:
    return await here.store.decisions.decide(number, decision, "operator:ann", "ticket 7")


async def test_removing_the_last_ds_is_recorded_held_and_answered_noerror_with_a_word(opened: Open) -> None:
    async with opened() as here:
        wire = remove_ds(here)
        for _ in range(2):
            assert_held(await here.ask(wire))
        held = await newest(here)
        assert (held.state, held.reason) == (ChangeState.HELD, "child.parent.example. DS: the last DS is removed")
        assert [change.id for change in await here.store.changes.list(state=ChangeState.HELD)] == [held.id]
        assert (await here.served()).ds == (DS,)
        (entry,) = await here.store.audit.list(event="change.held")
        assert entry.entry.detail["change"] == held.id
        # one of two may go
        here.clock.now += 1
        more = here.signed(message.add(CHILD, RRType.DS, 1, OTHER_DS))
        assert (await here.ask(more)).error is None


async def test_what_is_approved_is_written_within_a_second_and_what_is_rejected_is_not(opened: Open) -> None:
    async with opened() as here:
        wire = remove_ds(here)
        assert_held(await here.ask(wire))
        number = (await newest(here)).id
        approved = await decide(here, number, Decision.APPROVED)
        assert (approved.state, approved.verdict) == (ChangeState.ACCEPTED, "approved by operator:ann: ticket 7")
        await ended(here, number, ChangeState.APPLIED)
        assert (await here.served()).ds == ()
        answer = await here.ask(wire)
        assert (answer.rcode, answer.error) == (Rcode.NOERROR, None)
        here.clock.now += 1
        assert (await here.ask(here.signed(message.add(CHILD, RRType.DS, 1, DS)))).rcode == Rcode.NOERROR
        here.clock.now += 1
        again = remove_ds(here)
        assert_held(await here.ask(again))
        number = (await newest(here)).id
        rejected = await decide(here, number, Decision.REJECTED)
        assert (rejected.state, rejected.reason) == (ChangeState.FAILED, "rejected by operator:ann: ticket 7")
        async with asyncio.timeout(5):
            while (answer := await here.ask(again)).rcode == Rcode.NOERROR:  # noqa: ASYNC110 (it is looked for)
                await asyncio.sleep(0.01)
        assert answer.error is not None
        assert answer.error.text == "an operator of the parent rejected it: ticket 7"
        assert (await here.served()).ds == (DS,)
        actors = {entry.entry.event: entry.entry.actor for entry in await here.store.audit.list(child=CHILD)}
        assert (actors["change.approved"], actors["change.rejected"]) == ("operator:ann", "operator:ann")
        with pytest.raises(InvalidTransition, match=r"is failed already \(rejected by operator:ann: ticket 7\)"):
            await decide(here, number, Decision.APPROVED)


async def test_decisions_count_that_were_made_while_no_daemon_ran(opened: Open) -> None:
    async with opened() as here:
        pair = here.pairs[CHILD]
        wire = remove_ds(here)
        assert_held(await here.ask(wire))
        number = (await newest(here)).id
    async with opened() as here:
        here.pairs[CHILD] = pair
        assert_held(await here.ask(wire))  # it is known still
    async with opened() as here:
        await decide(here, number, Decision.APPROVED)
    async with opened() as here:
        await ended(here, number, ChangeState.APPLIED)
        assert (await here.served()).ds == ()


async def test_the_child_s_next_change_puts_an_end_to_the_held_one(opened: Open) -> None:
    async with opened() as here:
        assert_held(await here.ask(remove_ds(here)))
        held = (await newest(here)).id
        here.clock.now += 1
        assert (await here.ask(here.signed(message.add(CHILD, RRType.DS, 1, DS)))).rcode == Rcode.NOERROR
        later = (await newest(here)).id
        replaced = await ended(here, held, ChangeState.FAILED)
        assert replaced.reason == f"replaced by change {later}"
        with pytest.raises(InvalidTransition, match=f"replaced by change {later}"):
            await decide(here, held, Decision.APPROVED)


async def test_a_held_change_that_was_approved_just_now_is_written_before_the_child_s_next_one(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zonecut.receiver.zone.decisions.PERIOD", 0.3)
    async with opened() as here:
        assert_held(await here.ask(remove_ds(here)))
        held = (await newest(here)).id
        await asyncio.sleep(0.05)
        await decide(here, held, Decision.APPROVED)
        here.clock.now += 1
        answer = await here.ask(here.signed(message.add(CHILD, RRType.DS, 1, DS)))
        assert answer.rcode == Rcode.SERVFAIL
        assert answer.error is not None
        assert answer.error.text == "an earlier change of this child waits"
        await ended(here, held, ChangeState.APPLIED)
        assert (await here.served()).ds == ()
        here.clock.now += 1
        assert (await here.ask(here.signed(message.add(CHILD, RRType.DS, 1, DS)))).rcode == Rcode.NOERROR
        assert (await here.served()).ds == (DS,)


async def test_the_same_wish_again_waits_under_the_same_number(opened: Open) -> None:
    async with opened() as here:
        for _ in range(3):
            assert_held(await here.ask(remove_ds(here)))
            here.clock.now += 1
        assert len(await here.store.changes.list()) == 2
        assert_held(await here.ask(remove_ds(here, *replace_ns(CHILD, NEW))))
        states = [change.state for change in await here.store.changes.list()]
        assert states == [ChangeState.HELD, ChangeState.FAILED, ChangeState.APPLIED]


async def test_an_approved_change_is_judged_on_what_is_there_then(opened: Open, tmp_path: Path) -> None:
    async with opened() as here:
        assert_held(await here.ask(remove_ds(here, message.add(CHILD, RRType.NS, 1, names.from_text(NEW)))))
        held = (await newest(here)).id
        include = tmp_path / "parent.example.delegations"
        include.write_text(
            include.read_text().replace("ns1.child", "ns1.child") + "child.parent.example. NS by.hand.\n"
        )
        await decide(here, held, Decision.APPROVED)
        applied = await ended(here, held, ChangeState.APPLIED)
        served = await here.served()
        assert names.from_text("by.hand.") in served.ns
        assert names.from_text(NEW) in served.ns
        assert served.ds == ()
        assert applied.after == served


def edit(directory: Path, *, without: str = "", more: str = "") -> None:
    """Somebody else takes the lines with a text out of the zone, and adds others."""
    include = directory / "parent.example.delegations"
    kept = [line for line in include.read_text().splitlines(keepends=True) if not without or without not in line]
    include.write_text("".join(kept) + more)


def line_of(ds: bytes) -> str:
    return f"child.parent.example. DS {int.from_bytes(ds[:2])} {ds[2]} {ds[3]} {ds[4:].hex()}\n"


async def held_again(here: Site, number: int) -> StoredChange:
    """A change once it is held and nobody has decided about that."""
    async with asyncio.timeout(5):
        while True:
            stored = await ended(here, number, ChangeState.HELD)
            if stored.decision is None:
                return stored
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("replaced", [False, True])
async def test_an_approval_is_of_the_change_that_was_shown_and_of_no_other_that_comes_of_the_request(
    opened: Open, tmp_path: Path, replaced: bool, restarts: bool
) -> None:
    async with opened() as here:
        pair, wire = here.pairs[CHILD], remove_ds(here)
        assert_held(await here.ask(wire))
        held = await newest(here)
        if not restarts:
            edit(tmp_path, without="46094" if replaced else "", more=line_of(OTHER_DS))
            await decide(here, held.id, Decision.APPROVED)
            await held_again(here, held.id)
    if restarts:
        edit(tmp_path, without="46094" if replaced else "", more=line_of(OTHER_DS))
    async with opened() as here:
        here.pairs[CHILD] = pair
        if restarts:
            await decide(here, held.id, Decision.APPROVED)
        again = await held_again(here, held.id)
        there = (OTHER_DS,) if replaced else (DS, OTHER_DS)
        assert (await here.served()).ds == there
        assert again.before.ds == there
        differs = "it now removes child.parent.example. DS 46095 15 2"
        assert again.reason is not None
        assert differs in again.reason
        answer = await here.ask(wire)
        assert answer.error is not None
        assert differs in answer.error.text
        events = [each.entry.event for each in await here.store.audit.list(child=CHILD)]
        assert (events.count("change.held"), events.count("change.approved")) == (2, 1)
        await decide(here, held.id, Decision.APPROVED)
        await ended(here, held.id, ChangeState.APPLIED)
        assert (await here.served()).ds == ()


async def test_what_an_operator_did_by_hand_of_an_approved_change_is_no_other_change(
    opened: Open, tmp_path: Path
) -> None:
    async with opened() as here:
        assert_held(await here.ask(remove_ds(here, message.add(CHILD, RRType.NS, 1, names.from_text(NEW)))))
        held = (await newest(here)).id
        edit(tmp_path, more=f"child.parent.example. NS {NEW}\n")
        await decide(here, held, Decision.APPROVED)
        await ended(here, held, ChangeState.APPLIED)
        assert (await here.served()).ds == ()


async def test_an_approved_change_that_would_be_another_when_it_is_written_is_held_again(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the judgement and the write there may be an edit, too."""
    async with opened() as here:
        assert_held(await here.ask(remove_ds(here)))
        held = (await newest(here)).id
        write, edited = here.backend.write, False

        async def edited_first(changes: Sequence[Change]) -> None:
            nonlocal edited
            if not edited:
                edited = True
                edit(tmp_path, more=line_of(OTHER_DS))
            await write(changes)

        monkeypatch.setattr(here.backend, "write", edited_first)
        await decide(here, held, Decision.APPROVED)
        again = await held_again(here, held)
        assert edited
        assert "it now removes child.parent.example. DS 46095 15 2" in (again.reason or "")
        assert (await here.served()).ds == (DS, OTHER_DS)
        here.clock.now += 1
        assert (await here.ask(here.signed(*replace_ns(CHILD, NEW)))).rcode == Rcode.NOERROR


async def test_an_approved_change_that_takes_the_last_ds_only_since_is_held_again(opened: Open, tmp_path: Path) -> None:
    async with opened() as here:
        assert (await here.ask(here.signed(message.add(CHILD, RRType.DS, 1, OTHER_DS)))).rcode == Rcode.NOERROR
        had = await here.served()
        wire = here.signed(message.delete_record(CHILD, RRType.DS, DS))
        after = Delegation(CHILD, had.ns, (OTHER_DS,), had.glue)
        number = await here.store.changes.append(NewChange(ZONE, had, after, "test", "test", wire, held_because="why"))
    async with opened() as here:
        edit(tmp_path, without="46095")
        await decide(here, number, Decision.APPROVED)
        again = await held_again(here, number)
        assert again.reason == "child.parent.example. DS: the last DS is removed, which was not so when it was approved"
        assert (await here.served()).ds == (DS,)


async def test_a_change_whose_key_was_revoked_is_not_to_be_approved(opened: Open) -> None:
    async with opened() as here:
        assert_held(await here.ask(remove_ds(here)))
        held = (await newest(here)).id
        (stored,) = await here.store.keys.find(CHILD)
        await here.store.keys.set_state(stored.id, KeyState.REVOKED, "operator:ann", "stolen")
        why = f"no key that asked for it is trusted: key {stored.key.tag} is revoked \\(stolen\\). Reject it"
        with pytest.raises(InvalidTransition, match=why):
            await decide(here, held, Decision.APPROVED)
        assert (await newest(here)).state is ChangeState.HELD
        await decide(here, held, Decision.REJECTED)
        await ended(here, held, ChangeState.FAILED)
        assert (await here.served()).ds == (DS,)


async def test_an_approved_change_whose_key_was_revoked_before_it_was_taken_up_fails(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as here:
        assert_held(await here.ask(remove_ds(here)))
        held = (await newest(here)).id
        read = here.backend.read

        async def revoking(child: bytes) -> Reading:
            (stored,) = await here.store.keys.find(CHILD)
            if stored.state is KeyState.TRUSTED:
                await here.store.keys.set_state(stored.id, KeyState.REVOKED, "operator:ann", "stolen")
            return await read(child)

        monkeypatch.setattr(here.backend, "read", revoking)
        await decide(here, held, Decision.APPROVED)
        failed = await ended(here, held, ChangeState.FAILED)
        assert failed.reason is not None
        assert "is revoked by now" in failed.reason
        assert (await here.served()).ds == (DS,)


async def test_an_approved_change_waits_for_a_server_that_is_away(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as here:
        assert_held(await here.ask(remove_ds(here)))
        held = (await newest(here)).id
        read = here.backend.read

        async def away(child: bytes) -> object:
            raise BackendUnavailable("it is away")

        monkeypatch.setattr(here.backend, "read", away)
        await decide(here, held, Decision.APPROVED)
        async with asyncio.timeout(5):
            while (await newest(here)).reason != "it is away":  # noqa: ASYNC110 (it is looked for)
                await asyncio.sleep(0.01)
        monkeypatch.setattr(here.backend, "read", read)
        await ended(here, held, ChangeState.APPLIED)


async def test_a_change_that_would_be_the_last_ds_only_after_an_edit_is_held_then(opened: Open, tmp_path: Path) -> None:
    async with opened() as here:
        assert (await here.ask(here.signed(message.add(CHILD, RRType.DS, 1, OTHER_DS)))).rcode == Rcode.NOERROR
        include = tmp_path / "parent.example.delegations"
        kept = [line for line in include.read_text().splitlines(keepends=True) if "46095" not in line]
        include.write_text("".join(kept))  # somebody takes the other one out, which is not known here
        here.clock.now += 1
        wire = here.signed(message.delete_record(CHILD, RRType.DS, DS))
        assert_held(await here.ask(wire))
        assert (await newest(here)).state is ChangeState.HELD
        assert (await here.served()).ds == (DS,)
        assert_held(await here.ask(wire))
        await decide(here, (await newest(here)).id, Decision.APPROVED)
        await ended(here, (await newest(here)).id, ChangeState.APPLIED)
        assert (await here.served()).ds == ()


async def test_a_held_change_is_no_hindrance_for_the_writer(opened: Open) -> None:
    async with opened() as here:
        assert_held(await here.ask(remove_ds(here)))
        assert await here.zone.writer.drain(1)
        assert (await here.store.statistics.waiting()) == {}


NO_DS: dict[str, object] = {"name": "child.parent.example.", "type": "DS", "changetype": "DELETE"}


async def patch(here: Site, *rrsets: dict[str, object]) -> HTTPStatus:
    body = json.dumps({"rrsets": rrsets}).encode()
    return (await here.front_end.patch(ZONE, body, "hook:portal", Source("127.0.0.1", 1, udp=False))).status


async def test_what_a_front_end_posts_is_held_too_and_means_for_the_keys_what_it_does_when_it_is_approved(
    opened: Open,
) -> None:
    async with opened(trust=TrustSettings(foreign_ns="suspend")) as here:
        ns = [{"content": NEW, "disabled": False}]
        name = "child.parent.example."
        status = await patch(
            here,
            {"name": name, "type": "NS", "changetype": "REPLACE", "ttl": 1, "records": ns},
            {"name": name, "type": "DS", "changetype": "DELETE"},
        )
        assert status == HTTPStatus.ACCEPTED
        (stored,) = await here.store.keys.find(CHILD)
        assert stored.state is KeyState.TRUSTED
        held = (await newest(here)).id
        await decide(here, held, Decision.APPROVED)
        await ended(here, held, ChangeState.APPLIED)
        (stored,) = await here.store.keys.find(CHILD)
        assert stored.state is not KeyState.TRUSTED


# What waits for the server


async def away(changes: Sequence[Change]) -> None:
    raise BackendUnavailable("it is away")


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_change_that_waits_for_the_server_is_not_written_once_it_is_rejected(
    opened: Open, monkeypatch: pytest.MonkeyPatch, restarts: bool
) -> None:
    async with opened() as here:
        before, write = await here.served(), here.backend.write
        monkeypatch.setattr(here.backend, "write", away)
        assert (await here.ask(here.signed(*replace_ns(CHILD, NEW)))).rcode == Rcode.NOERROR
        waits = (await newest(here)).id
        with pytest.raises(InvalidTransition, match="waits for the server, not for an operator"):
            await decide(here, waits, Decision.APPROVED)
        if not restarts:
            await decide(here, waits, Decision.REJECTED)
            await asyncio.sleep(0.1)
            monkeypatch.setattr(here.backend, "write", write)
            failed = await ended(here, waits, ChangeState.FAILED)
            assert failed.reason == "rejected: an operator of the parent rejected it: ticket 7"
            assert await here.served() == before
    if restarts:
        async with opened() as here:
            monkeypatch.setattr(here.backend, "write", away)
            await decide(here, waits, Decision.REJECTED)
        async with opened() as here:
            await ended(here, waits, ChangeState.FAILED)
            assert await here.served() == before


# What is decided twice, and what a crash leaves


async def test_what_was_approved_and_rejected_before_it_was_written_is_not_written(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as here:
        wire = remove_ds(here)
        assert_held(await here.ask(wire))
        number = (await newest(here)).id
        read = here.backend.read

        async def away(child: bytes) -> object:
            raise BackendUnavailable("it is away")

        monkeypatch.setattr(here.backend, "read", away)
        await decide(here, number, Decision.APPROVED)
        async with asyncio.timeout(5):
            while (await newest(here)).reason != "it is away":  # noqa: ASYNC110 (it is looked for)
                await asyncio.sleep(0.01)
        await decide(here, number, Decision.REJECTED)
        failed = await ended(here, number, ChangeState.FAILED)
        assert failed.reason == "rejected: an operator of the parent rejected it: ticket 7"
        monkeypatch.setattr(here.backend, "read", read)
        await asyncio.sleep(0.3)
        assert (await here.served()).ds == (DS,)
        assert (await here.ask(wire)).rcode == Rcode.REFUSED


@pytest.mark.parametrize("while_it_is_judged", [False, True])
async def test_what_was_approved_and_rejected_between_two_looks_is_not_written(
    opened: Open, monkeypatch: pytest.MonkeyPatch, while_it_is_judged: bool
) -> None:
    monkeypatch.setattr("zonecut.receiver.zone.decisions.PERIOD", 0.3)
    async with opened() as here:
        assert_held(await here.ask(remove_ds(here)))
        number = (await newest(here)).id
        read, rejected = here.backend.read, asyncio.Event()

        async def reject_then_read(child: bytes) -> Reading:
            if not rejected.is_set():
                rejected.set()
                await decide(here, number, Decision.REJECTED)
            return await read(child)

        await asyncio.sleep(0.05)
        await decide(here, number, Decision.APPROVED)
        if while_it_is_judged:
            monkeypatch.setattr(here.backend, "read", reject_then_read)
        else:
            await decide(here, number, Decision.REJECTED)
        failed = await ended(here, number, ChangeState.FAILED)
        assert failed.decision is Decision.REJECTED
        assert rejected.is_set() is while_it_is_judged
        assert (await here.served()).ds == (DS,)


async def test_an_approved_change_is_not_written_again_over_a_later_one_after_a_crash(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed = tmp_path / "crashed"
    async with opened() as here:
        assert_held(await here.ask(remove_ds(here)))
        held = (await newest(here)).id
        monkeypatch.setattr("zonecut.receiver.change.ledger.SETTLE_WITHIN", 60)  # nothing that ends is recorded
        await decide(here, held, Decision.APPROVED)
        async with asyncio.timeout(5):
            while (await here.served()).ds:  # noqa: ASYNC110 (it is looked for)
                await asyncio.sleep(0.01)
        here.clock.now += 1
        assert (await here.ask(here.signed(message.add(CHILD, RRType.DS, 1, DS)))).rcode == Rcode.NOERROR
        later = (await newest(here)).id
        shutil.copytree(tmp_path, crashed)
    # the same files, as the next start finds them
    mark = crashed / ".zonecut.db.mark"
    inode = (crashed / "zonecut.db").stat().st_ino
    document = {**json.loads(mark.read_text()), "file": inode}
    del document["self"]
    mark.write_text(json.dumps(document))
    zone_file = crashed / "parent.zone"
    zone_file.write_text(zone_file.read_text().replace(str(tmp_path), str(crashed)))
    monkeypatch.setattr("zonecut.receiver.change.ledger.SETTLE_WITHIN", 0)
    async with site(crashed, policy=Policy(going_insecure="hold"), settings=SETTINGS) as here:
        applied = await ended(here, held, ChangeState.APPLIED)
        assert applied.reason == f"its outcome was not recorded before change {later} was accepted"
        await ended(here, later, ChangeState.APPLIED)
        assert (await here.served()).ds == (DS,)


async def test_what_a_later_change_followed_is_not_written_again_even_if_only_that_was_recorded(
    opened: Open,
) -> None:
    async with opened() as here:
        had = await here.served()
        numbers = [
            await here.store.changes.append(
                NewChange(ZONE, had, after, "test", "test", here.signed(*replace_ns(CHILD, "earlier.example.")))
            )
            for after in (ns_of(CHILD, "earlier.example."), had)
        ]
        await here.store.changes.settle(numbers[1], ChangeState.APPLIED)
    async with opened() as here:
        await ended(here, numbers[0], ChangeState.APPLIED)
        assert await here.served() == had


async def test_a_held_change_that_was_replaced_is_not_answered_as_accepted(opened: Open) -> None:
    async with opened() as here:
        wire = remove_ds(here)
        assert_held(await here.ask(wire))
        here.clock.now += 1
        assert (await here.ask(here.signed(*replace_ns(CHILD, NEW)))).rcode == Rcode.NOERROR
        answer = await here.ask(wire)
        assert answer.rcode == Rcode.REFUSED
        assert answer.error is not None
        assert answer.error.text.startswith("the child asked for something else since")


# Who stands behind a held change


async def test_two_messages_with_one_wish_get_the_same_answer_when_it_is_rejected(opened: Open) -> None:
    async with opened() as here:
        wires = []
        for _ in range(2):
            wires.append(remove_ds(here))
            assert_held(await here.ask(wires[-1]))
            here.clock.now += 1
        number = (await newest(here)).id
        await decide(here, number, Decision.REJECTED)
        await asyncio.sleep(0.2)
        assert [(await here.ask(wire)).rcode for wire in wires] == [Rcode.REFUSED] * 2


@pytest.mark.parametrize("known", [0, 1])
async def test_each_message_with_one_wish_is_known_after_a_restart(opened: Open, known: int) -> None:
    async with opened() as here:
        pair = here.pairs[CHILD]
        wires = [remove_ds(here)]
        assert_held(await here.ask(wires[0]))
        here.clock.now += 1
        again = remove_ds(here)
        wires.append(again)
        assert_held(await here.ask(again))
        number = (await newest(here)).id
        await decide(here, number, Decision.APPROVED)
        await ended(here, number, ChangeState.APPLIED)
    async with opened() as here:
        here.pairs[CHILD] = pair
        here.clock.now += 2
        assert (await here.ask(here.signed(message.add(CHILD, RRType.DS, 1, DS)))).rcode == Rcode.NOERROR
        answer = await here.ask(wires[known])
        assert (answer.rcode, answer.error) == (Rcode.NOERROR, None)
        assert (await here.served()).ds == (DS,)


@pytest.mark.parametrize("revoked", [(0,), (1,), (2,), (0, 2), (1, 2)])
async def test_a_wish_that_was_repeated_under_other_keys_needs_one_of_them(
    opened: Open, revoked: tuple[int, ...]
) -> None:
    async with opened() as here:
        keys = await asked_by_three(here)
        for number in revoked:
            await here.store.keys.set_state(keys[number], KeyState.REVOKED, "operator:ann", "stolen")
        change = (await newest(here)).id
        with capture_logs() as logs:
            await decide(here, change, Decision.APPROVED)
            await ended(here, change, ChangeState.APPLIED)
        assert (await here.served()).ds == ()
        assert [entry["change"] for entry in logs if entry["event"] == "change.applied"] == [change]


async def test_a_wish_of_several_keys_ends_with_the_last_of_them(opened: Open) -> None:
    async with opened() as here:
        keys = await asked_by_three(here)
        change = (await newest(here)).id
        for key in keys:
            await here.store.keys.set_state(key, KeyState.REVOKED, "operator:ann", "stolen")
        with pytest.raises(InvalidTransition, match="no key that asked for it is trusted: key"):
            await decide(here, change, Decision.APPROVED)


async def asked_by_three(here: Site) -> list[int]:
    """The keys that asked for one held change, in this order."""
    keys: list[int] = []
    for number in range(3):
        if number:
            await here.trust(CHILD)
        here.clock.now += 1
        assert_held(await here.ask(remove_ds(here)))
        keys += [stored.id for stored in await here.store.keys.find(CHILD) if stored.id not in keys]
    return keys


async def test_what_is_judged_is_what_a_trusted_key_asked_for(opened: Open, tmp_path: Path) -> None:
    async with opened() as here:
        assert_held(await here.ask(remove_ds(here)))
        keys = [stored.id for stored in await here.store.keys.find(CHILD)]
        await here.trust(CHILD)
        here.clock.now += 1
        # the same to begin with; but with other name servers, the second would put those of now back
        (second,) = [each.id for each in await here.store.keys.find(CHILD) if each.id not in keys]
        same = [message.add(CHILD, RRType.NS, 1, host) for host in (await here.served()).ns]
        assert_held(await here.ask(remove_ds(here, message.delete_rrset(CHILD, RRType.NS), *same)))
        await here.store.keys.set_state(second, KeyState.REVOKED, "operator:ann", "stolen")
        served = await here.served()
        edited = Delegation(CHILD, (*served.ns, names.from_text("by.hand.example.")), served.ds, served.glue)
        await here.backend.write([Change(served, Delegation.of(CHILD, edited.records))])
        change = (await newest(here)).id
        await decide(here, change, Decision.APPROVED)
        await ended(here, change, ChangeState.APPLIED)
        assert names.from_text("by.hand.example.") in (await here.served()).ns


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("front_end_first", [False, True])
@pytest.mark.parametrize(
    "words",
    [message.delete_rrset(CHILD, RRType.DS), message.delete_record(CHILD, RRType.DS, DS)],
    ids=["rrset", "record"],
)
async def test_what_a_front_end_asked_for_too_lives_on_without_the_child_s_keys(
    opened: Open, restarts: bool, front_end_first: bool, words: bytes
) -> None:
    async with opened() as here:
        if front_end_first:
            assert await patch(here, NO_DS) == HTTPStatus.ACCEPTED
        here.clock.now += 1
        assert_held(await here.ask(here.signed(words)))
        if not front_end_first:
            here.clock.now += 1
            assert await patch(here, NO_DS) == HTTPStatus.ACCEPTED
        (held,) = await here.store.changes.list(state=ChangeState.HELD)
        await revoke_all(here)
        assert [each.id for each in await here.store.changes.list(state=ChangeState.HELD)] == [held.id]
        if not restarts:
            await decide(here, held.id, Decision.APPROVED)
            await ended(here, held.id, ChangeState.APPLIED)
            assert (await here.served()).ds == ()
    if restarts:
        async with opened() as here:
            await decide(here, held.id, Decision.APPROVED)
            await ended(here, held.id, ChangeState.APPLIED)
            assert (await here.served()).ds == ()


async def test_an_approved_change_that_a_front_end_asked_for_too_waits_for_the_server_without_the_child_s_keys(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zonecut.receiver.writer.standing.SETTLED_IN", 0)
    async with opened() as here:
        assert await patch(here, NO_DS) == HTTPStatus.ACCEPTED
        here.clock.now += 1
        assert_held(await here.ask(here.signed(message.delete_record(CHILD, RRType.DS, DS))))
        (held,) = await here.store.changes.list(state=ChangeState.HELD)
        write = here.backend.write
        monkeypatch.setattr(here.backend, "write", away)
        await decide(here, held.id, Decision.APPROVED)
        async with asyncio.timeout(5):
            while (await newest(here)).reason != "it is away":  # noqa: ASYNC110 (it is looked for)
                await asyncio.sleep(0.01)
        await revoke_all(here)
        monkeypatch.setattr(here.backend, "write", write)
        await ended(here, held.id, ChangeState.APPLIED)


@pytest.mark.parametrize("wanted", [False, True])
async def test_a_front_end_s_move_of_a_child_suspends_its_keys_unless_one_of_them_asked_for_it(
    opened: Open, wanted: bool
) -> None:
    async with opened(trust=TrustSettings(foreign_ns="suspend")) as here:
        ns = [{"content": NEW, "disabled": False}]
        moved = {"name": "child.parent.example.", "type": "NS", "changetype": "REPLACE", "ttl": 1, "records": ns}
        assert await patch(here, moved, NO_DS) == HTTPStatus.ACCEPTED
        here.clock.now += 1
        assert_held(await here.ask(remove_ds(here, *replace_ns(CHILD, NEW))))
        (asked,) = await here.store.keys.find(CHILD)
        other = await here.trust(CHILD)
        if not wanted:
            await here.store.keys.set_state(asked.id, KeyState.REVOKED, "operator:ann", "stolen")
        (held,) = await here.store.changes.list(state=ChangeState.HELD)
        await decide(here, held.id, Decision.APPROVED)
        await ended(here, held.id, ChangeState.APPLIED)
        (left,) = [each for each in await here.store.keys.find(CHILD) if each.key == other.key]
        assert (left.state is KeyState.TRUSTED) is wanted


async def test_a_front_end_s_word_is_kept_however_often_the_child_asks_for_the_same(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zonecut.store.ledger.askers.MAX_ASKERS", 2)
    async with opened() as here:
        assert await patch(here, NO_DS) == HTTPStatus.ACCEPTED
        for _ in range(5):
            here.clock.now += 1
            assert_held(await here.ask(remove_ds(here)))
        (held,) = await here.store.changes.list(state=ChangeState.HELD)
        await revoke_all(here)
        await decide(here, held.id, Decision.APPROVED)
        await ended(here, held.id, ChangeState.APPLIED)


async def test_what_the_child_signed_is_newer_after_a_restart_too_where_a_front_end_asked_for_the_same_since(
    opened: Open,
) -> None:
    async with opened() as here:
        signed_at = here.clock.now = here.clock.now + 1000
        assert_held(await here.ask(remove_ds(here)))
        assert await patch(here, NO_DS) == HTTPStatus.ACCEPTED
        accepted = await here.store.changes.accepted(CHILD)
        assert int(signed_at) in [each.inception for each in accepted]
        assert None in [each.inception for each in accepted]


async def revoke_all(here: Site) -> None:
    for stored in await here.store.keys.find(CHILD):
        await here.store.keys.set_state(stored.id, KeyState.REVOKED, "operator:ann", "stolen")


@pytest.mark.parametrize("suspended", [False, True])
async def test_a_held_change_outlives_a_roll_of_its_child_s_keys_and_no_suspension(
    opened: Open, suspended: bool
) -> None:
    async with opened() as here:
        assert_held(await here.ask(remove_ds(here)))
        number = (await newest(here)).id
        here.clock.now += 1
        rolled = await here.ask(here.signed(message.delete_rrset(CHILD, RRType.KEY), key_record(new_pair(CHILD).key)))
        assert rolled.rcode == Rcode.NOERROR
        if suspended:
            await here.store.bootstraps.suspend_child(CHILD, "zonecut", "moved")
            with pytest.raises(InvalidTransition, match="no key that asked for it is trusted"):
                await decide(here, number, Decision.APPROVED)
        else:
            await decide(here, number, Decision.APPROVED)
            await ended(here, number, ChangeState.APPLIED)


async def test_an_address_that_stays_is_told_of_to_who_approves_and_recorded_when_that_is_done(
    opened: Open, tmp_path: Path
) -> None:
    kept = "ns1.child.parent.example. keeps its addresses: other.parent.example. NS names it"
    async with opened() as here:
        zone_file = tmp_path / "parent.zone"
        zone_file.write_text(
            zone_file.read_text().replace("other NS ns.elsewhere.example.", "other NS ns1.child.parent.example.")
        )
        answer = await here.ask(remove_ds(here, *replace_ns(CHILD, NEW)))
        assert_held(answer)
        held = await newest(here)
        assert held.reason is not None
        assert held.reason.endswith(f"; {kept}")
        await decide(here, held.id, Decision.APPROVED)
        await ended(here, held.id, ChangeState.APPLIED)
        await asyncio.sleep(0.05)
        (told,) = await here.store.audit.list(event="change.address-kept")
        assert (told.entry.detail["reason"], told.entry.actor) == (kept, "child.parent.example.")
