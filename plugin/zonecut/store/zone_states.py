"""How the server of each parent zone is, as the daemon last saw it: for commands that run beside it, or after it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, delete, insert, select

from zonecut.store import tables
from zonecut.store.thread import StoreThread

_TABLE = tables.zone_states


class ServerState(StrEnum):
    """What a parent zone's server does with what it is asked for."""

    OPENING = "opening"
    """It has not been reached yet."""
    READY = "ready"
    AWAY = "away"
    MISCONFIGURED = "misconfigured"
    """It refuses us: somebody has to mend it."""
    HALTED = "halted"
    """Our own writer of the zone has failed and is about to be started again: until then nothing is accepted."""
    STOPPED = "stopped"
    """The daemon has ended."""


@dataclass(frozen=True, slots=True)
class ZoneState:
    """The state of one zone's server since a time, and the reason for any but `ready`.

    With `ready`, a reason tells what else for the zone does not work. `seen_at` is when the daemon last said so; both
    in seconds since the epoch.
    """

    zone: bytes
    state: ServerState
    since: float
    reason: str = ""
    seen_at: float = 0.0


class ZoneStates:
    """The states of a store: for people, and to tell for how long a zone was not served."""

    def __init__(self, thread: StoreThread, clock: Callable[[], float]) -> None:
        self._thread = thread
        self._clock = clock

    async def record(self, states: Sequence[ZoneState]) -> None:
        """These are the states now. Raises StoreUnavailable."""
        if states:
            await self._thread.write(self._record, states)

    async def all(self) -> Mapping[bytes, ZoneState]:
        """The latest state of each zone that ever had one. Raises StoreUnavailable."""
        return await self._thread.read(_all)

    async def absence(self, zone: bytes) -> float | None:
        """Seconds since a state of this zone was last recorded; None if none ever was. Raises StoreUnavailable."""
        states = await self.all()
        return self._clock() - states[zone].seen_at if zone in states else None

    def _record(self, connection: Connection, groups: Sequence[Sequence[ZoneState]]) -> Sequence[None]:
        now = self._clock()
        latest = {state.zone: state for group in groups for state in group}
        connection.execute(delete(_TABLE).where(_TABLE.c.zone.in_(latest)))
        connection.execute(
            insert(_TABLE),
            [
                {
                    "zone": state.zone,
                    "state": state.state.value,
                    "since": state.since,
                    "reason": state.reason,
                    "seen_at": now,
                }
                for state in latest.values()
            ],
        )
        return [None] * len(groups)


def _all(connection: Connection) -> dict[bytes, ZoneState]:
    return {
        row.zone: ZoneState(row.zone, ServerState(row.state), row.since, row.reason, row.seen_at)
        for row in connection.execute(select(_TABLE))
    }
