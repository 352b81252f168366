"""What a listener hands messages to."""

from collections.abc import Callable
from typing import Protocol

from zonecut.receiver.message.admission import Source


class Handler(Protocol):
    """Whatever answers DNS messages."""

    def handle(self, wire: bytes, source: Source, respond: Callable[[bytes], None]) -> None:
        """Take one message; call `respond` once with the response, now or later, or never."""
        ...
