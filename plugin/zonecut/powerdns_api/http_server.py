"""A small HTTP/1.1 server on h11: one request at a time on a connection, everything bounded in size and time.

It needs h11, which comes with the extra `hook`: to be imported when it is configured.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic

import h11
import structlog

from zonecut.net.endpoint import Endpoint
from zonecut.net.streams import put
from zonecut.powerdns_api.front_end import Reply
from zonecut.protocol.foreigntext import quoted
from zonecut.receiver.message.admission import Source

LARGEST_HEAD = 16 * 1024
"""Octets of a request line and its fields."""
LARGEST_BODY = 1024 * 1024
"""Octets of a body."""
PATIENCE = 15.0
"""Seconds in which a head, a body or a TLS handshake has to be complete, and an answer taken."""
MOST_CONNECTIONS = 100
NOTE = "X-Zonecut-Note"
"""The field that has a sentence about what was done and is not quite what was asked for."""
MOST_NOTES = 20

_CHUNK = 65536

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body; names of fields in lower case, fields that repeat joined by commas."""

    method: str
    target: str
    fields: Mapping[str, str]
    source: Source


class BodyTooLarge(Exception):
    """The body has more octets than are taken."""


ReadBody = Callable[[], Awaitable[bytes]]
Handler = Callable[[Head, ReadBody], Awaitable[Reply]]
"""Answers a request; reads the body only if it wants it."""


class HttpServer:
    """Serves bound addresses with one handler."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._servers: dict[Endpoint, asyncio.Server] = {}
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._closing = False

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(self._servers)

    async def listen(self, endpoint: Endpoint, tls: ssl.SSLContext | None) -> None:
        """Raises OSError if the address cannot be bound."""
        self._servers[endpoint] = await asyncio.start_server(
            self._serve,
            endpoint.address,
            endpoint.port,
            ssl=tls,
            ssl_handshake_timeout=PATIENCE if tls else None,
            reuse_address=True,
            limit=_CHUNK,
        )

    def leave(self, endpoint: Endpoint) -> None:
        """Listen at this address no more; connections that are open go on."""
        self._servers.pop(endpoint).close()

    def stop(self) -> None:
        """Take no more connections, and no more requests on those that are open."""
        self._closing = True
        for server in self._servers.values():
            server.close()
        for connection in self._connections.values():
            connection.end_when_idle()

    async def close(self, patience: float) -> None:
        """Wait for the answers that are on their way, `patience` seconds at most, and close what is left."""
        self.stop()
        if self._connections:
            await asyncio.wait(self._connections, timeout=patience)
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._closing or not self._has_place():
            writer.transport.abort()
            return
        connection = self._connections[task] = _Connection(reader, writer, self._handler)
        try:
            await connection.serve()
        except (OSError, ssl.SSLError, TimeoutError, asyncio.CancelledError):
            pass  # it is gone, or too slow, or we are
        except Exception:
            _log.exception("http.defect")
        finally:
            self._connections.pop(task, None)
            writer.transport.abort()

    def _has_place(self) -> bool:
        """Whether there is a place for one more: the one gives way that has brought no request for longest."""
        if len(self._connections) < MOST_CONNECTIONS:
            return True
        waiting = {task: each.since for task, each in self._connections.items() if each.since is not None}
        if waiting:
            longest = min(waiting, key=waiting.__getitem__)
            del self._connections[longest]
            longest.cancel()
        return bool(waiting)


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
        peer = writer.get_extra_info("peername")
        self._source = Source(peer[0], peer[1], False)
        self._method = b""
        self._last = False
        self.since: float | None = monotonic()
        """Since when a request is waited for, in seconds; None while there is one."""

    def end_when_idle(self) -> None:
        self._last = True
        if self.since is not None:
            self._writer.transport.abort()

    async def serve(self) -> None:
        while not self._last:
            self.since = monotonic()
            try:
                event = await self._next(PATIENCE)
            except h11.RemoteProtocolError as error:
                # without its words, which quote what came
                await self._send(Reply.error(HTTPStatus(error.error_status_hint), "this is no HTTP/1.1"), last=True)
                break
            finally:
                self.since = None
            if not isinstance(event, h11.Request):
                return
            await self._answer(event)
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                break
            self._http.start_next_cycle()
        await self._hang_up()

    async def _answer(self, request: h11.Request) -> None:
        self._method = request.method
        try:
            reply = await self._reply(self._head(request))
        except BodyTooLarge:
            reason = f"a body has at most {LARGEST_BODY} octets"
            reply = Reply.error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)
        except h11.RemoteProtocolError as error:
            reply = Reply.error(HTTPStatus(error.error_status_hint), "the body is not as its head says")
        except TimeoutError:
            reply = Reply.error(HTTPStatus.REQUEST_TIMEOUT, f"the body did not come within {PATIENCE:g} s")
        # a request without a body is complete at once; what is left of another's is not read, and the connection ends
        if self._http.their_state is h11.SEND_BODY:
            with suppress(h11.RemoteProtocolError):
                self._http.next_event()
        await self._send(reply, last=self._http.their_state in (h11.SEND_BODY, h11.ERROR))

    async def _reply(self, head: Head) -> Reply:
        if "content-length" in head.fields and "transfer-encoding" in head.fields:
            # RFC 9112 section 6.3: a proxy before us may see another end of this request, and smuggle in the next
            self._last = True
            return Reply.error(HTTPStatus.BAD_REQUEST, "Content-Length beside Transfer-Encoding")
        return await self._handler(head, self._body)

    def _head(self, request: h11.Request) -> Head:
        fields: dict[str, str] = {}
        for name, value in request.headers:
            key, text = name.decode("ascii"), value.decode("latin-1")
            fields[key] = f"{fields[key]}, {text}" if key in fields else text
        return Head(request.method.decode("ascii"), request.target.decode("ascii"), fields, self._source)

    async def _body(self) -> bytes:
        """Raises BodyTooLarge, TimeoutError, and RemoteProtocolError for a body that is none."""
        body = bytearray()
        async with asyncio.timeout(PATIENCE):
            if self._http.they_are_waiting_for_100_continue:
                put(self._writer, self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            while True:
                event = await self._next(PATIENCE)
                if isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > LARGEST_BODY:
                        raise BodyTooLarge
                elif isinstance(event, h11.EndOfMessage):
                    return bytes(body)
                else:
                    raise ConnectionError("the connection ends within a body")

    async def _next(self, patience: float) -> object:
        """The next event. Raises TimeoutError, and RemoteProtocolError for what is no HTTP."""
        async with asyncio.timeout(patience):
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(_CHUNK))
        return event

    async def _send(self, reply: Reply, *, last: bool) -> None:
        body = reply.body or (b"" if reply.document is None else json.dumps(reply.document).encode())
        fields = [("Content-Length", str(len(body)))] if reply.status != HTTPStatus.NO_CONTENT else []
        if body:
            fields.append(("Content-Type", "application/json"))
        if last or self._last:
            fields.append(("Connection", "close"))
        if reply.status == HTTPStatus.UNAUTHORIZED:
            fields.append(("WWW-Authenticate", "X-API-Key"))
        fields += [(NOTE, _field(note)) for note in reply.notes[:MOST_NOTES]]
        response = h11.Response(status_code=reply.status, headers=fields, reason=reply.status.phrase.encode())
        bare = not body or self._method == b"HEAD"
        data = [self._http.send(response), None if bare else self._http.send(h11.Data(data=body))]
        data.append(self._http.send(h11.EndOfMessage()))
        put(self._writer, b"".join(part for part in data if part))
        async with asyncio.timeout(PATIENCE):
            await self._writer.drain()

    async def _hang_up(self) -> None:
        """Close once the answer is taken; what still comes is read away, or the answer might be lost with a reset."""
        async with asyncio.timeout(PATIENCE):
            if self._writer.can_write_eof():
                self._writer.write_eof()
                while await self._reader.read(_CHUNK):
                    pass
            self._writer.close()
            await self._writer.wait_closed()


def _field(text: str) -> str:
    """A text as the value of a field: short, and of printable ASCII."""
    return quoted(text.encode("ascii", "backslashreplace").decode("ascii"))
