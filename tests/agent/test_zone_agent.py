"""When an agent looks at its zone: who says that it has changed is heard, and cannot keep it busy."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from zonecut.agent import transitions
from zonecut.agent.context import AgentContext
from zonecut.agent.outlook import Doubt, outlook
from zonecut.agent.pace.slots import Slots
from zonecut.agent.settings import ChildSettings, PrimarySettings
from zonecut.agent.state import AgentState, Phase
from zonecut.agent.transitions import Now
from zonecut.agent.zone.zone_content import SourceError, ZoneContent
from zonecut.agent.zone_agent import TOLD_PAUSE, ZoneAgent
from zonecut.store import AgentTable, Store, StoredAgent

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

    async def content(self) -> ZoneContent:
        return ZoneContent(CHILD)


async def test_a_flood_of_notifies_makes_a_look_now_and_one_after_each_pause(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    looks = Looks()
    parts: Any = SimpleNamespace(
        zone=CHILD,
        settings=SETTINGS,
        source=looks,
        clock=loop.time,
        monotonic=loop.time,
        chance=lambda: 0.5,
        now=lambda: Now(loop.time(), 0.5, SETTINGS),
    )
    state = AgentState(Phase.BOOTSTRAPPING, loop.time(), key="AAAA", next_at=loop.time() + 5000)
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        await store.agents.put(StoredAgent(CHILD, 0, state.phase.value, state.to_json(), 0.0))
        agent = ZoneAgent(cast(AgentContext, parts), store.agents, Slots(1))
        running = asyncio.create_task(agent.run())
        began = loop.time()
        while loop.time() < began + 3.5 * TOLD_PAUSE:
            agent.changed()
            await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert 3 <= looks.count <= 4


class Stepless(ZoneAgent):
    """Takes no steps; `due` is set when one is due."""

    def __init__(self, place: AgentContext, table: AgentTable) -> None:
        super().__init__(place, table, Slots(1))
        self.due = asyncio.Event()

    async def step(self, state: AgentState) -> AgentState:
        self.due.set()
        await asyncio.sleep(60)
        return state


class Unreadable(Looks):
    """A zone whose server is away for a while."""

    is_away = True

    async def mark(self) -> object:
        await super().mark()
        if self.is_away:
            raise SourceError("192.0.2.1:53 is silent")
        return "the same"


async def test_a_zone_that_cannot_be_looked_at_is_not_said_to_be_in_sync(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    looks = Unreadable()
    settings = SETTINGS.model_copy(update={"poll": 0.05, "retry_first": 30})
    parts: Any = SimpleNamespace(
        zone=CHILD,
        settings=settings,
        source=looks,
        clock=loop.time,
        monotonic=loop.time,
        chance=lambda: 0.5,
        now=lambda: Now(loop.time(), 0.5, settings),
    )
    state = transitions.in_sync(AgentState(Phase.TRUSTED, loop.time()), "digest", "00", parts.now())
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        await store.agents.put(StoredAgent(CHILD, 0, state.phase.value, state.to_json(), 0.0))
        agent = Stepless(cast(AgentContext, parts), store.agents)
        running = asyncio.create_task(agent.run())
        await asyncio.sleep(1)
        kept = await store.agents.get(CHILD)
        assert kept is not None
        told = outlook(AgentState.from_json(kept.document), settings, loop.time())
        assert told.word is Doubt.FAILING
        assert told.reason == "the zone cannot be read: 192.0.2.1:53 is silent"
        assert not agent.due.is_set()
        looks.is_away = False
        async with asyncio.timeout(5):
            await agent.due.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
