"""The receiver's keys, held against what the store knows of them: one that is lost is not replaced in silence."""

import asyncio
from collections.abc import Set

import structlog

from zonecut.receiver.announce.key_directory import Identities
from zonecut.store import Store, StoreError

_log = structlog.get_logger(__name__)


class OwnKeys:
    """Of a running receiver."""

    def __init__(self, identities: Identities, store: Store) -> None:
        self._identities = identities
        self._store = store
        self._trouble: str | None = None

    async def ensure(self, targets: Set[bytes]) -> None:
        """Have the keys at these target names ready and no others; made are those that there never were.

        Raises StoreError, and as KeyDirectory does: LostKey for one that the store knows.
        """
        known = await self._store.receiver_keys.all()
        await asyncio.to_thread(self._identities.ensure, targets, known)
        await self.note()

    async def note(self) -> None:
        """Have the store know the keys as they are; where it cannot be written, that is logged once."""
        try:
            await self._store.receiver_keys.note([each.current.key for each in self._identities.all()])
        except StoreError as error:
            if self._trouble != error.reason:
                self._trouble = error.reason
                _log.warning("identity.not_noted", reason=error.reason)
        else:
            self._trouble = None
