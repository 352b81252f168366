"""How a parent zone's server is: seen in what becomes of every operation, and asked when nothing else is."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from zonecut.plugin import BackendError, BackendLater, BackendMisconfigured, BackendUnavailable
from zonecut.serve.supervisor import Down
from zonecut.store import ServerState, ZoneState

WRITER = "writer"
"""The task without which a zone takes nothing."""
IDLE = 10.0
"""Seconds without any answer of a server after which it is asked for something."""
DOUBTFUL = 2.0
"""Seconds between two such questions while it is not ready."""


class Health:
    """Of one parent zone's server.

    Trouble with writing is over when a write is answered, and any other when anything is: a server that answers
    questions may still refuse or lose what it is given.
    """

    def __init__(self, zone: bytes, clock: Callable[[], float], changed: asyncio.Event) -> None:
        """`changed` is set when the state has changed; whoever has seen that clears it."""
        self._zone = zone
        self._clock = clock
        self._changed = changed
        self._reading: ZoneState | None = ZoneState(zone, ServerState.OPENING, clock())
        self._writing: ZoneState | None = None
        self._ready_since = clock()
        self._heard = asyncio.Event()

    @property
    def state(self) -> ZoneState:
        trouble = self._writing or self._reading
        return trouble or ZoneState(self._zone, ServerState.READY, self._ready_since)

    @property
    def is_ready(self) -> bool:
        return self.state.state is ServerState.READY

    @contextmanager
    def watched(self, *, writing: bool = False, opening: bool = False) -> Iterator[None]:
        """Take notice of what becomes of one operation. One that opens it has succeeded, or the server is not ready."""
        try:
            yield
        except BackendError as error:
            if opening or (isinstance(error, BackendUnavailable) and not isinstance(error, BackendLater)):
                self._failed(error, writing=writing)
            else:
                # a conflict, a rejection: it is there
                self.answered(writing=writing)
            raise
        else:
            self.answered(writing=writing)

    def answered(self, *, writing: bool = False) -> None:
        """The server did what it was asked for."""
        self._heard.set()
        was_ready = self.is_ready
        self._reading = None
        if writing:
            self._writing = None
        if self.is_ready and not was_ready:
            self._ready_since = self._clock()
            self._changed.set()

    def _failed(self, error: BackendError, *, writing: bool) -> None:
        self._heard.set()
        before = self.state
        passes = isinstance(error, BackendUnavailable) and not isinstance(error, BackendMisconfigured)
        state = ServerState.AWAY if passes else ServerState.MISCONFIGURED
        known = self._writing if writing else self._reading
        since = known.since if known and known.state is not ServerState.OPENING else self._clock()
        trouble = ZoneState(self._zone, state, since, error.reason)
        if writing:
            self._writing = trouble
        else:
            self._reading = trouble
        if self.state != before:
            self._changed.set()

    async def silent(self) -> None:
        """Return when the server has been silent for so long that it is to be asked for something."""
        while True:
            self._heard.clear()
            try:
                async with asyncio.timeout(IDLE if self.is_ready else DOUBTFUL):
                    await self._heard.wait()
            except TimeoutError:
                return


def with_tasks(state: ZoneState, down: Sequence[Down]) -> ZoneState:
    """The state of a zone's server, and what tasks of the zone are not running: without its writer it is halted."""
    ours = {each.name.task: each for each in down if each.name.zone == state.zone}
    if not ours:
        return state
    words = [f"the {task} of this zone is not running: {each.reason}" for task, each in ours.items()]
    reason = "; ".join([*words, *([state.reason] if state.reason else [])])
    writer = ours.get(WRITER)
    if writer is None:
        return replace(state, reason=reason)
    return replace(state, state=ServerState.HALTED, since=writer.since, reason=reason)


def with_alarms(state: ZoneState, alarms: Sequence[str]) -> ZoneState:
    """The state of a zone's server, and what else for the zone does not work."""
    if not alarms:
        return state
    return replace(state, reason="; ".join([*([state.reason] if state.reason else []), *alarms]))
