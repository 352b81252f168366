"""An agent does not go round in circles: whatever a receiver answers, in whatever order, it is talked to ever more
seldom while nothing comes of it, and every step leaves the next one in the future (PROTOCOL: what the agent may sign).
"""

from collections.abc import Sequence
from itertools import chain, cycle, product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_simulation import HOUR, Manner, Said, living
from zonecut.agent.exchange.result import Result
from zonecut.agent.keys.child_keys import OwnKey
from zonecut.agent.state import Phase, Roll, Stage
from zonecut.protocol.codepoints import ReceiverState

DAY = 24 * HOUR
FIRST_HOUR, ANY_LATER_HOUR = 60, 16
"""The most messages to the receiver within an hour, and within one of the second half of a day."""


def answering(updates: Sequence[Said], inquiries: Sequence[Said], uploads: Sequence[Said]) -> Manner:
    """These answers in turn, for ever."""
    turns = {"update": cycle(updates), "roll": cycle(updates), "inquiry": cycle(inquiries), "upload": cycle(uploads)}

    def manner(kind: str, _: OwnKey) -> Said:
        return next(turns[kind])

    return manner


RESULTS = st.builds(Said, st.sampled_from(sorted(Result)), vouched=st.booleans())
WORDS = st.one_of(
    st.builds(Said, st.just(Result.ACCEPTED), st.sampled_from(sorted(ReceiverState)), st.booleans()),
    st.builds(Said, st.sampled_from(sorted(Result)), st.none(), st.booleans()),
)
PHASES = [Phase.ASKING, Phase.BOOTSTRAPPING, Phase.TRUSTED, Phase.IN_SYNC, Phase.OUT_OF_SYNC]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(RESULTS, min_size=1, max_size=4),
    st.lists(WORDS, min_size=1, max_size=4),
    st.lists(RESULTS, min_size=1, max_size=3),
    st.sampled_from(PHASES),
    st.booleans(),
    st.floats(0, 1),
)
async def test_whatever_a_receiver_answers_in_turn_it_is_talked_to_ever_more_seldom(
    updates: list[Said], inquiries: list[Said], uploads: list[Said], phase: Phase, uploaded: bool, chance: float
) -> None:
    """The parent never publishes what the child wants."""
    manner = answering(updates, inquiries, uploads)
    async with living(manner, phase=phase, uploaded=uploaded, chance=chance) as simulation:
        begin = simulation.life.time
        await simulation.run(DAY)
        assert simulation.life.most_in_an_hour() <= FIRST_HOUR
        assert simulation.life.most_in_an_hour(since=begin + DAY / 2) <= ANY_LATER_HOUR


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(RESULTS, min_size=1, max_size=4),
    st.lists(WORDS, min_size=1, max_size=4),
    st.lists(RESULTS, min_size=1, max_size=3),
    st.sampled_from([Stage.PUBLISH, Stage.ADD, Stage.ASK, Stage.WAIT, Stage.DELETE]),
)
async def test_a_roll_that_does_not_come_through_is_tried_ever_more_seldom(
    updates: list[Said], inquiries: list[Said], uploads: list[Said], stage: Stage
) -> None:
    async with living(answering(updates, inquiries, uploads), lambda: True, phase=Phase.IN_SYNC) as simulation:
        other = simulation.keys.make("ED25519")
        await simulation.put(Phase.IN_SYNC, uploaded=True, roll=Roll(stage, simulation.life.clock(), other.fingerprint))
        begin = simulation.life.time
        await simulation.run(DAY)
        assert simulation.life.most_in_an_hour() <= FIRST_HOUR
        assert simulation.life.most_in_an_hour(since=begin + DAY / 2) <= ANY_LATER_HOUR


STEADY = {
    "fails at once": [Said(word=ReceiverState.VALIDATION_FAILED)],
    "is under way, then fails": [Said(word=ReceiverState.BOOTSTRAP_AUTO), Said(word=ReceiverState.VALIDATION_FAILED)],
    "does not know what was uploaded": [Said(word=ReceiverState.UNKNOWN)],
    "is under way for ever": [Said(word=ReceiverState.BOOTSTRAP_AUTO)],
}


@pytest.mark.parametrize("case", STEADY)
async def test_a_key_that_never_comes_to_be_trusted_costs_forty_messages_a_day(case: str) -> None:
    manner = answering([Said()], STEADY[case], [Said()])
    async with living(manner, phase=Phase.BOOTSTRAPPING, uploaded=False) as simulation:
        await simulation.run(DAY)
        assert simulation.life.count() <= 60


CIRCLES = [
    (update, word, upload)
    for update, word, upload in product(
        (Result.ACCEPTED, Result.REFUSED, Result.KEY_UNKNOWN, Result.KEY_PENDING, Result.KEY_FAILED, Result.FAILED),
        (
            *(Said(word=word) for word in (4, 5, 8, 9)),
            Said(Result.UNSUPPORTED),
            Said(Result.KEY_UNKNOWN),
        ),
        (Result.ACCEPTED, Result.KEY_UNKNOWN, Result.MANUAL),
    )
]


@pytest.mark.parametrize("update", sorted({update for update, _, _ in CIRCLES}))
async def test_no_steady_receiver_is_talked_to_more_than_a_hundred_times_in_half_a_day(update: Result) -> None:
    for _, word, upload in (each for each in CIRCLES if each[0] is update):
        async with living(answering([Said(update)], [word], [Said(upload)])) as simulation:
            await simulation.run(DAY / 2)
            assert simulation.life.count() <= 100, (word, upload)


async def test_alternating_answers_back_off_like_silence() -> None:
    async def talks(updates: Sequence[Said]) -> int:
        trusted = [Said(word=ReceiverState.TRUSTED)]
        async with living(answering(updates, trusted, [Said()])) as simulation:
            await simulation.run(DAY)
            return simulation.life.count("update")

    silence = await talks([Said(Result.SILENT)])
    turns = [Said(Result.SILENT), Said(Result.REFUSED), Said(Result.KEY_PENDING), Said(Result.FAILED)]
    assert await talks(turns) <= silence


async def test_who_is_trusted_at_last_sends_the_change_at_once() -> None:
    """An operator took three days to compare the fingerprint."""
    words = chain([Said(word=ReceiverState.BOOTSTRAP_MANUAL)] * 80, cycle([Said(word=ReceiverState.TRUSTED)]))

    def manner(kind: str, _: OwnKey) -> Said:
        return next(words) if kind == "inquiry" else Said()

    async with living(manner, phase=Phase.BOOTSTRAPPING) as simulation:
        await simulation.run(7 * DAY)
        (first, *_) = [at for at, kind in simulation.life.messages if kind == "update"]
        assert first == simulation.life.messages[80][0]
