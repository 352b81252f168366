"""A resolver that answers what a test tells it to, octet by octet."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from lab.ports import LOOPBACK, free_port
from zonecut.resolve import Limits, Nameserver, Resolver, Transport

LIMITS = Limits(seconds=2.0, patience=0.3)

Behaviour = Callable[[bytes], list[bytes]]


class Peer(asyncio.DatagramProtocol):
    """A server on loopback over UDP and TCP that answers each query with whatever it was told to."""

    def __init__(self, udp: Behaviour, tcp: Behaviour | None = None) -> None:
        self.port = free_port()
        self.queries: list[bytes] = []
        self._udp, self._tcp = udp, tcp
        self._transport: asyncio.DatagramTransport | None = None
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(LOOPBACK, self.port))
        self._running.callback(transport.close)
        if self._tcp is not None:
            server = await asyncio.start_server(self._serve, LOOPBACK, self.port)
            self._running.callback(server.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.queries.append(data)
        assert self._transport is not None
        for reply in self._udp(data):
            self._transport.sendto(reply, addr)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._tcp is not None
        try:
            query = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
            self.queries.append(query)
            for octets in self._tcp(query):
                writer.write(octets)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def resolver(self, transport: Transport = Transport.UDP, limits: Limits = LIMITS) -> Resolver:
        return Resolver([Nameserver(LOOPBACK, self.port, transport)], limits=limits, allowed=lambda _: True)
