"""An incremental transfer, record by record (RFC 1995 section 4). Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from zonecut.protocol.codepoints import RRType
from zonecut.protocol.rrset import ResourceRecord
from zonecut.protocol.sig0 import later

_SOA = int(RRType.SOA)
_SERIAL = slice(-20, -16)
_MOST = 100_000
"""So many records of differences are kept; a whole zone takes less then."""


def serial_of(soa: ResourceRecord) -> int:
    """The serial in an SOA record (RFC 1035 section 3.3.13)."""
    return int.from_bytes(soa.rdata[_SERIAL])


@dataclass(slots=True)
class Difference:
    """Between two versions of a zone, with the SOA of each."""

    removed: list[ResourceRecord] = field(default_factory=list)
    added: list[ResourceRecord] = field(default_factory=list)


class Increments:
    """What has changed since the zone had this SOA; nothing, where the server has no later version."""

    def __init__(self, known: ResourceRecord) -> None:
        self._zone = known.owner
        self._known = serial_of(known)
        self._newest: int | None = None
        self._at: int | None = None
        self._adding = False
        self._found: list[Difference] = []
        self._count = 0
        self.is_complete = False
        self.is_whole = False
        """The server sends the whole zone instead, or more than is worth it."""

    @property
    def differences(self) -> Sequence[Difference]:
        """One after the other."""
        return self._found

    def feed(self, records: Iterable[ResourceRecord]) -> bool:
        """Take records of the answer; True if no more are wanted."""
        for record in records:
            if self.is_complete or self.is_whole:
                break
            self._take(record)
        return self.is_complete or self.is_whole

    def _take(self, record: ResourceRecord) -> None:
        self._count += 1
        is_soa = record.rtype == _SOA
        if (is_soa and record.owner != self._zone) or self._count > _MOST:
            self.is_whole = True
        elif self._newest is None:
            self._begin(record)
        elif not self._found and (not is_soa or serial_of(record) != self._known):
            self.is_whole = True
        elif not is_soa:
            (self._found[-1].added if self._adding else self._found[-1].removed).append(record)
        elif self._found and not self._adding:
            self._adding, self._at = True, serial_of(record)
            self._found[-1].added.append(record)
        elif self._found and self._at == self._newest:
            self.is_complete, self.is_whole = serial_of(record) == self._newest, serial_of(record) != self._newest
        else:
            self._adding = False
            self._found.append(Difference([record]))

    def _begin(self, record: ResourceRecord) -> None:
        """Where we have the server's version or a later one, it answers with its SOA alone (RFC 1995 section 2)."""
        if record.rtype != _SOA:
            self.is_whole = True
            return
        self._newest = self._at = serial_of(record)
        self.is_complete = not later(self._newest, self._known)
