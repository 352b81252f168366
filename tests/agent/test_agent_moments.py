"""Times in what an agent remembers, on a clock that is set."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_support import CHILD
from zonecut.agent.exchange.staleness import stale_until
from zonecut.agent.pacing import shifted
from zonecut.agent.state import AgentState, Phase, Roll, Stage, Watch
from zonecut.agent.zone.caches import Sight
from zonecut.protocol.delegation import Delegation

SPANS = {AgentState: {"took"}, Roll: set(), Watch: {"span"}, Sight: set()}
"""Numbers of seconds that are no times on a clock."""

moments = st.floats(1.7e9, 1.9e9)
states = st.builds(
    lambda at, roll, watch, gone: AgentState(
        Phase.IN_SYNC,
        at[0],
        **dict(zip(AgentState.MOMENTS[1:], at[1:], strict=True)),
        roll=Roll(Stage.WAIT, roll[0], next_at=roll[1]),
        watch=Watch("first", watch[0], watch[1], 1, 60.0),
        sights=(Sight(Delegation(CHILD), 60, 60, gone), Sight(Delegation(CHILD), 60, 60)),
    ),
    st.lists(moments, min_size=len(AgentState.MOMENTS), max_size=len(AgentState.MOMENTS)),
    st.tuples(moments, moments),
    st.tuples(moments, moments),
    moments,
)


@pytest.mark.parametrize("kind", SPANS)
def test_each_number_of_seconds_is_a_moment_or_a_span(
    kind: type[AgentState] | type[Roll] | type[Watch] | type[Sight],
) -> None:
    """One that is neither would stay behind when the clock is set."""
    assert {field.name for field in fields(kind) if "float" in str(field.type)} == {*kind.MOMENTS, *SPANS[kind]}


def all_moments(state: AgentState) -> list[float]:
    assert state.roll is not None
    assert state.watch is not None
    return [getattr(part, name) for part in (state, state.roll, state.watch, state.sights[0]) for name in part.MOMENTS]


@given(states, st.sampled_from((-86400.0, -3600.0, 3600.0, 86400.0)))
def test_whatever_the_clock_is_set_by_all_is_as_long_ago_as_it_was(state: AgentState, seconds: float) -> None:
    before, after = all_moments(state), all_moments(shifted(state, seconds))
    assert after == pytest.approx([at + seconds for at in before])


def test_what_has_not_been_has_not_been_on_another_clock_either() -> None:
    never = AgentState(Phase.NO_KEY, 1.8e9)
    assert replace(shifted(never, 3600.0), since=never.since) == never


TIMES = st.from_regex(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\Z") | st.from_regex(r"\A\d{9,400}\Z")


@given(
    st.sampled_from((" a change that x signed at {}", " a change signed at {}", "trusted key 1 anew at {}")),
    TIMES,
    st.from_regex(r"\A\d{1,400}(\.\d{1,400})?\Z") | st.text(max_size=20),
)
def test_no_text_of_a_receiver_is_more_than_a_text(words: str, time: str, tolerated: str) -> None:
    text = f"stale:{words.format(time)} and more than the {tolerated} s that are tolerated"
    until = stale_until(text)
    assert until is None or abs(until) < 1e13
