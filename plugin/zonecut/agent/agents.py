"""All agents of one process: each zone has a task of its own, and few of them work at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from zonecut.agent.zone_agent import ZoneAgent
from zonecut.protocol import names
from zonecut.store import AgentTable, StoreError

NOTICE = 0.5
"""Seconds between looks at the store: what a command does counts within one second."""

_log = structlog.get_logger(__name__)

Keep = Callable[[bytes, Callable[[], Awaitable[None]]], asyncio.Task[None]]
"""Has something run for a zone until the task is cancelled, and again whenever it fails."""


class Agents:
    """The agents that run."""

    def __init__(self, table: AgentTable, keep: Keep) -> None:
        self._table = table
        self._keep = keep
        self._running: dict[bytes, tuple[ZoneAgent, asyncio.Task[None]]] = {}

    @property
    def zones(self) -> Mapping[bytes, ZoneAgent]:
        return {zone: agent for zone, (agent, _) in self._running.items()}

    def start(self, agent: ZoneAgent) -> None:
        """Begin to look after a zone that nobody here looks after."""
        assert agent.zone not in self._running
        self._running[agent.zone] = agent, self._keep(agent.zone, agent.run)

    async def stop(self, zone: bytes) -> None:
        """End with a zone. What is sent and not answered is sent again by whoever goes on: the same twice is once."""
        agent, task = self._running.pop(zone)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        try:
            await agent.close()
        except Exception:
            # a defect of an adapter keeps nobody from ending with the others
            _log.exception("agent.defect", zone=names.to_text(zone))

    async def close(self) -> None:
        await asyncio.gather(*(self.stop(zone) for zone in list(self._running)))

    def changed(self, zone: bytes) -> bool:
        """Somebody says that a zone has changed; False if it is none of ours."""
        if zone not in self._running:
            return False
        self._running[zone][0].changed()
        return True

    async def notice(self) -> None:
        """Take in what commands write into the store; until cancelled."""
        while True:
            await asyncio.sleep(NOTICE)
            if not self._running:
                continue
            for agent, _ in self._running.values():
                agent.look_at_clock()
            try:
                versions = await self._table.versions()
            except StoreError as error:
                _log.error("agent.store", reason=str(error))
                continue
            for zone, (agent, _) in self._running.items():
                if versions.get(zone, 0) > agent.version:
                    agent.reload()
