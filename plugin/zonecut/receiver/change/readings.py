"""What a parent zone's server holds for each child: read when it has to be, believed as long as that may be."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import structlog

from zonecut.plugin import Backend, BackendError, BackendUnavailable, Reading, Unreadable
from zonecut.plugin.branches import visible
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.change.confirmations import Confirmations
from zonecut.receiver.change.in_flight import InFlight
from zonecut.receiver.change.reading_cache import ReadingCache

OPEN_RETRY = 5.0
"""Seconds between attempts to open a backend that was away when the receiver started."""
REMEMBERED_CHILDREN = 10_000

_log = structlog.get_logger(__name__)


class Readings:
    """The reading side of one parent zone.

    `seen` is told of each delegation that was read, as a hint; `noticed` only of looks: not every reading is one. It
    says whether a signed change may be judged on what was read, without another look.
    """

    def __init__(
        self,
        zone: bytes,
        backend: Backend,
        noticed: Callable[[bytes, Reading, int], Awaitable[bool]],
        seen: Callable[[bytes, Delegation], Awaitable[None]],
        monotonic: Callable[[], float],
    ) -> None:
        self._zone = zone
        self._backend = backend
        self._noticed = noticed
        self._seen = seen
        self._beliefs = ReadingCache(REMEMBERED_CHILDREN, monotonic)
        self._confirmations = Confirmations(zone, backend)
        self._activity = InFlight()
        self._tried = asyncio.Event()
        self._is_open = False
        self.trouble: str | None = None
        """Why the backend is not open; None if it is, or was not tried yet."""

    async def open(self, held_up: Callable[[str, float], None]) -> None:
        """Open the backend, however long that takes; `held_up` is told why not, and the seconds to the next try.

        One that is open stays so.
        """
        while not self._is_open:
            try:
                await self._backend.open()
                self._is_open = True
            except BackendError as error:
                if self.trouble != error.reason:
                    _log.error("backend.unavailable", zone=names.to_text(self._zone), reason=error.reason)
                self.trouble = error.reason
                self._tried.set()
                held_up(error.reason, OPEN_RETRY)
                await asyncio.sleep(OPEN_RETRY)
        self.trouble = None
        self._tried.set()

    def believed(self, child: bytes, *, noticed: bool = False) -> Reading | None:
        """What is believed of a child; None if nothing is. `noticed`: of a look, or what we left there ourselves.

        Nothing is where a delegation may be made above it at any time: no write is conditional on there being none.
        """
        return self._beliefs.of(child, noticed=noticed) if names.parent(child) == self._zone else None

    def confirm(self, believed: Reading, patience: float) -> asyncio.Future[bool]:
        """Whether a look that begins from now on shows within so many seconds what is believed: one for all who ask."""
        return self._confirmations.ask(believed, patience)

    def believes(self, noticed: Reading) -> bool:
        """Whether that is what is believed of a child still, and noticed: then nothing follows from seeing it again."""
        return self.believed(noticed.delegation.child, noticed=True) == noticed

    async def read(self, child: bytes, patience: float) -> Reading:
        """What the server holds for a child now: nothing follows from it for keys that are trusted.

        Raises BackendError, StoreUnavailable.
        `patience` is for how many seconds a backend that was not tried yet is waited for.
        """
        reading, is_settled = await self._read(child, patience)
        if is_settled:
            await self._seen(child, reading.delegation)
        return reading

    async def look(self, child: bytes, patience: float) -> Reading:
        """What the server holds for a child now, noticed. Raises as `read`, StoreUnavailable."""
        reading, is_settled = await self._read(child, patience)
        if is_settled:
            await self.notice(child, reading)
        return reading

    async def notice(self, child: bytes, reading: Reading, untried: int = 0) -> None:
        """Have it noticed what was read of a child. Raises StoreUnavailable.

        `untried`: the number of a change that is accepted, and of which nothing can be there; 0 where there is none.
        """
        await self._seen(child, reading.delegation)
        if await self._noticed(child, reading, untried):
            self._beliefs.believe(child, reading, noticed=True)
        else:
            # whatever is signed is judged on what is read then
            self._beliefs.doubt(child)

    async def _read(self, child: bytes, patience: float) -> tuple[Reading, bool]:
        """What the server holds, and False where that may be half of a change of ours."""
        try:
            async with asyncio.timeout(patience):
                await self._tried.wait()
        except TimeoutError:
            raise BackendUnavailable("the backend is not open yet") from None
        if not self._is_open:
            raise BackendUnavailable(f"the backend is not ready: {self.trouble}")
        mark = self._activity.mark(child)
        reading = await self._backend.read(child)
        if self._activity.since(child, mark):
            # it may be half of our own change, which nobody shall be blamed for: what stays is there
            first, reading = reading, await self._backend.read(child)
            if first != reading:
                return reading, False
        self._beliefs.believe(child, reading)
        return reading, True

    async def around(self, name: bytes, patience: float, *, afresh: bool = False) -> Reading | None:
        """The delegation at or above a name below the apex, the topmost one; None where there is none.

        What is believed of it is enough unless it is to be read `afresh`. Raises BackendError, StoreUnavailable.
        """
        for place in (*names.between(name, self._zone), name):
            reading = (None if afresh else self.believed(place)) or await self.read(place, patience)
            if reading.delegation.is_delegated:
                return reading
        return None

    async def listing(self, most: int) -> list[Reading | Unreadable] | None:
        """Every delegation as the server lists it; None where there are more than that. Raises BackendError."""
        if not self._is_open:
            raise BackendUnavailable(f"the backend is not ready: {self.trouble}")
        listed: list[Reading | Unreadable] = []
        found = self._backend.children()
        try:
            async for reading in found:
                if len(listed) == most:
                    return None
                listed.append(reading)
        finally:
            if isinstance(found, AsyncGenerator):
                await found.aclose()
        return listed

    # Changes of our own

    def begins(self, child: bytes) -> None:
        """A change of ours is on its way to the server."""
        self._activity.begins(child)

    def ends(self, child: bytes, after: Delegation | None) -> None:
        """It is settled: the server holds `after`; None: nobody knows what it holds."""
        self._activity.ends(child)
        if after is None:
            self._beliefs.doubt(child)
        else:
            # an address that others need belongs to what was written, and is no part of what a reading shows
            self._beliefs.believe(child, Reading(visible(after)), noticed=True)
