"""Changes as UPDATE messages, by copying octets (RFC 2136).

A write states `before` in its prerequisites and replaces the RRsets that differ; a verification states `after` and
changes nothing. Messages are made with ID 0; signing gives them theirs.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache

from zonecut.plugin import Change
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls

_NS, _DS, _A, _AAAA = (int(rtype) for rtype in (RRType.NS, RRType.DS, RRType.A, RRType.AAAA))
_AT_CHILD = (_NS, _DS)
_AT_GLUE = (_A, _AAAA)

HEADER_OCTETS = 12 + 4
"""Of an UPDATE without its zone's name and without records."""

MAX_RECORDS_PER_TYPE = 100
"""What named's option of that name allows one RRset by default."""

_RECORD_OCTETS = 10
"""Of a record without its owner and RDATA."""


def write_message(
    zone: bytes, changes: Iterable[Change], ttls: Ttls, *, by_value: bool = True, loosely: Collection[bytes] = ()
) -> bytes:
    """The UPDATE that carries out all these changes if the zone holds each `before`, and nothing otherwise.

    Not `by_value`: if it holds RRsets where each `before` does, whatever is in them. So it is for the NS of the
    children that are taken `loosely`.
    """
    prerequisites: list[bytes] = []
    updates: list[bytes] = []
    for change in changes:
        before, after = change.before, change.after
        # Glue owners that only `after` has are left out: what lies there now is orphan glue, and is replaced.
        if not by_value:
            prerequisites += _exists(before)
        elif change.child in loosely:
            prerequisites += _holds_beside_ns(before)
        else:
            prerequisites += holds(before)
        updates += _replacements(before, after, ttls)
    return message.update(0, zone, prerequisites, updates)


def verify_message(zone: bytes, changes: Iterable[Change]) -> bytes:
    """An UPDATE that changes nothing, and to which NOERROR means: the zone holds each `after`, exactly.

    Exact also where queries are blind, as for glue that no NS names any more. BIND takes an empty update section, and
    does not touch the serial. With inline signing it compares the unsigned zone: what is served follows within about
    12 ms.
    """
    prerequisites: list[bytes] = []
    for change in changes:
        prerequisites += holds(change.after)
        for owner in glue_owners(change.before) - glue_owners(change.after):
            prerequisites += [message.rrset_absent(owner, rtype) for rtype in _AT_GLUE]
    return message.update(0, zone, prerequisites, ())


def cuts_absent_message(zone: bytes, names: Iterable[bytes]) -> bytes:
    """An UPDATE that changes nothing, and to which NOERROR means: the zone has NS at none of these names."""
    return message.update(0, zone, [message.rrset_absent(name, _NS) for name in names], ())


@lru_cache(maxsize=512)
def holds(delegation: Delegation) -> tuple[bytes, ...]:
    """Prerequisites: NS and DS are these and no others, and so are the addresses at each of its glue owners.

    What a change states when it is read back is what the child's next change states before it is written.
    """
    rrsets, child = delegation.rrsets, delegation.child
    keys = [(child, rtype) for rtype in _AT_CHILD]
    keys += [(owner, rtype) for owner in glue_owners(delegation) for rtype in _AT_GLUE]
    present = [message.rrset_holds(*record) for record in delegation.records]
    return (*present, *[message.rrset_absent(*key) for key in keys if key not in rrsets])


def _holds_beside_ns(delegation: Delegation) -> Iterator[bytes]:
    """Prerequisites: as `holds`, but of NS only that there are such, or none."""
    if delegation.ns:
        yield message.rrset_exists(delegation.child, _NS)
    yield from holds(delegation)[len(delegation.ns) :]


def _exists(delegation: Delegation) -> Iterator[bytes]:
    """Prerequisites: of those RRsets of which `holds` states the value, that they are there or are not."""
    keys = [(delegation.child, rtype) for rtype in _AT_CHILD]
    keys += [(owner, rtype) for owner in sorted(glue_owners(delegation)) for rtype in _AT_GLUE]
    for key in keys:
        yield message.rrset_exists(*key) if key in delegation.rrsets else message.rrset_absent(*key)


def no_host_names(changes: Iterable[Change]) -> dict[RR, bytes]:
    """The records that named's `check-names` is about and may not like, each with its child.

    Those are name servers and owners of addresses that are no host names (RFC 952, RFC 1123 section 2.1).
    """
    return {
        record: change.child
        for change in changes
        for record in change.difference.added
        if is_no_host(record.owner, record.rtype, record.rdata)
    }


def is_no_host(owner: bytes, rtype: int, rdata: bytes) -> bool:
    """True for a record that by named's `check-names` has to name a host, and does not."""
    return rtype in (_NS, *_AT_GLUE) and not names.is_host_name(rdata if rtype == _NS else owner)


def too_many_records(changes: Iterable[Change]) -> dict[bytes, str]:
    """The children whose change makes an RRset larger than named takes by default, with that RRset in words."""
    found = {}
    for change in changes:
        for (owner, rtype), rdatas in change.after.rrsets.items():
            if len(rdatas) > MAX_RECORDS_PER_TYPE:
                found[change.child] = f"{names.to_text(owner)} would have {len(rdatas)} {RRType(rtype).text} records"
    return found


def glue_owners(delegation: Delegation) -> set[bytes]:
    return {record.owner for record in delegation.glue}


def touched(changes: Iterable[Change]) -> set[tuple[bytes, int]]:
    """The owners and types of the records that a write of these changes adds or deletes."""
    found = set()
    for change in changes:
        found |= {(each.owner, each.rtype) for each in (*change.difference.removed, *change.difference.added)}
        fresh = glue_owners(change.after) - glue_owners(change.before)
        found |= {(owner, rtype) for owner in fresh for rtype in _AT_GLUE}
    return found


def _replacements(before: Delegation, after: Delegation, ttls: Ttls) -> list[bytes]:
    """Delete each RRset that differs and add it anew: NS first, then DS, then glue.

    A record that stays is deleted and added too: in BIND the two cancel out, but for the TTL.
    """
    old, new = before.rrsets, after.rrsets
    differing = [key for key in (*new, *(key for key in old if key not in new)) if old.get(key) != new.get(key)]
    fresh = glue_owners(after) - glue_owners(before)
    updates = []
    for owner, rtype in differing:
        if owner not in fresh or (owner == after.child and rtype in _AT_CHILD):
            updates.append(message.delete_rrset(owner, rtype))
    for owner in sorted(fresh):
        updates += [message.delete_rrset(owner, rtype) for rtype in _AT_GLUE]
    for owner, rtype in differing:
        ttl = ttls.of(rtype)
        updates += [message.add(owner, rtype, ttl, rdata) for rdata in new.get((owner, rtype), ())]
    return updates


def octets_bound(change: Change) -> int:
    """No fewer octets than the records of either message take for this change; counted, not built."""
    return _weight(change.before) + _weight(change.after)


@lru_cache(maxsize=512)
def _weight(delegation: Delegation) -> int:
    """What stating this delegation and deleting its RRsets takes.

    Of what a change goes from, both may be needed. Of what it comes to, each record is added once and stated once, but
    in different messages; what is absent there is deleted, or stated.
    """
    deleted = sum(len(owner) + _RECORD_OCTETS for owner, _ in delegation.rrsets)
    return deleted + sum(map(len, holds(delegation)))


def fitting(changes: Sequence[Change], octets: int) -> int:
    """How many of these changes, from the first on, take no more than that many octets of records; at least one."""
    for count, change in enumerate(changes):
        octets -= octets_bound(change)
        if octets < 0:
            return max(count, 1)
    return max(len(changes), 1)
