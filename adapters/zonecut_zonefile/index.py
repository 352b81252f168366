"""Which delegations a zone's records make: cuts, what belongs to each, what lies above and below."""

from collections.abc import Iterable, Iterator, Sequence

from zonecut.plugin import Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation
from zonecut_zonefile.reader import Placed

_ADDRESSES = (RRType.A, RRType.AAAA)


class Index:
    """The NS, DS, A and AAAA records of one file, by owner and by every name above the owner and below the apex."""

    def __init__(self, apex: bytes, placed: Iterable[Placed] = ()) -> None:
        self._apex = apex
        self._at: dict[bytes, list[Placed]] = {}
        self._under: dict[bytes, set[bytes]] = {}
        self.cuts: set[bytes] = set()
        self.add(placed)

    def add(self, placed: Iterable[Placed]) -> None:
        for record in placed:
            owner = record.rr.owner
            if owner not in self._at:
                self._at[owner] = []
                for name in ancestors(owner, self._apex):
                    self._under.setdefault(name, set()).add(owner)
            self._at[owner].append(record)
            if record.rr.rtype == RRType.NS:
                self.cuts.add(owner)

    def discard(self, placed: Iterable[Placed]) -> None:
        for record in placed:
            owner = record.rr.owner
            left = [other for other in self._at.get(owner, ()) if other is not record]
            if left:
                self._at[owner] = left
            elif self._at.pop(owner, None) is not None:
                for name in ancestors(owner, self._apex):
                    self._under[name].discard(owner)
                    if not self._under[name]:
                        del self._under[name]
            if not any(other.rr.rtype == RRType.NS for other in left):
                self.cuts.discard(owner)

    def at(self, owner: bytes) -> Sequence[Placed]:
        return self._at.get(owner, ())

    def under(self, name: bytes) -> Iterable[bytes]:
        """The owners at and below a name that is below the apex."""
        return self._under.get(name, ())


class Zone:
    """The records of several files as one zone. A record belongs to the deepest cut at or above its owner."""

    def __init__(self, apex: bytes, *indexes: Index) -> None:
        self.apex = apex
        self._indexes = indexes

    def is_cut(self, name: bytes) -> bool:
        return any(name in index.cuts for index in self._indexes)

    def cuts(self) -> Iterator[bytes]:
        return iter(set().union(*(index.cuts for index in self._indexes)))

    def home(self, owner: bytes) -> bytes | None:
        """The deepest cut at or above a name; None for what is no part of a delegation."""
        return next((name for name in ancestors(owner, self.apex) if self.is_cut(name)), None)

    def belonging(self, child: bytes) -> list[Placed]:
        """NS and DS at the child, and the addresses at or below it that belong to no other cut."""
        expected = child if self.is_cut(child) else None
        found = []
        for index in self._indexes:
            for owner in index.under(child):
                for record in index.at(owner):
                    if record.rr.rtype not in _ADDRESSES:
                        if owner == child:
                            found.append(record)
                    elif self.home(owner) == expected:
                        found.append(record)
        return found

    def delegation(self, child: bytes) -> Delegation:
        """What stands there for the child."""
        return Delegation.of(child, (record.rr for record in self._of_delegation(child)))

    def reading(self, child: bytes) -> Reading:
        """The delegation with those around it; `enclosing` is the highest, whose referral a server gives."""
        above = [name for name in ancestors(child, self.apex) if name != child and self.is_cut(name)]
        below = {
            owner for index in self._indexes for owner in index.under(child) if owner != child and owner in index.cuts
        }
        records = self._of_delegation(child)
        return Reading(
            Delegation.of(child, (record.rr for record in records)),
            enclosing=above[-1] if above else None,
            nested=tuple(sorted(below, key=names.sort_key)),
            ttls={(record.rr.owner, record.rr.rtype): record.ttl for record in records if record.ttl is not None},
        )

    def _of_delegation(self, child: bytes) -> list[Placed]:
        """Without NS, addresses at or below the name are the zone's own: no glue."""
        found = self.belonging(child)
        return found if self.is_cut(child) else [record for record in found if record.rr.rtype not in _ADDRESSES]


def ancestors(name: bytes, apex: bytes) -> Iterator[bytes]:
    """A name below the apex and every name above it that still is."""
    while len(name) > len(apex):
        yield name
        name = name[name[0] + 1 :]
