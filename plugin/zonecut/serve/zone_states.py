"""Leaves in the store how the servers of the parent zones are: `zonecut change list` shows it, whoever runs then."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from zonecut.protocol import names
from zonecut.receiver.trouble import Trouble
from zonecut.store import ServerState, Store, StoreUnavailable, ZoneState

HEARTBEAT = 20.0
"""Seconds between two records of a state that stays: by that it is seen that somebody watches."""
SETTLING = 0.2
"""Seconds for which a change of state is awaited by others: servers go away together."""

_log = structlog.get_logger(__name__)


class StateKeeper:
    """Records the states of all zones. `run` it in a task."""

    def __init__(self, store: Store, states: Callable[[], Sequence[ZoneState]], changed: asyncio.Event) -> None:
        self._store = store
        self._states = states
        self._changed = changed
        self._unrecorded = Trouble("zone.state.unrecorded")
        self._told: dict[bytes, ServerState] = {}

    async def run(self) -> None:
        """Record until cancelled: at once when a state changes, and as a heartbeat."""
        while True:
            self._changed.clear()
            states = self._states()
            self._tell(states)
            await self._record(states)
            try:
                async with asyncio.timeout(HEARTBEAT):
                    await self._changed.wait()
                await asyncio.sleep(SETTLING)
            except TimeoutError:
                continue

    def _tell(self, states: Sequence[ZoneState]) -> None:
        """What becomes of a server while nobody asks for a change is in the log, too."""
        for each in states:
            before = self._told.get(each.zone, ServerState.OPENING)
            self._told[each.zone] = each.state
            if each.state is not before and before is not ServerState.OPENING:
                _log.info("zone.state", zone=names.to_text(each.zone), state=each.state.value, reason=each.reason)

    async def stopped(self, now: float) -> None:
        """Record that nobody watches the servers any more; `now` in seconds since the epoch."""
        await self._record([replace(each, state=ServerState.STOPPED, since=now, reason="") for each in self._states()])

    async def _record(self, states: Sequence[ZoneState]) -> None:
        try:
            await self._store.zones.record(states)
            self._unrecorded.over()
        except StoreUnavailable as error:
            self._unrecorded.again(error.reason)  # the next heartbeat tells it
