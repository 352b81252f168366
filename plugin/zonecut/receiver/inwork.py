"""Accepted changes of a parent zone, from the ledger to their end: those that are written, and those that are held."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import inf

import structlog

from zonecut.plugin import Change
from zonecut.protocol import names
from zonecut.protocol.codepoints import EdeCode
from zonecut.protocol.envelope import walk
from zonecut.protocol.errors import Refusal
from zonecut.protocol.update import DelegationChange, read_request
from zonecut.receiver.case import Case, Standing
from zonecut.receiver.changecounts import ChangeCounts
from zonecut.receiver.ledger import Ledger
from zonecut.receiver.outcome import Outcome
from zonecut.receiver.readings import Readings
from zonecut.receiver.replay import ReplayMemory
from zonecut.receiver.turns import Turns
from zonecut.receiver.writequeue import Pending
from zonecut.receiver.writer import Writer
from zonecut.store import Decision, StoredChange

_log = structlog.get_logger(__name__)

MakeCase = Callable[[DelegationChange, Standing], Case]


@dataclass(frozen=True, slots=True)
class Held:
    """A change that waits for an operator."""

    id: int
    change: Change
    identity: bytes | None


class InWork:
    """What is to be written, and what waits for an operator: of that, one change a child."""

    def __init__(
        self,
        zone: bytes,
        ledger: Ledger,
        replay: ReplayMemory,
        readings: Readings,
        writer: Writer,
        turns: Turns,
        make_case: MakeCase,
    ) -> None:
        self._zone = zone
        self._ledger = ledger
        self._replay = replay
        self._readings = readings
        self._writer = writer
        self._turns = turns
        self._make_case = make_case
        self._held: dict[bytes, Held] = {}
        self.pending: dict[int, Pending] = {}
        """What the writer has, by number."""
        self.counts = ChangeCounts()

    # What is written

    def hand_over(self, pending: Pending, identity: bytes | None) -> "asyncio.Future[Outcome]":
        """Give an accepted change to the writer; the child's turn ends when it is settled."""
        pending.change = replace(pending.change, identity=identity or b"")
        self.pending[pending.id] = pending
        self._readings.begins(pending.child)
        pending.settled.add_done_callback(partial(self._settled, pending, identity))
        self._writer.put(pending)
        return pending.settled

    async def resume(self, stored: StoredChange, too_late: Refusal | None = None) -> None:
        """Take up what was accepted before us; `too_late`: why it is not written any more, unless it was."""
        await self._turns.take(stored.child, 0)
        pending = Pending(
            stored.id,
            Change(stored.before, stored.after),
            self.case_of(stored),
            stored.attempts,
            uncertain=True,
            since=-inf,
        )
        pending.withdrawn, pending.may_be_ours = too_late, too_late is None
        if stored.decision is Decision.REJECTED:
            pending.withdrawn = rejection(stored)
        self.hand_over(pending, stored.identity)

    def case_of(self, stored: StoredChange) -> Case:
        """What stands behind a change of the ledger."""
        request = read_request(walk(stored.message), self._zone, stored.child, b"")
        if not isinstance(request, DelegationChange):
            raise TypeError(f"change {stored.id} in the ledger waits to be written and is about keys")
        case = self._make_case(request, partial(self._ledger.check_signer, stored))
        case.approved = stored.decision is Decision.APPROVED
        return case

    def _settled(self, pending: Pending, identity: bytes | None, settled: "asyncio.Future[Outcome]") -> None:
        child = pending.child
        del self.pending[pending.id]
        outcome = None if settled.cancelled() else settled.result()
        if outcome is None:
            self._readings.ends(child, None)
        elif outcome.held:
            self._readings.ends(child, None)
            self.hold(Held(pending.id, pending.change, identity), outcome)
        elif outcome.rcode:
            self._readings.ends(child, None)
            self.counts.failed += 1
            self.failed(pending.id, identity, outcome)
        else:
            self._readings.ends(child, pending.change.after)
            self.counts.applied += 1
            if identity is not None:
                self._replay.settle(identity)
        self._turns.give_back(child)

    def failed(self, change_id: int, identity: bytes | None, outcome: Outcome) -> None:
        """An accepted change has failed: sent again, it is answered like this until it can be tried again."""
        if identity is not None:
            self._replay.tell(identity, outcome)
            self._ledger.when_failed(change_id, partial(self._replay.reject, identity))

    # What waits for an operator

    def held(self, child: bytes) -> Held | None:
        """The child's change that waits for an operator."""
        return self._held.get(child)

    def all_held(self) -> tuple[Held, ...]:
        """Whatever waits for an operator, or for being taken up since one approved it."""
        return tuple(self._held.values())

    def hold(self, held: Held, outcome: Outcome) -> None:
        """A change waits for an operator; that is what its message is answered with."""
        self._held[held.change.child] = held
        if held.identity is not None:
            self._replay.tell(held.identity, outcome)
        _log.warning(
            "change.held",
            zone=names.to_text(self._zone),
            child=names.to_text(held.change.child),
            change=held.id,
            reason=outcome.reason,
        )

    def drop(self, held: Held, outcome: Outcome) -> None:
        """A change does not wait for an operator any more; its message is answered with this."""
        if self._held.get(held.change.child) is not held:
            return  # another one took its place
        del self._held[held.change.child]
        if held.identity is not None:
            self._replay.tell(held.identity, outcome)

    def replaced(self, child: bytes, by: int) -> None:
        """The ledger has a change that puts an end to the child's held one: sent again, that is not taken up anew."""
        if (held := self._held.get(child)) is not None:
            told = "the child asked for something else since: what it asks for now is to be signed anew"
            self.drop(held, Outcome.of(Refusal("replaced", f"replaced by change {by}: {told}", told=told)))


def rejection(stored: StoredChange) -> Refusal:
    """What becomes of a change that an operator rejected. Who that was is no matter of the child's."""
    because = f": {stored.decided_because}" if stored.decided_because else ""
    return Refusal("rejected", f"an operator of the parent rejected it{because}", ede=EdeCode.PROHIBITED)
