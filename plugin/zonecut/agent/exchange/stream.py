"""One message over TCP, and the first answer that is one (RFC 1035 section 4.2.2)."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from zonecut.net.endpoint import Endpoint
from zonecut.net.streams import framed, put, read_framed
from zonecut.protocol.errors import MalformedMessage

MAX_STRAYS = 8
"""Messages that are no answer to ours, after which a connection is given up."""

_Read = TypeVar("_Read")


class NoAnswer(Exception):
    """Nothing usable came back; `reason` says why, `sent` whether our message may have arrived."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent


async def over_tcp(wire: bytes, address: Endpoint, read: Callable[[bytes], _Read]) -> _Read:
    """Send a message; what `read` makes of the first answer for which it does not raise MalformedMessage.

    Waits without end. Raises NoAnswer.
    """
    try:
        reader, writer = await asyncio.open_connection(address.address, address.port)
    except OSError as error:
        raise NoAnswer(error_text(error), sent=False) from None
    strays: list[str] = []
    try:
        put(writer, framed(wire))
        await writer.drain()
        while len(strays) < MAX_STRAYS:
            message = await read_framed(reader)
            try:
                return read(message)
            except MalformedMessage as error:
                strays.append(error.reason)
    except asyncio.IncompleteReadError:
        strays.append("the connection was closed before an answer came")
    except OSError as error:
        strays.append(error_text(error))
    finally:
        # nothing more is to come, and nobody waits for a peer that does not take what is left
        with suppress(OSError):
            writer.transport.abort()
    raise NoAnswer("; ".join(dict.fromkeys(strays)), sent=True)


def error_text(error: OSError) -> str:
    """What went wrong, without what asyncio adds: "Connection refused"."""
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
