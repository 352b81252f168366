"""TCP: pipelined messages, several on one connection, answered in the order in which they are done (RFC 7766)."""

import asyncio
from collections import Counter
from time import monotonic
from typing import cast

from zonecut.net.streams import framed
from zonecut.receiver.decision import is_request
from zonecut.receiver.message.admission import Source, source_key
from zonecut.serve.listening.handler import Handler

MAX_IN_WORK = 64
"""Messages of one connection that may wait for their answers; then it is not read any more until some are given."""


class TcpListener:
    """Serves one bound TCP address; `listen` binds it."""

    def __init__(self, handler: Handler, connections: "Connections") -> None:
        self.handler = handler
        self._connections = connections
        self._server: asyncio.Server | None = None

    async def listen(self, address: str, port: int) -> None:
        """Raises OSError if the address cannot be bound."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self, self._connections), address, port, reuse_address=True, backlog=256
        )

    def close(self) -> None:
        """Take no more connections."""
        if self._server is not None:
            self._server.close()


class Connections:
    """All open TCP connections, of all listeners, and the limits that they share."""

    def __init__(self, limit: int, idle: float) -> None:
        self.limit = limit
        self.idle = idle
        """Seconds after which a connection on which nothing happens is closed (RFC 7766 section 6.2.3)."""
        self.open: set[_Connection] = set()

    def admit(self, newcomer: "_Connection") -> bool:
        """Have a place for a connection, if its source has fewer than another one; False: there is none for it.

        Of the source that has the most, the connection gives way on which nothing has happened for longest: whoever
        takes all places keeps nobody else out.
        """
        if len(self.open) >= self.limit:
            counts = Counter(connection.source for connection in self.open)
            most = max(counts.values())
            idle = [each for each in self.open if counts[each.source] == most and each.is_idle]
            if counts[newcomer.source] >= most or not idle:
                return False
            longest = min(idle, key=lambda each: each.active)
            self.open.discard(longest)
            longest.abort()
        self.open.add(newcomer)
        return True

    def stop_reading(self) -> None:
        for connection in self.open:
            connection.stop_reading()

    def close(self) -> None:
        """Close all; what is written already is still sent."""
        for connection in list(self.open):
            connection.close()


class _Connection(asyncio.Protocol):
    def __init__(self, listener: TcpListener, connections: Connections) -> None:
        self._listener = listener
        self._connections = connections
        self._buffer = bytearray()
        self._in_work = 0
        self._paused = self._stopped = self._ended = False
        self.active = 0.0
        """When a whole message came or was answered last; monotonic, in seconds."""
        self.source: str | bytes = ""
        """What counts as one source."""
        self._transport: asyncio.Transport | None = None
        self._source = Source("", 0, False)
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._source, self.source = Source(peer[0], peer[1], False), source_key(peer[0])
        if not self._connections.admit(self):
            self._transport.abort()
            return
        self._touch()

    @property
    def is_idle(self) -> bool:
        """Whether no message of this connection waits for its answer."""
        return not self._in_work

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.open.discard(self)
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._work()

    def eof_received(self) -> bool:
        # the client may half-close once it has asked; it still gets its answers
        self._ended = True
        return self._in_work > 0

    def pause_writing(self) -> None:
        # a client that asks and does not read its answers: it gets no more until it does
        self._pause()

    def resume_writing(self) -> None:
        self._work()

    def stop_reading(self) -> None:
        self._stopped = True
        self._pause()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _work(self) -> None:
        """Handle the complete messages in the buffer, as many as may be in work."""
        buffer, at = self._buffer, 0
        while not self._stopped and self._in_work < MAX_IN_WORK and len(buffer) - at >= 2:
            end = at + 2 + int.from_bytes(buffer[at : at + 2])
            if len(buffer) < end:
                break
            message, at = bytes(buffer[at + 2 : end]), end
            self._touch()
            if not is_request(message):
                # never answered, so it would count as in work for ever
                continue
            self._in_work += 1
            self._listener.handler.handle(message, self._source, self._respond)
        del buffer[:at]
        if self._in_work >= MAX_IN_WORK:
            self._pause()
        elif self._paused and not self._stopped and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _respond(self, response: bytes) -> None:
        self._in_work -= 1
        if self._transport is None or self._transport.is_closing():
            return
        self._touch()
        self._transport.write(framed(response))
        if self._ended and not self._in_work:
            self._transport.close()
        elif self._paused:
            asyncio.get_running_loop().call_soon(self._work)

    def _pause(self) -> None:
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _touch(self) -> None:
        self.active = monotonic()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._connections.idle, self._check_idle)

    def _check_idle(self) -> None:
        loop = asyncio.get_running_loop()
        quiet = monotonic() - self.active
        if self._in_work or quiet < self._connections.idle:
            wait = self._connections.idle if self._in_work else self._connections.idle - quiet
            self._timer = loop.call_later(wait, self._check_idle)
        elif self._transport is not None and self._transport.get_write_buffer_size():
            # a client that does not read its answers: to wait until they are sent would keep its place for ever
            self._transport.abort()
        elif self._transport is not None:
            self._transport.close()
