"""Which delegations a zone's records make: cuts, what belongs to each, what lies above and below."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from zonecut.plugin import MAX_NAMED_BY, Change, Host, Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation
from zonecut_zonefile.reader import Placed

_ADDRESSES = (RRType.A, RRType.AAAA)
_AT_CHILD = (RRType.NS, RRType.DS)


class Index:
    """The NS, DS, A and AAAA records of one file, by owner and by every name above the owner and below the apex."""

    def __init__(self, apex: bytes, placed: Iterable[Placed] = ()) -> None:
        self._apex = apex
        self._at: dict[bytes, list[Placed]] = {}
        self._under: dict[bytes, set[bytes]] = {}
        self.cuts: set[bytes] = set()
        self._naming: dict[bytes, dict[bytes, int]] = {}
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
                if self._is_foreign(record):
                    owners = self._naming.setdefault(record.rr.rdata, {})
                    owners[owner] = owners.get(owner, 0) + 1

    def discard(self, placed: Iterable[Placed]) -> None:
        for record in placed:
            owner = record.rr.owner
            there = self._at.get(owner, ())
            left = [other for other in there if other is not record]
            if len(left) < len(there) and record.rr.rtype == RRType.NS and self._is_foreign(record):
                self._forget(owner, record.rr.rdata)
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

    def naming(self, host: bytes) -> Iterator[bytes]:
        """The owners of the NS records here that name a host."""
        yield from self._naming.get(host, ())
        for name in ancestors(host, self._apex):
            if any(record.rr.rtype == RRType.NS and record.rr.rdata == host for record in self.at(name)):
                yield name

    def _is_foreign(self, record: Placed) -> bool:
        """True for an NS of a host in the zone that does not lie in its owner: those are found by the host alone."""
        target = record.rr.rdata
        return names.is_below(target, self._apex) and not names.is_at_or_below(target, record.rr.owner)

    def _forget(self, owner: bytes, host: bytes) -> None:
        owners = self._naming[host]
        owners[owner] -= 1
        if not owners[owner]:
            del owners[owner]
        if not owners:
            del self._naming[host]


class Zone:
    """The records of several files as one zone.

    An address belongs to each cut above it whose NS name it, and, if there is none, to the deepest (orphan glue).
    """

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

    def concerned(self, change: Change) -> list[Placed]:
        """All that stands at the owners that a change names: NS and DS of the child, addresses of its name servers."""
        child = change.child
        return [
            *self._at(child, _AT_CHILD),
            *(each for owner in owners(change) for each in self._at(owner, _ADDRESSES)),
        ]

    def held(self, change: Change) -> Delegation:
        """What stands at the owners that a change names."""
        return Delegation.of(change.child, (record.rr for record in self.concerned(change)))

    def host(self, name: bytes) -> Host:
        """Who names a host, and its addresses."""
        naming = dict.fromkeys(owner for index in self._indexes for owner in index.naming(name))
        addresses = {record.rr for record in self._at(name, _ADDRESSES)}
        return Host(tuple(islice(naming, MAX_NAMED_BY)), tuple(sorted(addresses)))

    def reading(self, child: bytes, *, orphans: bool = False) -> Reading:
        """The delegation with those around it; `enclosing` is the highest, whose referral a server gives."""
        above = [name for name in ancestors(child, self.apex) if name != child and self.is_cut(name)]
        below = {
            owner for index in self._indexes for owner in index.under(child) if owner != child and owner in index.cuts
        }
        records = self._of_delegation(child, orphans)
        return Reading(
            Delegation.of(child, (record.rr for record in records)),
            enclosing=above[-1] if above else None,
            nested=tuple(sorted(below, key=names.sort_key)),
            ttls={(record.rr.owner, record.rr.rtype): record.ttl for record in records if record.ttl is not None},
        )

    def _of_delegation(self, child: bytes, orphans: bool) -> list[Placed]:
        """Without NS, addresses at or below the name are the zone's own: no glue."""
        found = self._at(child, _AT_CHILD)
        servers = {record.rr.rdata for record in found if record.rr.rtype == RRType.NS}
        if not servers:
            return found
        below = {owner for index in self._indexes for owner in index.under(child)}
        for owner in below:
            if owner in servers or (orphans and self.home(owner) == child and not self._is_named_above(owner)):
                found += self._at(owner, _ADDRESSES)
        return found

    def _is_named_above(self, host: bytes) -> bool:
        """True if a cut at or above a host has an NS that names it."""
        above = ancestors(host, self.apex)
        return any(each.rr.rdata == host for name in above for each in self._at(name, (RRType.NS,)))

    def _at(self, owner: bytes, rtypes: Sequence[int]) -> list[Placed]:
        return [record for index in self._indexes for record in index.at(owner) if record.rr.rtype in rtypes]


def owners(change: Change) -> set[bytes]:
    """The names at which a change has or had addresses."""
    before, after = change.before, change.after
    glue = {record.owner for record in (*before.glue, *after.glue)}
    return glue.union(before.in_domain_ns(), after.in_domain_ns())


def ancestors(name: bytes, apex: bytes) -> Iterator[bytes]:
    """A name below the apex and every name above it that still is."""
    while len(name) > len(apex):
        yield name
        name = name[name[0] + 1 :]
