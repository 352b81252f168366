"""Refusals of requests that are somebody's own: counted, logged, and kept in the audit trail."""

import asyncio

import structlog

from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode
from zonecut.store import AuditEntry, Store, StoreUnavailable

_log = structlog.get_logger(__name__)


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
