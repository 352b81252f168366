"""What comes of one batch that the writer takes to the server, and the parts of a batch that failed."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from zonecut.plugin import Backend, BackendConflict, BackendError, BackendRejected, Change
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.writer.write_queue import Pending

HOPELESS = 3
"""So many changes that fail alone, and none that succeeds, mean that the server takes nothing just now."""


@dataclass(slots=True)
class Result:
    """What comes of one batch."""

    settled: int = 0
    untried: list[Pending] = field(default_factory=list)
    """The server would not take them, or was not asked."""
    alone: list[Pending] = field(default_factory=list)
    """The server answered, and would not take them one by one either."""
    undone: list[Change] = field(default_factory=list)
    """What was given up and may have been taken back, from what the server held to what it was."""
    away: bool = False
    later: bool = False
    """Some of it the server has yet to decide."""
    answered: bool = False
    """In the transaction that is under way, the server has answered something."""

    @property
    def left(self) -> list[Pending]:
        return [*self.untried, *self.alone]

    @property
    def is_hopeless(self) -> bool:
        return self.away or (not self.settled and len(self.alone) >= HOPELESS)


def split(batch: Sequence[Pending], named: frozenset[bytes]) -> list[list[Pending]]:
    """Parts of a batch that failed: the offenders alone where they are known, else halves."""
    offenders = [pending for pending in batch if pending.child in named]
    rest = [pending for pending in batch if pending.child not in named]
    if offenders and rest:
        return [rest, *([pending] for pending in offenders)]
    middle = len(batch) // 2
    return [list(batch[:middle]), list(batch[middle:])]


async def named(
    backend: Backend, batch: Sequence[Pending], error: BackendConflict | BackendRejected
) -> frozenset[bytes]:
    """The children that an error is about; empty where that is not to be known."""
    if error.children or isinstance(error, BackendRejected):
        return frozenset(error.children)
    with suppress(BackendError):
        unchanged = [Change(pending.change.before, pending.change.before) for pending in batch]
        return frozenset(await backend.verify(unchanged))
    return frozenset()


def missing(wanted: Delegation, held: Delegation) -> str:
    """The first record that should be there, in words; nothing where only too much is there."""
    there = set(held.records)
    return next((f": {record.to_text()} is missing" for record in wanted.records if record not in there), "")
