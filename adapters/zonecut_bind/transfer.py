"""A zone transfer as a stream of the few records that matter, message by message (RFC 5936, RFC 8945 section 5.3.1)."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing, closing

from zonecut.net.streams import framed, put, read_framed
from zonecut.plugin import BackendUnavailable
from zonecut.plugin.branches import Branch, BranchReader, OutOfOrder
from zonecut.plugin.dns.tsig import NotAuthentic, Signed, is_signed, sign, unsigned, verify
from zonecut.plugin.spool import Spool
from zonecut.plugin.wholezone import MADE_BY_SIGNER, MADE_OF_ZONE
from zonecut.protocol import envelope, message, names
from zonecut.protocol.codepoints import Rcode, RRClass, RRType
from zonecut.protocol.envelope import Envelope, Record
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.rrset import ResourceRecord
from zonecut_bind.answers import doubtful, failure
from zonecut_bind.connection import ConnectionLost, connect, discard, parse_answer
from zonecut_bind.dialect import Operation
from zonecut_bind.draining import Drain
from zonecut_bind.increments import Difference, Increments
from zonecut_bind.rrsets import whole_rdata
from zonecut_bind.serial import SoaData, soa_data
from zonecut_bind.server import Server

_NS, _DS, _A, _AAAA, _SOA = (int(t) for t in (RRType.NS, RRType.DS, RRType.A, RRType.AAAA, RRType.SOA))


_IXFR = 251
_UNSIGNED = 99
"""So many messages of a transfer may come between two that are signed (RFC 8945 section 5.3.1)."""


class Transfer:
    """One AXFR of a zone; `serial` is that of its SOA as soon as the first message is there.

    `made` are the types of whole-zone records (signatures, digests) that were seen so far.
    """

    def __init__(self, server: Server, zone: bytes, *, sorts: bool = False) -> None:
        """`sorts`: the records are put in order here, on disk, and taken as fast as they come."""
        self._server = server
        self._zone = zone
        self._sorts = sorts
        self._first: SoaData | None = None
        self.serial: int | None = None
        self.made: set[int] = set()

    async def branches(self) -> AsyncGenerator[Branch, None]:
        """The branches of the zone, one at a time in memory; to be closed with aclosing.

        The event loop gets its turn after each message. Raises BackendMisconfigured or BackendUnavailable; the time
        limit is one of progress, the server's `transfer_timeout` for each message.
        """
        reader = BranchReader(self._zone)
        try:
            async with aclosing(self._sorted() if self._sorts else self._of_delegations()) as found:
                async for records in found:
                    for branch in reader.feed(records):
                        yield branch
            for branch in reader.finish():
                yield branch
        except OutOfOrder as error:
            raise BackendUnavailable(f"{self._server} transfers the zone out of order: {error}") from error
        except MalformedMessage as error:
            raise BackendUnavailable(f"{self._server} transfers a message that {error.reason}") from error

    async def everything(self) -> AsyncGenerator[Sequence[ResourceRecord], None]:
        """All records but those of signatures and digests, in the server's order; to be closed with aclosing.

        RDATA whole and uncompressed, names in lower case where RDATA is one. Raises as `branches`.
        """
        try:
            async with aclosing(self._messages()) as messages:
                async for answer in messages:
                    yield _whole_records(answer)
                    await asyncio.sleep(0)
        except MalformedMessage as error:
            raise BackendUnavailable(f"{self._server} transfers a message that {error.reason}") from error

    async def since(self, soa: ResourceRecord) -> Sequence[Difference] | None:
        """What has changed since the zone had this SOA; None where the server sends the whole zone instead (RFC 1995).

        Records as `everything` has them. Raises as `branches`.
        """
        increments = Increments(soa)
        wire = message.record(soa.owner, soa.rtype, RRClass.IN, soa.ttl, soa.rdata)
        question = message.query(0, self._zone, _IXFR, authority=[wire])

        def ends(answer: Envelope) -> bool:
            return increments.feed(_whole_records(answer))

        try:
            async with aclosing(self._messages(question, ends)) as messages:
                async for _ in messages:
                    pass
        except MalformedMessage as error:
            raise BackendUnavailable(f"{self._server} transfers a message that {error.reason}") from error
        return None if increments.is_whole else increments.differences

    async def at(self, owners: Collection[bytes]) -> Sequence[ResourceRecord]:
        """The records at these names, as `everything` has them. Raises as `branches`."""
        found: list[ResourceRecord] = []
        async with aclosing(self.everything()) as everything:
            async for records in everything:
                found += (each for each in records if each.owner in owners)
        # the SOA comes twice
        return list(dict.fromkeys(found))

    async def _of_delegations(self) -> AsyncGenerator[Sequence[ResourceRecord], None]:
        async with aclosing(self._messages()) as messages:
            async for answer in messages:
                yield self._records(answer)
                # a transfer that arrives faster than we read would otherwise never let others run
                await asyncio.sleep(0)

    async def _sorted(self) -> AsyncGenerator[Sequence[ResourceRecord], None]:
        with Spool() as spool:
            async with aclosing(self._of_delegations()) as found:
                async for records in found:
                    spool.put(records)
            with closing(spool.sorted()) as chunks:
                for records in chunks:
                    yield records
                    await asyncio.sleep(0)

    async def _messages(
        self, question: bytes | None = None, ends: Callable[[Envelope], bool] | None = None
    ) -> AsyncGenerator[Envelope, None]:
        """Authentic messages up to the one of which `ends` says so; by default of an AXFR, which ends with its SOA."""
        server, identity = self._server, secrets.randbits(16)
        wire = message.query(0, self._zone, RRType.AXFR) if question is None else question
        request = unsigned(wire, identity) if server.key is None else sign(wire, server.key, identity)
        writer = None
        try:
            if self._sorts:
                async with asyncio.timeout(server.timeout):
                    drain = await Drain.asking(server.host, server.port, request.wire)
                async with drain, aclosing(self._authentic(request, drain.next, ends)) as answers:
                    async for answer in answers:
                        yield answer
                return
            async with asyncio.timeout(server.timeout):
                reader, writer = await connect(server)
                put(writer, framed(request.wire))
                await writer.drain()
            async with aclosing(self._authentic(request, lambda: read_framed(reader), ends)) as answers:
                async for answer in answers:
                    yield answer
        except TimeoutError:
            raise BackendUnavailable(f"{server}: a transfer stood still for {server.transfer_timeout:g} s") from None
        except ConnectionLost as error:
            raise BackendUnavailable(f"{server}: the connection for a transfer {error.reason}") from error
        except (OSError, asyncio.IncompleteReadError) as error:
            raise BackendUnavailable(f"{server}: the connection was lost in the middle of a transfer") from error
        finally:
            if writer is not None:
                discard(writer)

    async def _authentic(
        self,
        request: Signed,
        come: Callable[[], Awaitable[bytes]],
        ends: Callable[[Envelope], bool] | None = None,
    ) -> AsyncGenerator[Envelope, None]:
        server, context, complete = self._server, None, False
        waiting: list[Envelope] = []
        while not complete:
            async with asyncio.timeout(server.transfer_timeout):
                wire = await come()
            answer = parse_answer(wire, request.wire, server)
            if server.key is not None:
                if context is not None and not is_signed(answer) and len(waiting) < _UNSIGNED:
                    # it counts when the next one that is signed says so
                    context.update(answer.wire)
                    waiting.append(answer)
                    continue
                try:
                    context = verify(answer, server.key, request.mac, context, transfer=True)
                except NotAuthentic as trouble:
                    raise doubtful(answer, trouble, Operation.TRANSFER, server) from trouble
            for each in (*waiting, answer):
                if each.rcode != Rcode.NOERROR:
                    raise failure(each, Operation.TRANSFER, server)
                complete = self._check_frame(each) if ends is None else ends(each)
                yield each
            waiting.clear()

    def _check_frame(self, answer: Envelope) -> bool:
        """True if this message is the last (RFC 5936 section 2.2): it ends with the SOA that the first begins with.

        Raises BackendUnavailable for a transfer that begins or ends otherwise, or goes on after its end.
        """
        complete = False
        for record in answer.section(envelope.ANSWER):
            if complete:
                raise self._none_of_it("goes on after its last SOA")
            if self._first is None:
                if record.rtype != _SOA or answer.name(record.start) != self._zone:
                    raise self._none_of_it("does not begin with its SOA")
                self._first = soa_data(answer, record)
                self.serial = self._first.serial
            elif record.rtype == _SOA:
                self._check_last(answer, record)
                complete = True
        if self._first is None:
            raise self._none_of_it("begins with a message without records")
        return complete

    def _check_last(self, answer: Envelope, record: Record) -> None:
        owner, last = answer.name(record.start), soa_data(answer, record)
        assert self._first is not None
        if owner != self._zone:
            raise self._none_of_it(f"has an SOA of {names.to_text(owner)}")
        if last.serial != self._first.serial:
            raise self._none_of_it(
                f"begins with the SOA of serial {self._first.serial} and ends with that of {last.serial}: it changed "
                "meanwhile, or is not of one server"
            )
        if last != self._first:
            raise self._none_of_it("ends with another SOA than it begins with")

    def _none_of_it(self, how: str) -> BackendUnavailable:
        text = names.to_text(self._zone)
        return BackendUnavailable(
            f"{self._server} sent a transfer that is none of {text} (RFC 5936 section 2.2): it {how}"
        )

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
                if rtype in MADE_OF_ZONE:
                    self.made.add(rtype)
                continue
            owner = envelope.read_name(wire, record.start)[0].lower()
            found.append(ResourceRecord(owner, rtype, record.ttl, rdata))
        return found


def _whole_records(answer: Envelope) -> list[ResourceRecord]:
    """Its records but those of signatures and digests, RDATA whole and uncompressed. Raises MalformedMessage."""
    return [
        ResourceRecord(answer.name(each.start), each.rtype, each.ttl, whole_rdata(answer, each))
        for each in answer.section(envelope.ANSWER)
        if each.rtype not in MADE_BY_SIGNER
    ]
