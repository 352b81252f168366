"""Looks at the delegation of every child with a trusted key, again and again and slowly.

Trust ends with the delegation, and NS that somebody else changed are noticed: also where the child has nothing to say.
What is away or suspect is looked at more often, and where trust has just begun, soon. One child that cannot be
read stops nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from zonecut.plugin import BackendError, BackendUnavailable
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.keys import absence
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.receiver.keys.watching import Watching
from zonecut.receiver.trouble import Trouble
from zonecut.store import KeyState, Store, StoreError, Watch

PACE = 0.02
"""Seconds between two reads: fifty a second are no load for a name server, and a million children take six hours."""
NOTICE = 1.0
"""Seconds between two looks for children in whom trust has begun."""
START = 10.0
"""Seconds after the start within which the first looks begin: the server may have to be opened."""
IN_A_ROW = 5
"""So many children that cannot be read one after the other mean that the server is away."""
AWAY = (5.0, 300.0)
"""The first and the longest pause, in seconds, before a sweep goes on when the server is away."""
PAGE = 1000

_log = structlog.get_logger(__name__)


class Sweep:
    """The children of one parent zone. `run` it in a task."""

    def __init__(
        self,
        zone: bytes,
        store: Store,
        look_at: Callable[[bytes], Awaitable[Delegation]],
        watching: Watching,
        settings: TrustSettings,
    ) -> None:
        """`look_at` reads a delegation and has it noticed."""
        self._zone = zone
        self._store = store
        self._look_at = look_at
        self._watching = watching
        self._settings = settings

    async def run(self) -> None:
        """Look until cancelled: at all of them soon after the start, and then in the intervals of the settings."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self.once, self._settings.sweep))
            tasks.create_task(self._repeat(self.absent, absence.pause(self._settings.gone_after)))
            tasks.create_task(self._repeat(self.suspects, max(self._settings.suspend_after / 2, NOTICE)))
            tasks.create_task(self._new())

    async def once(self) -> int:
        """Look at each delegation once; how many there were. Raises StoreError."""
        looks = _Looks(self._zone, self._look_at)
        last = b""
        async for stored in self._store.keys.list(state=KeyState.TRUSTED):
            owner = stored.key.owner
            if owner != last and self._watching.speaks_for(owner):
                last = owner
                await looks.at(owner)
        looks.tell()
        await self._watching.round_ended()
        return looks.count

    async def absent(self) -> int:
        """Look at each delegation that is away; how many there were. Raises StoreError."""
        return await self._look_at_all(self._store.watches.absent)

    async def suspects(self) -> int:
        """Look at each child that is suspect; how many there were. Raises StoreError."""
        return await self._look_at_all(self._store.watches.suspects)

    async def _look_at_all(self, pages: Callable[[bytes, bytes, int], Awaitable[Sequence[Watch]]]) -> int:
        looks = _Looks(self._zone, self._look_at)
        page = await pages(self._zone, b"", PAGE)
        while page:
            for watch in page:
                if self._watching.speaks_for(watch.child):
                    await looks.at(watch.child)
            page = await pages(self._zone, page[-1].child, PAGE)
        looks.tell()
        if looks.count:
            await self._watching.round_ended()
        return looks.count

    async def begun(self, event: int | None) -> int:
        """Look at the children whose keys changed since an event, if they have no watch yet; the newest event.

        Raises StoreError.
        """
        newest, owners = await self._store.keys.changed_since(event)
        looks = _Looks(self._zone, self._look_at)
        for owner in owners:
            if self._watching.speaks_for(owner) and await self._watching.is_unwatched(owner):
                await looks.at(owner)
        return newest

    async def _repeat(self, look: Callable[[], Awaitable[int]], interval: float) -> None:
        await asyncio.sleep(min(interval, START))
        trouble = self._trouble()
        while True:
            await self._try(look, trouble)
            await asyncio.sleep(interval)

    async def _new(self) -> None:
        event: int | None = None

        async def look() -> int:
            nonlocal event
            event = await self.begun(event)
            return event

        trouble = self._trouble()
        while True:
            await self._try(look, trouble)
            await asyncio.sleep(NOTICE)

    def _trouble(self) -> Trouble:
        return Trouble("sweep.ended", zone=names.to_text(self._zone))

    async def _try(self, look: Callable[[], Awaitable[int]], trouble: Trouble) -> None:
        try:
            await look()
            trouble.over()
        except StoreError as error:
            trouble.again(error.reason)  # the next time it is all looked at


class _Looks:
    """One round of looks, at an even pace."""

    def __init__(self, zone: bytes, look_at: Callable[[bytes], Awaitable[Delegation]]) -> None:
        self._zone = zone
        self._look_at = look_at
        self.count = 0
        self._in_a_row = 0
        self._pause = AWAY[0]
        self._failed = 0
        self._example = ("", "")

    async def at(self, child: bytes) -> None:
        """Look at one; what goes wrong is counted. Raises StoreError."""
        self.count += 1
        try:
            await self._patiently(child)
            self._in_a_row, self._pause = 0, AWAY[0]
        except BackendError as error:
            self._fail(child, error.reason)
        except StoreError:
            raise
        except Exception as error:
            # a defect of an adapter must not end the looks at the others
            _log.exception("sweep.defect", zone=names.to_text(self._zone), child=names.to_text(child))
            self._fail(child, f"internal error: {type(error).__name__}")
        await asyncio.sleep(PACE)

    async def _patiently(self, child: bytes) -> None:
        """Look at one; where the server seems to be away, once more after a pause. Raises BackendError, StoreError."""
        try:
            await self._look_at(child)
        except BackendUnavailable as error:
            self._in_a_row += 1
            if self._in_a_row < IN_A_ROW:
                raise
            pause, self._pause = self._pause, min(2 * self._pause, AWAY[1])
            _log.info("sweep.waits", zone=names.to_text(self._zone), reason=error.reason, seconds=pause)
            await asyncio.sleep(pause)
            await self._look_at(child)

    def tell(self) -> None:
        """Sum up what could not be read."""
        if self._failed:
            child, reason = self._example
            _log.warning(
                "sweep.unreadable", zone=names.to_text(self._zone), children=self._failed, child=child, reason=reason
            )

    def _fail(self, child: bytes, reason: str) -> None:
        self._failed += 1
        self._example = (names.to_text(child), reason)
