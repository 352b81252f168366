"""Questions to a server over one kept-open TCP connection: pipelined, signed, answers matched by ID and verified."""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Sequence

from zonecut.net.streams import framed, put, read_framed
from zonecut.plugin import BackendRejected, BackendUnavailable
from zonecut.plugin.dns.tsig import NotAuthentic, sign, unsigned, verify
from zonecut.protocol.envelope import MAX_MESSAGE, Envelope, opcode_of, walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.flags import QUERY_RESPONSE
from zonecut_bind.answers import doubtful
from zonecut_bind.dialect import Operation
from zonecut_bind.server import Server

_UPDATES = 50
"""So many UPDATEs wait for an answer at once: what is beyond its `update-quota`, 100, named drops in silence."""


class ConnectionLost(Exception):
    """The connection ended, or could not be made; `reason` says how."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_answer(wire: bytes, request: bytes, server: Server) -> Envelope:
    """A walked answer to a request. Raises BackendUnavailable for what is none; says nothing about authenticity."""
    try:
        answer = walk(wire)
    except MalformedMessage as error:
        raise BackendUnavailable(f"{server} sent what is no DNS message: {error.reason}") from error
    if not answer.flags & QUERY_RESPONSE or answer.opcode != opcode_of(request):
        raise BackendUnavailable(f"{server} sent something that is no answer to what was asked")
    return answer


class _Link:
    """One TCP connection with the questions that wait for an answer on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._socket = writer.get_extra_info("socket")
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._retired = False
        self.closed = False
        self._task = asyncio.create_task(self._receive())

    @property
    def usable(self) -> bool:
        return not self.closed and not self._retired and not self._writer.transport.is_closing()

    def fresh_identity(self) -> int:
        """A message ID that nobody can guess and that no waiting question has."""
        while (identity := secrets.randbits(16)) in self._waiting:
            pass
        return identity

    async def exchange(self, wire: bytes) -> bytes:
        """Send a message and return the answer with its ID. Raises ConnectionLost."""
        identity = int.from_bytes(wire[:2])
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[identity] = answer
        try:
            if self.closed:
                raise ConnectionLost("was closed")
            try:
                put(self._writer, framed(wire))
                self._acknowledge_at_once()
                await self._writer.drain()
            except OSError as error:
                # known here before `_receive` had its turn: nobody else shall be given this link
                self.closed = True
                raise ConnectionLost(f"was lost: {error.strerror or error}") from error
            return await answer
        finally:
            del self._waiting[identity]
            if answer.done() and not answer.cancelled():
                answer.exception()  # the answer may have failed while we still sent: now it is not "never retrieved"
            if self._retired and not self._waiting:
                self.abort()

    def retire(self) -> None:
        """Take no more questions; those that wait may still be answered."""
        self._retired = True
        if not self._waiting:
            self.abort()

    def abort(self) -> None:
        self.closed = True
        self._task.cancel()
        self._writer.transport.abort()

    async def wait_closed(self) -> None:
        """Return when nothing of an aborted connection is left."""
        await asyncio.wait([self._task])
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _acknowledge_at_once(self) -> None:
        """Do not let the kernel delay its next acknowledgement.

        named sends each answer by itself and leaves Nagle's algorithm on: the second of two pipelined answers waits
        until we acknowledged the first, 40 ms on Linux. The option does not stick, so it is set again each time.
        """
        if self._socket is not None and hasattr(socket, "TCP_QUICKACK"):
            with contextlib.suppress(OSError):  # of a connection that has just ended
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    async def _receive(self) -> None:
        reason = "was closed by us"
        try:
            while True:
                wire = await read_framed(self._reader)
                self._acknowledge_at_once()
                answer = self._waiting.get(int.from_bytes(wire[:2])) if len(wire) >= 2 else None
                if answer is not None and not answer.done():
                    answer.set_result(wire)
        except asyncio.IncompleteReadError:
            reason = "was closed by the server"
        except OSError as error:
            reason = f"was lost: {error.strerror or error}"
        finally:
            self.closed = True
            self._writer.close()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ConnectionLost(reason))


class Connection:
    """The kept-open connection to one server. It connects when it must, and again after it was lost."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()
        self._updates = asyncio.Semaphore(_UPDATES)

    async def ask(self, message: bytes, operation: Operation, *, repeatable: bool = True) -> Envelope:
        """Sign a message, send it, and return its authentic answer, whatever the RCODE.

        A question that is `repeatable` is asked again if the connection turns out to be dead, as after named's
        tcp-idle-timeout. Raises BackendUnavailable without an answer in time, and what `doubtful` makes of an
        answer that is not authentic.
        """
        if operation is not Operation.UPDATE:
            return await self._ask(message, operation, repeatable=repeatable)
        async with self._updates:
            return await self._ask(message, operation, repeatable=repeatable)

    async def _ask(self, message: bytes, operation: Operation, *, repeatable: bool) -> Envelope:
        link = None
        try:
            async with asyncio.timeout(self._server.timeout):
                link, is_new = await self._usable_link()
                try:
                    return await self._exchange(link, message, operation)
                except ConnectionLost:
                    if is_new or not repeatable:
                        raise
                link, _ = await self._usable_link()
                return await self._exchange(link, message, operation)
        except TimeoutError:
            if link is not None:
                link.retire()
            why = self._server.dialect.silence if operation is Operation.UPDATE else ""
            raise BackendUnavailable(f"{self._server} did not answer within {self._server.timeout:g} s{why}") from None
        except ConnectionLost as error:
            raise BackendUnavailable(f"{self._server}: the connection {error.reason}") from error

    async def ask_all(self, messages: Sequence[bytes], operations: Sequence[Operation]) -> list[Envelope]:
        """Ask repeatable questions at once; the answers in their order. Raises what `ask` raises, for the first."""
        asked = [self.ask(message, operation) for message, operation in zip(messages, operations, strict=True)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        answers = []
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            answers.append(outcome)
        return answers

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.abort()
            await link.wait_closed()

    async def _exchange(self, link: _Link, message: bytes, operation: Operation) -> Envelope:
        key, identity = self._server.key, link.fresh_identity()
        request = sign(message, key, identity) if key is not None else unsigned(message, identity)
        if len(request.wire) > MAX_MESSAGE:
            raise BackendRejected(f"the {operation} takes {len(request.wire)} octets, more than a DNS message can hold")
        answer = parse_answer(await link.exchange(request.wire), message, self._server)
        if key is None:
            return answer
        try:
            verify(answer, key, request.mac)
        except NotAuthentic as trouble:
            raise doubtful(answer, trouble, operation, self._server) from trouble
        return answer

    async def _usable_link(self) -> tuple[_Link, bool]:
        async with self._connecting:
            if self._link is not None and self._link.usable:
                return self._link, False
            self._link = _Link(*await connect(self._server))
            return self._link, True


async def connect(server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A new TCP connection. Raises ConnectionLost; takes as long as the caller lets it."""
    try:
        return await asyncio.open_connection(server.host, server.port)
    except OSError as error:
        raise ConnectionLost(f"could not be made: {error.strerror or error}") from error


def discard(writer: asyncio.StreamWriter) -> None:
    """Close a connection without waiting for what is still to be sent."""
    with contextlib.suppress(RuntimeError):  # the event loop may be closed already
        writer.transport.abort()
