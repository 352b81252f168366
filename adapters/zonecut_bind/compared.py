"""What a change is about, compared with the records that a transfer shows. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from zonecut.plugin import BackendRejected, Change
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType, type_text
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.envelope import read_name
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.rrset import ResourceRecord, RRset
from zonecut_bind.updates import glue_owners

Held = Mapping[tuple[bytes, int], Collection[bytes]]
"""RDATA by owner and type."""

_AT_CHILD = (RRType.NS, RRType.DS)
_AT_GLUE = (RRType.A, RRType.AAAA)
_ALIASES = {int(RRType.CNAME): "CNAME", int(RRType.DNAME): "DNAME"}
_OCTETS = {int(RRType.A): (4,), int(RRType.AAAA): (16,)}


def owners(changes: Iterable[Change]) -> set[bytes]:
    """All names that these changes are about."""
    found = set()
    for change in changes:
        found |= {change.child, *glue_owners(change.before), *glue_owners(change.after)}
    return found


def held(records: Iterable[ResourceRecord]) -> Held:
    """These records by owner and type."""
    found: dict[tuple[bytes, int], set[bytes]] = {}
    for record in records:
        found.setdefault((record.owner, record.rtype), set()).add(record.rdata)
    return found


def places(wanted: Iterable[bytes], zone: bytes) -> set[bytes]:
    """The names to look at for `rrsets_at`. Raises BackendRejected for a name that is not in the zone."""
    found = set()
    for name in wanted:
        if not names.is_at_or_below(name, zone):
            raise BackendRejected(f"{names.to_text(name)} is not in {names.to_text(zone)}")
        found |= {name, *_cuts_above(name, zone)}
    return found


def rrsets_at(wanted: Collection[bytes], zone: bytes, records: Sequence[ResourceRecord]) -> tuple[RRset, ...]:
    """The RRsets at these names, from the records at all `places`. Raises BackendRejected for one in a delegation."""
    there = held(records)
    for name in wanted:
        for cut in _cuts_above(name, zone):
            if (cut, int(RRType.NS)) in there:
                raise BackendRejected(f"{names.to_text(name)} lies in the delegation of {names.to_text(cut)}")
    ttls = {(record.owner, record.rtype): record.ttl for record in records}
    return tuple(RRset(*key, ttls[key], tuple(rdatas)) for key, rdatas in there.items() if key[0] in wanted)


def _cuts_above(name: bytes, zone: bytes) -> tuple[bytes, ...]:
    """The names at which NS would delegate this one away."""
    return () if name == zone else (*names.between(name, zone), name)


def is_before(change: Change, there: Held) -> bool:
    """True if the zone holds `before`, whatever addresses stand where none of its NS names them."""
    return _is(change.before, there)


def is_after(change: Change, there: Held) -> bool:
    """True if the zone holds `after`, and nothing of the glue of `before` that `after` does not have."""
    gone = glue_owners(change.before) - glue_owners(change.after)
    return _is(change.after, there) and not any((owner, rtype) in there for owner in gone for rtype in _AT_GLUE)


def aliases(changes: Iterable[Change], there: Held) -> dict[bytes, str]:
    """The children at one of whose owners an alias stands, beside which nothing else may be, with that in words."""
    return {
        change.child: f"{names.to_text(owner)} is an alias ({_ALIASES[rtype]})"
        for change in changes
        for owner, rtype in there
        if rtype in _ALIASES and owner in owners([change])
    }


def senseless(changes: Iterable[Change]) -> dict[bytes, str]:
    """The children whose change adds a record that can be none, with the record in words.

    Knot ends the connection of who sends it, PowerDNS answers as while its database is locked.
    """
    return {
        change.child: f"the {type_text(each.rtype)} record of {names.to_text(each.owner)} has a malformed value"
        for change in changes
        for each in change.difference.added
        if not _is_sensible(each.rtype, each.rdata)
    }


def holds_all(rrsets: Sequence[RRset], absent: Iterable[tuple[bytes, int]], there: Held) -> bool:
    """True if the zone holds exactly these RRsets, and none of the others."""
    same = all(set(there.get(each.key, ())) == set(each.rdatas) for each in rrsets)
    return same and not any(key in there for key in absent)


def _is(delegation: Delegation, there: Held) -> bool:
    keys = {(delegation.child, int(rtype)) for rtype in _AT_CHILD}
    keys |= {(owner, int(rtype)) for owner in glue_owners(delegation) for rtype in _AT_GLUE}
    rrsets = delegation.rrsets
    return all(set(rrsets.get(key, ())) == set(there.get(key, ())) for key in keys)


def _is_sensible(rtype: int, rdata: bytes) -> bool:
    if rtype == RRType.NS:
        try:
            return read_name(rdata, 0)[1] == len(rdata)
        except MalformedMessage:
            return False
    return len(rdata) in _OCTETS.get(rtype, (len(rdata),)) and (rtype != RRType.DS or len(rdata) > 4)
