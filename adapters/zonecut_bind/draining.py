"""A stream of messages that is read as fast as it comes, whoever reads them how slowly.

Knot ends a transfer when it has to wait half a second until the socket takes the next message (`tcp-io-timeout`); and a
socket that was full takes none before a third of its buffer is free.
"""

import asyncio
from struct import Struct
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Self

from zonecut.net.streams import framed, read_framed

_LENGTH = Struct("!H")
_IN_MEMORY = 2**20
"""So many octets are kept in memory; more than that, on disk."""


class Drain:
    """The messages of one connection. Reading ends with the context."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed at the end of the context
        self._written = self._read = 0
        self._came = asyncio.Event()
        self._task = asyncio.create_task(self._take(reader))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()  # nobody may have waited for it
        self._file.close()

    async def next(self) -> bytes:
        """The next message. Raises OSError or asyncio.IncompleteReadError when there is none any more."""
        while self._read == self._written:
            if self._task.done():
                await self._task
            self._came.clear()
            await self._came.wait()
        self._file.seek(self._read)
        (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
        self._read += _LENGTH.size + length
        return self._file.read(length)

    async def _take(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                octets = framed(await read_framed(reader))
                self._file.seek(self._written)
                self._file.write(octets)
                self._written += len(octets)
                self._came.set()
        finally:
            self._came.set()
