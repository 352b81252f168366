"""What is written to a connection that has ended, on both event loops."""

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop

from zonecut.net.streams import put


async def write_to_the_dead() -> None:
    """Write to a connection that has just ended, before whoever reads from it has run."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    _, writer = await asyncio.open_unix_connection(sock=ours)
    theirs.close()
    writer.transport.abort()
    await asyncio.sleep(0)
    with pytest.raises(ConnectionResetError, match="has ended"):
        put(writer, b"x")


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_that_ended_is_an_error_of_the_connection(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(write_to_the_dead())
