"""What came back to a signed message, read from its octets: is it the answer, and who signed it? (RFC 2931 section 3)

Pure. A message that is no answer to the request is no response at all; one that is may still be anybody's word.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from zonecut.net.endpoint import Endpoint
from zonecut.protocol.codepoints import EDNS_OPTION_EDE, CodePoints, Rcode
from zonecut.protocol.ede import ExtendedError
from zonecut.protocol.envelope import Envelope, read_options, walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.flags import QUERY_RESPONSE, TRUNCATED
from zonecut.protocol.keys import Key, UnusableKey, verifier
from zonecut.protocol.keystate import KeyStateOption
from zonecut.protocol.sig0 import Signature, Untimely, check_time, signatures, signed_data

MAX_ERRORS = 4
"""Extended errors that are read from one response."""
FUDGE = 300
"""Seconds by which the receiver's clock may differ from ours."""
MAX_VALIDITY = 86400
"""Seconds for which a response's signature may be valid."""


class Signed(StrEnum):
    """Whether a response is signed by one of the receiver's keys."""

    VALID = "valid"
    """Over the request and the response (RFC 2931 section 3.1)."""
    MESSAGE_ONLY = "message-only"
    """Over the response alone, as some implementations do."""
    NONE = "none"
    WRONG = "wrong"
    """There is a signature, and no key at hand makes it good."""

    @property
    def is_good(self) -> bool:
        return self in (Signed.VALID, Signed.MESSAGE_ONLY)


@dataclass(frozen=True, slots=True)
class Response:
    """A response; `by` is the key that signed it, where that was found to be so. `seconds` is how long it took."""

    address: Endpoint
    rcode: int
    signed: Signed
    by: Key | None
    errors: tuple[ExtendedError, ...]
    keystate: KeyStateOption | None
    truncated: bool
    edns: bool
    """It has an OPT record; without one, an RCODE above 15 cannot be said."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {
            "address": str(self.address),
            "rcode": self.rcode,
            "signed": self.signed.value,
            "by": None if self.by is None else {"tag": self.by.tag, "fingerprint": self.by.fingerprint()},
            "errors": [{"code": error.code, "text": error.text} for error in self.errors],
            "truncated": self.truncated,
            "seconds": round(self.seconds, 6),
        }


def read_response(
    wire: bytes,
    request: bytes,
    keys: Sequence[Key],
    now: int,
    codepoints: CodePoints,
    *,
    address: Endpoint,
    seconds: float,
) -> Response:
    """The response to `request` in these octets, held against the receiver's keys. `now` in seconds since the epoch.

    Raises MalformedMessage for what is no DNS message, or none that answers this request.
    """
    envelope = walk(wire)
    _check_answers(envelope, walk(request))
    found = signatures(envelope, codepoints.signature_type)
    signed, by = _judge(envelope, found, request, keys, now, codepoints)
    errors, keystate = _options(envelope, codepoints)
    return Response(
        address=address,
        rcode=envelope.rcode,
        signed=signed,
        by=by,
        errors=errors,
        keystate=keystate,
        truncated=bool(envelope.flags & TRUNCATED),
        edns=envelope.opt is not None,
        seconds=seconds,
    )


def _check_answers(envelope: Envelope, request: Envelope) -> None:
    if not envelope.flags & QUERY_RESPONSE:
        raise MalformedMessage("it is no response: QR is not set")
    if envelope.id != request.id:
        raise MalformedMessage("it has another ID than the request")
    if envelope.opcode != request.opcode:
        raise MalformedMessage(f"its opcode is {envelope.opcode}, not {request.opcode}")
    # RFC 2136 section 3.8: the zone section comes back, or all sections are empty
    if envelope.questions and _asked(envelope) != _asked(request):
        raise MalformedMessage("it answers another question")


def _asked(envelope: Envelope) -> list[tuple[bytes, int, int]]:
    return [(envelope.name(question.start), question.qtype, question.qclass) for question in envelope.questions]


def _judge(
    envelope: Envelope,
    found: Sequence[Signature],
    request: bytes,
    keys: Sequence[Key],
    now: int,
    codepoints: CodePoints,
) -> tuple[Signed, Key | None]:
    for signature in found:
        timely = _is_timely(signature, now)
        for key in keys:
            if (key.owner, key.algorithm, key.tag) != (signature.signer, signature.algorithm, signature.key_tag):
                continue
            try:
                verify = verifier(key, codepoints)
            except UnusableKey:
                continue
            if verify(signature.signature, signed_data(envelope.wire, signature, request=request)):
                # It covers our request, so it is fresh: how else could we be told that our clock is wrong?
                if timely or envelope.rcode == Rcode.BADTIME:
                    return Signed.VALID, key
            elif timely and verify(signature.signature, signed_data(envelope.wire, signature)):
                return Signed.MESSAGE_ONLY, key
    return (Signed.WRONG if found else Signed.NONE), None


def _is_timely(signature: Signature, now: int) -> bool:
    try:
        check_time(signature, now, fudge=FUDGE, max_validity=MAX_VALIDITY)
    except Untimely:
        return False
    return True


def _options(envelope: Envelope, codepoints: CodePoints) -> tuple[tuple[ExtendedError, ...], KeyStateOption | None]:
    """What the OPT record says. An option that cannot be read counts as missing."""
    errors: list[ExtendedError] = []
    keystate: KeyStateOption | None = None
    if envelope.opt is not None:
        for code, data in read_options(envelope.rdata(envelope.opt)):
            with suppress(MalformedMessage):
                if code == EDNS_OPTION_EDE and len(errors) < MAX_ERRORS:
                    errors.append(ExtendedError.from_data(data))
                elif code == codepoints.keystate_option and keystate is None:
                    keystate = KeyStateOption.from_data(data)
    return tuple(errors), keystate
