"""Bound addresses, UDP and TCP at each, that all hand what comes to the same handler."""

from zonecut.plugin.endpoint import Endpoint
from zonecut.serve.handler import Handler
from zonecut.serve.tcp import Connections, TcpListener
from zonecut.serve.udp import UdpListener


class CannotListen(Exception):
    """An address that the configuration names cannot be bound."""


class Listeners:
    """The addresses below one key of the configuration; `key` stands in errors."""

    def __init__(self, key: str, connections: Connections) -> None:
        self._key = key
        self._connections = connections
        self._open: dict[Endpoint, tuple[UdpListener, TcpListener]] = {}

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(self._open)

    async def listen(self, endpoints: tuple[Endpoint, ...], handler: Handler) -> None:
        """Listen on these and no others. Raises CannotListen; those it had before stay open then."""
        fresh: dict[Endpoint, tuple[UdpListener, TcpListener]] = {}
        for endpoint in endpoints:
            if endpoint in self._open:
                continue
            tcp = TcpListener(handler, self._connections)
            try:
                udp = UdpListener(endpoint.address, endpoint.port, handler)
                fresh[endpoint] = (udp, tcp)
                await tcp.listen(endpoint.address, endpoint.port)
            except OSError as error:
                for pair in fresh.values():
                    _close(*pair)
                raise CannotListen(f"{self._key}: {endpoint}: {error.strerror or error}") from error
        for endpoint in [each for each in self._open if each not in endpoints]:
            _close(*self._open.pop(endpoint))
        self._open.update(fresh)

    def use(self, handler: Handler) -> None:
        """Hand what comes from now on to another handler."""
        for udp, tcp in self._open.values():
            udp.handler = handler
            tcp.handler = handler

    def close(self) -> None:
        """Take nothing more; answers still to come are sent until `release`."""
        for udp, tcp in self._open.values():
            udp.close()
            tcp.close()

    def release(self) -> None:
        """Close the sockets."""
        for udp, _ in self._open.values():
            udp.release()
        self._open.clear()


def _close(udp: UdpListener, tcp: TcpListener) -> None:
    udp.close()
    udp.release()
    tcp.close()
