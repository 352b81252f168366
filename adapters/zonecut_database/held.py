"""What rows say about delegations, and which rows have to go, change or come for a change. Pure."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from zonecut.plugin import BackendConflict, BackendRejected, Change, Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, TYPES, Delegation, Ttls
from zonecut_database.text import columns_of, owner_of, record_of

_ADDRESSES = (int(RRType.A), int(RRType.AAAA))
_OF_DELEGATION = frozenset(RRType(rtype).text for rtype in TYPES)
_ALIASES = ("CNAME", "DNAME")


class Row(NamedTuple):
    """A row of the table of records."""

    id: int
    child: str
    owner: str
    type: str
    ttl: int
    rdata: str

    def __str__(self) -> str:
        return f"the row with id {self.id} ({self.owner} {self.type} {self.rdata})"


class Stored(NamedTuple):
    """A row that makes sense. `ttl` in seconds."""

    id: int
    ttl: int
    rr: RR

    def __str__(self) -> str:
        return f"the row with id {self.id} ({self.rr.to_text()})"


class Senseless(Exception):
    """A row that no zone could hold; the message says which one, and why."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Rows to delete by id, rows to be given another TTL, and rows to insert: child, owner, type, TTL, RDATA."""

    deleted: list[int] = field(default_factory=list)
    retimed: dict[int, list[int]] = field(default_factory=dict)
    """Ids by TTL."""
    inserted: list[tuple[str, str, str, int, str]] = field(default_factory=list)

    def add(
        self,
        child: str,
        held: Iterable[Stored],
        wanted: Iterable[RR],
        ttls: Ttls | int,
        *,
        every_ttl: bool = False,
    ) -> None:
        """What turns these rows into these records, filed under the child.

        An RRset of which anything changes gets its TTL all over; with `every_ttl`, any RRset does.
        """
        missing = set(wanted)
        kept = []
        changed = set()
        for stored in held:
            if stored.rr in missing:
                missing.discard(stored.rr)
                kept.append(stored)
            else:
                self.deleted.append(stored.id)
                changed.add(stored.rr[:2])
        changed.update(rr[:2] for rr in missing)
        for stored in kept:
            ttl = _ttl(ttls, stored.rr.rtype)
            if stored.ttl != ttl and (every_ttl or stored.rr[:2] in changed):
                self.retimed.setdefault(ttl, []).append(stored.id)
        for rr in sorted(missing):
            owner, rtype, rdata = columns_of(*rr)
            self.inserted.append((child, owner, rtype, _ttl(ttls, rr.rtype), rdata))


def _ttl(ttls: Ttls | int, rtype: int) -> int:
    return ttls.of(rtype) if isinstance(ttls, Ttls) else ttls


class Held:
    """The records of delegations at some names, as rows have them."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._of_child: dict[str, list[Stored]] = {}
        self._addresses: dict[bytes, list[Stored]] = {}
        self._cuts: set[bytes] = set()
        self._aliases: set[str] = set()
        self._senseless: dict[str, str] = {}

    def take(self, rows: Iterable[Row]) -> None:
        """Rows in addition to those that are there; one may come again."""
        for row in rows:
            if row.id in self._seen:
                continue
            self._seen.add(row.id)
            if row.type in _ALIASES:
                self._aliases.add(row.owner)
            elif row.type in _OF_DELEGATION:
                self._take(row)

    def _take(self, row: Row) -> None:
        if row.type == "NS":
            # whatever its data may be
            with suppress(ValueError):
                self._cuts.add(owner_of(row.owner))
        try:
            stored = Stored(row.id, row.ttl, record_of(row.owner, row.type, row.rdata))
        except ValueError as error:
            # whatever may be concerned by it: the child under which it is filed, and all that has its owner
            self._senseless.setdefault(row.child, f"{row} makes no sense: {error}")
            self._senseless.setdefault(row.owner, f"{row} makes no sense: {error}")
            return
        self._of_child.setdefault(row.child, []).append(stored)
        if stored.rr.rtype in _ADDRESSES:
            self._addresses.setdefault(stored.rr.owner, []).append(stored)

    def is_cut(self, name: bytes) -> bool:
        return name in self._cuts

    def cuts_below(self, name: bytes) -> list[bytes]:
        return [cut for cut in self._cuts if names.is_below(cut, name)]

    def in_domain_ns(self, child: bytes) -> list[bytes]:
        """The names of the child's name servers that lie in it."""
        return [
            rr.rdata
            for _, _, rr in self._of_child.get(names.to_text(child), ())
            if rr.rtype == RRType.NS and names.is_at_or_below(rr.rdata, child)
        ]

    def rows(self, child: bytes, owners: Iterable[bytes] = ()) -> list[Stored]:
        """What is filed under the child, and all addresses of its name servers in it and at `owners`. Raises Senseless.

        Where addresses are filed is somebody's idea of order; what is at a name is what the zone has.
        """
        places = self._places(child, owners)
        for place in (child, *places):
            if (reason := self._senseless.get(names.to_text(place))) is not None:
                raise Senseless(reason)
        rows = self._rows(child, places)
        for stored in rows:
            if not names.is_at_or_below(stored.rr.owner, child):
                raise Senseless(f"{stored} lies outside of its child {names.to_text(child)}")
        return rows

    def _places(self, child: bytes, owners: Iterable[bytes]) -> set[bytes]:
        return {*self.in_domain_ns(child), *owners}

    def _rows(self, child: bytes, places: Iterable[bytes]) -> list[Stored]:
        found = {stored.id: stored for stored in self._of_child.get(names.to_text(child), ())}
        for place in places:
            found.update((stored.id, stored) for stored in self._addresses.get(place, ()))
        return list(found.values())

    def reading(self, child: bytes, *, orphans: bool, enclosing: bytes | None, nested: Collection[bytes]) -> Reading:
        """The child's delegation, on wish with glue that no NS names. Raises Senseless.

        Without NS, addresses below the name are the zone's own, and a DS is there but means nothing.
        """
        rows = self.rows(child)
        ns = {rr.rdata for _, _, rr in rows if rr.rtype == RRType.NS}
        shown = [
            stored
            for stored in rows
            if stored.rr.rtype not in _ADDRESSES or (ns and (orphans or stored.rr.owner in ns))
        ]
        ttls: dict[tuple[bytes, int], int] = {}
        for _, ttl, rr in shown:
            ttls[rr[:2]] = min(ttl, ttls.get(rr[:2], ttl))
        return Reading(Delegation.of(child, (rr for _, _, rr in shown)), enclosing, tuple(sorted(nested)), ttls)

    def concerned(self, change: Change) -> list[Stored]:
        """The rows at the owners that a change names; not what else is filed under the child. Raises Senseless."""
        return _at(self.rows(change.child, owners(change)), owners(change))

    def holds(self, change: Change) -> bool:
        """True if `after` is what is held, exactly, at all names at which the change has or had anything.

        Rows that make no sense are no part of what is held.
        """
        places = owners(change)
        return {rr for _, _, rr in _at(self._rows(change.child, places), places)} == set(_wanted(change))

    def alias_at(self, rrs: Iterable[RR]) -> str | None:
        """A name of these records at which an alias stands."""
        return next((text for text in (names.to_text(rr.owner) for rr in rrs) if text in self._aliases), None)


def _at(rows: Iterable[Stored], places: Collection[bytes]) -> list[Stored]:
    return [stored for stored in rows if stored.rr.rtype not in _ADDRESSES or stored.rr.owner in places]


def owners(change: Change) -> set[bytes]:
    """The names below and at the child at which a change has or had addresses."""
    before, after = change.before, change.after
    glue = {rr.owner for rr in (*before.glue, *after.glue)}
    return glue.union(before.in_domain_ns(), after.in_domain_ns())


def edit(held: Held, changes: Sequence[Change], zone: bytes, ttls: Ttls) -> Edit:
    """What carries out those changes that are not so already.

    Raises BackendRejected for the first one that cannot be, BackendConflict with all whose `before` is not held.
    """
    found = Edit()
    conflicts = []
    for change in changes:
        _check_place(change, zone)
        try:
            rows = held.concerned(change)
        except Senseless as error:
            # not unavailable: the others of the batch would wait until somebody mends it
            raise BackendRejected(str(error), [change.child]) from error
        if {rr for _, _, rr in rows} == set(_wanted(change)):
            continue
        if not _agrees(rows, change.before):
            conflicts.append(change.child)
            continue
        alias = held.alias_at(_wanted(change))
        if alias is not None:
            raise BackendRejected.telling(
                f"the database has a CNAME or DNAME at {alias}: nothing goes beside it", [change.child]
            )
        found.add(names.to_text(change.child), rows, _wanted(change), ttls)
    if conflicts:
        listed = ", ".join(map(names.to_text, conflicts))
        raise BackendConflict(f"the database has something else than expected for {listed}", conflicts)
    return found


def _wanted(change: Change) -> tuple[RR, ...]:
    """DS and glue without NS are nothing."""
    return change.after.records if change.after.is_delegated else ()


def _agrees(rows: Iterable[Stored], before: Delegation) -> bool:
    """True if `before` is what is held, but for addresses that no NS of `before` names."""
    return set(_conditions((rr for _, _, rr in rows), before)) == set(_conditions(before.records, before))


def _conditions(rrs: Iterable[RR], before: Delegation) -> Iterator[RR]:
    return (rr for rr in rrs if rr.rtype not in _ADDRESSES or rr.owner in before.ns)


def _check_place(change: Change, zone: bytes) -> None:
    """Raises BackendRejected for a child that is not below the apex, glue that is not its, and no records at all."""
    child = change.child
    if not names.is_below(child, zone):
        raise BackendRejected.telling(f"{names.to_text(child)} is not below {names.to_text(zone)}", [child])
    for rr in change.after.glue:
        if not names.is_at_or_below(rr.owner, child):
            raise BackendRejected.telling(f"{rr.to_text()} is no glue of {names.to_text(child)}", [child])
    for rr in change.after.records:
        try:
            columns_of(*rr)
        except BackendRejected as error:
            raise BackendRejected(error.reason, [child], told=error.told) from error
