"""What people are to do in zones that zonecut does not write, beside what the ledger says of each change.

That is the rest of a change of which a part is done, and the addresses of hosts: those to be put back, since somebody
needs them, and those to be taken away, since nobody does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.store import tables, timestamps
from zonecut.store.thread import StoreThread

_TABLE = tables.chores


@dataclass(frozen=True, slots=True)
class Chore:
    """One of them: what the zone holds of a child, and what it is to hold.

    `change_id` is that of the change of which it is the rest; None where it is about the addresses of `host`, which is
    empty otherwise. `event` is what the audit trail says once it is done. `noted_at` is when it was told, in seconds
    since the epoch.
    """

    zone: bytes
    before: Delegation
    after: Delegation
    change_id: int | None = None
    host: bytes = b""
    event: str = ""
    reason: str = ""
    noted_at: float = 0.0

    @property
    def child(self) -> bytes:
        return self.after.child

    def to_json(self) -> dict[str, Any]:
        return {
            "child": names.to_text(self.child),
            "host": names.to_text(self.host),
            "reason": self.reason,
            "since": timestamps.to_text(self.noted_at),
        }


class Chores:
    """Of a store."""

    def __init__(self, thread: StoreThread, clock: Callable[[], float]) -> None:
        self._thread = thread
        self._clock = clock

    async def record(self, zone: bytes, chores: Sequence[Chore]) -> None:
        """These are all of a zone now. Raises StoreUnavailable."""
        await self._thread.write(self._record, (zone, tuple(chores)))

    async def all(self) -> Sequence[Chore]:
        """Those of all zones, in the order in which they were told. Raises StoreUnavailable."""
        return await self._thread.read(_all)

    def _record(self, connection: Connection, items: Sequence[tuple[bytes, tuple[Chore, ...]]]) -> Sequence[None]:
        latest = dict(items)
        connection.execute(delete(_TABLE).where(_TABLE.c.zone.in_(latest)))
        now = self._clock()
        rows = [replace(each, noted_at=each.noted_at or now) for chores in latest.values() for each in chores]
        if rows:
            connection.execute(insert(_TABLE), [_row(each) for each in rows])
        return [None] * len(items)


def _row(each: Chore) -> dict[str, Any]:
    return {
        "zone": each.zone,
        "child": each.child,
        "host": each.host,
        "change_id": each.change_id,
        "before": each.before.to_wire(),
        "after": each.after.to_wire(),
        "event": each.event,
        "reason": each.reason,
        "noted_at": each.noted_at,
    }


def _all(connection: Connection) -> list[Chore]:
    return [
        Chore(
            row.zone,
            Delegation.from_wire(row.before),
            Delegation.from_wire(row.after),
            row.change_id,
            row.host,
            row.event,
            row.reason,
            row.noted_at,
        )
        for row in connection.execute(select(_TABLE).order_by(_TABLE.c.noted_at, _TABLE.c.child, _TABLE.c.host))
    ]
