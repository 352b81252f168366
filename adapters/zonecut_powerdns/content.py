"""Names and RDATA as PowerDNS writes them in its API, to wire form and back. Pure.

PowerDNS compares what it is given with what it would write itself and refuses most of what differs: "Not in expected
format". So names have its escapes, not ours, and a type that it has a mnemonic for is never written in generic form.
"""

import socket
from functools import lru_cache
from ipaddress import IPv4Address

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from zonecut.plugin.rtypes import rtype_number
from zonecut.protocol import names, rrset
from zonecut.protocol.announced.dsync import Dsync, from_generic_text
from zonecut.protocol.announced.svcb import Svcb
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import aaaa_from_text, ds_from_text

_MNEMONICS = {rtype.text: int(rtype) for rtype in RRType if rtype < RRType.TSIG and rtype != RRType.OPT}
_PRIVATE = {"ALIAS": 65401, "LUA": 65402}
"""Types of PowerDNS's own, which stand for no RDATA: an answer is computed from their text."""

_WITHOUT_MNEMONIC = frozenset((RRType.DSYNC,))
"""Types that PowerDNS has no name for, as of 4.7."""

_DS_DIGEST = 4
"""Where the digest begins in DS RDATA (RFC 4034 section 5.1)."""

_IN_ADDRESSES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-.")


@lru_cache(maxsize=16384)
def name_text(name: bytes) -> str:
    """The presentation form of a wire-form name with the escapes that PowerDNS writes."""
    if name == names.ROOT:
        return "."
    return "".join("".join(map(_octet_text, label)) + "." for label in names.labels(name))


def _octet_text(octet: int) -> str:
    if octet in b".\\":
        return "\\" + chr(octet)
    return chr(octet) if 0x21 <= octet <= 0x7E else f"\\{octet:03d}"


@lru_cache(maxsize=16384)
def name_wire(text: str) -> bytes:
    """The lower-case wire form of a name that PowerDNS wrote. Raises ValueError."""
    return names.from_text(text)


def zone_id(zone: bytes) -> str:
    """The name of a zone in the addresses of the API: what is special in an address becomes =XX."""
    if zone == names.ROOT:
        return "=2E"
    return "".join(
        chr(octet) if octet in _IN_ADDRESSES else f"={octet:02X}" for octet in name_text(zone).encode("ascii")
    )


def type_text(rtype: int) -> str:
    """The name of an RR type in the API."""
    if rtype in _WITHOUT_MNEMONIC:
        return f"TYPE{int(rtype)}"
    for text, number in _PRIVATE.items():
        if number == rtype:
            return text
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rtype))


@lru_cache(maxsize=256)
def type_number(text: str) -> int:
    """The number of an RR type by its name in the API. Raises ValueError for one that is unknown."""
    known = _MNEMONICS.get(text, _PRIVATE.get(text))
    if known is not None:
        return known
    return rtype_number(text)


def rdata_text(rtype: int, rdata: bytes) -> str:
    """RDATA as PowerDNS wants it."""
    if rtype in (RRType.NS, RRType.CNAME, RRType.DNAME) and _is_name(rdata):
        return name_text(rdata)
    if rtype == RRType.A and len(rdata) == 4:
        return ".".join(map(str, rdata))
    if rtype == RRType.AAAA and len(rdata) == 16:
        # not ipaddress: where an IPv4 address is embedded, PowerDNS writes it as libc does
        return socket.inet_ntop(socket.AF_INET6, rdata)
    if rtype == RRType.DS and len(rdata) > _DS_DIGEST:
        return f"{int.from_bytes(rdata[:2])} {rdata[2]} {rdata[3]} {rdata[_DS_DIGEST:].hex()}"
    if rtype in _PRIVATE.values():
        return rdata.decode("utf-8", "surrogateescape")
    if rtype == RRType.DSYNC:
        return _generic(rdata)
    if rtype in (RRType.SVCB, RRType.KEY):
        return rrset.rdata_text(rtype, rdata)
    try:
        known = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.RdataType.make(rtype), rdata, 0, len(rdata))
        return known.to_text()
    except (dns.exception.DNSException, ValueError):
        return _generic(rdata)


def rdata_wire(rtype: int, text: str) -> bytes:
    """The RDATA that PowerDNS's text stands for, names in NS lower-case. Raises ValueError."""
    if text.startswith("\\#"):
        return from_generic_text(text)
    if rtype == RRType.NS:
        return name_wire(text)
    if rtype == RRType.A:
        return IPv4Address(text).packed
    if rtype == RRType.AAAA:
        return aaaa_from_text(text)
    if rtype == RRType.DS:
        return ds_from_text(text)
    if rtype in _PRIVATE.values():
        return text.encode("utf-8", "surrogateescape")
    if rtype == RRType.DSYNC:
        return Dsync.from_text(text).to_wire()
    if rtype == RRType.SVCB:
        try:
            return Svcb.from_text(text).to_wire()
        except ValueError:
            pass  # a parameter by its name: dnspython reads those
    return _read_any(rtype, text)


def _read_any(rtype: int, text: str) -> bytes:
    try:
        found = dns.rdata.from_text(
            dns.rdataclass.IN, dns.rdatatype.RdataType.make(rtype), text, origin=dns.name.root, relativize=False
        )
        wire = found.to_wire()
    except (dns.exception.DNSException, ValueError, IndexError) as error:
        raise ValueError(f"{text!r} is no {type_text(rtype)} data: {error}") from None
    assert wire is not None
    return wire.lower() if rtype in (RRType.CNAME, RRType.DNAME) else wire


def _is_name(rdata: bytes) -> bool:
    """True if the octets are one uncompressed name."""
    at = 0
    while at < len(rdata) and 0 < rdata[at] <= names.MAX_LABEL:
        at += 1 + rdata[at]
    return at == len(rdata) - 1 and rdata[at] == 0


def _generic(rdata: bytes) -> str:
    """RFC 3597 section 5, in the one way that PowerDNS takes: all digits in one word."""
    return f"\\# {len(rdata)} {rdata.hex()}".rstrip()
