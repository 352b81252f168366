"""Whether a part of a parent zone is running: one that is not takes no work."""

from collections.abc import Iterator
from contextlib import contextmanager

from zonecut.plugin import BackendUnavailable
from zonecut.protocol import names


class Duty:
    """Of one part. Before it has begun it counts as about to begin."""

    def __init__(self, zone: bytes, part: str, takes: str) -> None:
        """`takes` is what the part works on, as a child may be told."""
        self._words = f"no {takes} are accepted for {names.to_text(zone)} just now: its {part} is not running"
        self._ended = False

    @contextmanager
    def on(self) -> Iterator[None]:
        """While what is in the block goes on, the part is running."""
        self._ended = False
        try:
            yield
        finally:
            self._ended = True

    @property
    def trouble(self) -> str | None:
        """Why nothing is accepted, as a child may be told; None while the part runs."""
        return self._words if self._ended else None

    def check(self) -> None:
        """Raise BackendUnavailable if nothing is accepted."""
        if (trouble := self.trouble) is not None:
            raise BackendUnavailable(trouble)
