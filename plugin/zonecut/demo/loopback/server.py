"""Sockets on loopback for whatever answers queries: UDP and TCP, in the caller's event loop or in a thread."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from types import TracebackType
from typing import Self, cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode

from zonecut.demo.loopback.exchange import Exchange, Transport
from zonecut.net.streams import framed, put, read_framed

PAYLOAD = 1232
"""The UDP payload size that we announce, in octets."""

_MIN_PAYLOAD, _MAX_PAYLOAD = 512, 4096
_MAX_MESSAGE = 65535
_TCP_IDLE = 10.0
_ATTEMPTS = 50


class LoopbackServer(ABC):
    """Serves at the same port of all its addresses; port 0 stands for any that is free, and `port` says which.

    `async with` serves in the running loop, `with` in a thread of its own. Without `tcp`, connections are refused.
    Raises ValueError for an address that is not one of loopback's.
    """

    def __init__(self, addresses: Sequence[str] = ("127.0.0.1",), port: int = 0, *, tcp: bool = True) -> None:
        for address in addresses:
            if not ip_address(address).is_loopback:
                raise ValueError(f"{address} is not on loopback")
        self.addresses = tuple(addresses)
        self.port = port
        self._tcp = tcp
        self._datagrams: list[asyncio.DatagramTransport] = []
        self._streams: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread: _Thread | None = None

    @abstractmethod
    def exchange(self, query: dns.message.Message, address: str, transport: Transport) -> Exchange:
        """What is answered to a query at one of our addresses; no socket is needed for this."""

    async def start(self) -> None:
        """Serve. Raises OSError when the port is taken."""
        wanted = self.port
        for attempt in range(_ATTEMPTS):
            try:
                await self._bind()
            except OSError:
                await self.stop()
                # a free UDP port of the first address may be taken for TCP or elsewhere
                self.port = wanted
                if wanted or attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    async def _bind(self) -> None:
        loop = asyncio.get_running_loop()
        for address in self.addresses:
            datagram, _ = await loop.create_datagram_endpoint(
                lambda address=address: _Datagrams(self, address),  # type: ignore[misc]
                local_addr=(address, self.port),
            )
            self._datagrams.append(datagram)
            self.port = datagram.get_extra_info("sockname")[1]
            if self._tcp:
                self._streams.append(await asyncio.start_server(self._stream(address), address, self.port))

    async def stop(self) -> None:
        """Close all sockets; what was still to be answered is not."""
        for datagram in self._datagrams:
            datagram.close()
        for stream in self._streams:
            stream.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stream in self._streams:
            await stream.wait_closed()
        self._datagrams.clear()
        self._streams.clear()
        await asyncio.sleep(0)  # transports close in the next turn of the loop

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def __enter__(self) -> Self:
        self._thread = _Thread(self)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._thread is not None
        self._thread.stop()
        self._thread = None

    async def _answer(self, wire: bytes, address: str, transport: Transport, send: Callable[[bytes], None]) -> None:
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            if len(wire) >= 12 and not wire[2] & 0x80:
                send(wire[:2] + bytes((0x80 | wire[2] & 0x79, dns.rcode.FORMERR)) + bytes(8))
            return
        if query.flags & dns.flags.QR:
            return
        exchange = self.exchange(query, address, transport)
        if exchange.delay:
            await asyncio.sleep(exchange.delay)
        if exchange.response is not None:
            send(encode(exchange.response, query, transport))

    def spawn(self, wire: bytes, address: str, transport: Transport, send: Callable[[bytes], None]) -> None:
        """Answer a message in a task of its own, so that a slow answer holds up no other."""
        self._keep(asyncio.create_task(self._answer(wire, address, transport, send)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _stream(self, address: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._keep(asyncio.create_task(self._converse(address, reader, writer)))

        return connected

    async def _converse(self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send(wire: bytes) -> None:
            put(writer, framed(wire))

        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
                while True:
                    async with asyncio.timeout(_TCP_IDLE):
                        wire = await read_framed(reader)
                    await self._answer(wire, address, Transport.TCP, send)
                    await writer.drain()
        finally:
            writer.close()


def encode(response: dns.message.Message, query: dns.message.Message, transport: Transport) -> bytes:
    """The octets of a response; what does not fit into the client's UDP payload is cut, and TC set (RFC 6891)."""
    if transport is Transport.TCP:
        return response.to_wire(max_size=_MAX_MESSAGE)
    payload = max(_MIN_PAYLOAD, min(query.payload, _MAX_PAYLOAD)) if query.edns >= 0 else _MIN_PAYLOAD
    return response.to_wire(max_size=payload, prefer_truncation=True)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: LoopbackServer, address: str) -> None:
        self._server = server
        self._address = address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # what loops pass here is one, though not all of them derive from it
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.spawn(data, self._address, Transport.UDP, lambda wire: self._transport.sendto(wire, addr))


class _Thread:
    """An event loop in a thread, for callers that have none."""

    def __init__(self, server: LoopbackServer) -> None:
        self._server = server
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        try:
            await self._server.start()
        except Exception as error:
            self._failure = error
            return
        finally:
            self._ready.set()
        await self._ended.wait()
        await self._server.stop()
