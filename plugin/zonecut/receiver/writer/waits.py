"""What the server does not take now comes again: after a time of its own, noted in the ledger with the reason."""

import random
from collections.abc import Sequence

import structlog

from zonecut.plugin import BackendLater
from zonecut.protocol import names
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.writer.batches import Result
from zonecut.receiver.writer.by_hand import ByHand
from zonecut.receiver.writer.write_queue import Pending, WriteQueue
from zonecut.store import Attempt

BACKOFF = (0.1, 30.0)
"""The first and the longest pause, in seconds, before what the server would not take is tried again."""

_log = structlog.get_logger(__name__)


class Waits:
    """Those changes of a queue that come again later."""

    def __init__(self, zone: bytes, queue: WriteQueue, ledger: Ledger, jitter: random.Random) -> None:
        self._zone = zone
        self._queue = queue
        self._ledger = ledger
        self._jitter = jitter

    def set_aside(self, suspects: Sequence[Pending]) -> None:
        """Have these come again later, each after a time of its own."""
        for pending in suspects:
            if not pending.suspect:
                _log.error("change.waits", **about(self._zone, pending), reason=pending.trouble)
            pause = self.backoff(pending.pauses)
            pending.suspect = True
            pending.pauses += 1
            self.set_aside_for(pending, pause)

    def set_aside_for(self, pending: Pending, seconds: float) -> None:
        """Have one come again after so many seconds."""
        pending.lost = frozenset()  # until it comes again, others may come
        self._queue.set_aside(pending, seconds)
        self.note([pending], seconds)

    def put_off(self, pending: Pending, why: str, result: Result) -> None:
        """Have one come again of which it is not known now whether it may be written."""
        pending.trouble = why
        result.later = True
        self.set_aside([pending])

    def set_aside_lagging(self, pending: Pending, seconds: float, reason: str) -> None:
        """Have one be looked at again after so many seconds that the server acknowledged and may show by then."""
        pending.uncertain = pending.lagging = True
        pending.shown_late += 1
        pending.trouble = reason
        self.set_aside_for(pending, seconds)

    def put_aside(
        self, batch: Sequence[Pending], error: BackendLater, result: Result, by_hand: ByHand
    ) -> list[Pending]:
        """Have those wait that the server has yet to decide; the others."""
        result.later = True
        named = set(error.children).intersection(pending.child for pending in batch)
        waiting = [pending for pending in batch if not named or pending.child in named]
        for pending in waiting:
            if pending.trouble != error.reason:
                _log.info("change.later", **about(self._zone, pending), reason=error.reason, again_in=error.again_in)
            # somebody may carry it out meanwhile, other than by our writing
            pending.trouble, pending.uncertain, pending.lost = error.reason, True, frozenset()
            pending.answered_later, pending.again_in = True, error.again_in
            if by_hand.is_meant:
                pending.told_to_people()
                by_hand.tell_rest(pending)
            self._queue.set_aside(pending, error.again_in)
        self.note(waiting, error.again_in)
        return [pending for pending in batch if pending not in waiting]

    def note(self, waiting: Sequence[Pending], retry_in: float, reason: str | None = None) -> None:
        """Have the ledger say why these wait, and that they are tried again in so many seconds."""
        self._ledger.note([Attempt(each.id, each.attempts, reason or each.trouble, retry_in) for each in waiting])

    def backoff(self, failures: int) -> float:
        """The pause, in seconds, after so many failures in a row."""
        first, longest = BACKOFF
        return min(first * 2.0 ** min(failures, 32), longest) * self._jitter.uniform(0.5, 1.0)


def about(zone: bytes, pending: Pending) -> dict[str, object]:
    """Which change it is, for the log."""
    return {"zone": names.to_text(zone), "child": names.to_text(pending.child), "change": pending.id}
