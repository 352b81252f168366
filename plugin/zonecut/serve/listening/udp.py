"""UDP: a socket that is emptied in gulps, so that one turn of the event loop serves many datagrams."""

import asyncio
import socket
from functools import partial

from zonecut.receiver.message.admission import Source
from zonecut.serve.listening.handler import Handler

GULP = 64
"""Datagrams that are taken before others have their turn of the event loop."""
BUFFER = 4 * 1024 * 1024
"""Receive buffer asked of the kernel, in octets: what waits there while we verify."""
MAX_DATAGRAM = 65535


class UdpListener:
    """Serves one bound UDP socket until it is closed."""

    def __init__(self, address: str, port: int, handler: Handler) -> None:
        """Raises OSError if the address cannot be bound."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._socket.bind((address, port))
        except OSError:
            self._socket.close()
            raise
        self.handler = handler
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._readable)

    def close(self) -> None:
        """Take no more datagrams; answers still to come are sent until `release`."""
        self._loop.remove_reader(self._socket)

    def release(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _readable(self) -> None:
        receive, handle, send = self._socket.recvfrom, self.handler.handle, self._send
        for _ in range(GULP):
            try:
                wire, peer = receive(MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # an ICMP error for an earlier answer; the next datagram has nothing to do with it
                continue
            if peer[1]:
                handle(wire, Source(peer[0], peer[1], True), partial(send, peer))

    def _send(self, peer: tuple[str, int], response: bytes) -> None:
        try:
            self._socket.sendto(response, peer)
        except OSError:
            # the peer is not there, or the send buffer is full: as good as lost on the way, and the client asks again
            return
