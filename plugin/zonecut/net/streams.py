"""DNS messages on a stream (RFC 1035 section 4.2.2), and octets on one that may have ended."""

import asyncio
from struct import Struct
from typing import Protocol

_LENGTH = Struct("!H")


def framed(wire: bytes) -> bytes:
    """A message as a stream carries it: its length in two octets, then the message."""
    return _LENGTH.pack(len(wire)) + wire


class ExactReader(Protocol):
    """A stream, or what reads like one."""

    async def readexactly(self, n: int, /) -> bytes:
        """So many octets. Raises OSError or asyncio.IncompleteReadError."""


async def read_framed(reader: ExactReader) -> bytes:
    """The next message of a stream. Raises OSError or asyncio.IncompleteReadError."""
    return await reader.readexactly(_LENGTH.unpack(await reader.readexactly(_LENGTH.size))[0])


def put(writer: asyncio.StreamWriter, octets: bytes) -> None:
    """Hand octets to a stream; `drain` waits until they are on their way.

    Raises ConnectionResetError for a stream that has ended. asyncio's transports drop in silence what they are given
    then, and uvloop's raise RuntimeError, in the moment before whoever reads from the stream hears of its end.
    """
    if writer.transport.is_closing():
        raise ConnectionResetError("the connection has ended")
    writer.write(octets)
