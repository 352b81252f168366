"""A zone transfer as a stream of the few records that matter, message by message (RFC 5936, RFC 8945 section 5.3.1)."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from struct import Struct

from zonecut.net.streams import framed, put, read_framed
from zonecut.plugin import BackendUnavailable
from zonecut.plugin.branches import Branch, BranchReader, OutOfOrder
from zonecut.plugin.tsig import NotAuthentic, sign, verify
from zonecut.protocol import envelope, message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.envelope import Envelope, Record
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.rrset import ResourceRecord
from zonecut_bind.answers import Operation, doubtful, failure
from zonecut_bind.connection import ConnectionLost, Server, connect, discard, parse_answer

_SERIAL = Struct("!I")
_ANSWER = envelope.PREREQUISITE
_NS, _DS, _A, _AAAA, _SOA = (int(t) for t in (RRType.NS, RRType.DS, RRType.A, RRType.AAAA, RRType.SOA))


class Transfer:
    """One AXFR of a zone; `serial` is that of its SOA as soon as the first message is there."""

    def __init__(self, server: Server, zone: bytes) -> None:
        self._server = server
        self._zone = zone
        self.serial: int | None = None

    async def branches(self) -> AsyncGenerator[Branch, None]:
        """The branches of the zone, one at a time in memory; to be closed with aclosing.

        The event loop gets its turn after each message. Raises BackendMisconfigured or BackendUnavailable; the time
        limit is one of progress, the server's timeout for each message.
        """
        reader = BranchReader(self._zone)
        try:
            async with aclosing(self._messages()) as messages:
                async for answer in messages:
                    for branch in reader.feed(self._records(answer)):
                        yield branch
                    # a transfer that arrives faster than we read would otherwise never let others run
                    await asyncio.sleep(0)
            for branch in reader.finish():
                yield branch
        except OutOfOrder as error:
            raise BackendUnavailable(f"{self._server} transfers the zone out of order: {error}") from error
        except MalformedMessage as error:
            raise BackendUnavailable(f"{self._server} transfers a message that {error.reason}") from error

    async def _messages(self) -> AsyncGenerator[Envelope, None]:
        """Authentic messages up to the one that ends with the second SOA."""
        server = self._server
        request = sign(message.query(0, self._zone, RRType.AXFR), server.key, secrets.randbits(16))
        writer = None
        context = None
        try:
            async with asyncio.timeout(server.timeout):
                reader, writer = await connect(server)
                put(writer, framed(request.wire))
                await writer.drain()
            complete = False
            while not complete:
                async with asyncio.timeout(server.timeout):
                    wire = await read_framed(reader)
                answer = parse_answer(wire, request.wire, server)
                try:
                    # named signs every message of a transfer; one without a signature is none of its
                    context = verify(answer, server.key, request.mac, context, transfer=True)
                except NotAuthentic as trouble:
                    raise doubtful(answer, trouble, Operation.TRANSFER, server.key_name) from trouble
                if answer.rcode != Rcode.NOERROR:
                    raise failure(answer, Operation.TRANSFER, server.key_name)
                complete = self._check_frame(answer)
                yield answer
        except TimeoutError:
            raise BackendUnavailable(f"{server}: a transfer stood still for {server.timeout:g} s") from None
        except ConnectionLost as error:
            raise BackendUnavailable(f"{server}: the connection for a transfer {error.reason}") from error
        except (OSError, asyncio.IncompleteReadError) as error:
            raise BackendUnavailable(f"{server}: the connection was lost in the middle of a transfer") from error
        finally:
            if writer is not None:
                discard(writer)

    def _check_frame(self, answer: Envelope) -> bool:
        """True if this message is the last. Raises BackendUnavailable if the transfer does not begin with the SOA."""
        soas = [record for record in answer.section(_ANSWER) if record.rtype == _SOA]
        if self.serial is None:
            first = next(answer.section(_ANSWER), None)
            if first is None or first.rtype != _SOA or answer.name(first.start) != self._zone:
                raise BackendUnavailable(f"{self._server} sent a transfer that is none of {names.to_text(self._zone)}")
            self.serial = soa_serial(answer, soas.pop(0))
        return bool(soas)

    def _records(self, answer: Envelope) -> list[ResourceRecord]:
        wire = answer.wire
        found = []
        for record in answer.records:
            rtype = record.rtype
            if rtype == _NS:
                rdata = envelope.read_name(wire, record.rdata)[0].lower()
            elif rtype in (_A, _AAAA, _DS):
                rdata = wire[record.rdata : record.end]
            else:
                continue
            owner = envelope.read_name(wire, record.start)[0].lower()
            found.append(ResourceRecord(owner, rtype, record.ttl, rdata))
        return found


def soa_serial(answer: Envelope, record: Record) -> int:
    """The serial number in an SOA record. Raises MalformedMessage."""
    _, at = envelope.read_name(answer.wire, record.rdata)
    _, at = envelope.read_name(answer.wire, at)
    if at + 20 != record.end:
        raise MalformedMessage("has an SOA record of a wrong length")
    serial: int = _SERIAL.unpack_from(answer.wire, at)[0]
    return serial
