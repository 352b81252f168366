"""What the server was last seen to hold for each child, for as long as that may be believed."""

from collections.abc import Callable

from zonecut.plugin import Reading
from zonecut.receiver.bounded import Bounded

READING_AGE = 300.0
"""Seconds after which a delegation is read afresh although nothing has contradicted what is believed of it."""


class Beliefs:
    """The latest reading of each of `most` children."""

    def __init__(self, most: int, monotonic: Callable[[], float]) -> None:
        self._readings: Bounded[bytes, tuple[Reading, float]] = Bounded(most)
        self._monotonic = monotonic

    def of(self, child: bytes) -> Reading | None:
        """What is believed of a child; None if nothing is."""
        reading, seen_at = self._readings.get(child, (None, 0.0))
        return reading if self._monotonic() - seen_at < READING_AGE else None

    def believe(self, child: bytes, reading: Reading) -> None:
        """The server holds this now."""
        self._readings[child] = reading, self._monotonic()

    def doubt(self, child: bytes) -> None:
        """Something has contradicted what is believed."""
        self._readings.pop(child, None)
