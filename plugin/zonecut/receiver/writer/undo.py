"""What a change that is given up left on the server, taken back as far as it is proven to be ours.

What the change added goes. What it would have removed, and is gone, comes back only where the server was seen to lose
it with the very write that it acknowledged, a moment ago. At any other time an absence is no proof that it was us: an
operator may have taken the same record out by hand. A delegation that is gone is never made again. What is neither left
nor undone is told, in the log and in the audit trail, for a person to put right.
"""

from dataclasses import dataclass

import structlog

from zonecut.plugin import Backend, BackendConflict, BackendRejected, Change
from zonecut.protocol import names
from zonecut.protocol.delegation import RR, Delegation
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.writer.write_queue import Pending
from zonecut.store import AuditEntry

_ADVICE = "nobody knows who did that: take out by hand what should not be there, and put back what is missed"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Undo:
    """What is to be done about what the server holds of a change, and what a person has to look at."""

    target: Delegation
    """What it is to hold; what it holds where nothing may be done."""
    left: frozenset[RR]
    """Records that the change would have added, and which stay."""
    missing: frozenset[RR]
    """Records that the change would have removed, and which do not come back."""

    @classmethod
    def of(cls, pending: Pending, held: Delegation) -> "Undo":
        """What may be undone without harm, whoever it was that changed what."""
        origin, after, there = (set(each.records) for each in (pending.origin, pending.change.after, held))
        if not pending.written or not pending.may_be_ours:
            return cls(held, frozenset(), frozenset())
        left, missing = frozenset((after - origin) & there), frozenset(origin - after - there)
        target = Delegation.of(held.child, (there - left) | (missing & pending.lost))
        made_anew = target.is_delegated and not held.is_delegated
        emptied = [each for each in held.rrsets if each in pending.origin.rrsets and each not in target.rrsets]
        if made_anew or emptied or not there <= origin | after:
            return cls(held, left, missing if there <= origin | after else frozenset())
        return cls(target, frozenset(), missing - pending.lost)


async def take_back(backend: Backend, ledger: Ledger, zone: bytes, pending: Pending, held: Delegation) -> str:
    """Undo what the server holds of a change; what became of that, for the reason. Raises BackendError."""
    undo, words = Undo.of(pending, held), ""
    is_by_hand = backend.by_hand(()) is not None
    if undo.target != held and is_by_hand:
        undo = Undo(held, undo.left, undo.missing)  # people put right what people did
    if undo.target != held:
        if not await _written(backend, Change(held, undo.target), pending.id):
            _tell(ledger, zone, pending, held, Undo(held, undo.left, undo.missing))
            return "; what it took of it could not be taken back, and the delegation needs a look"
        words = "; what it took of it was taken back"
    if undo.left or undo.missing:
        _tell(ledger, zone, pending, undo.target, undo)
        unknown = "whether it is there by half is not known"
        words += f"; {'a part of it was made by hand' if is_by_hand else unknown}, and the delegation needs a look"
    return words


async def _written(backend: Backend, undo: Change, change_id: int) -> bool:
    try:
        await backend.write([undo])
        return not await backend.verify([undo])
    except (BackendConflict, BackendRejected) as error:
        _log.warning("change.undo.refused", child=names.to_text(undo.child), change=change_id, reason=error.reason)
        return False


def _tell(ledger: Ledger, zone: bytes, pending: Pending, held: Delegation, undo: Undo) -> None:
    left, missing = ([record.to_text() for record in sorted(records)] for records in (undo.left, undo.missing))
    _log.error(
        "change.half-written",
        zone=names.to_text(zone),
        child=names.to_text(pending.child),
        change=pending.id,
        left=left,
        missing=missing,
        server_holds=held.to_json(),
        advice=_ADVICE,
    )
    detail = {"change": pending.id, "left": left, "missing": missing, "advice": _ADVICE}
    ledger.tell(AuditEntry("change.half-written", "zonecut", zone=zone, child=pending.child, detail=detail))
