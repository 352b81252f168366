"""TSIG on raw messages (RFC 8945): one dnspython object a message, none a record."""

import time
from dataclasses import dataclass
from struct import Struct
from typing import Any

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig
from dns.rdtypes.ANY.TSIG import TSIG

from zonecut.plugin.tsigkey import TsigKey
from zonecut.protocol import message
from zonecut.protocol.codepoints import RRClass, RRType
from zonecut.protocol.envelope import ADDITIONAL, Envelope

FUDGE = 300
"""By how many seconds the clocks may differ (RFC 8945 section 10 recommends this)."""

_COUNT = Struct("!H")
_FIXED_OCTETS = 10 + 16
"""Of a TSIG record: type to RDLENGTH, and its RDATA without algorithm name, MAC and other data."""

MacContext = Any
"""What dnspython keeps of the MACs of a transfer so far."""


class NotAuthentic(Exception):
    """An answer that proves nothing. `peer_error` is the TSIG error (RFC 8945 section 5.2) that it reports, or 0."""

    def __init__(self, reason: str, peer_error: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.peer_error = peer_error


@dataclass(frozen=True, slots=True)
class Signed:
    """A request with its TSIG record, and the MAC with which its answer must be signed."""

    wire: bytes
    mac: bytes


def tsig_octets(key: TsigKey) -> int:
    """How many octets `sign` adds to a message."""
    mac = dns.tsig.mac_sizes[key.algorithm]
    return len(key.name.to_wire() or b"") + len(key.algorithm.to_wire() or b"") + _FIXED_OCTETS + mac


def sign(wire: bytes, key: TsigKey, identity: int) -> Signed:
    """Give a request its message ID and the TSIG record that protects it."""
    wire = _COUNT.pack(identity) + wire[2:]
    unsigned = TSIG(dns.rdataclass.ANY, dns.rdatatype.TSIG, key.algorithm, 0, FUDGE, b"", identity, 0, b"")  # type: ignore[no-untyped-call]
    tsig, _ = dns.tsig.sign(wire, key, unsigned, int(time.time()), b"")  # type: ignore[no-untyped-call]
    record = message.record(key.name.to_digestable(), RRType.TSIG, RRClass.ANY, 0, tsig.to_wire())
    additional = _COUNT.unpack_from(wire, 10)[0] + 1
    return Signed(wire[:10] + _COUNT.pack(additional) + wire[12:] + record, tsig.mac)


def verify(
    answer: Envelope, key: TsigKey, request_mac: bytes, context: MacContext = None, *, transfer: bool = False
) -> MacContext:
    """Check the TSIG of an answer to the request with that MAC; returns the context for the next of a transfer.

    Raises NotAuthentic if the answer has none, has one that does not fit, or tells of a TSIG error.
    """
    last = answer.records[-1] if answer.records else None
    if last is None or last.rtype != RRType.TSIG or last.section != ADDITIONAL:
        raise NotAuthentic("is not signed")
    try:
        owner, _ = dns.name.from_wire(answer.wire, last.start)
        tsig = dns.rdata.from_wire(
            dns.rdataclass.ANY, dns.rdatatype.TSIG, answer.wire, last.rdata, last.end - last.rdata
        )
        if error := getattr(tsig, "error", 0):
            raise NotAuthentic("reports a TSIG error", error)
        return dns.tsig.validate(  # type: ignore[no-untyped-call]
            answer.wire, key, owner, tsig, int(time.time()), request_mac, last.start, context, transfer
        )
    except dns.tsig.BadTime:
        raise NotAuthentic(f"was signed at a time more than {FUDGE} s from ours: look at both clocks") from None
    except dns.exception.DNSException as error:
        raise NotAuthentic(f"has a signature that does not verify ({type(error).__name__})") from None
