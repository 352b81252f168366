"""Names and RDATA in the presentation form in which knotd speaks, as octets and back."""

import socket
from functools import lru_cache

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from zonecut.plugin import BackendRejected
from zonecut.plugin.rtypes import rtype_number
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import GENERIC, from_generic_text, generic_text
from zonecut.protocol.announced.svcb import Svcb
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, ds_from_text
from zonecut.protocol.envelope import read_name
from zonecut.protocol.errors import MalformedMessage

DELEGATION_TYPES = {rtype.text: int(rtype) for rtype in (RRType.NS, RRType.DS, RRType.A, RRType.AAAA)}

_ONE_NAME = frozenset((RRType.NS, RRType.CNAME, RRType.DNAME, 12))
_SHORTEST_DS = 5


@lru_cache(maxsize=16384)
def name(text: str) -> bytes:
    """The lower-case wire form of an absolute name that knotd wrote. Raises ValueError."""
    if "\\" in text or text == ".":
        return names.from_text(text)
    # knotd writes no name that is none
    labels = text.lower().encode("ascii").removesuffix(b".").split(b".")
    return b"".join(bytes((len(label),)) + label for label in labels) + names.ROOT


def delegation_rdata(rtype: int, text: str) -> bytes:
    """The RDATA of NS, DS, A and AAAA. Raises ValueError."""
    if text.startswith(GENERIC):
        return from_generic_text(text)
    if rtype == RRType.NS:
        return name(text)
    if rtype == RRType.A:
        return bytes(map(int, text.split(".")))
    if rtype == RRType.AAAA:
        return socket.inet_pton(socket.AF_INET6, text)
    return ds_from_text(text)


def type_number(text: str) -> int:
    """The number of a type by its mnemonic or as TYPE66. Raises ValueError."""
    known = DELEGATION_TYPES.get(text)
    if known is not None:
        return known
    return rtype_number(text)


def any_rdata(rtype: int, text: str) -> bytes:
    """The RDATA of any type, lower-case where it is one name. Raises ValueError."""
    if text.startswith(GENERIC):
        return from_generic_text(text)
    if rtype in DELEGATION_TYPES.values():
        return delegation_rdata(rtype, text)
    if rtype in _ONE_NAME:
        return name(text)
    if rtype == RRType.SVCB:
        return Svcb.from_text(text).to_wire()
    try:
        found = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.RdataType.make(rtype), text, origin=dns.name.root)
        wire = found.to_wire(origin=dns.name.root)
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(f"{text!r}: {error}") from None
    assert wire is not None
    return wire


def type_text(rtype: int) -> str:
    """A type as every release of Knot takes it."""
    return f"TYPE{rtype}"


def checked_rdata_text(record: RR) -> str:
    """The RDATA of a delegation's record for `zone-set`. Raises BackendRejected for octets that are no such RDATA.

    knotd would take a DS record that is too short, and then not be able to show anything at its owner.
    """
    rdata = record.rdata
    if record.rtype == RRType.NS:
        well_formed = _is_name(rdata)
    elif record.rtype == RRType.DS:
        well_formed = len(rdata) >= _SHORTEST_DS
    else:
        well_formed = len(rdata) == (4 if record.rtype == RRType.A else 16)
    if not well_formed or not _is_name(record.owner):
        raise BackendRejected.telling(
            f"a record of type {record.rtype} with the octets {rdata.hex() or 'none'} cannot be: they are no such data"
        )
    return generic_text(rdata)


def _is_name(octets: bytes) -> bool:
    try:
        found, end = read_name(octets, 0)
    except MalformedMessage:
        return False
    return end == len(octets) and found == octets
