"""Walk a raw DNS message: where each record starts and ends, nothing decoded (RFC 1035 section 4.1).

This is the first thing that meets a hostile packet and the hot path of the receiver: plain loops over the bytes,
no object but one tuple a record. Work is bounded by the length of the message: each record takes at least eleven
octets, and a compression pointer must point before the name in which it stands, so that no name can loop.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from zonecut.protocol.codepoints import RRType
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.names import MAX_NAME

HEADER_LENGTH = 12
MAX_MESSAGE = 65535

_HEADER = struct.Struct("!HHHHHH")
_QUESTION_TAIL = struct.Struct("!HH")
_RECORD_TAIL = struct.Struct("!HHIH")
_TYPE_OPT = int(RRType.OPT)
_new = tuple.__new__

ZONE, PREREQUISITE, UPDATE, ADDITIONAL = range(4)
"""Sections of an UPDATE (RFC 2136 section 2)."""
QUESTION, ANSWER, AUTHORITY = ZONE, PREREQUISITE, UPDATE
"""What stands in their places in any other message (RFC 1035 section 4.1); ADDITIONAL is the same in both."""
SECTION_NAMES = ("zone", "prerequisite", "update", "additional")


class Question(NamedTuple):
    """An entry of the question or zone section; `start` is the offset of its name, `end` where it ends."""

    start: int
    qtype: int
    qclass: int
    end: int


class Record(NamedTuple):
    """Where a record stands: `start` of its owner name, RDATA from `rdata` to `end`; all offsets in octets."""

    section: int
    start: int
    rtype: int
    rclass: int
    ttl: int
    rdata: int
    end: int


class Envelope(NamedTuple):
    """A walked message. `opt` is its OPT pseudo-record, if it has one (RFC 6891 section 6.1.1)."""

    wire: bytes
    id: int
    flags: int
    questions: tuple[Question, ...]
    records: tuple[Record, ...]
    opt: Record | None

    @property
    def opcode(self) -> int:
        return self.flags >> 11 & 0xF

    @property
    def rcode(self) -> int:
        """The RCODE of a response, extended by the OPT record (RFC 6891 section 6.1.3)."""
        extended = self.opt.ttl >> 24 << 4 if self.opt else 0
        return extended | self.flags & 0xF

    def section(self, section: int) -> Iterator[Record]:
        """The records of one section, in order."""
        return (record for record in self.records if record.section == section)

    def name(self, start: int) -> bytes:
        """The lower-case, uncompressed name that starts at an offset. Raises MalformedMessage."""
        return read_name(self.wire, start)[0].lower()

    def rdata(self, record: Record) -> bytes:
        return self.wire[record.rdata : record.end]

    def describe(self, record: Record) -> str:
        """Which record this is, for an error message: its place in its section, counted from one."""
        place = sum(1 for other in self.records if other.section == record.section and other.start <= record.start)
        return f"record {place} of the {SECTION_NAMES[record.section]} section"


def opcode_of(wire: bytes) -> int:
    """The opcode of a message of at least a header's length."""
    return wire[2] >> 3 & 0xF


def walk(wire: bytes) -> Envelope:
    """Walk a message from its header to its last octet.

    Raises MalformedMessage for anything but a message whose counts and lengths fit its bytes exactly: truncated,
    with octets after its end, with a pointer that does not point backwards, with more than one OPT record.
    """
    size = len(wire)
    if size < HEADER_LENGTH:
        raise MalformedMessage(f"{size} octets are no DNS header")
    identity, flags, *counts = _HEADER.unpack_from(wire)
    at = HEADER_LENGTH
    questions = []
    records: list[Record] = []
    tail = _RECORD_TAIL.unpack_from
    keep = records.append
    opt = None
    try:
        for _ in range(counts[0]):
            start = at
            at = _skip_name(wire, at)
            qtype, qclass = _QUESTION_TAIL.unpack_from(wire, at)
            at += 4
            questions.append(Question(start, qtype, qclass, at))
        for section in (PREREQUISITE, UPDATE, ADDITIONAL):
            for _ in range(counts[section]):
                start = at
                # _skip_name, unrolled: this loop is where the receiver spends its time on junk
                while True:
                    length = wire[at]
                    if length == 0:
                        at += 1
                        break
                    if length < 64:
                        at += length + 1
                    else:
                        at = _skip_pointer(wire, at, start)
                        break
                rtype, rclass, ttl, length = tail(wire, at)
                rdata = at + 10
                at = rdata + length
                # what Record() does, in half the time
                record = _new(Record, (section, start, rtype, rclass, ttl, rdata, at))
                keep(record)
                if rtype == _TYPE_OPT:
                    opt = _only_opt(wire, record, opt)
    except (IndexError, struct.error):
        raise MalformedMessage("ends within a record") from None
    if at > size:
        raise MalformedMessage("ends within the data of its last record")
    if at < size:
        raise MalformedMessage(f"{size - at} octets follow its last record")
    return Envelope(wire, identity, flags, tuple(questions), tuple(records), opt)


def _only_opt(wire: bytes, record: Record, earlier: Record | None) -> Record:
    if record.section != ADDITIONAL:
        raise MalformedMessage("an OPT record stands outside the additional section")
    if earlier is not None:
        raise MalformedMessage("has more than one OPT record")
    if wire[record.start] != 0:
        raise MalformedMessage("the owner of its OPT record is not the root")
    return record


def _skip_name(wire: bytes, at: int) -> int:
    """The offset after the name at `at`. Raises IndexError past the end."""
    start = at
    while True:
        length = wire[at]
        if length == 0:
            return at + 1
        if length >= 64:
            return _skip_pointer(wire, at, start)
        at += length + 1


def _skip_pointer(wire: bytes, at: int, start: int) -> int:
    length = wire[at]
    if length < 0xC0:
        raise MalformedMessage(f"the label type at octet {at} does not exist (RFC 6891 section 5)")
    if (length & 0x3F) << 8 | wire[at + 1] >= start:
        raise MalformedMessage(f"the compression pointer at octet {at} does not point backwards")
    return at + 2


def read_name(wire: bytes, at: int) -> tuple[bytes, int]:
    """The uncompressed wire form of the name at `at`, in the case it was sent, and the offset after it.

    Raises MalformedMessage for a name that is too long, runs past the end, has a label of an unknown type, or a
    pointer that does not point before the labels already read.
    """
    try:
        # most names are not compressed: those are one slice
        end = at
        while 0 < (length := wire[end]) < 64:
            end += length + 1
        if length == 0 and end - at < MAX_NAME:
            return wire[at : end + 1], end + 1
    except IndexError:
        raise MalformedMessage("ends within a name") from None
    name = bytearray()
    barrier = at
    after = 0
    try:
        while True:
            length = wire[at]
            if length == 0:
                name.append(0)
                break
            if length < 64:
                label = wire[at : at + 1 + length]
                if len(label) <= length:
                    raise IndexError
                name += label
                at += 1 + length
                if len(name) >= MAX_NAME:
                    raise MalformedMessage("a name is longer than 255 octets")
            else:
                end = _skip_pointer(wire, at, barrier)
                after = after or end
                at = barrier = (length & 0x3F) << 8 | wire[at + 1]
    except IndexError:
        raise MalformedMessage("ends within a name") from None
    return bytes(name), after or at + 1


def read_options(rdata: bytes) -> Iterator[tuple[int, bytes]]:
    """The (code, data) pairs of an OPT record's RDATA (RFC 6891 section 6.1.2). Raises MalformedMessage."""
    at, end = 0, len(rdata)
    while at < end:
        if at + 4 > end:
            raise MalformedMessage("an EDNS option has no room for its header")
        code, length = _QUESTION_TAIL.unpack_from(rdata, at)
        at += 4 + length
        if at > end:
            raise MalformedMessage(f"EDNS option {code} is longer than its OPT record")
        yield code, rdata[at - length : at]
