"""The messages of one zone transfer, taken in one after the other (RFC 5936 section 2.2, RFC 1995 section 4). Pure."""

from collections.abc import Sequence
from enum import Enum, auto

from zonecut.agent.zone.delegation_records import TYPES, Kept, ZoneRecord
from zonecut.agent.zone.zone_content import soa_serial
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRClass, RRType
from zonecut.protocol.envelope import ANSWER, Envelope, Record, read_name
from zonecut.protocol.errors import MalformedMessage

_SOA = int(RRType.SOA)
_READ = frozenset((*map(int, TYPES), _SOA))
_ONE_NAME = frozenset((int(RRType.NS), int(RRType.CNAME), int(RRType.DNAME)))


class StartOver(Exception):
    """What comes does not lead from the known version to the newest: the whole zone has to be transferred."""


class _Phase(Enum):
    FIRST = auto()
    """Nothing was received."""
    WHOLE = auto()
    """The records of the zone come, up to its SOA record once more."""
    DIFFERENCES = auto()
    """What turns one version into the next comes, beginning with the SOA record of the known one."""
    DELETING = auto()
    ADDING = auto()
    DONE = auto()


_INSIDE = (_Phase.WHOLE, _Phase.DELETING, _Phase.ADDING)


class IncomingTransfer:
    """One AXFR, or with a `known` serial one IXFR that leads on from what is `kept`.

    When it is `done`, `kept` and `serial` are those of the newest version. Whatever is raised, a `kept` with which an
    IXFR began is of no version any more.
    """

    def __init__(self, zone: bytes, kept: Kept, known: int | None = None) -> None:
        self.kept = kept
        self._zone = zone
        self._known = known
        self._phase = _Phase.FIRST
        self._newest = 0
        self._current = 0

    @property
    def done(self) -> bool:
        return self._phase is _Phase.DONE

    @property
    def serial(self) -> int:
        return self._newest

    def take(self, envelope: Envelope) -> None:
        """The next message. Raises MalformedMessage, and StartOver for an IXFR that leads nowhere."""
        records = [record for record in envelope.records if record.section == ANSWER]
        if not records:
            raise MalformedMessage("a message of the transfer is empty")
        if self._phase is _Phase.FIRST:
            self._begin(envelope, records)
            del records[0]
        for record in records:
            if record.rtype == _SOA:
                self._take_soa(self._serial(envelope, record))
            elif record.rtype in _READ and record.rclass == RRClass.IN:
                self._take(_zone_record(envelope, record))
            elif self._phase not in _INSIDE:
                self._wrong("records stand before the first or after the last SOA record")

    def _begin(self, envelope: Envelope, records: Sequence[Record]) -> None:
        if records[0].rtype != _SOA:
            raise MalformedMessage("the transfer does not begin with an SOA record")
        self._newest = self._serial(envelope, records[0])
        if self._known is None:
            self._phase = _Phase.WHOLE
        elif len(records) == 1:
            # there is nothing newer, or the server does not tell it this way
            if self._newest != self._known:
                raise StartOver
            self._phase = _Phase.DONE
        elif records[1].rtype == _SOA:
            self._phase = _Phase.DIFFERENCES
        else:
            self.kept, self._phase = Kept(self._zone, self.kept.servers), _Phase.WHOLE

    def _serial(self, envelope: Envelope, record: Record) -> int:
        if envelope.name(record.start) != self._zone:
            raise MalformedMessage(f"the transfer is none of {names.to_text(self._zone)}")
        return soa_serial(_rdata(envelope, record))

    def _take_soa(self, serial: int) -> None:
        match self._phase:
            case _Phase.WHOLE if serial == self._newest:
                self._phase = _Phase.DONE
            case _Phase.DIFFERENCES if serial == self._known:
                self._phase = _Phase.DELETING
            case _Phase.DELETING:
                self._current, self._phase = serial, _Phase.ADDING
            case _Phase.ADDING if serial == self._current == self._newest:
                self._phase = _Phase.DONE
            case _Phase.ADDING if serial == self._current:
                self._phase = _Phase.DELETING
            case _:
                self._wrong(f"an SOA record with the serial {serial} stands where none belongs")

    def _take(self, record: ZoneRecord) -> None:
        if self._phase in (_Phase.WHOLE, _Phase.ADDING):
            self.kept.add(record)
        elif self._phase is not _Phase.DELETING:
            self._wrong("records stand before the first or after the last SOA record")
        elif not self.kept.remove(record):
            raise StartOver

    def _wrong(self, reason: str) -> None:
        if self._known is not None:
            raise StartOver
        raise MalformedMessage(reason)


def _zone_record(envelope: Envelope, record: Record) -> ZoneRecord:
    return ZoneRecord(envelope.name(record.start), record.rtype, record.ttl, _rdata(envelope, record))


def _rdata(envelope: Envelope, record: Record) -> bytes:
    """The RDATA with its names uncompressed and lower-case."""
    wire, start, end = envelope.wire, record.rdata, record.end
    if record.rtype in _ONE_NAME:
        name, at = read_name(wire, start)
        rdata = name.lower()
    elif record.rtype == _SOA:
        server, at = read_name(wire, start)
        mailbox, at = read_name(wire, at)
        rdata, at = server + mailbox + wire[at:end], at + 20
    else:
        return wire[start:end]
    if at != end:
        raise MalformedMessage(f"{envelope.describe(record)} has RDATA of a wrong length")
    return rdata
