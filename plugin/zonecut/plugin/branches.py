"""From the stream of a zone's records to its delegations: pure, one branch of the zone at a time.

For adapters whose server lists a zone in canonical order (RFC 4034 section 6.1), as BIND in a transfer and Knot on its
control socket do: a cut is followed at once by all that lies below it. Only thanks to that order is memory bounded;
another order is detected, never misread.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from zonecut.plugin.backend import Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.rrset import ResourceRecord


class OutOfOrder(Exception):
    """The records are not in canonical order of their owners."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A topmost delegation of a zone with all NS, DS, A and AAAA records at or below it."""

    top: bytes
    records: tuple[ResourceRecord, ...]

    @property
    def cuts(self) -> tuple[bytes, ...]:
        """The owners of NS: the topmost first, then those that it hides."""
        return tuple(dict.fromkeys(record.owner for record in self.records if record.rtype == RRType.NS))

    def readings(self) -> Iterator[Reading]:
        """The delegations of this branch, the hidden ones included.

        An address belongs to each delegation above it that names it; to the nearest one if none does (orphan glue).
        """
        name_servers: dict[bytes, set[bytes]] = {}
        for record in self.records:
            if record.rtype == RRType.NS:
                name_servers.setdefault(record.owner, set()).add(record.rdata)
        found: dict[bytes, list[ResourceRecord]] = {cut: [] for cut in name_servers}
        nested: dict[bytes, list[bytes]] = {cut: [] for cut in name_servers}
        for record in self.records:
            if record.rtype in (RRType.A, RRType.AAAA):
                above = list(_cuts_above(record.owner, self.top, name_servers))
                for cut in [cut for cut in above if record.owner in name_servers[cut]] or above[:1]:
                    found[cut].append(record)
            elif record.owner in found:  # a DS without NS is no delegation
                found[record.owner].append(record)
        for cut in name_servers:
            for above_it in _cuts_above(cut, self.top, name_servers):
                if above_it != cut:
                    nested[above_it].append(cut)
        for cut, records in found.items():
            yield Reading(
                Delegation.of(cut, [RR(owner, rtype, rdata) for owner, rtype, _, rdata in records]),
                None if cut == self.top else self.top,
                tuple(sorted(nested[cut])),
                {(owner, rtype): ttl for owner, rtype, ttl, _ in records},
            )


def _cuts_above(owner: bytes, top: bytes, cuts: dict[bytes, set[bytes]]) -> Iterator[bytes]:
    while True:
        if owner in cuts:
            yield owner
        if owner == top:
            return
        owner = names.parent(owner)


class BranchReader:
    """Takes the records of a zone in canonical order of owners and gives its branches; keeps one at a time."""

    def __init__(self, zone: bytes) -> None:
        self._zone = zone
        self._owner = b""
        self._place: list[bytes] = []
        self._node: list[ResourceRecord] = []
        self._top: bytes | None = None
        self._branch: list[ResourceRecord] = []

    def feed(self, records: Iterable[ResourceRecord]) -> Iterator[Branch]:
        """The branches that are complete now. Raises OutOfOrder."""
        for record in records:
            if record.owner != self._owner:
                yield from self._take_node()
                self._begin_node(record.owner)
            self._node.append(record)

    def finish(self) -> Iterator[Branch]:
        """The branch that was not complete before the end."""
        yield from self._take_node()
        yield from self._take_branch()

    def _begin_node(self, owner: bytes) -> None:
        place = names.sort_key(owner)
        if place < self._place:
            raise OutOfOrder(f"{names.to_text(owner)} follows {names.to_text(self._owner)}")
        self._owner, self._place = owner, place

    def _take_node(self) -> Iterator[Branch]:
        node, self._node = self._node, []
        if self._top is not None and names.is_at_or_below(self._owner, self._top):
            self._branch += node
            return
        yield from self._take_branch()
        if self._owner != self._zone and any(record.rtype == RRType.NS for record in node):
            self._top, self._branch = self._owner, node

    def _take_branch(self) -> Iterator[Branch]:
        if self._top is not None:
            yield Branch(self._top, tuple(self._branch))
            self._top = None


def visible(delegation: Delegation) -> Delegation:
    """The delegation as queries show it: without the glue that none of its NS names."""
    glue = tuple(record for record in delegation.glue if record.owner in delegation.ns)
    return Delegation(delegation.child, delegation.ns, delegation.ds, glue)


class ChildFilter:
    """Takes the branches of a zone, and remembers what concerns one child."""

    def __init__(self, child: bytes) -> None:
        self._child = child
        self._found: Reading | None = None
        self._enclosing: bytes | None = None
        self._nested: list[bytes] = []

    def take(self, branch: Branch) -> None:
        child = self._child
        if not names.is_at_or_below(child, branch.top) and not names.is_below(branch.top, child):
            return
        if names.is_below(child, branch.top):
            self._enclosing = branch.top
        for reading in branch.readings():
            if reading.delegation.child == child:
                self._found = reading
            elif names.is_below(reading.delegation.child, child):
                self._nested.append(reading.delegation.child)

    def reading(self) -> Reading:
        nested = tuple(sorted(self._nested))
        if self._found is None:
            return Reading(Delegation(self._child), self._enclosing, nested)
        return Reading(visible(self._found.delegation), self._enclosing, nested, self._found.ttls)


def hidden(branch: Branch) -> Sequence[bytes]:
    """The delegations below the topmost one of a branch: they exist in the zone, but nobody can see them."""
    return branch.cuts[1:]


def below(name: bytes, cuts: Iterable[bytes]) -> tuple[bytes, ...]:
    """Those of some delegations that lie below a name, sorted."""
    return tuple(sorted(cut for cut in cuts if names.is_below(cut, name)))


def plain(readings: Iterable[Reading], zone: bytes, cuts: Iterable[bytes]) -> list[Reading]:
    """Those of delegations right below the apex, with the same of `cuts` below them as are known of now.

    Of such a one all is known whose NS, DS and glue are: nothing can be above it.
    """
    return [
        each
        for each in readings
        if each.delegation.is_delegated
        and names.parent(each.delegation.child) == zone
        and each.nested == below(each.delegation.child, cuts)
    ]
