"""What the server was last seen to hold for each child, for as long as that may be believed."""

from collections.abc import Callable

from zonecut.plugin import Reading
from zonecut.receiver.bounded import Bounded

READING_AGE = 300.0
"""Seconds after which a delegation is read afresh although nothing has contradicted what is believed of it."""


class ReadingCache:
    """The latest reading of each of `most` children."""

    def __init__(self, most: int, monotonic: Callable[[], float]) -> None:
        self._readings: Bounded[bytes, tuple[Reading, float, bool]] = Bounded(most)
        self._monotonic = monotonic

    def of(self, child: bytes, *, noticed: bool = False) -> Reading | None:
        """What is believed of a child; None if nothing is. `noticed`: only if its keys have felt what it means."""
        reading, seen_at, was_noticed = self._readings.get(child, (None, 0.0, False))
        if self._monotonic() - seen_at >= READING_AGE or (noticed and not was_noticed):
            return None
        return reading

    def believe(self, child: bytes, reading: Reading, *, noticed: bool = False) -> None:
        """The server holds this now."""
        same = self.of(child, noticed=True) == reading
        self._readings[child] = reading, self._monotonic(), noticed or same

    def doubt(self, child: bytes) -> None:
        """Something has contradicted what is believed."""
        self._readings.pop(child, None)
