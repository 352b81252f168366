"""The writer: what becomes of accepted changes when a server takes them, will not, is away or holds something else."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import NoReturn

import pytest
from structlog.testing import capture_logs

from receiver_support import ZONE, ns_of
from writer_support import Server, nobody
from zonecut.plugin import (
    BackendConflict,
    BackendLater,
    BackendUnavailable,
    Change,
    Reading,
    Withdrawal,
)
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.errors import Refusal
from zonecut.protocol.update import DelegationChange
from zonecut.receiver.change.case import Case, Standing
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.change.neighbours import Weighed
from zonecut.receiver.change.ordering import ChildOrder
from zonecut.receiver.change.policy import Policy, Rules
from zonecut.receiver.change.serials import Serials
from zonecut.receiver.outcome import APPLIED, EndsEarly, Outcome
from zonecut.receiver.writer.batches import HOPELESS
from zonecut.receiver.writer.write_queue import Pending
from zonecut.receiver.writer.writer import MAX_CONFLICTS, Writer
from zonecut.store import ChangeState, NewChange, Store, StoreUnavailable

Look = Callable[[Change], Awaitable[None]]
RULES = Rules.of(ZONE, names.from_text("updater.parent.example."), Policy())


Judge = Callable[[Reading], Awaitable[Delegation]]


async def counts() -> None:
    """The word behind a change counts."""


class Scripted(Case):
    """A request that a test judges."""

    def __init__(self, judge: Judge, standing: Standing = counts, look: Look | None = None) -> None:
        super().__init__(DelegationChange(b"", (), ()), standing, Server(), lambda: RULES, None, nobody)
        self._judge = judge
        self._look = look

    async def weigh_anew(self, reading: Reading, *, is_half: bool = False) -> Weighed:
        return Weighed(Change(reading.delegation, await self._judge(reading)))

    def must_look(self, change: Change, looked_at: Change | None) -> bool:
        return self._look is not None

    async def look(self, change: Change) -> None:
        assert self._look is not None
        await self._look(change)


class Bench:
    """A writer on such a server, with a real ledger."""

    def __init__(self, server: Server, store: Store) -> None:
        self.server = server
        self.store = store
        self.ledger = Ledger(store, ZONE)
        self.noticed: list[Delegation] = []
        serials = Serials(ZONE, server, self.ledger, ChildOrder(self.ledger))
        self.writer = Writer(ZONE, server, self.ledger, self.notice, 50, random.Random(1), serials)

    async def notice(self, child: bytes, reading: Reading, untried: int) -> None:
        self.noticed.append(reading.delegation)

    async def put(
        self,
        number: int,
        judge: Judge | None = None,
        *,
        case: Case | None = None,
        after: Delegation | None = None,
        uncertain: bool = False,
    ) -> "asyncio.Future[Outcome]":
        child = names.from_text(f"child{number}.parent.example.")
        before, wanted = ns_of(child, "old.example."), after or ns_of(child, "new.example.")
        self.server.holds.setdefault(child, before)
        new = NewChange(ZONE, before, wanted, "test", "test", b"", identity=number.to_bytes(32), expires_at=1.0)
        change_id = await self.store.changes.append(new)

        async def accept(reading: Reading) -> Delegation:
            return wanted

        change = Change(before, wanted, b"request %d" % number)
        pending = Pending(change_id, change, case or Scripted(judge or accept), looked_at=change, uncertain=uncertain)
        self.writer.put(pending)
        return pending.settled

    async def states(self) -> list[ChangeState]:
        await self.ledger.close(5)
        return [change.state for change in reversed(await self.store.changes.list())]


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr("zonecut.receiver.writer.waits.BACKOFF", (0.001, 0.01))
    monkeypatch.setattr("zonecut.receiver.writer.writer.LAG", (0.01, 0.02, 0.05, 0.1))
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        bench = Bench(Server(), store)
        running = asyncio.create_task(bench.writer.run())
        yield bench
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await bench.ledger.close(5)


async def outcomes(settled: Sequence["asyncio.Future[Outcome]"]) -> list[Outcome]:
    async with asyncio.timeout(10):
        return list(await asyncio.gather(*settled))


async def test_what_waits_goes_into_one_transaction_as_far_as_it_fits(bench: Bench) -> None:
    settled = [await bench.put(number) for number in range(25)]
    assert await outcomes(settled) == [APPLIED] * 25
    assert sum(bench.server.transactions) == 25
    assert max(bench.server.transactions) <= 10
    assert await bench.states() == [ChangeState.APPLIED] * 25


async def test_where_others_make_the_zone_the_ledger_has_the_number_by_which_a_change_is_written(bench: Bench) -> None:
    class Tables(Server):
        async def history_number(self) -> int:
            if len(self.transactions) > 1:
                raise BackendUnavailable("away") if len(self.transactions) == 2 else ValueError("not understood")
            return 17

        async def progress(self) -> NoReturn:
            pytest.fail("who writes waits for nobody who makes the zone")

    bench.server.__class__ = Tables
    assert await outcomes([await bench.put(1)]) == [APPLIED]
    # and where it is not known, the change is applied all the same
    for number in (2, 3):
        assert await outcomes([await bench.put(number)]) == [APPLIED]
    assert await bench.states() == [ChangeState.APPLIED] * 3
    assert [change.history_number for change in reversed(await bench.store.changes.list())] == [17, None, None]


@pytest.mark.parametrize("names_children", [True, False])
@pytest.mark.parametrize("offenders", [{0}, {3}, {9}, {2, 7}, set(range(10))])
async def test_a_rejected_batch_is_split_until_the_offenders_are_alone(
    bench: Bench, offenders: set[int], names_children: bool
) -> None:
    bench.server.names_children = names_children
    bench.server.poison = {names.from_text(f"child{number}.parent.example.") for number in offenders}
    found = await outcomes([await bench.put(number) for number in range(10)])
    for number, outcome in enumerate(found):
        assert (outcome.rcode == Rcode.SERVFAIL) is (number in offenders)
        assert outcome.reason == ("will not hold that" if number in offenders else "")
    states = await bench.states()
    assert [state is ChangeState.FAILED for state in states] == [number in offenders for number in range(10)]


@pytest.mark.parametrize("names_children", [True, False])
async def test_a_conflict_is_judged_again_and_the_rest_goes_through(bench: Bench, names_children: bool) -> None:
    bench.server.names_children = names_children
    child = names.from_text("child4.parent.example.")
    bench.server.holds[child] = ns_of(child, "by.hand.example.")
    judged: list[Reading] = []

    async def judge(reading: Reading) -> Delegation:
        judged.append(reading)
        return ns_of(child, "by.hand.example.", "new.example.")

    settled = [await bench.put(number, judge if number == 4 else None) for number in range(8)]
    assert await outcomes(settled) == [APPLIED] * 8
    assert [reading.delegation for reading in judged] == bench.noticed == [ns_of(child, "by.hand.example.")]
    assert bench.server.holds[child] == ns_of(child, "by.hand.example.", "new.example.")
    (change,) = await bench.store.changes.list(child=child)
    assert change.after == bench.server.holds[child]


async def test_a_conflict_that_policy_refuses_overwrites_nothing(bench: Bench) -> None:
    child = names.from_text("child1.parent.example.")
    bench.server.holds[child] = by_hand = ns_of(child, "by.hand.example.")

    async def judge(reading: Reading) -> Delegation:
        raise Refusal("ns-count", "too few")

    (outcome,) = await outcomes([await bench.put(1, judge)])
    assert (outcome.rcode, outcome.rule, outcome.reason) == (Rcode.REFUSED, "ns-count", "too few")
    assert bench.server.holds[child] == by_hand
    assert await bench.states() == [ChangeState.FAILED]


async def test_what_the_server_holds_already_counts_as_applied(bench: Bench) -> None:
    child = names.from_text("child1.parent.example.")
    bench.server.holds[child] = ns_of(child, "new.example.")
    assert await outcomes([await bench.put(1)]) == [APPLIED]
    assert bench.server.transactions == []


async def test_a_server_that_is_away_is_tried_until_it_is_back(bench: Bench) -> None:
    bench.server.faults = [BackendUnavailable("away")] * 5
    settled = [await bench.put(number) for number in range(3)]
    assert await outcomes(settled) == [APPLIED] * 3
    assert bench.writer.trouble is None


async def test_a_lost_answer_is_no_reason_to_write_twice(bench: Bench) -> None:
    bench.server.lost_answers = 1
    assert await outcomes([await bench.put(1)]) == [APPLIED]
    assert bench.server.transactions == [1]


async def test_after_a_restart_what_had_been_written_is_not_written_again(bench: Bench) -> None:
    child = names.from_text("child1.parent.example.")
    bench.server.holds[child] = ns_of(child, "new.example.")
    settled = [await bench.put(1, uncertain=True), await bench.put(2, uncertain=True)]
    assert await outcomes(settled) == [APPLIED] * 2
    assert bench.server.transactions == [1]


async def test_noerror_is_no_proof(bench: Bench) -> None:
    bench.server.forgets = {names.from_text("child1.parent.example.")}
    failed, applied = await outcomes([await bench.put(1), await bench.put(2)])
    assert applied == APPLIED
    assert failed.rcode == Rcode.SERVFAIL
    assert failed.reason == (
        "the server took the change and does not hold it: child1.parent.example. NS new.example. is missing"
    )
    assert await bench.states() == [ChangeState.FAILED, ChangeState.APPLIED]


async def test_what_was_lost_once_is_written_again(bench: Bench) -> None:
    child = names.from_text("child1.parent.example.")
    bench.server.forgets = {child}
    bench.server.remembers_after = 1
    assert await outcomes([await bench.put(1)]) == [APPLIED]
    assert bench.server.holds[child] == ns_of(child, "new.example.")


async def test_the_half_of_a_change_that_a_server_took_is_taken_back(bench: Bench) -> None:
    child = names.from_text("child1.parent.example.")
    before, half = ns_of(child, "old.example."), ns_of(child, "one.example.")
    bench.server.keeps_half = {child: half}
    after = ns_of(child, "one.example.", "two.example.")
    (failed,) = await outcomes([await bench.put(1, after=after)])
    assert failed.rcode == Rcode.SERVFAIL
    assert failed.reason.endswith("NS two.example. is missing; what it took of it was taken back")
    assert bench.server.holds[child] == before
    assert await bench.states() == [ChangeState.FAILED]
    # what we left ourselves is nobody's edit
    assert half not in bench.noticed


async def test_somebody_who_edits_right_after_the_write_is_judged_not_undone(bench: Bench) -> None:
    child = names.from_text("child1.parent.example.")
    edited = ns_of(child, "new.example.", "by.hand.example.")
    bench.server.edits = {child: edited}

    async def judge(reading: Reading) -> Delegation:
        return reading.delegation

    assert await outcomes([await bench.put(1, judge)]) == [APPLIED]
    assert bench.server.holds[child] == edited


@pytest.mark.parametrize("is_there", [False, True])
async def test_what_is_there_among_the_edits_of_others_counts_as_applied(bench: Bench, is_there: bool) -> None:
    """However often others came first, and although they never stop."""
    child = names.from_text("child1.parent.example.")
    bench.server.faults = [BackendConflict("another value", [child])] * (MAX_CONFLICTS - is_there)
    edited = ns_of(child, "old.example.", "new.example.", "by.hand.example.")
    bench.server.edits = {child: edited}

    async def judge(reading: Reading) -> Delegation:
        return ns_of(child, "new.example.", *map(names.to_text, reading.delegation.ns))

    (outcome,) = await outcomes([await bench.put(1, judge)])
    assert (outcome == APPLIED) is is_there
    assert bench.server.holds[child] == (edited if is_there else ns_of(child, "old.example."))
    assert await bench.states() == [ChangeState.APPLIED if is_there else ChangeState.FAILED]


@pytest.mark.parametrize("offenders", [{0}, {3, 7}, {0, 1, 2, 3}])
async def test_what_a_server_never_takes_holds_up_nobody(bench: Bench, offenders: set[int]) -> None:
    children = {names.from_text(f"child{number}.parent.example.") for number in offenders}
    bench.server.cannot = set(children)
    settled = [await bench.put(number) for number in range(10)]
    rest = [each for number, each in enumerate(settled) if number not in offenders]
    assert await outcomes(rest) == [APPLIED] * len(rest)
    assert bench.writer.trouble is None
    assert await outcomes([await bench.put(20)]) == [APPLIED]
    told: set[tuple[bytes, str | None]] = set()
    for _ in range(100):
        await asyncio.sleep(0.002)
        told |= {(child, bench.writer.waits_for(child)) for child in children}
    assert told >= {(child, "failed on that") for child in children}
    waiting = await bench.store.changes.unsettled()
    assert {change.child for change in waiting if change.attempts > 2 and change.reason == "failed on that"} == children
    assert not await bench.writer.drain(0.01)
    bench.server.cannot.clear()
    assert await outcomes(settled) == [APPLIED] * 10
    assert await bench.writer.drain(5)


@pytest.mark.parametrize("offenders", [{1}, {1, 2}])
async def test_a_lone_change_that_a_server_fails_on_holds_up_no_other_child(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, offenders: set[int]
) -> None:
    monkeypatch.setattr("zonecut.receiver.writer.waits.BACKOFF", (0.1, 30.0))
    bench.server.cannot = {child_name(number) for number in offenders}
    settled = [await bench.put(number) for number in sorted(offenders)]
    for _ in range(1000):
        if all(change.attempts >= 4 for change in await bench.store.changes.unsettled()):
            break
        await asyncio.sleep(0.01)
    # by now the pause between two attempts is 0.4 s or longer
    for number in (11, 12):
        other = await bench.put(number)
        async with asyncio.timeout(0.3):
            assert await other == APPLIED
    assert bench.writer.trouble is None
    assert [bench.writer.waits_for(child_name(number)) for number in offenders] == ["failed on that"] * len(offenders)
    bench.server.cannot.clear()
    for number in offenders:
        bench.writer.hurry(child_name(number))
    assert await outcomes(settled) == [APPLIED] * len(offenders)


async def test_while_a_server_takes_nothing_its_trouble_is_told_also_where_each_change_comes_alone(
    bench: Bench,
) -> None:
    bench.server.faults = [BackendUnavailable("disk full")] * 10_000
    settled = []
    for number in range(5):
        settled.append(await bench.put(number))
        await asyncio.sleep(0.02)
    assert bench.writer.trouble == "disk full"
    assert sum(bench.writer.waits_for(child_name(number)) is not None for number in range(5)) < HOPELESS
    bench.server.faults.clear()
    assert await outcomes(settled) == [APPLIED] * 5
    assert bench.writer.trouble is None


async def test_a_server_that_takes_nothing_is_not_asked_about_each(bench: Bench) -> None:
    bench.server.faults = [BackendUnavailable("disk full")] * 10_000
    settled = [await bench.put(number) for number in range(10)]
    for _ in range(500):
        if len(bench.server.faults) < 9900:
            break
        await asyncio.sleep(0.01)
    # those that came alone, before the others, are tried alone
    assert sum(bench.writer.waits_for(child_name(number)) is not None for number in range(10)) < HOPELESS
    assert bench.writer.trouble == "disk full"
    bench.server.faults.clear()
    assert await outcomes(settled) == [APPLIED] * 10


async def test_the_ledger_knows_what_an_unsettled_change_waits_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zonecut.receiver.writer.waits.BACKOFF", (30.0, 30.0))
    bench.server.faults = [BackendUnavailable("away")]
    began = time.time()
    await bench.put(1)
    for _ in range(500):
        (change,) = await bench.store.changes.unsettled()
        if change.attempts:
            break
        await asyncio.sleep(0.01)
    assert (change.attempts, change.reason, change.state) == (1, "away", ChangeState.ACCEPTED)
    assert change.next_at is not None
    assert began + 15 <= change.next_at <= time.time() + 30


async def test_a_key_that_is_not_trusted_any_more_changes_nothing_when_it_is_judged_again(bench: Bench) -> None:
    child = names.from_text("child1.parent.example.")
    bench.server.holds[child] = by_hand = ns_of(child, "by.hand.example.")

    async def judge(reading: Reading) -> Delegation:
        # what a reading means for a child's keys is noticed before it is judged
        assert bench.noticed == [by_hand]
        raise Refusal("key-trusted", "suspended")

    (outcome,) = await outcomes([await bench.put(1, judge)])
    assert (outcome.rcode, outcome.rule) == (Rcode.REFUSED, "key-trusted")
    assert bench.server.holds[child] == by_hand


async def test_a_defect_of_an_adapter_loses_nothing(bench: Bench) -> None:
    bench.server.faults = [ZeroDivisionError("a defect")]
    settled = [await bench.put(number) for number in range(3)]
    assert await outcomes(settled) == [APPLIED] * 3


async def test_a_defect_at_one_child_holds_up_nobody_else(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    offender, write = names.from_text("child2.parent.example."), bench.server.write

    async def falls(changes: Sequence[Change]) -> None:
        if any(change.child == offender for change in changes):
            raise KeyError("a defect")
        await write(changes)

    monkeypatch.setattr(bench.server, "write", falls)
    with capture_logs() as logs:
        settled = [await bench.put(number) for number in range(5)]
        assert await outcomes([each for number, each in enumerate(settled) if number != 2]) == [APPLIED] * 4
        await asyncio.sleep(0.2)
    assert not settled[2].done()
    # it is tried every few milliseconds, and told ever more seldom
    assert 1 <= len([entry for entry in logs if entry["event"] == "writer.defect"]) <= 12
    monkeypatch.setattr(bench.server, "write", write)
    assert await outcomes([settled[2]]) == [APPLIED]


async def test_a_writer_is_drained_when_all_is_settled_and_not_before(bench: Bench) -> None:
    assert await bench.writer.drain(0.01)
    bench.server.is_away = True
    settled = await bench.put(1)
    assert not await bench.writer.drain(0.05)
    bench.server.is_away = False
    assert await bench.writer.drain(5)
    assert settled.done()


async def test_a_failure_is_recorded_before_its_sender_can_try_again(bench: Bench) -> None:
    child = names.from_text("child1.parent.example.")
    bench.server.poison = {child}
    (failed,) = await outcomes([await bench.put(1)])
    assert failed.rcode
    # the same signed data again: it would be taken for a repetition of what was accepted
    (again,) = await outcomes([await bench.put(1)])
    assert again.rcode
    assert await bench.states() == [ChangeState.FAILED, ChangeState.FAILED]


async def test_a_change_that_somebody_else_has_settled_keeps_no_other_from_being_settled(bench: Bench) -> None:
    bench.server.gate.clear()
    settled = [await bench.put(number) for number in range(3)]
    await bench.store.changes.settle(2, ChangeState.APPLIED)
    bench.server.gate.set()
    await outcomes(settled)
    assert await bench.states() == [ChangeState.APPLIED] * 3


def child_name(number: int) -> bytes:
    return names.from_text(f"child{number}.parent.example.")


async def test_what_the_server_has_yet_to_decide_waits_and_the_others_go_on(bench: Bench) -> None:
    bench.server.undecided = {child_name(1)}
    settled = [await bench.put(number) for number in range(3)]
    assert await outcomes([settled[0], settled[2]]) == [APPLIED] * 2
    assert not settled[1].done()
    assert bench.writer.waits_for(child_name(1)) == "is being looked at"
    assert (bench.writer.waits_for(child_name(0)), bench.writer.trouble) == (None, None)
    assert not await bench.writer.drain(5)
    bench.server.undecided.clear()
    assert await outcomes([settled[1]]) == [APPLIED]
    assert bench.writer.waits_for(child_name(1)) is None
    assert sum(bench.server.transactions) == 3
    assert await bench.writer.drain(5)


async def test_the_ledger_says_what_a_change_waits_for(bench: Bench) -> None:
    bench.server.undecided = {child_name(1)}
    await bench.put(1)
    await asyncio.sleep(0.1)
    await bench.ledger.close(5)
    (waiting,) = await bench.store.changes.unsettled()
    assert (waiting.child, waiting.reason) == (child_name(1), "is being looked at")


async def test_all_of_a_transaction_wait_where_the_server_names_nobody(bench: Bench) -> None:
    bench.server.faults = [BackendLater("tomorrow", again_in=0.05), BackendLater("tomorrow", again_in=0.05)]
    settled = [await bench.put(number) for number in range(3)]
    assert await outcomes(settled) == [APPLIED] * 3
    assert sum(bench.server.transactions) == 3


async def test_what_was_decided_meanwhile_is_not_written_again(bench: Bench) -> None:
    bench.server.faults = [BackendLater("is being looked at", again_in=0.05)]
    settled = await bench.put(1)
    await asyncio.sleep(0.01)
    bench.server.holds[child_name(1)] = ns_of(child_name(1), "new.example.")
    assert await outcomes([settled]) == [APPLIED]
    assert bench.server.transactions == []


async def test_what_is_decided_against_in_the_end_fails_with_the_reason(bench: Bench) -> None:
    bench.server.undecided = bench.server.poison = {child_name(1)}
    bench.server.faults = [BackendLater("is being looked at", again_in=0.02)]
    (outcome,) = await outcomes([await bench.put(1)])
    assert (outcome.rule, outcome.reason) == ("backend-rejected", "will not hold that")
    assert await bench.states() == [ChangeState.FAILED]


async def test_offenders_that_a_server_names_are_not_searched_for(bench: Bench) -> None:
    bench.server.poison = {child_name(number) for number in (3, 5)}
    bench.server.gate.clear()
    settled = [await bench.put(number) for number in range(10)]
    bench.server.gate.set()
    found = await outcomes(settled)
    assert [number for number, outcome in enumerate(found) if outcome != APPLIED] == [3, 5]
    # the first alone, as it came; the others; those without the offenders; the offenders
    assert bench.server.requests == 5


async def test_a_change_keeps_the_identity_of_its_request_when_it_is_judged_again(bench: Bench) -> None:
    seen: list[bytes] = []

    async def write(changes: Sequence[Change]) -> None:
        seen.extend(change.identity for change in changes)
        await Server.write(bench.server, changes)

    bench.server.write = write  # type: ignore[method-assign]
    bench.server.holds[child_name(1)] = ns_of(child_name(1), "by.hand.example.")
    assert await outcomes([await bench.put(1)]) == [APPLIED]
    assert set(seen) == {b"request 1"}
    assert len(seen) == 2


async def test_a_writer_that_falls_leaves_what_it_had_in_hand_to_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        bench = Bench(Server(), store)
        failed = bench.writer._failed

        async def falls(*_: object) -> None:
            raise KeyError("a defect of the writer itself")

        monkeypatch.setattr(bench.writer, "_failed", falls)
        bench.server.undecided = {names.from_text("child3.parent.example.")}
        first = asyncio.create_task(bench.writer.run())
        aside = await bench.put(3)
        await asyncio.sleep(0.02)
        # written, and the answer is lost
        bench.server.lost_answers = 1
        settled = [await bench.put(number) for number in range(3)]
        async with asyncio.timeout(5):
            await asyncio.wait([first])
        assert isinstance(first.exception(), KeyError)
        monkeypatch.setattr(bench.writer, "_failed", failed)
        bench.server.undecided = set()
        written = sum(bench.server.transactions)
        second = asyncio.create_task(bench.writer.run())
        # what the server holds already is not written again, and what stood aside comes back
        assert await outcomes([*settled, aside]) == [APPLIED] * 4
        assert sum(bench.server.transactions) <= written + 3
        assert await bench.states() == [ChangeState.APPLIED] * 4
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)


# What is checked is what is written


def edited(bench: Bench, number: int, *servers: str) -> bytes:
    """Somebody changes a child's delegation by hand; the child."""
    child = names.from_text(f"child{number}.parent.example.")
    bench.server.holds[child] = ns_of(child, *servers)
    return child


async def test_what_is_judged_again_is_checked_before_it_is_written_and_holds_up_nobody(bench: Bench) -> None:
    gate, looked = asyncio.Event(), list[Change]()
    child = edited(bench, 1, "lame.example.")
    both = ns_of(child, "lame.example.", "new.example.")

    async def judge(reading: Reading) -> Delegation:
        return both

    async def look(change: Change) -> None:
        looked.append(change)
        await gate.wait()

    settled = await bench.put(1, case=Scripted(judge, look=look))
    assert await outcomes([await bench.put(number) for number in (2, 3)]) == [APPLIED] * 2
    assert [(change.before, change.after) for change in looked] == [(ns_of(child, "lame.example."), both)]
    assert bench.server.holds[child] == ns_of(child, "lame.example.")
    assert bench.writer.waits_for(child) is not None
    gate.set()
    assert await outcomes([settled]) == [APPLIED]
    assert bench.server.holds[child] == both
    (stored,) = await bench.store.changes.list(child=child)
    assert (stored.before, stored.after) == (ns_of(child, "lame.example."), both)


async def test_what_does_not_pass_when_it_is_judged_again_fails_and_overwrites_nothing(bench: Bench) -> None:
    child = edited(bench, 1, "lame.example.")

    async def judge(reading: Reading) -> Delegation:
        return ns_of(child, "lame.example.", "new.example.")

    async def look(change: Change) -> None:
        raise Refusal("ns-consistency", "lame.example. does not answer for it")

    (outcome,) = await outcomes([await bench.put(1, case=Scripted(judge, look=look))])
    assert (outcome.rcode, outcome.rule) == (Rcode.REFUSED, "ns-consistency")
    assert bench.server.holds[child] == ns_of(child, "lame.example.")
    assert await bench.states() == [ChangeState.FAILED]


async def test_what_shows_nothing_is_looked_at_again_and_fails_in_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zonecut.receiver.writer.writer.LOOK_AGAIN", 0.001)
    child = edited(bench, 1, "other.example.")
    silence = Outcome.unavailable("ns-consistency", "nobody answers")
    looks = 0

    async def judge(reading: Reading) -> Delegation:
        return ns_of(child, "other.example.", "new.example.")

    async def look(change: Change) -> None:
        nonlocal looks
        looks += 1
        if looks < answers_at:
            raise EndsEarly(silence)

    answers_at = 3
    assert await outcomes([await bench.put(1, case=Scripted(judge, look=look))]) == [APPLIED]
    looks, answers_at = 0, 1_000
    edited(bench, 2, "other.example.")
    assert await outcomes([await bench.put(2, case=Scripted(judge, look=look))]) == [silence]
    assert looks == MAX_CONFLICTS - 1


async def test_a_defect_in_a_check_fails_its_change_and_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zonecut.receiver.writer.writer.LOOK_AGAIN", 0.001)
    child = edited(bench, 1, "other.example.")

    async def judge(reading: Reading) -> Delegation:
        return ns_of(child, "new.example.")

    async def look(change: Change) -> None:
        raise ZeroDivisionError

    settled = [await bench.put(1, case=Scripted(judge, look=look)), await bench.put(2)]
    assert [outcome.rule for outcome in await outcomes(settled)] == ["internal", ""]
    assert bench.server.holds[child] == ns_of(child, "other.example.")


# The word behind a change that waits


async def untrusted() -> None:
    raise Refusal("key-trusted", "key 4711 is revoked by now (stolen)")


@pytest.mark.parametrize("uncertain", [False, True])
async def test_a_change_that_waited_is_not_written_once_its_key_is_revoked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, uncertain: bool
) -> None:
    monkeypatch.setattr("zonecut.receiver.writer.standing.SETTLED_IN", 0.0)
    accept = ns_of(names.from_text("child1.parent.example."), "new.example.")

    async def judge(reading: Reading) -> Delegation:
        return accept

    settled = [await bench.put(1, case=Scripted(judge, untrusted), uncertain=uncertain), await bench.put(2)]
    revoked, other = await outcomes(settled)
    assert (revoked.rcode, revoked.reason) == (Rcode.REFUSED, "key 4711 is revoked by now (stolen)")
    assert other == APPLIED
    child = names.from_text("child1.parent.example.")
    assert bench.server.holds[child] == ns_of(child, "old.example.")
    assert await bench.states() == [ChangeState.FAILED, ChangeState.APPLIED]


async def test_what_a_server_may_yet_carry_out_is_told_when_its_key_is_revoked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zonecut.receiver.writer.standing.SETTLED_IN", 0.0)
    bench.server.undecided = {child_name(1)}
    standing = [counts, untrusted]

    async def judge(reading: Reading) -> Delegation:
        return reading.delegation

    async def check() -> None:
        await (standing.pop(0) if len(standing) > 1 else standing[0])()

    (outcome,) = await outcomes([await bench.put(1, case=Scripted(judge, check))])
    assert outcome.reason.endswith("; the server was asked for it before, has yet to decide, and may carry it out")
    await bench.ledger.close(5)
    (told,) = await bench.store.audit.list(child=child_name(1), event="change.may-follow", limit=2)
    assert told.entry.detail["change"] == 1


def ends_after(looks: int) -> Standing:
    """The word behind a change counts for so many looks."""
    left = [looks]

    async def check() -> None:
        left[0] -= 1
        if left[0] < 0:
            await untrusted()

    return check


async def as_it_is(reading: Reading) -> Delegation:
    return reading.delegation


async def test_a_server_that_has_yet_to_decide_is_told_to_forget_a_change_whose_key_is_revoked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zonecut.receiver.writer.standing.SETTLED_IN", 0.0)
    bench.server.undecided = {child_name(1)}
    bench.server.withdrawals = [Withdrawal.DROPPED]
    (outcome,) = await outcomes([await bench.put(1, case=Scripted(as_it_is, ends_after(1)))])
    assert outcome.reason == (
        "key 4711 is revoked by now (stolen); the server had yet to decide, and was told to forget it"
    )
    assert [change.identity for change in bench.server.forgotten] == [b"request 1"]
    assert await bench.states() == [ChangeState.FAILED]
    (told,) = await bench.store.audit.list(child=child_name(1), event="change.withdrawn", limit=2)
    assert told.entry.detail == {"change": 1, "answer": "dropped"}
    assert await bench.store.audit.list(child=child_name(1), event="change.may-follow") == []


async def test_a_change_has_not_ended_before_the_server_could_be_told_to_forget_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zonecut.receiver.writer.standing.SETTLED_IN", 0.0)
    bench.server.undecided = {child_name(1)}
    bench.server.withdrawals = [BackendUnavailable("no route to it")] * 1000
    with capture_logs() as logs:
        settled = await bench.put(1, case=Scripted(as_it_is, ends_after(1)))
        for _ in range(500):
            if "could not be told" in (bench.writer.waits_for(child_name(1)) or ""):
                break
            await asyncio.sleep(0.01)
        assert bench.writer.waits_for(child_name(1)) == (
            "key 4711 is revoked by now (stolen); the server could not be told to forget it: no route to it"
        )
        # nobody else waits with it
        assert await outcomes([await bench.put(2)]) == [APPLIED]
        assert not settled.done()
    assert any(entry["event"] == "change.withdrawal-delayed" for entry in logs)
    bench.server.withdrawals = [Withdrawal.DROPPED]
    (outcome,) = await outcomes([settled])
    assert outcome.rcode == Rcode.REFUSED
    assert bench.server.holds[child_name(1)] == ns_of(child_name(1), "old.example.")


async def test_what_the_server_carried_out_before_it_could_be_told_is_applied(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zonecut.receiver.writer.standing.SETTLED_IN", 0.0)
    bench.server.undecided = {child_name(1)}
    bench.server.withdrawals = [Withdrawal.CARRIED_OUT]
    assert await outcomes([await bench.put(1, case=Scripted(as_it_is, ends_after(1)))]) == [APPLIED]
    assert await bench.states() == [ChangeState.APPLIED]


@pytest.mark.parametrize("answer", [Withdrawal.DROPPED, Withdrawal.UNKNOWN])
async def test_after_a_restart_a_server_is_told_to_forget_what_a_process_before_may_have_asked_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, answer: Withdrawal
) -> None:
    monkeypatch.setattr("zonecut.receiver.writer.standing.SETTLED_IN", 0.0)
    bench.server.withdrawals = [answer]
    case = Scripted(as_it_is, ends_after(0))
    (outcome,) = await outcomes([await bench.put(1, case=case, uncertain=True)])
    assert outcome.rcode == Rcode.REFUSED
    assert [change.identity for change in bench.server.forgotten] == [b"request 1"]
    await bench.ledger.close(5)
    follows = await bench.store.audit.list(child=child_name(1), event="change.may-follow")
    assert bool(follows) is (answer is Withdrawal.UNKNOWN)


async def test_what_is_refused_when_it_is_judged_again_is_not_carried_out_later(bench: Bench) -> None:
    bench.server.undecided = {child_name(1)}
    bench.server.withdrawals = [Withdrawal.DROPPED]

    async def judge(reading: Reading) -> Delegation:
        raise Refusal("ns-count", "too few")

    settled = await bench.put(1, judge)
    for _ in range(500):
        if bench.writer.waits_for(child_name(1)):
            break
        await asyncio.sleep(0.005)
    bench.server.holds[child_name(1)] = ns_of(child_name(1), "by.hand.example.")
    (outcome,) = await outcomes([settled])
    assert outcome.rule == "ns-count"
    assert [change.before.ns for change in bench.server.forgotten] == [ns_of(child_name(1), "old.example.").ns]


@pytest.mark.parametrize("by_hand", ["new.example.", "another.example."])
async def test_nothing_of_a_change_that_is_applied_is_left_for_the_server_to_carry_out(
    bench: Bench, by_hand: str
) -> None:
    """Put there by somebody else, or by another ask: carried out late, the first one would undo its child's next."""
    child = child_name(1)
    bench.server.undecided = {child}
    bench.server.withdrawals = [Withdrawal.DROPPED]
    settled = await bench.put(1)
    for _ in range(500):
        if bench.writer.waits_for(child):
            break
        await asyncio.sleep(0.005)
    bench.server.undecided = set()
    bench.server.holds[child] = ns_of(child, by_hand)
    assert await outcomes([settled]) == [APPLIED]
    assert bench.server.holds[child] == ns_of(child, "new.example.")
    assert [change.before.ns for change in bench.server.forgotten] == [ns_of(child, "old.example.").ns]


async def test_what_a_server_has_already_is_applied_although_the_key_was_revoked_since(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zonecut.receiver.writer.standing.SETTLED_IN", 0.0)
    child = edited(bench, 1, "new.example.")
    wanted = ns_of(child, "new.example.")

    async def judge(reading: Reading) -> Delegation:
        return wanted

    assert await outcomes([await bench.put(1, case=Scripted(judge, untrusted), uncertain=True)]) == [APPLIED]


async def test_half_of_a_change_whose_key_was_revoked_is_taken_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zonecut.receiver.writer.standing.SETTLED_IN", 0.0)
    child = names.from_text("child1.parent.example.")
    wanted = ns_of(child, "new.example.", "second.example.")
    edited(bench, 1, "old.example.")
    standing = [counts, counts, untrusted]

    async def judge(reading: Reading) -> Delegation:
        return wanted

    async def check() -> None:
        # it is written by half at first, and then its key is revoked
        await (standing.pop(0) if len(standing) > 1 else standing[0])()

    bench.server.keeps_half[child] = ns_of(child, "new.example.")
    bench.server.faults = []
    case = Scripted(judge, check)
    (outcome,) = await outcomes([await bench.put(1, case=case, after=wanted)])
    assert outcome.rcode
    assert bench.server.holds[child] == ns_of(child, "old.example.")


async def test_while_it_is_not_known_whether_a_key_counts_its_change_waits_and_others_go_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zonecut.receiver.writer.standing.SETTLED_IN", 0.0)
    child = names.from_text("child1.parent.example.")
    store_works = False

    async def judge(reading: Reading) -> Delegation:
        return ns_of(child, "new.example.")

    async def check() -> None:
        if not store_works:
            raise StoreUnavailable("it is locked")

    waits, other = await bench.put(1, case=Scripted(judge, check)), await bench.put(2)
    assert await outcomes([other]) == [APPLIED]
    assert bench.server.holds[child] == ns_of(child, "old.example.")
    store_works = True
    assert await outcomes([waits]) == [APPLIED]
