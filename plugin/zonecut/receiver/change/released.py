"""Addresses that went from a host: what is to be put back if somebody turns out to name it."""

from collections.abc import Iterator
from dataclasses import dataclass

from zonecut.plugin import Change
from zonecut.protocol import names
from zonecut.protocol.delegation import RR
from zonecut.store import AuditEntry, Chore

FREEING, FREED, RESTORED, KEPT = "glue.freeing", "glue.freed", "glue.restored", "glue.kept"
"""The events of the audit trail: addresses are about to be taken away since nobody names their host, which is for who
comes after a crash; they are gone; they are back since somebody names it; and a change was asked for that takes them,
and does not count any more, which somebody may carry out still."""


@dataclass(frozen=True, slots=True)
class Released:
    """The addresses of a host that went with a change of a child."""

    host: bytes
    child: bytes
    addresses: tuple[RR, ...]

    @classmethod
    def by(cls, change: Change) -> Iterator["Released"]:
        """What a change takes away: hosts that have no address any more."""
        kept = {record.owner for record in change.after.glue}
        for host in sorted({record.owner for record in change.before.glue} - kept):
            yield cls(host, change.child, tuple(record for record in change.before.glue if record.owner == host))

    @classmethod
    def of_chore(cls, chore: Chore) -> "Released":
        """The addresses that a person is to take away or to put back."""
        differing = sorted(set(chore.before.glue) ^ set(chore.after.glue))
        return cls(chore.host, chore.child, tuple(record for record in differing if record.owner == chore.host))

    def to_entry(self, zone: bytes, event: str) -> AuditEntry:
        """What the audit trail keeps of it."""
        addresses = [[int(record.rtype), record.rdata.hex()] for record in self.addresses]
        detail = {"host": names.to_text(self.host), "addresses": addresses}
        return AuditEntry(event, "zonecut", "", zone, self.child, detail=detail)

    @classmethod
    def of_entry(cls, entry: AuditEntry) -> "Released | None":
        """What an entry is about; None where it makes no sense."""
        try:
            host = names.from_text(entry.detail["host"])
            found = [RR(host, int(rtype), bytes.fromhex(rdata)) for rtype, rdata in entry.detail["addresses"]]
        except (KeyError, TypeError, ValueError):
            return None
        return None if entry.child is None else cls(host, entry.child, tuple(found))
