"""Make DNS messages by copying octets: records, queries and UPDATEs in uncompressed wire form (RFC 1035, 2136)."""

from collections.abc import Sequence
from struct import Struct

from zonecut.protocol.codepoints import Opcode, RRClass, RRType
from zonecut.protocol.flags import AUTHORITATIVE

_HEADER = Struct("!HHHHHH")
_QUESTION_TAIL = Struct("!HH")
_RECORD_TAIL = Struct("!HHIH")
_OPTION_HEAD = Struct("!HH")


EDNS_PAYLOAD = 1232
"""The UDP payload size that we announce, in octets."""


def record(owner: bytes, rtype: int, rclass: int, ttl: int, rdata: bytes = b"") -> bytes:
    """One resource record; `ttl` in seconds."""
    return owner + _RECORD_TAIL.pack(rtype, rclass, ttl, len(rdata)) + rdata


def opt_record(options: bytes = b"", *, payload: int = EDNS_PAYLOAD, flags: int = 0) -> bytes:
    """An OPT pseudo-record (RFC 6891 section 6.1.2). `flags` are the 32 bits of its TTL field."""
    return record(b"\0", RRType.OPT, payload, flags, options)


def option(code: int, data: bytes) -> bytes:
    """One EDNS option for `opt_record`."""
    return _OPTION_HEAD.pack(code, len(data)) + data


def query(
    identity: int,
    name: bytes,
    qtype: int,
    *,
    flags: int = 0,
    authority: Sequence[bytes] = (),
    additional: Sequence[bytes] = (),
) -> bytes:
    """A QUERY for one name, class IN. `flags` are header bits such as RD (0x0100).

    `authority` is for IXFR, which says there what is known (RFC 1995 section 3).
    """
    question = name + _QUESTION_TAIL.pack(qtype, RRClass.IN)
    header = _HEADER.pack(identity, flags, 1, 0, len(authority), len(additional))
    return header + question + b"".join((*authority, *additional))


def notify(identity: int, name: bytes, qtype: int, additional: Sequence[bytes] = ()) -> bytes:
    """A NOTIFY: at `name` the RRset of this type is another one now (RFC 1996 section 3.7, RFC 9859 section 4)."""
    question = name + _QUESTION_TAIL.pack(qtype, RRClass.IN)
    flags = Opcode.NOTIFY << 11 | AUTHORITATIVE
    return _HEADER.pack(identity, flags, 1, 0, 0, len(additional)) + question + b"".join(additional)


def update(
    identity: int,
    zone: bytes,
    prerequisites: Sequence[bytes],
    updates: Sequence[bytes],
    additional: Sequence[bytes] = (),
) -> bytes:
    """An UPDATE of one zone, from records as `record` makes them (RFC 2136 section 2)."""
    counts = (1, len(prerequisites), len(updates), len(additional))
    return b"".join(
        (
            _HEADER.pack(identity, Opcode.UPDATE << 11, *counts),
            zone,
            _QUESTION_TAIL.pack(RRType.SOA, RRClass.IN),
            *prerequisites,
            *updates,
            *additional,
        )
    )


# RFC 2136 section 2.5: the forms of the update section


def add(owner: bytes, rtype: int, ttl: int, rdata: bytes) -> bytes:
    """Add to an RRset (section 2.5.1)."""
    return record(owner, rtype, RRClass.IN, ttl, rdata)


def delete_rrset(owner: bytes, rtype: int) -> bytes:
    """Delete an RRset (section 2.5.2)."""
    return record(owner, rtype, RRClass.ANY, 0)


def delete_name(owner: bytes) -> bytes:
    """Delete all RRsets from a name (section 2.5.3)."""
    return record(owner, RRType.ANY, RRClass.ANY, 0)


def delete_record(owner: bytes, rtype: int, rdata: bytes) -> bytes:
    """Delete an RR from an RRset (section 2.5.4)."""
    return record(owner, rtype, RRClass.NONE, 0, rdata)


# RFC 2136 section 2.4: the forms of the prerequisite section; the TTL is always 0


def rrset_exists(owner: bytes, rtype: int) -> bytes:
    """RRset exists, value independent (section 2.4.1)."""
    return record(owner, rtype, RRClass.ANY, 0)


def rrset_holds(owner: bytes, rtype: int, rdata: bytes) -> bytes:
    """RRset exists, value dependent: one record of it (section 2.4.2)."""
    return record(owner, rtype, RRClass.IN, 0, rdata)


def rrset_absent(owner: bytes, rtype: int) -> bytes:
    """RRset does not exist (section 2.4.3)."""
    return record(owner, rtype, RRClass.NONE, 0)


def name_in_use(owner: bytes) -> bytes:
    """Name is in use (section 2.4.4)."""
    return record(owner, RRType.ANY, RRClass.ANY, 0)


def name_not_in_use(owner: bytes) -> bytes:
    """Name is not in use (section 2.4.5)."""
    return record(owner, RRType.ANY, RRClass.NONE, 0)
