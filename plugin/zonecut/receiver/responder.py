"""A decision becomes response octets (RFC 2136 section 3.8, RFC 6891, RFC 8914)."""

from zonecut.protocol import message, names
from zonecut.protocol.codepoints import EdeCode, Opcode, Rcode, RRClass, RRType
from zonecut.protocol.ede import ExtendedError
from zonecut.protocol.envelope import HEADER_LENGTH, QUERY_RESPONSE, Envelope
from zonecut.protocol.errors import Refusal

MAX_GROWTH = 128
"""A UDP response to an unverified request is at most so many octets longer: nobody is a lever against others."""

SOA_TIMES = (0, 3600, 600, 86400, 300)
"""Serial, refresh, retry, expire and minimum, in seconds, of the SOA that answers a client which looks for the zone."""

_KEPT_FLAGS = 0x7800  # the opcode
_AUTHORITATIVE = 0x0400
_TRUNCATED = 0x0200


def malformed(wire: bytes) -> bytes:
    """FORMERR to octets that hold a header and no message that can be walked: the header alone."""
    flags = QUERY_RESPONSE | int.from_bytes(wire[2:4]) & _KEPT_FLAGS | Rcode.FORMERR
    return wire[:2] + flags.to_bytes(2) + bytes(8)


def respond(envelope: Envelope, rcode: Rcode, error: ExtendedError | None = None, *, verified: bool = False) -> bytes:
    """The response to a request: its header, its question or zone section, and an OPT record if it had one.

    Without EDNS in the request an RCODE above 15 becomes NOTAUTH (RFC 8945 section 5.3) and there is no extended error.
    """
    wire = envelope.wire
    questions = wire[HEADER_LENGTH : envelope.questions[-1].end] if envelope.questions else b""
    if envelope.opt is None:
        code = Rcode.NOTAUTH if rcode > 15 else rcode
        opt = b""
    else:
        code = rcode
        options = error.to_option() if error else b""
        opt = message.opt_record(options, flags=rcode >> 4 << 24)
    response = _assemble(envelope, code & 0xF, questions, b"", opt)
    if not verified and len(response) > len(wire) + MAX_GROWTH and error is not None:
        return respond(envelope, rcode, _shorten(error, len(response) - len(wire) - MAX_GROWTH), verified=True)
    return response


def refuse(envelope: Envelope, refusal: Refusal, *, verified: bool = False) -> bytes:
    """The response that tells of a refusal; `verified` if the request's signature verified."""
    error = None if refusal.ede is None else ExtendedError(refusal.ede, refusal.reason)
    return respond(envelope, refusal.rcode, error, verified=verified)


def unavailable(envelope: Envelope, reason: str) -> bytes:
    """SERVFAIL for what cannot be done now: backend or store cannot take it."""
    return respond(envelope, Rcode.SERVFAIL, ExtendedError(EdeCode.OTHER, reason))


def answer_soa(envelope: Envelope, zone: bytes, target: bytes, *, udp: bool = False) -> bytes:
    """The answer to a client that asks for the zone of a name, as nsupdate does first: the parent's SOA.

    It stands in the answer section for the apex itself and in the authority section for a name below. The server it
    names is the UPDATE Receiver, so that a client which takes the server from it comes back here. Long names that would
    make a datagram grow too much are left for TCP: TC is set.
    """
    question = envelope.questions[0]
    times = b"".join(number.to_bytes(4) for number in SOA_TIMES)
    rdata = target + names.from_text("hostmaster")[:-1] + zone + times
    soa = message.record(zone, RRType.SOA, RRClass.IN, 0, rdata)
    at_apex = envelope.name(question.start) == zone
    opt = message.opt_record() if envelope.opt else b""
    questions = envelope.wire[HEADER_LENGTH : question.end]
    response = _assemble(envelope, _AUTHORITATIVE, questions, soa, opt, in_answer=at_apex)
    if udp and len(response) > len(envelope.wire) + MAX_GROWTH:
        return _assemble(envelope, _AUTHORITATIVE | _TRUNCATED, questions, b"", opt)
    return response


def _assemble(
    envelope: Envelope, flags: int, questions: bytes, record: bytes, opt: bytes, *, in_answer: bool = False
) -> bytes:
    counts = (
        len(envelope.questions) if questions else 0,
        int(bool(record) and in_answer),
        int(bool(record) and not in_answer),
        int(bool(opt)),
    )
    head = envelope.wire[:2] + (QUERY_RESPONSE | envelope.flags & _KEPT_FLAGS | flags).to_bytes(2)
    return b"".join((head, *(count.to_bytes(2) for count in counts), questions, record, opt))


def _shorten(error: ExtendedError, excess: int) -> ExtendedError:
    text = error.text.encode()
    return ExtendedError(error.code, text[: max(0, len(text) - excess)].decode(errors="ignore"))


def is_soa_query(envelope: Envelope) -> bool:
    """True for an ordinary query for one SOA of class IN."""
    if envelope.opcode != Opcode.QUERY or len(envelope.questions) != 1:
        return False
    question = envelope.questions[0]
    return question.qtype == RRType.SOA and question.qclass == RRClass.IN
