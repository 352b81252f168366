"""What the agents of child zones remember: one document a zone, replaced as a whole by who has seen the last one."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from zonecut.protocol import names
from zonecut.store import tables
from zonecut.store.errors import StoreConflict
from zonecut.store.thread import StoreThread

_TABLE = tables.agents


@dataclass(frozen=True, slots=True)
class StoredAgent:
    """The document of a zone: values that JSON has. `version` rises with each write, from 1; 0 is no document yet.

    `phase` says how the zone was then, for whoever reads the table. `changed_at` is in seconds since the epoch.
    """

    zone: bytes
    version: int
    phase: str
    document: Mapping[str, Any]
    changed_at: float


class AgentTable:
    """The agents' documents in a store."""

    def __init__(self, thread: StoreThread, clock: Callable[[], float]) -> None:
        self._thread = thread
        self._clock = clock

    async def get(self, zone: bytes) -> StoredAgent | None:
        """The document of a zone, or None. Raises StoreUnavailable."""
        query = select(_TABLE).where(_TABLE.c.zone == zone)
        row = await self._thread.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else _from_row(row)

    async def versions(self) -> Mapping[bytes, int]:
        """The version of every zone's document. Raises StoreUnavailable."""
        query = select(_TABLE.c.zone, _TABLE.c.version)
        return await self._thread.read(lambda connection: {row.zone: row.version for row in connection.execute(query)})

    async def put(self, agent: StoredAgent) -> StoredAgent:
        """Replace the document of a zone whose version is `agent.version`; as it stands then.

        Raises StoreConflict when somebody else has replaced it meanwhile, StoreUnavailable.
        """
        return await self._thread.write(self._put, agent)

    async def try_to_write(self) -> None:
        """Write something that changes nothing. Raises StoreUnavailable where no document could be kept now, either."""
        await self._thread.write(_write_nothing, None)

    async def forget(self, zone: bytes) -> None:
        """Remove the document of a zone. Raises StoreUnavailable."""
        await self._thread.write(self._forget, zone)

    # Handlers: called in the store thread, inside a transaction.

    def _put(self, connection: Connection, agents: Sequence[StoredAgent]) -> Sequence[StoredAgent]:
        return [self._put_one(connection, agent) for agent in agents]

    def _put_one(self, connection: Connection, agent: StoredAgent) -> StoredAgent:
        now = self._clock()
        values = {
            "version": agent.version + 1,
            "phase": agent.phase,
            "document": json.dumps(agent.document),
            "changed_at": now,
        }
        place = (_TABLE.c.zone == agent.zone) & (_TABLE.c.version == agent.version)
        if agent.version:
            written = connection.execute(update(_TABLE).where(place).values(values)).rowcount == 1
        else:
            written = connection.execute(select(_TABLE.c.zone).where(_TABLE.c.zone == agent.zone)).first() is None
            if written:
                connection.execute(insert(_TABLE).values(zone=agent.zone, **values))
        if not written:
            raise StoreConflict(f"the state of {names.to_text(agent.zone)} was changed by another process")
        return replace(agent, version=agent.version + 1, changed_at=now)

    def _forget(self, connection: Connection, zones: Sequence[bytes]) -> Sequence[None]:
        for zone in zones:
            connection.execute(delete(_TABLE).where(_TABLE.c.zone == zone))
        return [None] * len(zones)


def _write_nothing(connection: Connection, tries: Sequence[None]) -> Sequence[None]:
    # a row that nobody waits for, and that a full disk refuses like any other
    connection.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")
    return tries


def _from_row(row: Row[Any]) -> StoredAgent:
    return StoredAgent(row.zone, row.version, row.phase, json.loads(row.document), row.changed_at)
