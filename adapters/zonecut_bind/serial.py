"""The serial of a zone, as its server has it."""

from struct import Struct
from typing import NamedTuple

from zonecut.plugin import BackendMisconfigured, BackendUnavailable
from zonecut.protocol import envelope, message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.envelope import Envelope, Record
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.flags import AUTHORITATIVE
from zonecut_bind.answers import failure
from zonecut_bind.connection import Connection
from zonecut_bind.dialect import Operation
from zonecut_bind.server import Server

_SERIAL = Struct("!I")
EXISTS = (Rcode.NOERROR, Rcode.NXDOMAIN)
"""The response codes of a query about which the server says that it knows."""


async def zone_serial(zone: bytes, server: Server, connection: Connection) -> int:
    """The zone's serial. Raises BackendError unless the server answers for it with authority."""
    return serial_in(await connection.ask(message.query(0, zone, RRType.SOA), Operation.QUERY), zone, server)


def serial_in(answer: Envelope, zone: bytes, server: Server) -> int:
    """The zone's serial in the answer to a query for its SOA. Raises BackendError where it has none with authority."""
    if answer.rcode not in EXISTS:
        raise failure(answer, Operation.QUERY, server)
    try:
        for record in answer.section(envelope.ANSWER):
            authoritative = record.rtype == RRType.SOA and answer.flags & AUTHORITATIVE
            if authoritative and answer.name(record.start) == zone:
                return soa_data(answer, record).serial
    except MalformedMessage as error:
        raise BackendUnavailable(f"{server} sent an answer that {error.reason}") from error
    view = "" if server.key is None else f", and at which view the key {server.key_name} reaches"
    raise BackendMisconfigured(
        f"{server} is not authoritative for {names.to_text(zone)}: look at `server`, at the zone's name{view}"
    )


class SoaData(NamedTuple):
    """The RDATA of an SOA record (RFC 1035 section 3.3.13), names in lower case."""

    names: tuple[bytes, bytes]
    serial: int
    times: bytes


def soa_data(answer: Envelope, record: Record) -> SoaData:
    """What an SOA record holds. Raises MalformedMessage."""
    server, at = envelope.read_name(answer.wire, record.rdata)
    mailbox, at = envelope.read_name(answer.wire, at)
    if at + 20 != record.end:
        raise MalformedMessage("has an SOA record of a wrong length")
    serial: int = _SERIAL.unpack_from(answer.wire, at)[0]
    return SoaData((server.lower(), mailbox.lower()), serial, answer.wire[at + 4 : record.end])
