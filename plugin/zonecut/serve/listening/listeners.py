"""Bound addresses, UDP and TCP at each, that all hand what comes to the same handler."""

from collections.abc import Mapping
from dataclasses import dataclass

from zonecut.net.endpoint import Endpoint
from zonecut.serve.listening.handler import Handler
from zonecut.serve.listening.tcp import Connections, TcpListener
from zonecut.serve.listening.udp import UdpListener


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

    async def open(self, endpoints: tuple[Endpoint, ...], handler: Handler) -> "Opened":
        """Listen on these as well as on what is open. Raises CannotListen; nothing is opened then."""
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
        return Opened(endpoints, fresh)

    def keep(self, opened: "Opened") -> None:
        """Listen on what was asked for and nowhere else."""
        for endpoint in [each for each in self._open if each not in opened.wanted]:
            _close(*self._open.pop(endpoint))
        self._open.update(opened.fresh)

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


@dataclass(frozen=True, slots=True)
class Opened:
    """The addresses that were asked for, and the listeners that were opened for that: to be kept, or closed again."""

    wanted: tuple[Endpoint, ...]
    fresh: Mapping[Endpoint, tuple[UdpListener, TcpListener]]

    def close(self) -> None:
        for pair in self.fresh.values():
            _close(*pair)


def _close(udp: UdpListener, tcp: TcpListener) -> None:
    udp.close()
    udp.release()
    tcp.close()
