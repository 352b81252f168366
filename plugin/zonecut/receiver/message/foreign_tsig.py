"""A request with a TSIG record, where nobody shares a key with us: what it is told (RFC 8945 sections 5.2, 5.3.2)."""

from struct import Struct

from zonecut.protocol import names
from zonecut.protocol.codepoints import EdeCode, Rcode, RRClass, RRType
from zonecut.protocol.envelope import ADDITIONAL, Envelope, Record, read_name
from zonecut.protocol.errors import MalformedMessage, Refusal
from zonecut.protocol.message import record as encode_record

_TSIG = int(RRType.TSIG)
_FUDGE = 300
_ARCOUNT_AT = 10
_COUNT = Struct("!H")
_UNSIGNED = Struct("!HIHHHHH")
"""Time signed, fudge, an empty MAC, original ID, error, and no other data (section 4.2)."""
_FIXED_OCTETS = 16


class UnknownTsigKey(Refusal):
    """A request that is signed by TSIG alone: NOTAUTH, and BADKEY in a TSIG record that is not signed."""

    def __init__(self, owner: bytes, algorithm: bytes) -> None:
        super().__init__(
            "tsig-key",
            f"no TSIG key {names.to_text(owner)} is known here, nor any other: sign with SIG(0)",
            Rcode.NOTAUTH,
            EdeCode.PROHIBITED,
        )
        self.owner = owner
        self.algorithm = algorithm

    def added_to(self, response: bytes, now: int) -> bytes:
        """The response with the TSIG record that tells of the error; `now` in seconds since the epoch."""
        identity = int.from_bytes(response[:2])
        rdata = self.algorithm + _UNSIGNED.pack(now >> 32, now & 0xFFFFFFFF, _FUDGE, 0, identity, Rcode.BADKEY, 0)
        count = int.from_bytes(response[_ARCOUNT_AT : _ARCOUNT_AT + 2]) + 1
        head, rest = response[:_ARCOUNT_AT], response[_ARCOUNT_AT + 2 :]
        return head + _COUNT.pack(count) + rest + encode_record(self.owner, _TSIG, RRClass.ANY, 0, rdata)


def check_tsig(envelope: Envelope, signature_type: int) -> None:
    """Raise UnknownTsigKey for a message with TSIG and no SIG of `signature_type`, MalformedMessage if that is none."""
    found = [record for record in envelope.records if record.rtype == _TSIG]
    if not found or any(record.rtype == signature_type for record in envelope.records):
        return
    if len(found) > 1 or found[0] != envelope.records[-1] or found[0].section != ADDITIONAL:
        raise MalformedMessage("a TSIG record is not the one that ends the message (RFC 8945 section 5.2)")
    raise UnknownTsigKey(envelope.name(found[0].start), _algorithm(envelope.wire, found[0]))


def _algorithm(wire: bytes, record: Record) -> bytes:
    algorithm, at = read_name(wire, record.rdata)
    if record.rclass != RRClass.ANY or record.end - at < _FIXED_OCTETS:
        raise MalformedMessage("its TSIG record is none (RFC 8945 section 4.2)")
    return algorithm
