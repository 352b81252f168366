"""The durable record of every accepted change: written before anybody is told NOERROR."""

import asyncio
from collections.abc import Sequence

import structlog

from zonecut.plugin import Change
from zonecut.protocol import names
from zonecut.protocol.sig0 import seconds_until
from zonecut.receiver.authentication import Authenticated
from zonecut.store import ChangeState, ChildRecord, NewChange, Store, StoredChange, StoreUnavailable

SETTLE_RETRY = 1.0
"""Seconds between attempts to record how a change ended while the store cannot be written."""

_log = structlog.get_logger(__name__)


class Ledger:
    """One parent zone's accepted changes in the store."""

    def __init__(self, store: Store, zone: bytes, fudge: int) -> None:
        self._store = store
        self._zone = zone
        self._fudge = fudge
        self._settling: set[asyncio.Task[None]] = set()

    async def append(self, authenticated: Authenticated, change: Change, source: str, now: float) -> tuple[int, float]:
        """The id of the change, once it is on disk, and until when it may be replayed. Raises StoreUnavailable."""
        expires_at = self.replayable_until(authenticated, now)
        change_id = await self._store.changes.append(
            NewChange(
                zone=self._zone,
                actor=names.to_text(change.child),
                key_id=authenticated.stored.id if authenticated.stored else None,
                key_tag=authenticated.key.tag,
                source=source,
                before=change.before,
                after=change.after,
                message=authenticated.admitted.envelope.wire,
                identity=authenticated.identity,
                expires_at=expires_at,
                inception=authenticated.signature.inception,
            )
        )
        return change_id, expires_at

    def replayable_until(self, authenticated: Authenticated, now: float) -> float:
        """Until when a request may be replayed, in seconds since the epoch: its expiration, and what clocks differ."""
        return now + seconds_until(authenticated.signature.expiration, int(now)) + self._fudge

    async def latest(self, child: bytes) -> ChildRecord:
        """The child's newest accepted inception and unsettled change. Raises StoreUnavailable."""
        return await self._store.changes.latest(child)

    async def unsettled(self) -> Sequence[StoredChange]:
        """What a crash left between ledger and backend, in the order in which it was accepted."""
        return await self._store.changes.unsettled(self._zone)

    async def rebase(self, change_id: int, change: Change) -> None:
        """The change was judged again on what the server holds now. Raises StoreUnavailable."""
        await self._store.changes.rebase(change_id, change.before, change.after)

    def settle(self, change_id: int, state: ChangeState, reason: str | None, attempts: int) -> None:
        """Record how a change ended, in the background: until that is on disk, a restart only settles it again."""
        task = asyncio.create_task(self._settle(change_id, state, reason, attempts))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settle(self, change_id: int, state: ChangeState, reason: str | None, attempts: int) -> None:
        while True:
            try:
                return await self._store.changes.settle(change_id, state, reason, attempts=attempts)
            except StoreUnavailable as error:
                _log.warning("change.settle.delayed", change=change_id, state=state, reason=error.reason)
                await asyncio.sleep(SETTLE_RETRY)

    async def close(self, patience: float) -> None:
        """Wait up to `patience` seconds until all that is settled is recorded."""
        if self._settling:
            _, late = await asyncio.wait(self._settling, timeout=patience)
            for task in late:
                task.cancel()
