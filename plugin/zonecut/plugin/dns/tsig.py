"""TSIG on raw messages (RFC 8945): what is signed and sent is slices of octets, and no object is made a record."""

import hmac
import time
from dataclasses import dataclass
from struct import Struct

from zonecut.plugin.dns.tsig_key import TsigKey
from zonecut.protocol import message
from zonecut.protocol.codepoints import RRClass, RRType
from zonecut.protocol.envelope import ADDITIONAL, Envelope, Record, read_name
from zonecut.protocol.errors import MalformedMessage

FUDGE = 300
"""By how many seconds the clocks may differ (RFC 8945 section 10 recommends this)."""

_COUNT = Struct("!H")
_CLASS_AND_TTL = Struct("!HI").pack(RRClass.ANY, 0)
_TIMERS = Struct("!HIH")
_ERROR_AND_OTHER = Struct("!HH")
_FIXED_OCTETS = 10 + 16
"""Of a TSIG record: type to RDLENGTH, and its RDATA without algorithm name, MAC and other data."""

MacContext = hmac.HMAC | None
"""What the next message of a transfer is signed over, beginning with the MAC of the last one that was signed."""


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


@dataclass(frozen=True, slots=True)
class _Tsig:
    """The RDATA of a TSIG record (RFC 8945 section 4.2)."""

    algorithm: bytes
    timers: bytes
    """Time signed and fudge."""
    mac: bytes
    original_id: bytes
    error: int
    error_and_other: bytes


def tsig_octets(key: TsigKey) -> int:
    """How many octets `sign` adds to a message."""
    return len(key.owner) + len(key.algorithm_name) + _FIXED_OCTETS + key.mac_octets


def sign(wire: bytes, key: TsigKey, identity: int) -> Signed:
    """Give a request its message ID and the TSIG record that protects it."""
    wire = _COUNT.pack(identity) + wire[2:]
    now = int(time.time())
    timers, nothing = _TIMERS.pack(now >> 32, now & 0xFFFFFFFF, FUDGE), _ERROR_AND_OTHER.pack(0, 0)
    context = key.context()
    context.update(wire + key.owner + _CLASS_AND_TTL + key.algorithm_name + timers + nothing)
    mac = context.digest()
    rdata = key.algorithm_name + timers + _COUNT.pack(len(mac)) + mac + wire[:2] + nothing
    record = message.record(key.owner, RRType.TSIG, RRClass.ANY, 0, rdata)
    additional = _COUNT.unpack_from(wire, 10)[0] + 1
    return Signed(wire[:10] + _COUNT.pack(additional) + wire[12:] + record, mac)


def unsigned(wire: bytes, identity: int) -> Signed:
    """Give a request its message ID, and no signature."""
    return Signed(_COUNT.pack(identity) + wire[2:], b"")


def is_signed(answer: Envelope) -> bool:
    """True if an answer has a TSIG record where one counts, whatever it is worth."""
    last = answer.records[-1] if answer.records else None
    return last is not None and last.rtype == RRType.TSIG and last.section == ADDITIONAL


def verify(
    answer: Envelope, key: TsigKey, request_mac: bytes, context: MacContext = None, *, transfer: bool = False
) -> MacContext:
    """Check the TSIG of an answer to the request with that MAC; returns the context for the next of a transfer.

    Raises NotAuthentic if the answer has none, has one that does not fit, or tells of a TSIG error.
    """
    if not is_signed(answer):
        raise NotAuthentic("is not signed")
    last = answer.records[-1]
    try:
        owner, tsig = answer.name(last.start), _parsed(answer.wire, last)
    except (MalformedMessage, ValueError):
        raise NotAuthentic("has a signature that is none") from None
    if tsig.error:
        raise NotAuthentic("reports a TSIG error", tsig.error)
    if (owner, tsig.algorithm) != (key.owner, key.algorithm_name):
        raise NotAuthentic("has a signature that does not verify (of another key)")
    # RFC 8945 section 4.3.2: the message as it was before the TSIG record was added
    additional = _COUNT.unpack_from(answer.wire, 10)[0] - 1
    signed = tsig.original_id + answer.wire[2:10] + _COUNT.pack(additional) + answer.wire[12 : last.start]
    if context is None:
        context = _begun(key, request_mac)
        variables = key.owner + _CLASS_AND_TTL + key.algorithm_name + tsig.timers + tsig.error_and_other
    else:
        # section 5.3.1: the messages of a transfer after the first
        variables = tsig.timers
    context.update(signed + variables)
    if not hmac.compare_digest(context.digest(), tsig.mac):
        raise NotAuthentic("has a signature that does not verify")
    high, low, fudge = _TIMERS.unpack(tsig.timers)
    if abs((high << 32 | low) - int(time.time())) > fudge:
        raise NotAuthentic(f"was signed at a time more than {fudge} s from ours: look at both clocks")
    return _begun(key, tsig.mac) if transfer else None


def _begun(key: TsigKey, mac: bytes) -> hmac.HMAC:
    """A context that begins with the MAC of an earlier message (RFC 8945 section 4.3.1)."""
    context = key.context()
    context.update(_COUNT.pack(len(mac)) + mac)
    return context


def _parsed(wire: bytes, record: Record) -> _Tsig:
    """The RDATA of a TSIG record. Raises MalformedMessage or ValueError if it is none."""
    algorithm, at = read_name(wire, record.rdata)
    rdata = wire[at : record.end]
    timers, rest = rdata[:8], rdata[8:]
    size = int.from_bytes(rest[:2])
    mac, original_id, error_and_other = rest[2 : 2 + size], rest[2 + size : 4 + size], rest[4 + size :]
    if len(error_and_other) < 4 or len(error_and_other) != 4 + int.from_bytes(error_and_other[2:4]):
        raise ValueError("not as long as it says")
    return _Tsig(algorithm.lower(), timers, mac, original_id, int.from_bytes(error_and_other[:2]), error_and_other)
