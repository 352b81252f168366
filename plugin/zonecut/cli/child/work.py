"""The agent of a child zone taking its steps in a command, beside a daemon or without one."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from zonecut.agent.pace.slots import Slots
from zonecut.agent.state import AgentState
from zonecut.agent.zone_agent import ZoneAgent
from zonecut.cli import session
from zonecut.cli.terminal import logs
from zonecut.cli.terminal.logs import LogFormat
from zonecut.config import ChildSection, Loaded
from zonecut.serve import children
from zonecut.store import StoreConflict

MAX_STEPS = 24
"""A command takes no more steps than that: whatever it meets, it ends."""
CONFLICTS = 5
"""So often the command tries to say what shall be done, before which a daemon may always have been faster."""


@asynccontextmanager
async def agent_of(loaded: Loaded, section: ChildSection) -> AsyncIterator[ZoneAgent]:
    """The agent of one zone, with the store open. Raises ConfigurationError, StoreUnusable."""
    logs.configure(LogFormat.AUTO, level="error")  # the command says what it does

    async with session.open_store(loaded) as store:
        shared = children.common(loaded, store)
        agent = ZoneAgent(children.make_workplace(loaded, section, shared), store.agents, Slots(1))
        try:
            yield agent
        finally:
            await agent.close()


async def work(
    agent: ZoneAgent,
    begin: Callable[[AgentState], AgentState],
    goes_on: Callable[[AgentState], bool],
    tell: Callable[[AgentState], None],
    *,
    anew: bool = False,
) -> AgentState:
    """Change where the zone stands by `begin`, then take the steps that are due while `goes_on`; `tell` sees each.
    With `anew`, what is kept and damaged is left out, and the rest taken up.

    A daemon beside it may take some of the steps, or all. Raises StoreConflict when it was always faster before the
    beginning, StoreUnavailable, and whatever `begin` raises.
    """
    state = await _begin(agent, begin, anew)
    for _ in range(MAX_STEPS):
        if not goes_on(state) or state.next_at > time.time():
            break
        try:
            state = await agent.step(state)
        except StoreConflict:
            # the daemon was faster: what is left to do follows from where it has come to
            agent.reload()
            state = await agent.load()
        tell(state)
    return state


async def _begin(agent: ZoneAgent, begin: Callable[[AgentState], AgentState], anew: bool) -> AgentState:
    for _ in range(CONFLICTS - 1):
        try:
            return await _begin_once(agent, begin, anew)
        except StoreConflict:
            agent.reload()
    return await _begin_once(agent, begin, anew)


async def _begin_once(agent: ZoneAgent, begin: Callable[[AgentState], AgentState], anew: bool) -> AgentState:
    state = begin(await (agent.load_what_is_left() if anew else agent.load()))
    return await agent.save(state)
