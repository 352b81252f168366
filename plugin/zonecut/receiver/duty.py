"""Whether the writer of a parent zone is running: a zone without one accepts nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

from zonecut.plugin import BackendUnavailable
from zonecut.protocol import names


class Duty:
    """Of one zone's writer. Before it has begun it counts as about to begin."""

    def __init__(self, zone: bytes) -> None:
        self._zone = zone
        self._ended = False

    @contextmanager
    def on(self) -> Iterator[None]:
        """While what is in the block goes on, the writer is running."""
        self._ended = False
        try:
            yield
        finally:
            self._ended = True

    @property
    def trouble(self) -> str | None:
        """Why nothing is accepted, as a child may be told; None while the writer runs."""
        if not self._ended:
            return None
        return f"nothing is accepted for {names.to_text(self._zone)} just now: its writer is not running"

    def check(self) -> None:
        """Raise BackendUnavailable if nothing is accepted."""
        if (trouble := self.trouble) is not None:
            raise BackendUnavailable(trouble)
