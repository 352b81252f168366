"""The keys of a signer: at once where memory has them, else fetched together with those of whoever else waits."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from zonecut.protocol import names
from zonecut.store import KeyRing, RingKey, StoreRestored, StoreUnavailable

MAX_FETCHING = 1024
"""Messages that may wait for their keys to be fetched."""

_log = structlog.get_logger(__name__)

Use = Callable[[tuple[RingKey, ...]], None]
Fail = Callable[[str], None]


class KeyLookup:
    """Looks keys up without ever making who has them in memory wait for who has not.

    While a store that was restored waits for an operator, no key is worth what stands there: it may be revoked.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._waiting: list[tuple[bytes, Use, Fail]] = []
        self._fetching: asyncio.Task[None] | None = None

    def in_memory(self, owner: bytes) -> tuple[RingKey, ...] | None:
        """The keys of an owner if memory has them now, and they count."""
        return None if self._ring.restored else self._ring.lookup(owner)

    def look_up(self, owner: bytes, use: Use, fail: Fail) -> None:
        """Call `use` with the keys of an owner, at once if they are in memory, or `fail` with the reason."""
        keys = self.in_memory(owner)
        if keys is not None:
            use(keys)
        elif self._ring.restored:
            fail("the key store was restored from a backup and waits for an operator")
        elif len(self._waiting) >= MAX_FETCHING:
            fail("too many keys are being looked up; try again")
        else:
            self._waiting.append((owner, use, fail))
            if self._fetching is None:
                self._fetching = asyncio.create_task(self._fetch())

    async def keys_of(self, owner: bytes) -> tuple[RingKey, ...]:
        """The keys of an owner as they are now. Raises StoreUnavailable."""
        if self._ring.restored:
            raise StoreRestored(self._ring.restored.reason)
        keys = self._ring.lookup(owner)
        return (await self._ring.fetch({owner}))[owner] if keys is None else keys

    async def refresh(self, owner: bytes) -> None:
        """Have memory know at once what was just changed here, as well as that is possible."""
        with suppress(StoreUnavailable):
            await self._ring.fetch({owner})

    async def _fetch(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                try:
                    found = await self._ring.fetch({owner for owner, _, _ in batch})
                except StoreUnavailable as error:
                    for _, _, fail in batch:
                        fail(f"the key store is not available: {error.reason}")
                    continue
                except Exception:
                    _log.exception("request.defect", waiting=len(batch))
                    for _, _, fail in batch:
                        fail("internal error")
                    continue
                for owner, use, fail in batch:
                    try:
                        use(found[owner])
                    except Exception:
                        # a defect of ours must not take others' messages with it
                        _log.exception("request.defect", signer=names.to_text(owner))
                        fail("internal error")
        finally:
            self._fetching = None
