"""So many messages an hour go to a receiver and no more, whatever the zone, its NOTIFYs, the receiver and the store do;
and what the zone says at last is sent all the same.
"""

from collections.abc import Callable
from itertools import cycle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_simulation import HOUR, NEW, Life, Said, Simulation, living
from agent_support import CHILD
from zonecut.agent.exchange.result import Result
from zonecut.agent.keys.child_keys import OwnKey
from zonecut.agent.pace.allowance import MESSAGES, STEP
from zonecut.agent.state import Phase
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol import names
from zonecut.protocol.codepoints import ReceiverState
from zonecut.store import StoreConflict, StoreError, StoreUnavailable

DAY = 24 * HOUR
AN_HOUR = MESSAGES.most + int(HOUR / MESSAGES.every) + STEP
"""The most messages within an hour."""
OTHER = names.from_text("ns3.other.example.")
FULL = StoreUnavailable("the disk is full")
TAKEN = StoreConflict("the state was changed by another process")


def refusing(kind: str, _: OwnKey) -> Said:
    return Said(word=ReceiverState.TRUSTED) if kind == "inquiry" else Said(Result.REFUSED)


def trusting(kind: str, _: OwnKey) -> Said:
    return Said(word=ReceiverState.TRUSTED)


def limiting(kind: str, _: OwnKey) -> Said:
    return Said(Result.RATE_LIMITED)


def in_turn(*answers: bool) -> Callable[[], bool]:
    turns = cycle(answers)
    return lambda: next(turns)


def flapping(life: Life, every: float) -> Callable[[], None]:
    """The zone's name servers change to and fro."""

    def look() -> None:
        ns = (NEW, OTHER)[int(life.time / every) % 2]
        life.content = ZoneContent(CHILD, int(life.time), (ns,))

    return look


# The store


@pytest.mark.parametrize(("manner", "phase"), [(refusing, Phase.OUT_OF_SYNC), (trusting, Phase.IN_SYNC)])
@pytest.mark.parametrize("error", [FULL, TAKEN])
async def test_who_cannot_keep_what_comes_of_it_sends_nothing(
    manner: Callable[[str, OwnKey], Said], phase: Phase, error: StoreError
) -> None:
    async with living(manner, lambda: phase is Phase.IN_SYNC, phase=phase) as simulation:
        simulation.life.cannot_keep = lambda: error
        await simulation.serve(4 * HOUR, notify_every=600)
        assert simulation.life.count() == 0


async def test_a_store_that_cannot_be_written_is_tried_ever_more_seldom_and_nothing_else_is_asked_before() -> None:
    async with living(refusing) as simulation:
        life, tries = simulation.life, []

        def full() -> StoreError:
            tries.append(life.time)
            return FULL

        life.cannot_keep = full
        await simulation.serve(HOUR, notify_every=1)
        assert len(tries) <= 90
        assert life.reads <= 5
        assert simulation.agent.trouble == "the disk is full"


async def test_when_the_store_can_be_written_again_the_change_of_meanwhile_is_sent_within_two_minutes() -> None:
    async with living(trusting, lambda: simulation.life.content.ns == (NEW,), phase=Phase.IN_SYNC) as simulation:
        life = simulation.life
        await simulation.serve(HOUR)
        life.cannot_keep = lambda: FULL
        life.content = ZoneContent(CHILD, 2, (OTHER,))
        await simulation.serve(2 * HOUR, notify_every=HOUR)
        assert life.count("update") == 0
        assert simulation.agent.trouble is not None
        life.cannot_keep = lambda: None
        await simulation.serve(120)
        assert life.count("update") == 1
        assert simulation.agent.trouble is None


async def test_an_outcome_that_is_lost_each_time_costs_a_bounded_number_of_messages() -> None:
    """The write before a message works, the one after it does not."""
    async with living(refusing) as simulation:
        fails = in_turn(False, True)
        simulation.life.cannot_keep = lambda: FULL if fails() else None
        await simulation.serve(DAY, notify_every=60)
        assert simulation.life.most_in_an_hour() <= AN_HOUR


async def test_who_dies_after_each_message_does_not_begin_again_at_once() -> None:
    async with living(refusing) as simulation:
        life = simulation.life

        class Died(BaseException):
            pass

        def dying(kind: str, _: OwnKey) -> Said:
            raise Died

        life.manner = dying
        end = life.time + HOUR
        while life.time < end:
            try:
                await simulation.serve(end - life.time)
            except Died:
                simulation.restart()
                life.time += 1
        assert life.count() <= AN_HOUR


# The zone


async def test_a_zone_that_can_be_read_now_and_then_has_not_changed_and_is_held_at_last() -> None:
    async with living(refusing) as simulation:
        simulation.life.cannot_read = in_turn(True, False, False)
        state = await simulation.serve(DAY)
        assert state.phase is Phase.HELD
        assert simulation.life.count() - simulation.life.count(since=1_000_000 + 20 * HOUR) > 0
        assert simulation.life.count(since=1_000_000 + 20 * HOUR) < 20


async def test_a_zone_that_can_be_read_again_is_in_sync_at_the_next_look() -> None:
    async with living(trusting, lambda: True, phase=Phase.IN_SYNC) as simulation:
        await simulation.serve(HOUR)
        simulation.life.cannot_read = lambda: True
        state = await simulation.serve(8 * HOUR)
        assert state.attempts > 0
        simulation.life.cannot_read = lambda: False
        state = await simulation.serve(10)
        assert (state.phase, state.attempts) == (Phase.IN_SYNC, 0)


@pytest.mark.parametrize("manner", [refusing, limiting, trusting])
async def test_a_zone_that_changes_all_the_time_and_says_so_costs_a_bounded_number_of_messages(
    manner: Callable[[str, OwnKey], Said],
) -> None:
    async with living(manner) as simulation:
        await simulation.serve(3 * HOUR, notify_every=1, look=flapping(simulation.life, 1.0))
        assert simulation.life.most_in_an_hour() <= AN_HOUR


@pytest.mark.parametrize("manner", [refusing, limiting])
async def test_an_honest_change_after_a_quiet_time_goes_at_once(manner: Callable[[str, OwnKey], Said]) -> None:
    async with living(manner) as simulation:
        life = simulation.life
        await simulation.serve(HOUR, notify_every=1, look=flapping(life, 1.0))
        await simulation.serve(DAY)
        life.content = ZoneContent(CHILD, 2**20, (names.from_text("ns4.other.example."),))
        simulation.agent.changed()
        began = life.time
        await simulation.serve(10)
        assert life.count("update", since=began) >= 1


async def test_a_change_among_very_many_is_not_said_to_be_in_sync() -> None:
    async with living(trusting, lambda: True, phase=Phase.IN_SYNC) as simulation:
        life = simulation.life
        await simulation.serve(HOUR, notify_every=1, look=flapping(life, 1.0))
        state = await simulation.state()
        assert state.attempts > 0
        assert "very often within the last hour" in state.reason


# Whatever happens


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(sorted(Result)), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=1, max_size=5).filter(lambda fails: not all(fails)),
    st.lists(st.sampled_from([None, None, FULL, TAKEN]), min_size=1, max_size=6),
    st.sampled_from([0.7, 5.0, 400.0, DAY]),
    st.sampled_from([None, 1.0, 60.0]),
    st.sampled_from([Phase.TRUSTED, Phase.IN_SYNC, Phase.OUT_OF_SYNC]),
    st.floats(0, 1),
)
async def test_whatever_fails_and_flaps_messages_are_bounded_and_nobody_is_deaf_afterwards(
    updates: list[Result],
    reads: list[bool],
    writes: list[StoreError | None],
    flaps: float,
    notify_every: float | None,
    phase: Phase,
    chance: float,
) -> None:
    """For three hours everything goes wrong, at any step; then a change is made, and everything works."""
    answers, fails, keeps = cycle(updates), cycle(reads), cycle(writes)

    def manner(kind: str, _: OwnKey) -> Said:
        return Said(word=ReceiverState.TRUSTED) if kind == "inquiry" else Said(next(answers))

    async with living(manner, phase=phase, chance=chance) as simulation:
        life = simulation.life
        life.cannot_read, life.cannot_keep = lambda: next(fails), lambda: next(keeps)
        await simulation.serve(3 * HOUR, notify_every=notify_every, look=flapping(life, flaps))
        assert life.most_in_an_hour() <= AN_HOUR
        await _comes_through(simulation)


async def _comes_through(simulation: Simulation) -> None:
    life, began = simulation.life, simulation.life.time
    life.cannot_read, life.cannot_keep, life.manner = lambda: False, lambda: None, trusting
    life.content = ZoneContent(CHILD, 2**20, (names.from_text("ns4.other.example."),))
    simulation.agent.changed()
    # what was in vain for hours is asked about and sent again after the longest pause, each
    await simulation.serve(2 * life.settings.retry_longest)
    assert life.count("update", since=began) >= 1
