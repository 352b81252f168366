"""Looks at the delegation of every child with a trusted key, again and again and slowly.

Trust ends with the delegation, and NS that somebody else changed are noticed: also where the child has nothing to say.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from zonecut.plugin import BackendError
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.store import KeyState, Store, StoreError

PACE = 0.02
"""Seconds between two reads: fifty a second are no load for a name server, and a million children take six hours."""

_log = structlog.get_logger(__name__)


class Sweep:
    """The children of one parent zone. `run` it in a task."""

    def __init__(
        self, zone: bytes, store: Store, delegation_of: Callable[[bytes], Awaitable[Delegation]], interval: float
    ) -> None:
        """`delegation_of` reads a delegation and tells whoever is to notice it; `interval` is in seconds."""
        self._zone = zone
        self._store = store
        self._delegation_of = delegation_of
        self.interval = interval

    async def run(self) -> None:
        """Sweep until cancelled, for the first time after one interval."""
        while True:
            await asyncio.sleep(self.interval)
            try:
                await self.once()
            except (BackendError, StoreError) as error:
                # the server or the store is away, which others report: the next sweep sees the rest
                _log.info("sweep.ended", zone=names.to_text(self._zone), reason=error.reason)

    async def once(self) -> int:
        """Read each delegation once; how many there were. Raises BackendError, StoreError."""
        count = 0
        last = b""
        async for stored in self._store.keys.list(state=KeyState.TRUSTED):
            owner = stored.key.owner
            if owner == last or not names.is_below(owner, self._zone):
                continue
            last = owner
            await self._delegation_of(owner)
            count += 1
            await asyncio.sleep(PACE)
        return count
