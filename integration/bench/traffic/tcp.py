"""A load over kept TCP connections, each with one request outstanding; and one question at a time."""

import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from lab.process import LabError
from zonecut.net.streams import framed

_SILENCE = 60.0
"""Seconds after which a server that does not answer ends a benchmark."""


class Connection:
    """One TCP connection to a DNS server."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=_SILENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, request: bytes) -> None:
        self.socket.sendall(framed(request))

    def receive(self) -> bytes | None:
        """One answer, or None while it is not complete. Waits for octets. LabError when the server hangs up."""
        data = self.socket.recv(65536)
        if not data:
            raise LabError("the server closed a connection")
        buffer = self._buffer
        buffer += data
        end = 2 + int.from_bytes(buffer[:2])
        if len(buffer) < 2 or len(buffer) < end:
            return None
        answer = bytes(buffer[2:end])
        del buffer[:end]
        return answer

    def ask(self, request: bytes) -> bytes:
        """Send one request and wait for its answer."""
        self.send(request)
        while (answer := self.receive()) is None:
            pass
        return answer


def connections(address: tuple[str, int], count: int, stack: ExitStack) -> list[Connection]:
    return [stack.enter_context(Connection(address)) for _ in range(count)]


def all_accepted(waiting: Sequence[Connection], requests: Sequence[bytes]) -> float:
    """Send each request once, one outstanding on each connection; the seconds that it took.

    LabError when an answer is not NOERROR or does not come.
    """
    rest: Iterator[bytes] = iter(requests)
    busy = 0
    with selectors.DefaultSelector() as selector:
        for connection in waiting:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        start = time.perf_counter()
        for connection, request in zip(waiting, rest, strict=False):
            connection.send(request)
            busy += 1
        while busy:
            ready = selector.select(_SILENCE)
            if not ready:
                raise LabError(f"no answer for {_SILENCE:g} s")
            for key, _ in ready:
                connection = key.data
                answer = connection.receive()
                if answer is None:
                    continue
                check_accepted(answer)
                following = next(rest, None)
                if following is None:
                    busy -= 1
                else:
                    connection.send(following)
        return time.perf_counter() - start


def check_accepted(answer: bytes) -> None:
    """LabError unless an answer is NOERROR."""
    if answer[3] & 0xF:
        raise LabError(f"answer with RCODE {answer[3] & 0xF}: {answer.hex()}")
