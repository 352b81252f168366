"""What the log says of a change that was accepted, and how often of what fails again and again."""

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from zonecut.plugin import Change
from zonecut.protocol import names
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.outcome import APPLIED, Outcome
from zonecut.receiver.provenance import Provenance
from zonecut.store import AuditEntry

_log = structlog.get_logger(__name__)


def is_told(failures: int) -> bool:
    """Whether the log tells of this failure of a row: the first, the second, the fourth, the eighth..."""
    return failures & (failures - 1) == 0


def tell_accepted(
    zone: bytes,
    change_id: int,
    change: Change,
    noted: Sequence[str],
    provenance: Provenance,
    settled: "asyncio.Future[Outcome]",
) -> None:
    """A change is in the ledger; where it is not settled yet, its end is told when it comes.

    `noted`: what the rules have against a delegation that it made no worse.
    """
    old, new = set(change.before.records), set(change.after.records)  # counted only: the ledger has them
    _log.info(
        "change.applied" if settled.done() else "change.accepted",
        zone=names.to_text(zone),
        child=names.to_text(change.child),
        change=change_id,
        key=provenance.key_tag,
        source=provenance.source,
        removed=len(old - new),
        added=len(new - old),
        **({"noted": noted} if noted else {}),
    )
    if not settled.done():
        tell_end(zone, change.child, change_id, settled)


def tell_end(zone: bytes, child: bytes, change_id: int, settled: "asyncio.Future[Outcome]") -> None:
    """Have it told when a change is applied of which nobody waits for the end."""
    settled.add_done_callback(partial(_tell_late, zone, child, change_id))


def tell_kept(
    ledger: Ledger, zone: bytes, child: bytes, change_id: int, kept: str, actor: str, source: str, key_tag: int | None
) -> None:
    """Addresses stay that a change would have had go: told in the log and in the audit trail."""
    event = "change.address-kept"
    _log.warning(event, zone=names.to_text(zone), child=names.to_text(child), change=change_id, reason=kept)
    ledger.tell(AuditEntry(event, actor, source, zone, child, key_tag, None, {"change": change_id, "reason": kept}))


def _tell_late(zone: bytes, child: bytes, change_id: int, settled: "asyncio.Future[Outcome]") -> None:
    if not settled.cancelled() and settled.result() == APPLIED:
        _log.info("change.applied", zone=names.to_text(zone), child=names.to_text(child), change=change_id)
