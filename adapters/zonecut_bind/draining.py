"""A stream of messages that is read as fast as it comes, whoever takes them how slowly, by a thread of its own.

Knot ends a transfer when it has to wait half a second until the socket takes the next message (`tcp-io-timeout`); and a
socket that was full takes none before a third of its buffer is free. An event loop that has much to do is too slow.
"""

import asyncio
import socket
import threading
from contextlib import suppress
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Self

from zonecut.net.streams import framed, read_framed
from zonecut_bind.connection import ConnectionLost

_AT_ONCE = 2**16
_IN_MEMORY = 2**20
"""So many octets are kept in memory; more than that, on disk."""


class Drain:
    """The messages that come on a socket. Reading ends, and the socket is closed, with the context."""

    def __init__(self, taken_from: socket.socket) -> None:
        """Of a connected socket that blocks."""
        self._socket = taken_from
        self._loop = asyncio.get_running_loop()
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed at the end of the context
        self._lock = threading.Lock()
        self._written = self._read = 0
        self._ended = False
        self._error: OSError | None = None
        self._came = asyncio.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    @classmethod
    async def asking(cls, host: str, port: int, request: bytes) -> Self:
        """Of a new connection, on which a message was sent. Raises ConnectionLost, OSError."""
        loop = asyncio.get_running_loop()
        connected = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            connected.setblocking(False)
            try:
                await loop.sock_connect(connected, (host, port))
            except OSError as error:
                raise ConnectionLost(f"could not be made: {error.strerror or error}") from error
            await loop.sock_sendall(connected, framed(request))
            connected.setblocking(True)
            return cls(connected)
        except BaseException:
            connected.close()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        with suppress(OSError):  # the other side was faster
            self._socket.shutdown(socket.SHUT_RDWR)
        # it waits for the socket only, which has ended
        self._thread.join()
        self._socket.close()
        self._file.close()

    async def next(self) -> bytes:
        """The next message. Raises OSError or asyncio.IncompleteReadError when there is none any more."""
        return await read_framed(self)

    async def readexactly(self, count: int, /) -> bytes:
        """So many octets. Raises OSError or asyncio.IncompleteReadError when there are none any more."""
        while True:
            self._came.clear()
            with self._lock:
                if self._written - self._read >= count:
                    self._file.seek(self._read)
                    self._read += count
                    return self._file.read(count)
                if self._ended:
                    raise self._error or asyncio.IncompleteReadError(b"", count)
            await self._came.wait()

    def _take(self) -> None:
        try:
            while octets := self._socket.recv(_AT_ONCE):
                with self._lock:
                    self._file.seek(self._written)
                    self._file.write(octets)
                    self._written += len(octets)
                self._tell()
        except OSError as error:
            self._error = error
        finally:
            with self._lock:
                self._ended = True
            self._tell()

    def _tell(self) -> None:
        with suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(self._came.set)
