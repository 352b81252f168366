"""Transaction signatures on raw octets: SIG(0) of requests and responses (RFC 2931, RFC 3007).

Nothing here parses a message and renders it again: what is verified is what was received.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

from zonecut.protocol.codepoints import RRClass
from zonecut.protocol.envelope import ADDITIONAL, Envelope, Record, read_name
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.keys import KeyPair
from zonecut.protocol.message import record as encode_record
from zonecut.protocol.names import ROOT

MAX_SIGNATURES = 2
"""Some clients add a SIG RR for each of their active keys; more than two are refused."""

_FIXED = struct.Struct("!HBBIIIH")
_ARCOUNT_AT = 10
_CLASSES = frozenset((int(RRClass.ANY), int(RRClass.IN)))
_HALF = 1 << 31
_MODULUS = 1 << 32


class Signature(NamedTuple):
    """A transaction SIG RR: where it stands and its fields (RFC 2535 section 4.1). Times are seconds modulo 2**32."""

    start: int
    """Offset of the SIG RR in its message: what stands before it is signed."""
    preceding: int
    """How many records of the additional section stand before it."""
    signed_rdata: bytes
    """Its RDATA up to the signature."""
    signature: bytes
    algorithm: int
    expiration: int
    inception: int
    key_tag: int
    signer: bytes
    """The signer's name in lower case; it is signed in the case it was sent."""


def signatures(envelope: Envelope, signature_type: int) -> tuple[Signature, ...]:
    """The SIG RRs that end a message, first to last; empty if it is not signed.

    Raises MalformedMessage when there are more than two or they name different signers, when one stands elsewhere,
    covers an RR type, or has an owner, TTL or class that would not be protected by the signature
    (RFC 2931 section 3: owner root, class ANY, TTL 0; class IN is accepted from those who write it).
    """
    records = envelope.records
    count = [record[2] for record in records].count(signature_type)  # [2]: rtype
    if count == 0:
        return ()
    if count > MAX_SIGNATURES:
        raise MalformedMessage(f"has {count} SIG records, more than {MAX_SIGNATURES}")
    last = records[-count:]
    for record in last:
        if record.rtype != signature_type or record.section != ADDITIONAL:
            raise MalformedMessage("has a SIG record that is not at the end of its additional section")
    preceding = int.from_bytes(envelope.wire[_ARCOUNT_AT : _ARCOUNT_AT + 2]) - count
    found = [_read(envelope, record, preceding + place) for place, record in enumerate(last)]
    if count > 1 and found[0].signer != found[-1].signer:
        raise MalformedMessage("its SIG records name different signers")
    return tuple(found)


def _read(envelope: Envelope, record: Record, preceding: int) -> Signature:
    wire = envelope.wire
    if wire[record.start] != 0:
        raise MalformedMessage("the owner of its SIG record is not the root")
    if record.rclass not in _CLASSES:
        raise MalformedMessage(f"the class of its SIG record is {record.rclass}, neither ANY nor IN")
    if record.ttl != 0:
        raise MalformedMessage(f"the TTL of its SIG record is {record.ttl}, not 0")
    start = record.rdata + _FIXED.size
    if start >= record.end:
        raise MalformedMessage("its SIG record is too short")
    covered, algorithm, labels, original_ttl, expiration, inception, key_tag = _FIXED.unpack_from(wire, record.rdata)
    if covered or labels or original_ttl:
        raise MalformedMessage("type covered, labels and original TTL of its SIG record are not all 0")
    signer, end = read_name(wire, start)
    if end - start != len(signer):
        raise MalformedMessage("the signer's name in its SIG record is compressed (RFC 2931 section 2.4)")
    if end >= record.end:
        raise MalformedMessage("its SIG record holds no signature")
    return Signature(
        record.start,
        preceding,
        wire[record.rdata : end],
        wire[end : record.end],
        algorithm,
        expiration,
        inception,
        key_tag,
        signer.lower(),
    )


def signed_data(wire: bytes, signature: Signature, *, request: bytes = b"") -> bytes:
    """The octets that a signature covers (RFC 2931 section 3.1).

    For a response in RFC form, `request` is the full request as received, its SIG RRs included.
    """
    return b"".join(
        (
            signature.signed_rdata,
            request,
            wire[:_ARCOUNT_AT],
            signature.preceding.to_bytes(2),
            wire[_ARCOUNT_AT + 2 : signature.start],
        )
    )


class Untimely(Exception):
    """A signature is outside its validity; `reason` is a sentence that holds the times compared."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def check_time(signature: Signature, now: int, *, fudge: int, max_validity: int) -> None:
    """Raise Untimely unless `now` (seconds) is within the signature's validity, in serial arithmetic (RFC 1982).

    `fudge` is how far the clocks may differ, `max_validity` the longest validity accepted, both in seconds.
    """
    inception, expiration = signature.inception, signature.expiration
    validity = (expiration - inception) % _MODULUS
    if validity >= _HALF:
        raise Untimely(f"the signature expires ({expiration}) before its inception ({inception}); it is {now} here")
    if validity > max_validity:
        raise Untimely(f"the signature is valid for {validity} s, more than {max_validity} s; it is {now} here")
    # later(), written out: once a message
    if (inception - now - fudge + _HALF) % _MODULUS > _HALF:
        raise Untimely(f"the signature is not valid before {inception}; it is {now} here")
    if (now - expiration - fudge + _HALF) % _MODULUS > _HALF:
        raise Untimely(f"the signature expired at {expiration}; it is {now} here")


def seconds_until(time: int, now: int) -> int:
    """How far `time` lies ahead of `now`, negative if it is past; both seconds modulo 2**32 (RFC 1982 section 3.2)."""
    return (time - now + _HALF) % _MODULUS - _HALF


def later(one: int, other: int) -> bool:
    """True if the time `one` is later than `other`, both seconds modulo 2**32 (RFC 1982 section 3.2)."""
    return seconds_until(one, other) > 0


def sign_request(
    message: bytes, pair: KeyPair, inception: int, expiration: int, *, signature_type: int, rclass: int = RRClass.ANY
) -> bytes:
    """The message with a SIG RR at its end (RFC 2931 section 3.1). Times in seconds since the epoch."""
    return _sign(message, pair, inception, expiration, signature_type, rclass, b"")


def sign_response(
    message: bytes, pair: KeyPair, inception: int, expiration: int, *, request: bytes, signature_type: int
) -> bytes:
    """The response with a SIG RR at its end that also covers the request; `request` empty: the response alone."""
    return _sign(message, pair, inception, expiration, signature_type, RRClass.ANY, request)


def _sign(
    message: bytes,
    pair: KeyPair,
    inception: int,
    expiration: int,
    signature_type: int,
    rclass: int,
    request: bytes,
) -> bytes:
    key = pair.key
    fixed = _FIXED.pack(0, key.algorithm, 0, 0, expiration % _MODULUS, inception % _MODULUS, key.tag)
    signed_rdata = fixed + key.owner
    rdata = signed_rdata + pair.sign(signed_rdata + request + message)
    count = int.from_bytes(message[_ARCOUNT_AT : _ARCOUNT_AT + 2])
    return b"".join(
        (
            message[:_ARCOUNT_AT],
            (count + 1).to_bytes(2),
            message[_ARCOUNT_AT + 2 :],
            encode_record(ROOT, signature_type, rclass, 0, rdata),
        )
    )


def verify_response(
    wire: bytes,
    response: Signature,
    verify: Callable[[bytes, bytes], bool],
    request: bytes,
) -> bool:
    """True if a response's signature verifies over request and response, or over the response alone (some sign so)."""
    return verify(response.signature, signed_data(wire, response, request=request)) or verify(
        response.signature, signed_data(wire, response)
    )
