"""RRsets of any type as values, and the difference of two sets of them: what a server holds and what it should hold.

Owners are lower-case wire form, RDATA uncompressed wire form.
"""

import struct
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync, generic_text
from zonecut.protocol.announced.svcb import Svcb
from zonecut.protocol.codepoints import DEFAULT, CodePoints, RRType, type_text
from zonecut.protocol.delegation import rdata_text as delegation_text
from zonecut.protocol.envelope import read_name
from zonecut.protocol.errors import MalformedMessage

_KEY_HEAD = struct.Struct("!HBB")
_SOA_TIMES = struct.Struct("!IIIII")
_ONE_NAME = frozenset((RRType.NS, RRType.CNAME, RRType.DNAME))


class ResourceRecord(NamedTuple):
    """One record of class IN; `ttl` in seconds."""

    owner: bytes
    rtype: int
    ttl: int
    rdata: bytes

    def to_text(self, codepoints: CodePoints = DEFAULT) -> str:
        """The record in presentation form, on one line without a line end."""
        data = rdata_text(self.rtype, self.rdata, codepoints)
        return f"{names.to_text(self.owner)} {self.ttl} IN {type_text(self.rtype)} {data}"


@dataclass(frozen=True, slots=True)
class RRset:
    """All records of one owner and type: one TTL (seconds), and RDATA that is sorted and has no duplicates.

    Raises ValueError for one without records: such an RRset does not exist.
    """

    owner: bytes
    rtype: int
    ttl: int
    rdatas: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not self.rdatas:
            raise ValueError(f"{names.to_text(self.owner)} {type_text(self.rtype)}: an RRset has at least one record")
        object.__setattr__(self, "rdatas", tuple(sorted(set(self.rdatas))))

    @property
    def key(self) -> tuple[bytes, int]:
        """Owner and type, by which a zone has one RRset at most."""
        return self.owner, self.rtype

    @property
    def records(self) -> tuple[ResourceRecord, ...]:
        return tuple(ResourceRecord(self.owner, self.rtype, self.ttl, rdata) for rdata in self.rdatas)

    def to_text(self, codepoints: CodePoints = DEFAULT) -> str:
        """A line a record, each with its final newline."""
        return "".join(f"{record.to_text(codepoints)}\n" for record in self.records)


@dataclass(frozen=True, slots=True)
class RRsetDifference:
    """RRsets to be replaced: as they are and as they are to be. One that is in neither is none of its business."""

    before: tuple[RRset, ...]
    after: tuple[RRset, ...]

    @classmethod
    def between(cls, before: Iterable[RRset], after: Iterable[RRset]) -> "RRsetDifference":
        """What turns one set of RRsets into another, by owner and type; a TTL alone makes a difference, too."""
        old = {rrset.key: rrset for rrset in before}
        new = {rrset.key: rrset for rrset in after}
        differing = sorted(
            (key for key in old.keys() | new.keys() if old.get(key) != new.get(key)),
            key=lambda key: (names.sort_key(key[0]), key[1]),
        )
        return cls(
            tuple(old[key] for key in differing if key in old), tuple(new[key] for key in differing if key in new)
        )

    def __bool__(self) -> bool:
        return self.before != self.after

    @property
    def removed(self) -> tuple[ResourceRecord, ...]:
        """The records that go; one whose TTL changes goes and comes."""
        return _only_in(self.before, self.after)

    @property
    def added(self) -> tuple[ResourceRecord, ...]:
        """The records that come."""
        return _only_in(self.after, self.before)

    def to_text(self, codepoints: CodePoints = DEFAULT) -> str:
        """A line a record, `-` or `+` before it, each with its final newline; RRset by RRset."""
        signed = [("-", record) for record in self.removed] + [("+", record) for record in self.added]
        signed.sort(key=lambda each: (names.sort_key(each[1].owner), each[1].rtype, each[0] == "+", each[1].rdata))
        return "".join(f"{sign} {record.to_text(codepoints)}\n" for sign, record in signed)

    def to_json(self, codepoints: CodePoints = DEFAULT) -> dict[str, Any]:
        return {
            "removed": [record.to_text(codepoints) for record in self.removed],
            "added": [record.to_text(codepoints) for record in self.added],
        }


def _only_in(some: Iterable[RRset], others: Iterable[RRset]) -> tuple[ResourceRecord, ...]:
    known = {record for rrset in others for record in rrset.records}
    return tuple(record for rrset in some for record in rrset.records if record not in known)


def rdata_text(rtype: int, rdata: bytes, codepoints: CodePoints = DEFAULT) -> str:
    """RDATA in presentation form; that of RFC 3597 section 5 for other types, and where it is no such RDATA."""
    try:
        if rtype == RRType.DSYNC:
            return Dsync.from_wire(rdata).to_text(codepoints)
        if rtype == RRType.SVCB:
            return Svcb.from_wire(rdata).to_text()
        if rtype == RRType.KEY:
            return _key_text(rdata)
        if rtype == RRType.SOA:
            return _soa_text(rdata)
        if rtype in _ONE_NAME:
            return names.to_text(_whole_name(rdata, 0, len(rdata)))
    except (MalformedMessage, struct.error):
        return generic_text(rdata)
    return delegation_text(RRType.DS if rtype == RRType.CDS else rtype, rdata)


def _key_text(rdata: bytes) -> str:
    flags, protocol, algorithm = _KEY_HEAD.unpack_from(rdata)
    if len(rdata) == _KEY_HEAD.size:
        return generic_text(rdata)
    return f"{flags} {protocol} {algorithm} {b64encode(rdata[_KEY_HEAD.size :]).decode()}"


def _soa_text(rdata: bytes) -> str:
    server, at = read_name(rdata, 0)
    mailbox = _whole_name(rdata, at, len(rdata) - _SOA_TIMES.size)
    numbers = _SOA_TIMES.unpack_from(rdata, len(rdata) - _SOA_TIMES.size)
    return " ".join((names.to_text(server), names.to_text(mailbox), *map(str, numbers)))


def _whole_name(rdata: bytes, start: int, end: int) -> bytes:
    name, after = read_name(rdata, start)
    if after != end or len(name) != end - start:
        raise MalformedMessage("is not one uncompressed name")
    return name
