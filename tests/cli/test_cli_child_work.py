"""A command that takes an agent's steps while a daemon does so, too."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from zonecut.agent.state import AgentState, Phase, Roll, Stage
from zonecut.agent.zone_agent import ZoneAgent
from zonecut.cli.child import work as child_work
from zonecut.store import StoreConflict

RESTS = AgentState(Phase.IN_SYNC, 0.0)
ROLLS = replace(RESTS, roll=Roll(Stage.PUBLISH, 0.0))


class Agent:
    """An agent whose writes fail as often as is said, because a daemon has come to `found` meanwhile."""

    def __init__(self, *found: AgentState, saves: int = 0, steps: int = 0) -> None:
        self._found: Sequence[AgentState] = found
        self._saves, self._steps = saves, steps
        self.saved: list[AgentState] = []

    async def load(self) -> AgentState:
        return self._found[0]

    def reload(self) -> None:
        self._found = self._found[1:]

    async def save(self, state: AgentState) -> AgentState:
        self._saves -= 1
        if self._saves >= 0:
            raise StoreConflict("a daemon was faster")
        self.saved.append(state)
        return state

    async def step(self, state: AgentState) -> AgentState:
        self._steps -= 1
        if self._steps >= 0:
            raise StoreConflict("a daemon was faster")
        return replace(state, roll=None)


async def work(agent: Agent) -> tuple[AgentState, int]:
    """Begin a roll; the state in the end, and how often it was begun."""
    begun = 0

    def begin(state: AgentState) -> AgentState:
        nonlocal begun
        begun += 1
        return replace(state, roll=ROLLS.roll)

    state = await child_work.work(cast(ZoneAgent, agent), begin, lambda state: state.roll is not None, lambda _: None)
    return state, begun


async def test_what_a_daemon_has_done_of_it_is_not_begun_again() -> None:
    agent = Agent(RESTS, RESTS, steps=1)
    assert await work(agent) == (RESTS, 1)
    assert agent.saved == [ROLLS]


async def test_what_could_not_be_begun_is_begun_on_what_the_daemon_left() -> None:
    changed = replace(RESTS, reason="the daemon was here")
    agent = Agent(RESTS, changed, saves=1)
    assert await work(agent) == (changed, 2)
    assert agent.saved == [replace(ROLLS, reason="the daemon was here")]


async def test_a_daemon_that_is_always_faster_is_given_up_on() -> None:
    with pytest.raises(StoreConflict):
        await work(Agent(*[RESTS] * child_work.CONFLICTS, saves=child_work.CONFLICTS))
