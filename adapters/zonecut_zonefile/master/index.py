"""Which delegations a zone's records make: cuts, what belongs to each, what lies above and below."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from zonecut.plugin import MAX_NAMED_BY, Change, Host, Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation
from zonecut_zonefile.master.placed import Packing, Placed

_ADDRESSES = (RRType.A, RRType.AAAA)
_AT_CHILD = (RRType.NS, RRType.DS)
_FEW = 8
"""Owners below a name that a tuple holds: most children have one or two hosts, and a set takes three times as much."""


class Index:
    """The NS, DS, A and AAAA records of one file, by owner and by every name above the owner and below the apex."""

    def __init__(self, apex: bytes) -> None:
        self._apex = apex
        self._packing = Packing()
        self._at: dict[bytes, bytes] = {}
        self._below: dict[bytes, tuple[bytes, ...] | set[bytes]] = {}
        """The owners strictly below a name; a set where they are many."""
        self.cuts: set[bytes] = set()
        self._naming: dict[bytes, dict[bytes, int]] = {}

    def __iter__(self) -> Iterator[Placed]:
        for owner, octets in self._at.items():
            yield from self._packing.unpacked(owner, octets)

    def owners(self) -> Iterable[bytes]:
        """All owners, in the order in which they came."""
        return self._at.keys()

    def compact(self) -> None:
        """Give back what growing has left: a table that grew by one at a time is up to three times too large."""
        self._at, self._below, self.cuts = dict(self._at), dict(self._below), set(self.cuts)

    def add(self, placed: Iterable[Placed]) -> None:
        for record in placed:
            owner = record.rr.owner
            if owner not in self._at:
                for name in _above(owner, self._apex):
                    self._below[name] = _with(self._below.get(name, ()), owner)
            self._at[owner] = self._at.get(owner, b"") + self._packing.packed((record,))
            if record.rr.rtype == RRType.NS:
                self.cuts.add(owner)
                if self._is_foreign(record):
                    owners = self._naming.setdefault(record.rr.rdata, {})
                    owners[owner] = owners.get(owner, 0) + 1

    def discard(self, placed: Iterable[Placed]) -> None:
        """Take these out; those that are not here are none of ours."""
        for record in placed:
            owner = record.rr.owner
            there = self.at(owner)
            left = [other for other in there if other != record]
            if len(left) == len(there):
                continue
            if record.rr.rtype == RRType.NS and self._is_foreign(record):
                self._forget(owner, record.rr.rdata)
            if left:
                self._at[owner] = self._packing.packed(left)
            else:
                del self._at[owner]
                for name in _above(owner, self._apex):
                    self._below[name] = _without(self._below[name], owner)
                    if not self._below[name]:
                        del self._below[name]
            if not any(other.rr.rtype == RRType.NS for other in left):
                self.cuts.discard(owner)

    def at(self, owner: bytes) -> Sequence[Placed]:
        octets = self._at.get(owner)
        return () if octets is None else tuple(self._packing.unpacked(owner, octets))

    def under(self, name: bytes) -> Iterator[bytes]:
        """The owners at and below a name that is below the apex."""
        if name in self._at:
            yield name
        yield from self._below.get(name, ())

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


def _with(owners: tuple[bytes, ...] | set[bytes], owner: bytes) -> tuple[bytes, ...] | set[bytes]:
    if isinstance(owners, set):
        owners.add(owner)
        return owners
    return (*owners, owner) if len(owners) < _FEW else {*owners, owner}


def _without(owners: tuple[bytes, ...] | set[bytes], owner: bytes) -> tuple[bytes, ...] | set[bytes]:
    if isinstance(owners, set):
        owners.discard(owner)
        return owners
    return tuple(other for other in owners if other != owner)


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


def _above(name: bytes, apex: bytes) -> Iterator[bytes]:
    """The names above one that still lie below the apex."""
    return ancestors(name[name[0] + 1 :], apex)


def ancestors(name: bytes, apex: bytes) -> Iterator[bytes]:
    """A name below the apex and every name above it that still is."""
    while len(name) > len(apex):
        yield name
        name = name[name[0] + 1 :]
