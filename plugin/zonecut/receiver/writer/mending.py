"""Putting right what a change means for a host of others: it is written, or told where people write the zone."""

from collections.abc import Awaitable, Callable, Mapping
from math import inf

import structlog

from zonecut.plugin import Backend, BackendConflict, BackendLater, BackendRejected, Change
from zonecut.protocol import names
from zonecut.receiver.change.released import Released
from zonecut.receiver.writer.by_hand import ByHand
from zonecut.store import AuditEntry, Chore, StoreUnavailable

DONE, IN_VAIN = 0.0, inf
"""What became of it, where it is not for people to do in so many seconds."""

_log = structlog.get_logger(__name__)


class Mending:
    """Of one parent zone."""

    def __init__(
        self,
        zone: bytes,
        backend: Backend,
        record: Callable[[AuditEntry], Awaitable[None]],
        by_hand: ByHand | None,
    ) -> None:
        """`record` writes into the audit trail, and raises StoreUnavailable; `by_hand` is told what people are to do
        where it is they who write."""
        self._zone = zone
        self._backend = backend
        self._record = record
        self._by_hand = by_hand

    @property
    def told(self) -> Mapping[bytes, Chore]:
        """What people are told to do, by host."""
        return {} if self._by_hand is None else self._by_hand.hosts

    @property
    def is_by_hand(self) -> bool:
        return self._by_hand is not None and self._by_hand.is_meant

    async def mend(self, event: str, host: bytes, change: Change) -> float:
        """DONE; IN_VAIN, which is in the log; or the seconds after which to look whether people have. Raises
        BackendError where the server is away."""
        try:
            await self._backend.write([change])
        except (BackendConflict, BackendLater, BackendRejected) as error:
            if self._by_hand is None or not self.is_by_hand or not isinstance(error, BackendLater):
                _log.warning("glue.unsettled", **self.about(change.child, host), reason=error.reason)
                return IN_VAIN
            return error.again_in if self._by_hand.tell_of_host(event, host, change) else IN_VAIN
        return DONE

    async def done(self, event: str, released: Released) -> None:
        """The zone shows it: that is in the log and, once, in the audit trail; nobody has to do it any more."""
        self.drop(released.child, released.host)
        _log.warning(event, **self.about(released.child, released.host))
        try:
            await self._record(released.to_entry(self._zone, event))
        except StoreUnavailable as error:
            _log.error("audit.lost", event_lost=event, reason=error.reason)

    def drop(self, child: bytes, host: bytes) -> None:
        """Nobody has to do it any more."""
        if self._by_hand is not None:
            self._by_hand.drop(child, host)

    def about(self, child: bytes, host: bytes) -> dict[str, str]:
        """Which host it is, for the log."""
        return {"zone": names.to_text(self._zone), "child": names.to_text(child), "host": names.to_text(host)}
