"""One receiver, or server, that drops packets makes no zones deaf but its own (PROTOCOL section 9, "Timeout")."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any, cast

import pytest

from agent_simulation import Said, Simulation, living
from zonecut.agent import context
from zonecut.agent.context import AgentContext
from zonecut.agent.keys.child_keys import OwnKey
from zonecut.agent.pace.backoff import TALKS, Courtesy, Crowded
from zonecut.agent.pace.slots import Slot, Slots
from zonecut.agent.state import Phase
from zonecut.protocol.codepoints import ReceiverState

SHORT = 0.05
"""Seconds after which a receiver counts as silent here."""


class Silence:
    """A conversation in which nobody answers; counts how many are under way."""

    under_way = 0
    most = 0

    def __init__(self, *_: object, **__: object) -> None:
        return

    async def inquire(self) -> Any:
        Silence.under_way += 1
        Silence.most = max(Silence.most, Silence.under_way)
        try:
            await asyncio.Event().wait()
        finally:
            Silence.under_way -= 1

    update = inquire


@pytest.fixture(autouse=True)
def _silent(monkeypatch: pytest.MonkeyPatch) -> None:
    Silence.under_way = Silence.most = 0
    monkeypatch.setattr(context, "UpdateClient", Silence)


def trusts(_: str, __: OwnKey) -> Said:
    return Said(word=ReceiverState.TRUSTED)


@asynccontextmanager
async def beside(count: int, slots: Slots, spoil: Callable[[Simulation], None]) -> AsyncIterator[Simulation]:
    """The agent of a zone beside so many others, each spoilt in the same way and at work; it has a slot of the same."""
    async with living(trusts, lambda: True, phase=Phase.IN_SYNC) as healthy:
        others = [Simulation(healthy.life) for _ in range(count)]
        for other in others:
            await other.put(Phase.IN_SYNC, uploaded=True, synced_at=healthy.life.time, checked_at=healthy.life.time)
            spoil(other)
        for each in (healthy, *others):
            each.agent._slot._slots = slots
        tasks = [asyncio.create_task(other.agent.run()) for other in others]
        await asyncio.sleep(SHORT)
        yield healthy
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def reads(simulation: Simulation) -> bool:
    """Whether a NOTIFY has its zone read soon."""
    read = asyncio.Event()
    source = cast(Any, simulation.agent.place.source)

    async def mark() -> object:
        read.set()
        return await source.content()

    source.mark = mark
    simulation.agent.changed()
    task = asyncio.create_task(simulation.agent.turn())
    try:
        async with asyncio.timeout(20 * SHORT):
            await read.wait()
    except TimeoutError:
        return False
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return True


@pytest.mark.parametrize("count", [8, 40])
async def test_zones_of_a_silent_receiver_hold_no_slot_that_another_zone_needs(count: int) -> None:
    courtesy = Courtesy(SHORT, 60.0, lambda: 0.5)

    def spoil(simulation: Simulation) -> None:
        place = simulation.agent.place
        place.courtesy, place.monotonic = courtesy, time.monotonic
        cast(Any, place).say = AgentContext.say.__get__(place)

    async with beside(count, Slots(8), spoil) as healthy:
        assert Silence.under_way == 8
        assert await reads(healthy)
    # a receiver is not talked to by all of its zones at once either
    assert Silence.most <= TALKS + 6


async def test_zones_whose_server_is_silent_hold_their_slots_for_a_while_only() -> None:
    async def hang() -> Any:
        await asyncio.Event().wait()

    def spoil(simulation: Simulation) -> None:
        cast(Any, simulation.agent.place.source).mark = hang

    async with beside(8, Slots(8, longest=5 * SHORT), spoil) as healthy:
        assert await reads(healthy)


async def test_zones_in_trouble_hold_half_of_the_slots_at_most() -> None:
    slots, held = Slots(4), 0

    async def hold(*, is_troubled: bool) -> None:
        nonlocal held
        async with Slot(slots).held(is_troubled=is_troubled):
            held += 1
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(hold(is_troubled=True)) for _ in range(8)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert held == 2
    tasks += [asyncio.create_task(hold(is_troubled=False)) for _ in range(8)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert held == 4
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_whoever_was_aside_waits_for_a_slot_again_and_gives_it_back_once() -> None:
    slots = Slots(1)
    one, two = Slot(slots), Slot(slots)
    async with one.held(is_troubled=False):
        async with one.aside(), two.held(is_troubled=False):
            pass
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT), two.held(is_troubled=False):
                pass
        with pytest.raises(KeyError):
            async with one.aside():
                raise KeyError
    async with two.held(is_troubled=True):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT), one.held(is_troubled=False):
                pass


async def test_a_slot_that_was_held_for_long_is_given_up() -> None:
    slots = Slots(1, longest=SHORT)
    one, two = Slot(slots), Slot(slots)
    async with one.held(is_troubled=False), two.held(is_troubled=False):
        pass


async def test_a_receiver_that_keeps_somebody_waiting_is_tried_ever_more_seldom() -> None:
    courtesy = Courtesy(5.0, 60.0, lambda: 0.0)
    tries = []
    with ExitStack() as under_way:
        under_way.enter_context(courtesy.talking("a", 0.0))
        now = 0.0
        while now < 100:
            now += courtesy.delay("a", now) or 0.5
            if now >= 5 and courtesy.delay("a", now) == 0:
                tries.append(now)
                under_way.enter_context(courtesy.talking("a", now))
        assert tries == [5, 10, 20, 40, 80, 140]
        assert courtesy.delay("a", 140.0) == 60
        assert courtesy.delay("b", 140.0) == 0
        courtesy.answered("a")
        assert courtesy.delay("a", 140.0) == 0


async def test_who_does_not_get_to_a_receiver_that_many_talk_to_comes_again() -> None:
    courtesy = Courtesy(SHORT, 60.0, lambda: 0.5)
    inside, release = 0, asyncio.Event()

    async def talk() -> None:
        nonlocal inside
        async with courtesy.admitted("a"):
            inside += 1
            await release.wait()

    tasks = [asyncio.create_task(talk()) for _ in range(TALKS)]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(talk()))
    await asyncio.sleep(0)
    assert inside == TALKS
    async with courtesy.admitted("b"):
        pass
    # those that are kept waiting are in nobody's way after a while
    await asyncio.wait(tasks[TALKS:], timeout=4 * SHORT)
    release.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(each is None or isinstance(each, Crowded) for each in done)
    async with courtesy.admitted("a"):
        assert inside >= TALKS
    assert not courtesy._doors
