"""Names, types and RDATA as the tables have them, and back: presentation form (RFC 1035 section 5.1), names absolute.

A, AAAA, NS and DS are read here; dnspython reads the types that zonecut does not handle.
"""

from functools import lru_cache
from ipaddress import IPv4Address

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from zonecut.plugin import BackendRejected
from zonecut.plugin.rtypes import rtype_number
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import GENERIC, Dsync, from_generic_text, generic_text
from zonecut.protocol.announced.svcb import Svcb
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, aaaa_from_text
from zonecut.protocol.envelope import read_name
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.rrset import rdata_text

_MNEMONICS = {rtype.text: int(rtype) for rtype in RRType if rtype < RRType.TSIG and rtype != RRType.OPT}
_LENGTHS = {int(RRType.A): 4, int(RRType.AAAA): 16}
_UNKNOWN_TO_SERVERS = frozenset((int(RRType.DSYNC),))
"""Types that a server of today may not load by their mnemonic."""
_LOWER_CASE = frozenset((int(RRType.NS), int(RRType.CNAME), int(RRType.DNAME)))


@lru_cache(maxsize=16384)
def owner_of(text: str) -> bytes:
    """The wire form of the name in a column by which rows are found. Raises ValueError unless it is written our way."""
    name = names.from_text(text)
    if names.to_text(name) != text:
        raise ValueError(f"{text!r} is written {names.to_text(name)!r} here")
    return name


def type_of(text: str) -> int:
    """The number of an RR type. Raises ValueError for none."""
    known = _MNEMONICS.get(text)
    if known is not None:
        return known
    return rtype_number(text)


def rdata_of(rtype: int, text: str) -> bytes:
    """RDATA in wire form, its names in lower case where it is one name. Raises ValueError that says what is wrong."""
    if text.startswith(GENERIC):
        return from_generic_text(text)
    if rtype == RRType.NS:
        return names.from_text(text)
    if rtype == RRType.A:
        return IPv4Address(text).packed
    if rtype == RRType.AAAA:
        return aaaa_from_text(text)
    if rtype == RRType.DS:
        # dnspython refuses a digest of a length that it does not expect; what stands there is to be seen all the same
        tag, algorithm, digest_type, *digest = text.split()
        head = int(tag).to_bytes(2) + bytes((int(algorithm), int(digest_type)))
        return head + bytes.fromhex("".join(digest))
    if rtype == RRType.DSYNC:
        return Dsync.from_text(text).to_wire()
    if rtype == RRType.SVCB:
        try:
            return Svcb.from_text(text).to_wire()
        except ValueError:
            pass  # a parameter by its name: dnspython reads those
    return _read_any(rtype, text)


def record_of(owner: str, rtype: str, rdata: str) -> RR:
    """The record of a row. Raises ValueError that says what is wrong."""
    number = type_of(rtype)
    try:
        return RR(owner_of(owner), number, rdata_of(number, rdata))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{rdata!r} is no data of {rtype}: {error}") from None


def columns_of(owner: bytes, rtype: int, rdata: bytes) -> tuple[str, str, str]:
    """Owner, type and RDATA of a record as a row has them.

    Raises BackendRejected for a type of a delegation whose RDATA is none: no zone could hold it.
    """
    if not _is_whole(rtype, rdata):
        raise BackendRejected.telling(f"{names.to_text(owner)}: {rdata.hex()} is no data of {RRType(rtype).text}")
    if rtype in _UNKNOWN_TO_SERVERS or rtype not in _MNEMONICS.values():
        return names.to_text(owner), f"TYPE{rtype}", generic_text(rdata)
    return names.to_text(owner), RRType(rtype).text, rdata_text(rtype, rdata)


def _is_whole(rtype: int, rdata: bytes) -> bool:
    if rtype == RRType.NS:
        try:
            name, end = read_name(rdata, 0)
        except MalformedMessage:
            return False
        return end == len(rdata) and name == rdata
    if rtype == RRType.DS:
        return len(rdata) > 4
    return len(rdata) == _LENGTHS.get(rtype, len(rdata))


def _read_any(rtype: int, text: str) -> bytes:
    kind = dns.rdatatype.RdataType.make(rtype)
    try:
        found = dns.rdata.from_text(dns.rdataclass.IN, kind, text, origin=dns.name.root, relativize=False)
        wire = found.to_wire()
    except (dns.exception.DNSException, ValueError, IndexError) as error:
        raise ValueError(str(error) or type(error).__name__) from None
    assert wire is not None
    return wire.lower() if rtype in _LOWER_CASE else wire
