"""When an agent looks at its zone: who says that it has changed is heard, and cannot keep it busy."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from zonecut.agent.machine import Now
from zonecut.agent.settings import ChildSettings, PrimarySettings
from zonecut.agent.state import AgentState, Phase
from zonecut.agent.workplace import Workplace
from zonecut.agent.zone_agent import TOLD_PAUSE, ZoneAgent
from zonecut.store import Store, StoredAgent

CHILD = b"\x05child\x07example\x00"
SETTINGS = ChildSettings(primary=PrimarySettings(server="127.0.0.1:53"), poll=10_000, check=10_000)


class Looks:
    """A zone that never changes, and how often it was looked at."""

    def __init__(self) -> None:
        self.count = 0

    async def mark(self) -> object:
        self.count += 1
        await asyncio.sleep(0)
        return "the same"


async def test_a_flood_of_notifies_makes_a_look_now_and_one_after_each_pause(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    looks = Looks()
    parts: Any = SimpleNamespace(
        zone=CHILD,
        settings=SETTINGS,
        source=looks,
        clock=loop.time,
        chance=lambda: 0.5,
        now=lambda: Now(loop.time(), 0.5, SETTINGS),
    )
    state = AgentState(Phase.BOOTSTRAPPING, loop.time(), key="AAAA", next_at=loop.time() + 5000)
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        await store.agents.put(StoredAgent(CHILD, 0, state.phase.value, state.to_json(), 0.0))
        agent = ZoneAgent(cast(Workplace, parts), store.agents, asyncio.Semaphore(1))
        running = asyncio.create_task(agent.run())
        began = loop.time()
        while loop.time() < began + 3.5 * TOLD_PAUSE:
            agent.changed()
            await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert 3 <= looks.count <= 4
