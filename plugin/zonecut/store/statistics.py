"""Numbers of rows, for who watches a store from outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, literal_column, select

from zonecut.store import tables
from zonecut.store.key_values import KeyState
from zonecut.store.thread import StoreThread

_KEYS, _CHANGES, _BOOTSTRAPS = tables.keys, tables.changes, tables.bootstraps
# written out, not bound: only then the database can use the index of unsettled changes
_IS_UNSETTLED = _CHANGES.c.state == literal_column("'accepted'")


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many accepted changes of a zone are neither applied nor failed, and when the oldest of them was accepted."""

    count: int
    oldest_at: float


class Statistics:
    """Of a store. All methods raise StoreUnavailable."""

    def __init__(self, thread: StoreThread) -> None:
        self._thread = thread

    async def waiting(self) -> Mapping[bytes, Waiting]:
        """What waits to be written, of each zone of which something does."""
        return await self._thread.read(_waiting)

    async def keys(self) -> Mapping[KeyState, int]:
        """Keys by state. It reads them all."""
        return await self._thread.read(_keys)

    async def bootstraps(self) -> Mapping[str, int]:
        """Keys on their way to trust: by a `method`, and those that wait for an `operator`."""
        return await self._thread.read(_bootstraps)

    async def damage(self) -> Sequence[str]:
        """What SQLite's quick check finds wrong with the file; nothing where all is well. It reads the whole file."""
        found = await self._thread.read(
            lambda connection: (
                list(connection.exec_driver_sql("PRAGMA quick_check").scalars())
                if connection.dialect.name == "sqlite"
                else []
            )
        )
        return [each for each in found if each != "ok"]


def _waiting(connection: Connection) -> dict[bytes, Waiting]:
    query = (
        select(_CHANGES.c.zone, func.count(), func.min(_CHANGES.c.accepted_at))
        .where(_IS_UNSETTLED)
        .group_by(_CHANGES.c.zone)
    )
    return {zone: Waiting(count, oldest) for zone, count, oldest in connection.execute(query)}


def _keys(connection: Connection) -> dict[KeyState, int]:
    query = select(_KEYS.c.state, func.count()).group_by(_KEYS.c.state)
    return {KeyState(state): count for state, count in connection.execute(query)}


def _bootstraps(connection: Connection) -> dict[str, int]:
    query = select(_BOOTSTRAPS.c.manual, func.count()).group_by(_BOOTSTRAPS.c.manual)
    counts = {bool(manual): count for manual, count in connection.execute(query)}
    return {"method": counts.get(False, 0), "operator": counts.get(True, 0)}
