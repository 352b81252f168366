"""More at a time than is likely: nothing follows by itself, and a person is told once."""

import structlog

from zonecut.protocol import names
from zonecut.store import AuditEntry, Away, Store

_log = structlog.get_logger(__name__)


class TooMany:
    """The alarm of one parent zone about one kind of thing."""

    def __init__(self, zone: bytes, store: Store, event: str, actor: str, advice: str) -> None:
        self._zone = zone
        self._store = store
        self._event = event
        self._actor = actor
        self._advice = advice
        self._is_told = False

    async def now(self, found: Away) -> None:
        """So many there are now: told when they have become too many. Raises StoreUnavailable."""
        if not found.is_too_many and not found.held:
            self._is_told = False
        elif not self._is_told:
            self._is_told = True
            detail = {"away": found.count, "most": found.most, "watched": found.watched, "held": found.held}
            _log.error(self._event, zone=names.to_text(self._zone), **detail, advice=self._advice)
            await self._store.audit.record(AuditEntry(self._event, self._actor, zone=self._zone, detail=detail))
