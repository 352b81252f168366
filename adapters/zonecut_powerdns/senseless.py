"""Records of a zone that cannot be read, while all others can: a listing says of which delegations they are."""

from collections.abc import Iterator

from zonecut.plugin import BackendUnavailable, Reading, Unreadable
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut_powerdns.content import name_wire

MOST = 1000
"""So many are kept; a zone with more cannot be read."""


class Senseless:
    """What could not be read of one export."""

    def __init__(self, zone: bytes) -> None:
        self._zone = zone
        self._at: dict[bytes, str] = {}
        self._cuts: dict[bytes, str] = {}
        self._nameless: dict[str, str] = {}

    def put(self, owner: str, rtype: int, reason: str) -> None:
        """Take one. Raises BackendUnavailable for one too many."""
        if len(self._at) + len(self._nameless) >= MOST:
            raise BackendUnavailable(f"PowerDNS exports more than {MOST} lines that cannot be read; one is {reason}")
        try:
            name = name_wire(owner)
        except ValueError:
            if rtype == RRType.NS:
                self._nameless.setdefault(owner, reason)
            return
        self._at.setdefault(name, reason)
        if rtype == RRType.NS and name != self._zone:
            self._cuts.setdefault(name, reason)

    def in_stead_of(self, reading: Reading) -> Reading | Unreadable:
        """A delegation, or why it cannot be shown: a record at it or below it cannot be read."""
        child = reading.delegation.child
        for owner, reason in self._at.items():
            if names.is_at_or_below(owner, child):
                self._cuts.pop(child, None)
                return Unreadable(child, names.to_text(child), reason)
        return reading

    def rest(self) -> Iterator[Unreadable]:
        """The delegations of which no NS could be read; to be called when all others have been taken."""
        for child, reason in self._cuts.items():
            yield Unreadable(child, names.to_text(child), reason)
        for text, reason in self._nameless.items():
            yield Unreadable(None, text, reason)
