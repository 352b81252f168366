"""Those who make the parent zones of what is written to their servers, as the daemon last saw them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from zonecut.store import tables, timestamps
from zonecut.store.thread import StoreThread

_TABLE = tables.zone_consumers


@dataclass(frozen=True, slots=True)
class ZoneConsumer:
    """One of them: everything up to `number` of the server's history is in his zone.

    `history_number` is the last one that is written. `alarm` says what is wrong with him; empty where nothing is.
    `seen_at` is when the daemon last saw it, in seconds since the epoch.

    What the daemon's next process has to know: up to where he once was (`highest`), up to where he has to come before
    his alarm for standing still is over (`owed`), and since when he stands still, in seconds since the epoch.
    """

    zone: bytes
    name: str
    number: int
    history_number: int
    failed: bool = False
    reason: str = ""
    alarm: str = ""
    seen_at: float = 0.0
    highest: int | None = None
    owed: int | None = None
    standing_since: float | None = None

    def has(self, number: int) -> bool:
        """Whether all up to this number is in his zone, for all that he can know of it.

        One that failed serves who knows what, and one that is above the history has made his zone of another one.
        """
        return not self.failed and number <= self.number <= self.history_number

    @property
    def behind(self) -> int:
        """How many changes of a row he has not taken up."""
        return max(0, self.history_number - self.number)

    def to_json(self) -> dict[str, Any]:
        return {
            "consumer": self.name,
            "number": self.number,
            "history_number": self.history_number,
            "status": "failed" if self.failed else "ok",
            "reason": self.reason or None,
            "alarm": self.alarm or None,
            "seen_at": timestamps.to_text(self.seen_at),
        }


class ZoneConsumers:
    """Of a store."""

    def __init__(self, thread: StoreThread, clock: Callable[[], float]) -> None:
        self._thread = thread
        self._clock = clock

    async def record(self, zone: bytes, consumers: Sequence[ZoneConsumer]) -> None:
        """These are all of a zone now. Raises StoreUnavailable."""
        await self._thread.write(self._record, (zone, tuple(consumers)))

    async def all(self) -> Mapping[bytes, Sequence[ZoneConsumer]]:
        """Those of each zone that has any, by name. Raises StoreUnavailable."""
        return await self._thread.read(_all)

    def _record(
        self, connection: Connection, items: Sequence[tuple[bytes, tuple[ZoneConsumer, ...]]]
    ) -> Sequence[None]:
        latest = dict(items)
        connection.execute(delete(_TABLE).where(_TABLE.c.zone.in_(latest)))
        rows = [replace(each, seen_at=self._clock()) for consumers in latest.values() for each in consumers]
        if rows:
            connection.execute(insert(_TABLE), [_row(each) for each in rows])
        return [None] * len(items)


def _row(each: ZoneConsumer) -> dict[str, Any]:
    return {
        "zone": each.zone,
        "consumer": each.name,
        "number": each.number,
        "history_number": each.history_number,
        "failed": each.failed,
        "reason": each.reason,
        "alarm": each.alarm,
        "seen_at": each.seen_at,
        "highest": each.highest,
        "owed": each.owed,
        "standing_since": each.standing_since,
    }


def _all(connection: Connection) -> dict[bytes, list[ZoneConsumer]]:
    found: dict[bytes, list[ZoneConsumer]] = {}
    for row in connection.execute(select(_TABLE).order_by(_TABLE.c.consumer)):
        found.setdefault(row.zone, []).append(
            ZoneConsumer(
                row.zone,
                row.consumer,
                row.number,
                row.history_number,
                row.failed,
                row.reason,
                row.alarm,
                row.seen_at,
                row.highest,
                row.owed,
                row.standing_since,
            )
        )
    return found
