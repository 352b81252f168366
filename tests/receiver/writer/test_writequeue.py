"""The write queue: what of that which is being recorded shares a transaction with what waits already."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from receiver_support import ZONE, ns_of
from writer_support import Server, nobody
from zonecut.plugin import Change
from zonecut.protocol import names
from zonecut.protocol.update import DelegationChange
from zonecut.receiver.change.case import Case
from zonecut.receiver.change.policy import Policy, Rules
from zonecut.receiver.writer.write_queue import Pending, WriteQueue

LONG, SHORT = 60.0, 0.05
RULES = Rules.of(ZONE, names.from_text("updater.parent.example."), Policy())


def pending(number: int) -> Pending:
    child = names.from_text(f"child{number}.parent.example.")
    case = Case(DelegationChange(child, (), ()), counts, Server(), lambda: RULES, None, nobody)
    return Pending(number, Change(ns_of(child, "old.example."), ns_of(child, "new.example.")), case)


async def counts() -> None:
    """The word behind a change counts."""


def everything(changes: Sequence[Change]) -> int:
    return len(changes)


async def taken(queue: WriteQueue, patience: float, most: int = 50) -> list[int]:
    async with asyncio.timeout(10):
        return [each.id for each in await queue.take(most, everything, patience)]


async def recorded(queue: WriteQueue, coming: Sequence[ExitStack], first: int) -> None:
    """What is expected comes, one after the other."""
    for place, each in enumerate(coming):
        await asyncio.sleep(0)
        with each:
            queue.put(pending(first + place))


@pytest.fixture
async def queue() -> WriteQueue:
    return WriteQueue()


def recording(queue: WriteQueue, count: int, stack: ExitStack) -> list[ExitStack]:
    """So many changes are being recorded, each until it is closed."""
    found = []
    for _ in range(count):
        each = stack.enter_context(ExitStack())
        each.enter_context(queue.expecting())
        found.append(each)
    return found


async def test_what_waits_alone_is_taken_at_once(queue: WriteQueue) -> None:
    queue.put(pending(1))
    assert await taken(queue, LONG) == [1]


async def test_the_first_of_many_waits_until_no_more_are_being_recorded_than_wait(queue: WriteQueue) -> None:
    with ExitStack() as stack:
        coming = recording(queue, 9, stack)
        queue.put(pending(0))
        batch, _ = await asyncio.gather(taken(queue, LONG), recorded(queue, coming, 1))
    assert batch == [0, 1, 2, 3, 4]


async def test_what_is_being_recorded_is_not_waited_for_longer_than_it_is_worth(queue: WriteQueue) -> None:
    with ExitStack() as stack:
        recording(queue, 9, stack)
        queue.put(pending(0))
        assert await taken(queue, SHORT) == [0]


async def test_what_is_being_recorded_and_fails_is_not_waited_for(queue: WriteQueue) -> None:
    with ExitStack() as stack:
        coming = recording(queue, 9, stack)
        queue.put(pending(0))
        waiting = asyncio.create_task(taken(queue, LONG))
        await asyncio.sleep(0)
        for each in coming[:8]:
            each.close()
        assert await waiting == [0]


async def test_a_full_transaction_waits_for_nothing(queue: WriteQueue) -> None:
    with ExitStack() as stack:
        recording(queue, 100, stack)
        for number in range(12):
            queue.put(pending(number))
        assert await taken(queue, LONG, most=10) == list(range(10))
