"""Which children's delegations we may be changing just now: what is read meanwhile may be half of our own work."""

from zonecut.receiver.bounded import Bounded

REMEMBERED = 10_000


class InFlight:
    """Of one parent zone. Nothing is waited for between a look at it and what is done about it."""

    def __init__(self) -> None:
        self._in_work: set[bytes] = set()
        self._steps = 0
        self._latest: Bounded[bytes, int] = Bounded(REMEMBERED)

    def begins(self, child: bytes) -> None:
        """A change of this child is on its way to the server."""
        self._in_work.add(child)
        self._step(child)

    def ends(self, child: bytes) -> None:
        """It is settled."""
        self._in_work.discard(child)
        self._step(child)

    def mark(self, child: bytes) -> int:
        """This moment, for `since`."""
        return self._latest.get(child, 0)

    def since(self, child: bytes, mark: int) -> bool:
        """Whether a change of this child was on its way at any time since then."""
        return child in self._in_work or self.mark(child) != mark

    def _step(self, child: bytes) -> None:
        self._steps += 1
        self._latest[child] = self._steps
