"""NOTIFY messages that a child zone's servers send us, as they do to a secondary (RFC 1996).

Whoever sends one makes us look at the zone and nothing more: no signature is asked for, and nothing is believed.
"""

from zonecut.protocol.codepoints import Opcode, Rcode, RRClass, RRType
from zonecut.protocol.envelope import opcode_of, walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.flags import AUTHORITATIVE, QUERY_RESPONSE

TYPES = frozenset((RRType.SOA, RRType.CDS, RRType.CSYNC))
"""What a NOTIFY may be about (RFC 1996 section 3.11, RFC 9859 section 4)."""


def zone_of(wire: bytes) -> bytes | Rcode:
    """The zone of a NOTIFY request, in lower-case wire form, or the RCODE with which it is refused.

    `wire` is a request of at least a header's length.
    """
    if opcode_of(wire) != Opcode.NOTIFY:
        return Rcode.NOTIMP
    try:
        envelope = walk(wire)
        (question,) = envelope.questions
        zone = envelope.name(question.start)
    except (MalformedMessage, ValueError):
        return Rcode.FORMERR
    if question.qclass != RRClass.IN or question.qtype not in TYPES:
        return Rcode.NOTIMP
    return zone


def response(wire: bytes, rcode: Rcode) -> bytes:
    """The response to a request: its header and question (RFC 1996 section 3.7), or its header alone on FORMERR."""
    flags = QUERY_RESPONSE | (opcode_of(wire) << 11) | (AUTHORITATIVE if rcode == Rcode.NOERROR else 0) | rcode
    if rcode == Rcode.FORMERR or opcode_of(wire) != Opcode.NOTIFY:
        return wire[:2] + flags.to_bytes(2) + bytes(8)
    end = walk(wire).questions[0].end
    return wire[:2] + flags.to_bytes(2) + b"\0\1" + bytes(6) + wire[12:end]
