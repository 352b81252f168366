"""RRsets of any type: read from named's answers, stated and replaced by UPDATEs (RFC 2136). Pure.

An answer shows what a client would see: a wildcard's records too, those of another zone that named serves, and, with
inline signing, what was there some milliseconds ago. Only a prerequisite is about the zone itself.
"""

from collections.abc import Iterable, Sequence

from zonecut.plugin.wholezone import MADE_BY_SIGNER
from zonecut.protocol import envelope, message
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.envelope import Envelope, Record, read_name
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.rrset import RRset

SIGNING_STATE = 65534
"""The type of BIND's own record of how far it is with signing (option `sig-signing-type`)."""
_HIDDEN = MADE_BY_SIGNER | {SIGNING_STATE}

_DIFFERENT_WHEN_SIGNED = frozenset((RRType.SOA, RRType.CDS, 60))
"""SOA, CDS and CDNSKEY at the apex: with inline signing they are not, or not so, in the zone that prerequisites see."""

_NAME_AT_START = frozenset((RRType.NS, RRType.CNAME, RRType.DNAME, 12))
_NAME_AFTER_TWO = 15
"""MX. Beside it PTR, NS, CNAME and SOA are the types of today whose names may be compressed (RFC 3597 section 4)."""

_NUMBERS = 20
"""Octets of an SOA after its names."""
_SERIAL = slice(-20, -16)
"""Where the serial stands in SOA RDATA (RFC 1035 section 3.3.13)."""


def seen(answer: Envelope, name: bytes) -> tuple[RRset, ...]:
    """The RRsets in the answer to an ANY query, but for what a signer makes. Raises MalformedMessage."""
    found: dict[int, tuple[int, list[bytes]]] = {}
    for record in answer.section(envelope.ANSWER):
        if record.rtype not in _HIDDEN and answer.name(record.start) == name:
            _, rdatas = found.setdefault(record.rtype, (record.ttl, []))
            rdatas.append(whole_rdata(answer, record))
    return tuple(RRset(name, rtype, ttl, tuple(rdatas)) for rtype, (ttl, rdatas) in found.items())


def whole_rdata(answer: Envelope, record: Record) -> bytes:
    """The RDATA with its names uncompressed, and in lower case (RFC 4034 section 6.2) but for those of an SOA."""
    wire, start, end = answer.wire, record.rdata, record.end
    if record.rtype in _NAME_AT_START:
        name, at = read_name(wire, start)
        rdata = name.lower()
    elif record.rtype == _NAME_AFTER_TWO:
        name, at = read_name(wire, start + 2)
        rdata = wire[start : start + 2] + name.lower()
    elif record.rtype == RRType.SOA:
        server, at = read_name(wire, start)
        mailbox, at = read_name(wire, at)
        rdata, at = server + mailbox + wire[at:end], at + _NUMBERS
    else:
        return wire[start:end]
    if at != end:
        raise MalformedMessage(f"has a record of type {record.rtype} of a wrong length")
    return rdata


def is_verifiable(rrset: RRset, zone: bytes) -> bool:
    """True if a prerequisite can tell whether the zone holds this RRset."""
    return rrset.owner != zone or rrset.rtype not in _DIFFERENT_WHEN_SIGNED


def holds_message(zone: bytes, rrset: RRset) -> bytes:
    """An UPDATE that changes nothing, and to which NOERROR means: the zone holds exactly this RRset."""
    return message.update(0, zone, _held(rrset), ())


def absent_message(zone: bytes, owner: bytes, rtype: int) -> bytes:
    """An UPDATE that changes nothing, and to which NOERROR means: the zone has no such RRset."""
    return message.update(0, zone, [message.rrset_absent(owner, rtype)], ())


def next_serial_message(zone: bytes, soa: RRset, *, conditional: bool = True) -> bytes:
    """The UPDATE that raises the zone's serial by one if its SOA is still this one (RFC 1982 section 3.1).

    Not `conditional`: a server that keeps to RFC 2136 section 3.4.2.2 takes no lower serial than it has.
    """
    (rdata,) = soa.rdatas
    serial = int.from_bytes(rdata[_SERIAL]) + 1 & 0xFFFFFFFF or 1
    after = rdata[: _SERIAL.start] + serial.to_bytes(4) + rdata[_SERIAL.stop :]
    return message.update(0, zone, _held(soa) if conditional else (), [message.add(*soa.key, soa.ttl, after)])


def replace_message(zone: bytes, before: Iterable[RRset], after: Iterable[RRset], *, by_value: bool = True) -> bytes:
    """The UPDATE that replaces `before` by `after` if the zone holds `before`, and nothing otherwise.

    Not `by_value`: if it holds RRsets of these types where `before` does, and none where only `after` does.
    """
    old = {rrset.key: rrset for rrset in before}
    new = {rrset.key: rrset for rrset in after}
    prerequisites: list[bytes] = []
    updates: list[bytes] = []
    for key in sorted(old.keys() | new.keys()):
        was, becomes = old.get(key), new.get(key)
        if was is None:
            prerequisites.append(message.rrset_absent(*key))
        else:
            prerequisites += _held(was) if by_value else [message.rrset_exists(*key)]
        if was == becomes:
            continue
        if was:
            # A record that stays is deleted and added too: in BIND the two cancel out, but for the TTL.
            updates.append(message.delete_rrset(*key))
        if becomes:
            updates += [message.add(*key, becomes.ttl, rdata) for rdata in becomes.rdatas]
    return message.update(0, zone, prerequisites, updates)


def _held(rrset: RRset) -> Sequence[bytes]:
    return [message.rrset_holds(*rrset.key, rdata) for rdata in rrset.rdatas]
