"""A query and what is answered to it, before it goes onto a socket: where faults take hold."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import dns.message

from zonecut.demo.loopback.zone import LoopbackZone


class Transport(StrEnum):
    UDP = "udp"
    TCP = "tcp"


@dataclass(slots=True)
class Exchange:
    """A query as it came, and the response as a fault may change it."""

    query: dns.message.Message
    address: str
    """Which of our addresses was asked."""
    transport: Transport
    response: dns.message.Message | None
    """None: nothing is sent."""
    zone: LoopbackZone | None = None
    """The zone that the response comes from."""
    delay: float = 0.0
    """Seconds to wait before the response is sent."""


Fault = Callable[[Exchange], None]
"""Changes the response, the delay or nothing."""
