"""The value this program is about: all that a parent holds for one child (RFC 1034 section 4.2.1).

Names and RDATA are lower-case, uncompressed wire form; TTLs belong to the parent's policy and are no part of the value.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import IPv6Address
from struct import Struct
from typing import Any, NamedTuple

from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType

# Enum members cost a look-up each time they are named; these are named for each record.
_NS, _DS, _A, _AAAA = (int(rtype) for rtype in (RRType.NS, RRType.DS, RRType.A, RRType.AAAA))
_RR_HEAD = Struct("!HH")
_DS_HEAD = Struct("!HBB")

_TYPE_TEXT = {int(rtype): rtype.text for rtype in RRType}
TYPES = frozenset((RRType.NS, RRType.DS, RRType.A, RRType.AAAA))
"""The RR types of which a delegation consists."""


class RR(NamedTuple):
    """One record without class and TTL. They sort by owner, type and RDATA octets."""

    owner: bytes
    rtype: int
    rdata: bytes

    def to_text(self) -> str:
        """Owner, type and RDATA in presentation form."""
        return (
            f"{names.to_text(self.owner)} {_TYPE_TEXT.get(self.rtype, self.rtype)} {rdata_text(self.rtype, self.rdata)}"
        )


@dataclass(frozen=True, slots=True)
class Ttls:
    """The TTLs, in seconds, with which a parent publishes a delegation."""

    ns: int = 86400
    ds: int = 3600
    glue: int = 86400

    def of(self, rtype: int) -> int:
        if rtype == RRType.NS:
            return self.ns
        return self.ds if rtype == RRType.DS else self.glue


@dataclass(frozen=True)
class Delegation:
    """NS, DS and glue of one child zone, sorted and without duplicates. With no NS the child is not delegated.

    `ns` holds the names of the name servers, `ds` DS RDATA (RFC 4034 section 5.1), `glue` A and AAAA records at or
    below the child. Make one with `Delegation.of`, which sorts.
    """

    child: bytes
    ns: tuple[bytes, ...] = ()
    ds: tuple[bytes, ...] = ()
    glue: tuple[RR, ...] = ()

    @classmethod
    def of(cls, child: bytes, records: Iterable[RR] = ()) -> "Delegation":
        """The delegation that consists of these records, in any order and with repetitions.

        NS and DS must stand at the child; A and AAAA are glue. Raises ValueError for any other record.
        """
        ns, ds, glue = set(), set(), set()
        for record in records:
            rtype = record.rtype
            if rtype in (_A, _AAAA):
                glue.add(record)
            elif rtype == _NS and record.owner == child:
                ns.add(record.rdata)
            elif rtype == _DS and record.owner == child:
                ds.add(record.rdata)
            else:
                raise ValueError(f"{record.to_text()} is no record of the delegation of {names.to_text(child)}")
        return cls(child, tuple(sorted(ns)), tuple(sorted(ds)), tuple(sorted(glue)))

    @cached_property
    def records(self) -> tuple[RR, ...]:
        """All records: NS, DS, then glue."""
        child = self.child
        return (
            *[RR(child, _NS, target) for target in self.ns],
            *[RR(child, _DS, rdata) for rdata in self.ds],
            *self.glue,
        )

    @cached_property
    def rrsets(self) -> dict[tuple[bytes, int], tuple[bytes, ...]]:
        """The RDATA of each RRset by (owner, type); RRsets that do not exist are not in it."""
        found: dict[tuple[bytes, int], tuple[bytes, ...]] = {}
        for owner, rtype, rdata in self.records:
            found[owner, rtype] = (*found.get((owner, rtype), ()), rdata)
        return found

    @property
    def is_delegated(self) -> bool:
        return bool(self.ns)

    def in_domain_ns(self) -> tuple[bytes, ...]:
        """The name servers whose names lie in the child zone: those that need glue (RFC 9471)."""
        return self._in_domain_ns

    @cached_property
    def _in_domain_ns(self) -> tuple[bytes, ...]:
        return tuple([target for target in self.ns if names.is_at_or_below(target, self.child)])

    def to_wire(self) -> bytes:
        """One octet string from which `from_wire` makes the same value: what the store keeps."""
        return b"".join(
            (self.child, *[owner + _RR_HEAD.pack(rtype, len(rdata)) + rdata for owner, rtype, rdata in self.records])
        )

    @classmethod
    def from_wire(cls, wire: bytes) -> "Delegation":
        """The value that `to_wire` wrote. Raises ValueError for octets that it did not write."""
        try:
            child, at = _take_name(wire, 0)
            records = []
            while at < len(wire):
                owner, at = _take_name(wire, at)
                rtype, length = _RR_HEAD.unpack_from(wire, at)
                at += _RR_HEAD.size + length
                if at > len(wire):
                    raise IndexError("ends within a record")
                records.append(RR(owner, rtype, wire[at - length : at]))
        except Exception as error:
            raise ValueError(f"{len(wire)} octets are no delegation: {error}") from error
        return cls.of(child, records)

    def to_json(self) -> dict[str, Any]:
        """The value in presentation form, for `--json`, logs and the audit trail."""
        glue: dict[str, list[str]] = {}
        for owner, rtype, rdata in self.glue:
            glue.setdefault(names.to_text(owner), []).append(rdata_text(rtype, rdata))
        return {
            "child": names.to_text(self.child),
            "ns": [names.to_text(target) for target in self.ns],
            "ds": [rdata_text(RRType.DS, rdata) for rdata in self.ds],
            "glue": glue,
        }

    def to_text(self, ttls: Ttls) -> str:
        """The records as lines of a zone file, each with its final newline."""
        return "".join(
            f"{names.to_text(owner)}\t{ttls.of(rtype)}\tIN\t{RRType(rtype).text}\t{rdata_text(rtype, rdata)}\n"
            for owner, rtype, rdata in self.records
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """What turns one delegation into another: records to remove and records to add, sorted; disjoint."""

    child: bytes
    removed: tuple[RR, ...]
    added: tuple[RR, ...]

    @classmethod
    def between(cls, before: Delegation, after: Delegation) -> "Difference":
        """The difference of two delegations of the same child."""
        old, new = set(before.records), set(after.records)
        return cls(after.child, tuple(sorted(old - new)), tuple(sorted(new - old)))

    def __bool__(self) -> bool:
        return bool(self.removed or self.added)

    def apply(self, delegation: Delegation) -> Delegation:
        """The delegation after this difference; adding what is there or removing what is not changes nothing."""
        return Delegation.of(delegation.child, (set(delegation.records) - set(self.removed)) | set(self.added))

    def inverse(self) -> "Difference":
        return replace(self, removed=self.added, added=self.removed)

    def to_text(self) -> str:
        """A line a record, `-` or `+` before it, each with its final newline."""
        return "".join(f"- {record.to_text()}\n" for record in self.removed) + "".join(
            f"+ {record.to_text()}\n" for record in self.added
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "removed": [record.to_text() for record in self.removed],
            "added": [record.to_text() for record in self.added],
        }


def rdata_text(rtype: int, rdata: bytes) -> str:
    """RDATA of a delegation's types in presentation form; RFC 3597 section 5 form where it is no such RDATA."""
    if rtype == RRType.NS:
        return names.to_text(rdata)
    if rtype == RRType.A and len(rdata) == 4:
        return ".".join(map(str, rdata))
    if rtype == RRType.AAAA and len(rdata) == 16:
        return str(IPv6Address(rdata))
    if rtype == RRType.DS and len(rdata) > _DS_HEAD.size:
        tag, algorithm, digest_type = _DS_HEAD.unpack_from(rdata)
        return f"{tag} {algorithm} {digest_type} {rdata[_DS_HEAD.size :].hex().upper()}"
    return f"\\# {len(rdata)} {rdata.hex().upper()}".rstrip()


def aaaa_from_text(text: str) -> bytes:
    """AAAA RDATA from its presentation form. Raises ValueError, also for an address with a zone id (`fe80::1%eth0`, RFC
    4007 section 11): no record holds one, and without it the address is another."""
    address = IPv6Address(text)
    if address.scope_id is not None:
        raise ValueError(f"{text!r} has a zone id, which no record holds")
    return address.packed


def ds_from_text(text: str) -> bytes:
    """DS RDATA from its presentation form (RFC 4034 section 5.3), whatever the length of the digest. Raises ValueError.

    What stands somewhere is to be seen, also where it is wrong: policy judges it.
    """
    try:
        tag, algorithm, digest_type, *digest = text.split()
        rdata = _DS_HEAD.pack(*(int(number) for number in (tag, algorithm, digest_type)))
        return rdata + bytes.fromhex("".join(digest))
    except (ValueError, struct.error):
        raise ValueError(f"{text!r} is no DS record: key tag, algorithm, digest type and digest") from None


def _take_name(wire: bytes, start: int) -> tuple[bytes, int]:
    at = start
    while length := wire[at]:
        at += 1 + length
    return wire[start : at + 1], at + 1
