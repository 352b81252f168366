"""One parent zone on one knotd, read and written in sessions on its control socket. All of this blocks."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from tempfile import SpooledTemporaryFile

from zonecut.plugin import BackendConflict, BackendMisconfigured, BackendRejected, BackendUnavailable, Change, Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Ttls
from zonecut.protocol.rrset import ResourceRecord, RRset
from zonecut_knot import held as rules
from zonecut_knot import published
from zonecut_knot.answers import not_loaded
from zonecut_knot.control import Command, Connect, Item
from zonecut_knot.durable import lost_by
from zonecut_knot.held import Held
from zonecut_knot.note import Note
from zonecut_knot.signing import check_made
from zonecut_knot.text import DELEGATION_TYPES, delegation_rdata, name
from zonecut_knot.transaction import Transaction, Transactions, read

_SPOOLED_OCTETS = 1 << 20
_SOA = "SOA"
_LISTED = (*DELEGATION_TYPES, _SOA)

Listing = SpooledTemporaryFile[bytes]


class Zone:
    """The parent zone. Every method raises BackendError only, and belongs to one thread at a time."""

    def __init__(self, connect: Connect, zone: bytes, ttls: Ttls, patience: float, note: Note) -> None:
        self._connect = connect
        self._zone = zone
        self._text = names.to_text(zone)
        self._ttls = ttls
        self._transactions = Transactions(connect, zone, patience, note)
        self.known_serial: str | None = None
        """The zone's serial after our last listing or commit: with another one, somebody else changed the zone."""

    def check(self) -> None:
        """See that knotd is primary for the zone and keeps it, and end a transaction that a predecessor left open."""
        status = self.status()
        role = status.get("role", "master")
        if role != "master":
            raise BackendMisconfigured(f"knotd is {role} for {self._text}, not its primary: look at `socket`")
        if not status.get("serial", "").isdigit():
            raise not_loaded(self._text)
        with closing(self._connect()) as control:
            if lost := lost_by(self._text, control.setting):
                raise BackendMisconfigured(lost)
            ((_, items),) = read(control, self._text, [self._zone])
            check_made(self._zone, items, control.setting, status)
        if status.get("transaction", "-") == "open":
            self._transactions.end_stale()

    def status(self) -> dict[str, str]:
        with closing(self._connect()) as control:
            return control.status()

    def reading(self, child: bytes) -> Reading:
        """What the zone holds for a name, but for delegations below it.

        Owners are read one after the other: a change that comes between gives a reading that never was, on which no
        write can succeed.
        """
        if not names.is_below(child, self._zone):
            raise BackendRejected(f"{names.to_text(child)} is not below {self._text}")
        above = self._between(child)
        with closing(self._connect()) as control:
            nodes = read(control, self._text, [child, *above])
            at_child = Held.of(nodes[:1])
            servers = [target for target in at_child.delegation(child).in_domain_ns() if target != child]
            glue = read(control, self._text, servers)
        enclosing = next((owner for owner, items in nodes[1:] if _is_cut(items)), None)
        there = Held.of([*nodes[:1], *glue])
        return Reading(there.delegation(child), enclosing, ttls=there.ttls)

    def unchanged(self, readings: Sequence[Reading]) -> frozenset[bytes]:
        """Those of these children right below the apex whose delegation the zone holds as it was read."""
        known = [each.delegation for each in readings if not self._between(each.delegation.child)]
        if not known:
            return frozenset()
        with closing(self._connect()) as control:
            there = Held.of(read(control, self._text, _owners(Change(each, each) for each in known)))
        return frozenset(each.child for each in known if there.delegation(each.child) == each)

    def apex(self) -> tuple[int | None, frozenset[bytes]]:
        """The zone's serial (None where it is not to be seen), and the name servers of its apex."""
        with closing(self._connect()) as control:
            ((_, items),) = read(control, self._text, [self._zone])
        serials = [item.data.split()[2] for item in items if item.rtype == "SOA" and len(item.data.split()) > 2]
        serial = int(serials[0]) if serials and serials[0].isdigit() else None
        return serial, Held.of([(self._zone, items)]).rdatas(self._zone, RRType.NS)

    def cut(self, places: Sequence[bytes]) -> bytes | None:
        """The first of these names that is delegated."""
        with closing(self._connect()) as control:
            return next((place for place, items in read(control, self._text, places) if _is_cut(items)), None)

    def write(self, changes: Sequence[Change]) -> None:
        """All of these changes in one transaction, if the zone holds each `before`, or `after` already."""
        changes = [change for change in changes if change.before != change.after]
        for change in changes:
            rules.check_place(change, self._zone)
        if not changes:
            return
        with self._transactions.begin() as transaction:
            there = Held.of(transaction.read(_owners(changes)))
            needed = [change for change in changes if not rules.holds(there, change)]
            conflicts = [change.child for change in needed if not rules.agrees(there, change.before)]
            if conflicts:
                listed = ", ".join(map(names.to_text, conflicts))
                raise BackendConflict(f"knotd holds something else than was expected for {listed}", conflicts)
            commands = [command for change in needed for command in rules.commands(there, change, self._ttls)]
            if commands:
                self._commit(transaction, commands)

    def missing(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        """The children of those changes whose `after` is not what the zone holds."""
        if not changes:
            return ()
        with closing(self._connect()) as control:
            there = Held.of(read(control, self._text, _owners(changes)))
        return tuple(change.child for change in changes if not rules.holds(there, change))

    def rrsets(self, owners: Sequence[bytes]) -> tuple[RRset, ...]:
        """All RRsets at these names."""
        with closing(self._connect()) as control:
            return self._rrsets(owners, lambda wanted: read(control, self._text, wanted))

    def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        """`before` becomes `after` in one transaction, if it is what the zone holds."""
        owners = sorted({rrset.owner for rrset in (*before, *after)})
        with self._transactions.begin() as transaction:
            there = self._rrsets(owners, transaction.read)
            if commands := published.commands(there, before, after):
                self._commit(transaction, commands)

    def spool(self) -> tuple[Listing, str]:
        """All NS, DS, A and AAAA records in a file, in knotd's order, and the serial of the zone before that.

        Into a file, and not to whoever reads it: until all of it is taken, nobody else is served. Raises
        BackendUnavailable for a listing without SOA: that is of no zone.
        """
        listing: Listing = SpooledTemporaryFile(_SPOOLED_OCTETS)  # noqa: SIM115 - the caller closes it
        try:
            with closing(self._connect()) as control:
                serial = control.status().get("serial", "")
                is_zone = False
                for item in control.stream(Command("read"), _LISTED):
                    if item.rtype == _SOA:
                        is_zone = True
                    else:
                        listing.write(f"{item.owner} {item.ttl} {item.rtype} {item.data}\n".encode())
            if not is_zone:
                raise not_loaded(self._text)
            listing.seek(0)
        except BaseException as error:
            with suppress(OSError):  # what it still holds has no room, either
                listing.close()
            if isinstance(error, OSError):
                raise BackendUnavailable(
                    f"{self._text} is larger than is kept in memory, and a temporary file for it (TMPDIR says where)"
                    f" cannot be written: {error.strerror or error}"
                ) from error
            raise
        return listing, serial

    def _commit(self, transaction: Transaction, commands: Sequence[Command]) -> None:
        """Carry the commands out and commit; a serial that only we changed stays a known one."""
        only_ours = transaction.serial == self.known_serial
        transaction.change(commands)
        transaction.commit()
        if only_ours:
            self.known_serial = transaction.serial

    def _rrsets(
        self, owners: Sequence[bytes], look: Callable[[Sequence[bytes]], list[tuple[bytes, tuple[Item, ...]]]]
    ) -> tuple[RRset, ...]:
        for owner in owners:
            if not names.is_at_or_below(owner, self._zone):
                raise BackendRejected(f"{names.to_text(owner)} is not in {self._text}")
        above = {owner: self._between(owner) for owner in owners}
        asked = list(dict.fromkeys([*owners, *(name for names_above in above.values() for name in names_above)]))
        nodes = dict(look(asked))
        for owner in owners:
            for place in (*above[owner], owner):
                if place != self._zone and _is_cut(nodes[place]):
                    raise BackendRejected(f"{names.to_text(owner)} lies in the delegation of {names.to_text(place)}")
        return tuple(rrset for owner in dict.fromkeys(owners) for rrset in published.rrsets(owner, nodes[owner]))

    def _between(self, below: bytes) -> tuple[bytes, ...]:
        """The names above this one and below the zone's apex, the topmost first."""
        found = []
        at = below
        while len(at) > len(self._zone) and (at := names.parent(at)) != self._zone:
            found.append(at)
        return tuple(reversed(found))


def records(listing: Listing, count: int) -> list[ResourceRecord]:
    """The next records of a listing, at most so many; none at its end. Raises BackendUnavailable for nonsense."""
    found = []
    for _ in range(count):
        line = listing.readline()
        if not line:
            break
        owner, ttl, rtype, data = line.decode().rstrip("\n").split(" ", 3)
        number = DELEGATION_TYPES[rtype]
        try:
            found.append(ResourceRecord(name(owner), number, int(ttl), delegation_rdata(number, data)))
        except (ValueError, OSError) as error:
            raise BackendUnavailable(f"knotd shows a record at {owner} that makes no sense: {error}") from error
    return found


def _owners(changes: Iterable[Change]) -> list[bytes]:
    return list(dict.fromkeys(owner for change in changes for owner in rules.owners(change)))


def _is_cut(items: Iterable[Item]) -> bool:
    return any(item.rtype == RRType.NS.text for item in items)
