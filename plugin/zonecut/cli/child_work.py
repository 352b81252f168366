"""The agent of a child zone taking its steps in a command, beside a daemon or without one."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from zonecut.cli import logs, session
from zonecut.cli.logs import LogFormat

if TYPE_CHECKING:
    from zonecut.agent.state import AgentState
    from zonecut.agent.zone_agent import ZoneAgent
    from zonecut.config import ChildSection, Loaded

MAX_STEPS = 24
"""A command takes no more steps than that: whatever it meets, it ends."""
CONFLICTS = 5
"""So often a daemon may be faster before the command gives up."""


@asynccontextmanager
async def agent_of(loaded: "Loaded", section: "ChildSection") -> "AsyncIterator[ZoneAgent]":
    """The agent of one zone, with the store open. Raises ConfigurationError, StoreUnusable."""
    logs.configure(LogFormat.AUTO, level="error")  # the command says what it does
    from zonecut.agent.zone_agent import ZoneAgent
    from zonecut.serve import children

    async with session.open_store(loaded) as store:
        shared = children.common(loaded, store)
        agent = ZoneAgent(children.make_workplace(loaded, section, shared), store.agents, asyncio.Semaphore(1))
        try:
            yield agent
        finally:
            await agent.close()


async def work(
    agent: "ZoneAgent",
    begin: "Callable[[AgentState], AgentState]",
    goes_on: "Callable[[AgentState], bool]",
    tell: "Callable[[AgentState], None]",
) -> "AgentState":
    """Change where the zone stands by `begin`, then take the steps that are due while `goes_on`; `tell` sees each.

    Raises StoreConflict when a daemon is always faster, StoreUnavailable.
    """
    from zonecut.store import StoreConflict

    for attempt in range(CONFLICTS):
        try:
            state = begin(await agent.load())
            await agent.save(state)
            for _ in range(MAX_STEPS):
                if not goes_on(state) or state.next_at > time.time():
                    break
                state = await agent.step(state)
                tell(state)
        except StoreConflict:
            if attempt == CONFLICTS - 1:
                raise
            agent.reload()
        else:
            return state
    raise AssertionError("unreachable")
