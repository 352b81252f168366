"""Refusals of requests that are somebody's own: counted, logged, and kept in the audit trail."""

import asyncio

import structlog

from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode
from zonecut.receiver.bounded import Bounded
from zonecut.store import AuditEntry, Store, StoreUnavailable

_log = structlog.get_logger(__name__)


REMEMBERED_REFUSALS = 10_000
"""So many refused messages are told apart from their repetitions, the latest ones."""


class RefusedBefore:
    """Signed data that was refused, or could not be taken: no answer is remembered, but the cost (section 3).

    Whoever repeats it, its child is charged for it once, and it is audited and logged once. Once its signature has
    expired it does not come so far any more.
    """

    def __init__(self) -> None:
        self._paid: Bounded[bytes, None] = Bounded(REMEMBERED_REFUSALS)
        self._told: Bounded[bytes, None] = Bounded(REMEMBERED_REFUSALS)

    def is_paid(self, identity: bytes | None) -> bool:
        """Whether a child was charged for the same request."""
        return identity in self._paid

    def charged(self, identity: bytes) -> None:
        """A request that its child was charged for has been refused."""
        self._paid[identity] = None

    def is_first(self, identity: bytes) -> bool:
        """Whether the refusal of a request is to be told; the next one of the same is not."""
        if identity in self._told:
            return False
        self._told[identity] = None
        return True


class Refusals:
    """Where refusals are told. What strangers send is for the tally, not for here."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writing: set[asyncio.Task[None]] = set()

    def tell(
        self,
        zone: bytes,
        child: bytes,
        *,
        actor: str,
        key_tag: int | None,
        source: str,
        rule: str,
        reason: str,
        rcode: Rcode,
    ) -> None:
        """Log a refusal, and write it into the audit trail in the background."""
        _log.warning(
            "change.refused",
            zone=names.to_text(zone),
            child=names.to_text(child),
            actor=actor,
            key=key_tag,
            rule=rule,
            reason=reason,
            rcode=rcode.name,
            source=source,
        )
        detail = {"reason": reason, "rcode": rcode.name}
        entry = AuditEntry("change.refused", actor, source, zone, child, key_tag, rule, detail)
        task = asyncio.create_task(self._write(entry))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def close(self, patience: float) -> None:
        """Wait for what is being written, `patience` seconds at most."""
        if self._writing:
            await asyncio.wait(self._writing, timeout=patience)

    async def _write(self, entry: AuditEntry) -> None:
        try:
            await self._store.audit.record(entry)
        except StoreUnavailable as error:
            _log.error("audit.lost", event_lost=entry.event, reason=error.reason)
