"""What was asked for of a change, and does not count any more: somebody may carry it out all the same.

A change that would have taken the addresses of a host is judged again once another one names it, and keeps them; or it
is rejected. Whoever noted the former lines, or a server that was not told to forget, may still carry them out.
"""

from collections.abc import Iterable, Iterator

import structlog

from zonecut.plugin import Change
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.change.released import KEPT, Released
from zonecut.receiver.writer.aftercare import Aftercare
from zonecut.receiver.writer.waits import about
from zonecut.receiver.writer.write_queue import Pending
from zonecut.store import StoreError

_log = structlog.get_logger(__name__)


class Superseded:
    """Of one parent zone."""

    def __init__(self, zone: bytes, ledger: Ledger, aftercare: Aftercare) -> None:
        self._zone = zone
        self._ledger = ledger
        self._aftercare = aftercare

    async def rebase(self, pending: Pending, change: Change) -> None:
        """Go on with what was judged, and where it is enforced checked, on what the server holds now."""
        if not pending.may_have_left(change.before):
            pending.origin = change.before
        if change.after != pending.change.after:
            pending.case.watch(change, pending.id)
        pending.change = change
        self.watch(pending)
        try:
            await self._ledger.rebase(pending.id, Change(pending.origin, change.after))
        except StoreError as error:
            _log.warning("change.rebase.delayed", change=pending.id, reason=error.reason)

    def watch(self, *batch: Pending) -> None:
        """Have it seen, and outlive the process, if an address goes after all that one of these does not take."""
        for pending in batch:
            for released in _superseded(pending):
                if self._aftercare.watch([released], pending.again_in):
                    _log.info("glue.kept", **about(self._zone, pending))
                    self._ledger.tell(released.to_entry(self._zone, KEPT))


def _superseded(pending: Pending) -> Iterator[Released]:
    """The addresses that somebody may take who was asked for this change in another form, or until it failed."""
    if not pending.answered_later:
        return
    kept = {record.owner for record in pending.change.after.glue}
    for released in _asked(pending.asked):
        if pending.has_failed or released.host in kept:
            yield released


def _asked(changes: Iterable[Change]) -> Iterator[Released]:
    for change in changes:
        yield from Released.by(change)
