"""A server that does what a test tells it to, for tests of what writes to one. No tests of its own."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from zonecut.plugin import (
    Backend,
    BackendConflict,
    BackendError,
    BackendLater,
    BackendRejected,
    BackendUnavailable,
    Change,
    Reading,
    Withdrawal,
)
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.rrset import RRset


class Server(Backend):
    """A server in memory whose faults a test sets: it keeps to the rules of the interface in everything else."""

    def __init__(self) -> None:
        self.holds: dict[bytes, Delegation] = {}
        self.transactions: list[int] = []
        self.faults: list[BackendError | Exception] = []
        """Raised by the next writes, one each, before anything is written."""
        self.lost_answers = 0
        """So many writes take place and are reported as not known."""
        self.poison: set[bytes] = set()
        """Children that the server will not hold."""
        self.forgets: set[bytes] = set()
        """Children whose changes are acknowledged and dropped."""
        self.undecided: set[bytes] = set()
        """Children whose changes the server has yet to decide."""
        self.names_children = True
        """In conflicts and rejections."""
        self.gate = asyncio.Event()
        """Writes wait until it is set."""
        self.gate.set()
        self.requests = 0
        self.remembers_after = 1_000
        """After forgetting so often, it forgets no more."""
        self.keeps_half: dict[bytes, Delegation] = {}
        """What it makes of each change of these children, except of one back to what there was."""
        self.edits: dict[bytes, Delegation] = {}
        """What somebody makes of these children's delegations, once, right after they were written."""
        self.cannot: set[bytes] = set()
        """Children on which it fails, whatever they ask for."""
        self.is_away = False
        """It answers nothing at all."""
        self.withdrawals: list[Withdrawal | BackendError] = []
        """What it answers when it is told to forget a change, the last one for ever; empty: it decides at once."""
        self.forgotten: list[Change] = []
        """What it was told to forget."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def read(self, child: bytes) -> Reading:
        return Reading(self.holds[child])

    def batch(self, changes: Sequence[Change]) -> int:
        return min(len(changes), 10)

    async def write(self, changes: Sequence[Change]) -> None:
        assert len({change.child for change in changes}) == len(changes)
        await self.gate.wait()
        self.requests += 1
        if self.is_away:
            raise BackendUnavailable("away")
        if self.faults:
            raise self.faults.pop(0)
        differing = [change.child for change in changes if self.holds[change.child] != change.before]
        if differing:
            raise BackendConflict("another value", differing if self.names_children else ())
        if rejected := [change.child for change in changes if change.child in self.poison]:
            raise BackendRejected("will not hold that", rejected if self.names_children else ())
        if waiting := [change.child for change in changes if change.child in self.undecided]:
            raise BackendLater("is being looked at", waiting, 0.05)
        if any(change.child in self.cannot for change in changes):
            raise BackendUnavailable("failed on that")
        self.transactions.append(len(changes))
        for change in changes:
            self.hold(change)
        if self.lost_answers:
            self.lost_answers -= 1
            raise BackendUnavailable("connection lost")

    def hold(self, change: Change) -> None:
        child, after = change.child, change.after
        if child in self.forgets and self.remembers_after:
            self.remembers_after -= 1
            return
        if child in self.keeps_half and after.ns[0] == self.keeps_half[child].ns[0]:
            after = self.keeps_half[child]
        self.holds[child] = self.edits.pop(child, after)

    async def withdraw(self, change: Change) -> Withdrawal | None:
        if not self.withdrawals:
            return None
        answer = self.withdrawals.pop(0) if len(self.withdrawals) > 1 else self.withdrawals[0]
        if isinstance(answer, BackendError):
            raise answer
        self.forgotten.append(change)
        if answer is Withdrawal.CARRIED_OUT:
            self.holds[change.child] = change.after
        return answer

    async def verify(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        if self.is_away:
            raise BackendUnavailable("away")
        return tuple(change.child for change in changes if self.holds[change.child] != change.after)

    async def children(self) -> AsyncIterator[Reading]:
        for delegation in self.holds.values():
            yield Reading(delegation)

    async def read_rrsets(self, names: Sequence[bytes]) -> tuple[RRset, ...]:
        return ()

    async def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None: ...


async def nobody(child: bytes, reading: Reading, untried: int) -> bool:
    """No child is suspect."""
    return False
