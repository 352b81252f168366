"""The serial of each parent zone as it was last seen, and in which boot of this machine that was.

A disk that was put back to an earlier state, as by a snapshot, brings the store back with its mark; the zone on a
server elsewhere has gone on. So has it where somebody else wrote while this machine was down: what the ledger knows is
old in both cases.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from zonecut.store import tables
from zonecut.store.thread import StoreThread

_TABLE = tables.zone_serials


class ZoneSerial(NamedTuple):
    """The serial of a zone (RFC 1982), and the boot in which it was seen: a name that each boot has for itself."""

    zone: bytes
    serial: int
    boot: str


class ZoneSerials:
    """Of a store."""

    def __init__(self, thread: StoreThread, clock: Callable[[], float]) -> None:
        self._thread = thread
        self._clock = clock

    async def last(self, zone: bytes) -> ZoneSerial | None:
        """What was last recorded of a zone. Raises StoreUnavailable."""
        query = select(_TABLE.c.serial, _TABLE.c.boot).where(_TABLE.c.zone == zone)
        row = await self._thread.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else ZoneSerial(zone, row.serial, row.boot)

    async def record(self, seen: ZoneSerial) -> None:
        """This is the zone's serial now. Raises StoreUnavailable."""
        await self._thread.write(self._record, seen)

    async def floor(self, zone: bytes) -> float | None:
        """The time before which messages about a zone are stale, in seconds since the epoch; None if there is none.

        Raises StoreUnavailable.
        """
        query = select(_TABLE.c.floor).where(_TABLE.c.zone == zone)
        return await self._thread.read(lambda connection: connection.execute(query).scalar())

    async def distrust(self, zone: bytes) -> float:
        """Have what was signed for a zone before now be stale; that time. Raises StoreUnavailable."""
        return await self._thread.write(self._distrust, zone)

    def _record(self, connection: Connection, items: Sequence[ZoneSerial]) -> Sequence[None]:
        for seen in {each.zone: each for each in items}.values():
            floor = connection.execute(select(func.max(_TABLE.c.floor)).where(_TABLE.c.zone == seen.zone)).scalar()
            connection.execute(delete(_TABLE).where(_TABLE.c.zone == seen.zone))
            connection.execute(insert(_TABLE), {**seen._asdict(), "floor": floor})
        return [None] * len(items)

    def _distrust(self, connection: Connection, zones: Sequence[bytes]) -> Sequence[float]:
        now = self._clock()
        connection.execute(update(_TABLE).where(_TABLE.c.zone.in_(zones)), {"floor": now})
        return [now] * len(zones)
