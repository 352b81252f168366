"""Proofs of absence by NSEC (RFC 4035 section 5.4, RFC 6840 section 4)."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from dns.rdatatype import RdataType

from zonecut.protocol import names


class Proof(Enum):
    """What a proof of absence shows about a name and a type."""

    NO_DATA = auto()
    """The name, or the wildcard that stands for it, exists in this zone, is no delegation, and lacks the type."""
    DELEGATION = auto()
    """The name is a delegation without DS: an insecure one."""
    NO_NAME = auto()
    """Nothing exists at this name or below it."""
    OPT_OUT = auto()
    """The name has no DS, but an insecure delegation may stand there (RFC 5155 section 6)."""


@dataclass(frozen=True, slots=True)
class Nsec:
    """An NSEC record whose signature by the zone verified and that no wildcard made. Names in lower-case wire form."""

    owner: bytes
    next: bytes
    types: frozenset[int]


def prove(records: Iterable[Nsec], apex: bytes, name: bytes, rtype: int) -> Proof | None:
    """What these records of the zone `apex` prove about `name`, a name in that zone; None if nothing."""
    known = list(records)
    for record in known:
        if record.owner == name:
            return absent(record.types, rtype)
    cover = next((record for record in known if _covers(record, apex, name)), None)
    if cover is None:
        return None
    if names.is_below(cover.next, name):
        return Proof.NO_DATA  # an empty non-terminal: names exist below it
    wildcard = b"\x01*" + _closest_encloser(cover, name)
    for record in known:
        if record.owner == wildcard:
            return Proof.NO_DATA if absent(record.types, rtype) is Proof.NO_DATA else None
    if any(_covers(record, apex, wildcard) and not names.is_below(record.next, wildcard) for record in known):
        return Proof.NO_NAME
    return None


def proves_expansion(records: Iterable[Nsec], apex: bytes, name: bytes, encloser: bytes) -> bool:
    """True if no name closer to `name` than the wildcard below `encloser` exists (RFC 4035 section 5.3.4)."""
    return any(_covers(record, apex, name) and _closest_encloser(record, name) == encloser for record in records)


def absent(types: frozenset[int], rtype: int) -> Proof | None:
    """What the types at a name, from its own NSEC or NSEC3, prove about `rtype` there; None if nothing."""
    # RFC 6840 section 4.3: a CNAME would have been the answer.
    if rtype in types or RdataType.CNAME in types:
        return None
    delegated = RdataType.NS in types and RdataType.SOA not in types
    if rtype == RdataType.DS:
        # The NSEC of a child's own apex says nothing about DS, which stands in the parent (RFC 4035 section 5.2).
        if RdataType.SOA in types:
            return None
        return Proof.DELEGATION if delegated else Proof.NO_DATA
    # RFC 6840 section 4.1: the parent's NSEC at a cut says nothing about the child's data.
    return None if delegated else Proof.NO_DATA


def speaks_for_names_below(types: frozenset[int]) -> bool:
    """False for the types at a delegation or a DNAME: names below them are not for this zone to deny
    (RFC 6840 section 4.1, RFC 5155 section 8.3)."""
    return RdataType.DNAME not in types and (RdataType.NS not in types or RdataType.SOA in types)


def _covers(record: Nsec, apex: bytes, name: bytes) -> bool:
    """True if the name, which lies in the zone, falls into the record's gap."""
    inside = (names.is_at_or_below(other, apex) for other in (record.owner, record.next, name))
    if not all(inside):
        return False
    if names.is_below(name, record.owner) and not speaks_for_names_below(record.types):
        return False
    key = names.sort_key(name)
    if names.sort_key(record.owner) >= key:
        return False
    # The last NSEC of a zone points back to the apex (RFC 4034 section 4.1.1).
    return record.next == apex or key < names.sort_key(record.next)


def _closest_encloser(record: Nsec, name: bytes) -> bytes:
    """The longest ancestor of `name` that exists, since the record's owner or next name is at or below it."""
    ancestor = name
    while not (names.is_at_or_below(record.owner, ancestor) or names.is_at_or_below(record.next, ancestor)):
        ancestor = names.parent(ancestor)
    return ancestor
