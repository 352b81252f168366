"""Proofs of absence by NSEC3 (RFC 5155 section 8)."""

from base64 import b32hexdecode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1

from dns.rdtypes.ANY.NSEC3 import NSEC3

from zonecut.protocol import names
from zonecut.resolve.nsec import Proof, absent, speaks_for_names_below
from zonecut.resolve.work import Work

_SHA1 = 1
_HASH_OCTETS = 20
_HASH_LABEL = 32
_OPT_OUT = 0x01


@dataclass(frozen=True, slots=True)
class Nsec3:
    """An NSEC3 record whose signature by the zone verified and that no wildcard made; `owner` and `next` are hashes."""

    owner: bytes
    next: bytes
    types: frozenset[int]
    opt_out: bool
    salt: bytes
    iterations: int


def read(owner: bytes, rdata: NSEC3, types: frozenset[int], apex: bytes) -> Nsec3 | None:
    """The record as a value; None for one that a validator ignores (RFC 5155 sections 8.1 and 8.2)."""
    label = names.labels(owner)[0] if owner != names.ROOT else b""
    if rdata.algorithm != _SHA1 or rdata.flags & ~_OPT_OUT or len(rdata.next) != _HASH_OCTETS:
        return None
    if len(label) != _HASH_LABEL or names.parent(owner) != apex:
        return None
    try:
        hashed = b32hexdecode(label.upper())
    except ValueError:
        return None
    return Nsec3(hashed, rdata.next, types, bool(rdata.flags & _OPT_OUT), rdata.salt, rdata.iterations)


def prove(records: Sequence[Nsec3], apex: bytes, name: bytes, rtype: int, work: Work) -> Proof | None:
    """What these records of the zone `apex`, all with the same parameters, prove about `name`; None if nothing.

    Raises Undecided when the work is used up.
    """
    if not records:
        return None
    digest = _hasher(records[0], work)
    match = _matching(records, digest(name))
    if match is not None:
        return absent(match.types, rtype)
    # RFC 5155 section 8.3: the closest encloser exists, the next closer name does not.
    closest = _closest_encloser(records, digest, name, apex)
    if closest is None:
        return None
    encloser, next_closer = closest
    cover = _covering(records, digest(next_closer))
    if cover is None:
        return None
    # RFC 5155 section 8.6, and section 9.2 for what is no DS: behind opt-out, only insecurity is proven.
    if cover.opt_out:
        return Proof.OPT_OUT
    wildcard = b"\x01*" + encloser
    match = _matching(records, digest(wildcard))
    if match is not None:
        # RFC 5155 section 8.7
        return Proof.NO_DATA if absent(match.types, rtype) is Proof.NO_DATA else None
    return Proof.NO_NAME if _covering(records, digest(wildcard)) else None


def proves_expansion(records: Sequence[Nsec3], apex: bytes, name: bytes, encloser: bytes, work: Work) -> bool:
    """True if the next closer name below the wildcard's parent does not exist (RFC 5155 section 8.8)."""
    if not records or not names.is_below(name, encloser) or not names.is_at_or_below(encloser, apex):
        return False
    next_closer = name
    while names.parent(next_closer) != encloser:
        next_closer = names.parent(next_closer)
    return _covering(records, _hasher(records[0], work)(next_closer)) is not None


def _closest_encloser(
    records: Sequence[Nsec3], digest: Callable[[bytes], bytes], name: bytes, apex: bytes
) -> tuple[bytes, bytes] | None:
    """The deepest proper ancestor of the name that exists, with the name one label longer.

    None where that is not shown, or where the ancestor is for another zone to speak about.
    """
    while name != apex:
        ancestor = names.parent(name)
        match = _matching(records, digest(ancestor))
        if match is not None:
            return (ancestor, name) if speaks_for_names_below(match.types) else None
        name = ancestor
    return None


def _hasher(record: Nsec3, work: Work) -> Callable[[bytes], bytes]:
    salt, iterations = record.salt, record.iterations

    @cache
    def digest(name: bytes) -> bytes:
        """RFC 5155 section 5."""
        work.hash(iterations + 1)
        result = sha1(name + salt, usedforsecurity=False).digest()
        for _ in range(iterations):
            result = sha1(result + salt, usedforsecurity=False).digest()
        return result

    return digest


def _matching(records: Sequence[Nsec3], hashed: bytes) -> Nsec3 | None:
    return next((record for record in records if record.owner == hashed), None)


def _covering(records: Sequence[Nsec3], hashed: bytes) -> Nsec3 | None:
    return next((record for record in records if _covers(record, hashed)), None)


def _covers(record: Nsec3, hashed: bytes) -> bool:
    if record.owner < record.next:
        return record.owner < hashed < record.next
    # The last NSEC3 of a zone points back to the first.
    return hashed > record.owner or hashed < record.next
