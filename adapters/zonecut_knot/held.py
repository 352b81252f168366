"""What the zone holds at some names, and which commands turn it into something else. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from zonecut.plugin import BackendRejected, BackendUnavailable, Change
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls
from zonecut_knot.control import Command, Item
from zonecut_knot.text import DELEGATION_TYPES, checked_rdata_text, delegation_rdata, type_text

_AT_CHILD = (int(RRType.NS), int(RRType.DS))
_ADDRESSES = (int(RRType.A), int(RRType.AAAA))

Key = tuple[bytes, int]


@dataclass(frozen=True, slots=True)
class Held:
    """The NS, DS, A and AAAA records at some owners: RDATA by the text in which knotd writes it, by owner and type.

    The text is kept, since knotd keeps the capitals of names and removes a record only by its very octets.
    """

    rrsets: Mapping[Key, Mapping[str, bytes]]
    aliases: frozenset[bytes] = field(default=frozenset())
    """The owners of CNAME records."""
    ttls: Mapping[Key, int] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, nodes: Iterable[tuple[bytes, Sequence[Item]]]) -> "Held":
        """What these records at these owners are. Raises BackendUnavailable for a record that cannot be understood."""
        rrsets: dict[Key, dict[str, bytes]] = {}
        aliases = set()
        ttls: dict[Key, int] = {}
        for owner, items in nodes:
            for item in items:
                rtype = DELEGATION_TYPES.get(item.rtype)
                if rtype is not None:
                    rrsets.setdefault((owner, rtype), {})[item.data] = _understood(rtype, item)
                    ttls[owner, rtype] = int(item.ttl)
                elif item.rtype == "CNAME":
                    aliases.add(owner)
        return cls(rrsets, frozenset(aliases), ttls)

    def rdatas(self, owner: bytes, rtype: int) -> frozenset[bytes]:
        return frozenset(self.rrsets.get((owner, rtype), {}).values())

    def delegation(self, child: bytes) -> Delegation:
        """The child's delegation, with the glue that its NS name. Without NS, addresses are the zone's own."""
        records = [RR(child, rtype, rdata) for rtype in _AT_CHILD for rdata in self.rdatas(child, rtype)]
        servers = {record.rdata for record in records if record.rtype == RRType.NS}
        records += [
            RR(owner, rtype, rdata)
            for (owner, rtype), rdatas in self.rrsets.items()
            if rtype in _ADDRESSES and owner in servers and names.is_at_or_below(owner, child)
            for rdata in rdatas.values()
        ]
        return Delegation.of(child, records)


def _understood(rtype: int, item: Item) -> bytes:
    try:
        return delegation_rdata(rtype, item.data)
    except (ValueError, OSError) as error:
        raise BackendUnavailable(f"knotd shows a record at {item.owner} that makes no sense: {error}") from error


def owners(change: Change) -> tuple[bytes, ...]:
    """The names at which anything of a change can be: the child, then those with glue."""
    before, after = change.before, change.after
    glue = {record.owner for record in (*before.glue, *after.glue)}
    return tuple(dict.fromkeys((after.child, *sorted({*glue, *before.in_domain_ns(), *after.in_domain_ns()}))))


def holds(held: Held, change: Change) -> bool:
    """True if `after` is what is held, exactly, at all names at which the change has or had anything."""
    wanted = change.after.rrsets
    return all(held.rdatas(*key) == set(wanted.get(key, ())) for key in _keys(change))


def agrees(held: Held, before: Delegation) -> bool:
    """True if `before` is what is held, but for orphan glue: glue that no NS of `before` names."""
    believed = before.rrsets
    keys = [(before.child, rtype) for rtype in _AT_CHILD]
    keys += [(owner, rtype) for owner in before.in_domain_ns() for rtype in _ADDRESSES]
    return all(held.rdatas(*key) == set(believed.get(key, ())) for key in keys)


def commands(held: Held, change: Change, ttls: Ttls) -> list[Command]:
    """What turns what is held into `after`. Raises BackendRejected for what cannot be."""
    wanted = change.after.rrsets
    found: list[Command] = []
    for owner, rtype in _keys(change):
        rdatas = wanted.get((owner, rtype), ())
        if rdatas and owner in held.aliases:
            raise BackendRejected.telling(f"{names.to_text(owner)} is a CNAME in the zone: nothing goes beside it")
        there = held.rrsets.get((owner, rtype), {})
        text = names.to_text(owner)
        if there and not rdatas:
            found.append(Command("unset", text, rtype=type_text(rtype)))
            continue
        if held.rdatas(owner, rtype) == set(rdatas):
            continue
        if there:
            # All of it. What is unset record by record comes back in Knot 3.4 when it has merged its journal (after
            # 20 changes) and is started again; and it would note a new TTL for the new records only, and not load that.
            found.append(Command("unset", text, rtype=type_text(rtype)))
        ttl = str(ttls.of(rtype))
        found += [
            Command("set", text, ttl, type_text(rtype), checked_rdata_text(RR(owner, rtype, rdata))) for rdata in rdatas
        ]
    return found


def check_place(change: Change, zone: bytes) -> None:
    """Raises BackendRejected for a change of what is not below the zone's apex, or has glue that is not the child's.

    knotd would take such records, anywhere in the zone.
    """
    child = change.child
    if not names.is_below(child, zone):
        raise BackendRejected.telling(f"{names.to_text(child)} is not below {names.to_text(zone)}")
    for record in (*change.before.glue, *change.after.glue):
        if not names.is_at_or_below(record.owner, child):
            raise BackendRejected.telling(f"{record.to_text()} is no glue of {names.to_text(child)}")
    for record in change.after.records:
        checked_rdata_text(record)


def _keys(change: Change) -> list[Key]:
    child, *_ = found = owners(change)
    addressed = {record.owner for record in (*change.before.glue, *change.after.glue)}
    addressed.update(change.before.in_domain_ns(), change.after.in_domain_ns())
    keys = [(child, rtype) for rtype in _AT_CHILD]
    return keys + [(owner, rtype) for owner in found if owner in addressed for rtype in _ADDRESSES]
