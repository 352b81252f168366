"""Accepted changes of a parent zone, from the ledger to their end: those that are written, and those that are held."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf

import structlog

from zonecut.plugin import Change
from zonecut.protocol import names
from zonecut.protocol.codepoints import EdeCode
from zonecut.protocol.envelope import walk
from zonecut.protocol.errors import Refusal
from zonecut.protocol.update import DelegationChange, read_request
from zonecut.receiver.change.case import Case, Standing
from zonecut.receiver.change.change_counts import ChangeCounts
from zonecut.receiver.change.change_log import tell_end
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.change.readings import Readings
from zonecut.receiver.message.replay import ReplayMemory
from zonecut.receiver.outcome import ACCEPTED, APPLIED, Outcome
from zonecut.receiver.provenance import actor_of
from zonecut.receiver.writer.write_queue import Pending
from zonecut.receiver.writer.writer import Writer
from zonecut.receiver.zone.child_locks import ChildLocks
from zonecut.store import ChangeState, Decision, StoredChange, StoreUnavailable

_log = structlog.get_logger(__name__)

MAX_ASKED = 100
"""So many messages that ask for one held change are answered with what becomes of it."""

MakeCase = Callable[[DelegationChange, Standing, bool], Case]
"""The last says whether the request is signed by the child."""


@dataclass(slots=True, eq=False)
class Held:
    """A change that waits for an operator."""

    id: int
    change: Change
    identities: list[bytes]
    """Of the messages that asked for it, the latest ones."""
    ended: Outcome | None = None
    """What its messages are answered with since it waits no more."""

    @classmethod
    def of(cls, stored: StoredChange, earlier: Sequence[StoredChange]) -> "Held":
        """One of the ledger, with those that asked for it before, the latest first."""
        identities = [each.identity for each in (*reversed(earlier), stored) if each.identity is not None]
        return cls(stored.id, Change(stored.before, stored.after), identities)


class InWork:
    """What is to be written, and what waits for an operator: of that, one change a child."""

    def __init__(
        self,
        zone: bytes,
        ledger: Ledger,
        replay: ReplayMemory,
        readings: Readings,
        writer: Writer,
        turns: ChildLocks,
        make_case: MakeCase,
        displaced: Callable[[Change, str, bool], Awaitable[None]],
    ) -> None:
        """`displaced` is told, before that is recorded, of what was written for somebody else than the child, and
        whether a trusted key of the child had asked for the same.
        """
        self._zone = zone
        self._ledger = ledger
        self._replay = replay
        self._readings = readings
        self._writer = writer
        self._turns = turns
        self._make_case = make_case
        self._displaced = displaced
        self._held: dict[bytes, Held] = {}
        self.pending: dict[int, Pending] = {}
        """What the writer has, by number."""
        self.counts = ChangeCounts()

    # What is written

    def hand_over(
        self, pending: Pending, identities: Sequence[bytes], posted_by: str | None
    ) -> "asyncio.Future[Outcome]":
        """Give an accepted change to the writer; the child's turn ends when it is settled.

        `posted_by`: who asked for it, if that was not the child: what its keys count for once it is applied is decided
        before that is recorded, and before the child's turn ends. Until then they can do nothing.
        """
        pending.identify(identities[0] if identities else b"")
        self.pending[pending.id] = pending
        self._readings.begins(pending.child)
        if posted_by is not None:
            self._ledger.do_first(pending.id, partial(self._displace, pending, posted_by))
        settled = partial(self._settled, pending, list(identities))
        pending.settled.add_done_callback(settled)
        self._writer.put(pending)
        return pending.settled

    async def resume(self, stored: StoredChange, doubt: str | None = None) -> "asyncio.Future[Outcome]":
        """Take up what was accepted before us; how it ends.

        `doubt`: why it is not written before an operator has said so, unless it was.
        """
        await self._turns.take(stored.child, 0)
        pending = Pending(
            stored.id,
            Change(stored.before, stored.after),
            self.case_of(stored),
            stored.attempts,
            uncertain=True,
            since=-inf,
            resumed=True,
            doubt=doubt,
            may_be_ours=doubt is None,
        )
        if stored.decision is Decision.REJECTED:
            pending.withdrawn = rejection(stored)
        elif stored.decision is Decision.DONE:
            pending.done_as = stored.after
        identities = () if stored.identity is None else (stored.identity,)
        actor = None if stored.inception is not None else actor_of(stored.source)
        settled = self.hand_over(pending, identities, actor)
        tell_end(self._zone, stored.child, stored.id, settled)
        return settled

    def case_of(self, stored: StoredChange) -> Case:
        """What stands behind a change of the ledger."""
        request = self._request(stored)
        standing = partial(self._check_askers, stored, request)
        case = self._make_case(request, standing, stored.inception is not None)
        if stored.decision is Decision.APPROVED:
            case.approved = Change(stored.before, stored.after)
        return case

    async def stands_behind(self, stored: StoredChange) -> StoredChange:
        """A change as the latest of its askers asked for it whose word counts; as it is where there is none.

        That of a front end comes first: it does not fall with any key of the child. Raises StoreUnavailable.
        """
        standing = await self._standing(stored)
        posted = (each for each in standing if each.inception is None)
        return next(posted, standing[0] if standing else stored)

    async def _standing(self, stored: StoredChange) -> Sequence[StoredChange]:
        """A change as each of its askers whose word counts asked for it, the latest first. Raises StoreUnavailable."""
        standing = []
        for each in (stored, *await self._ledger.askers(stored)):
            with suppress(Refusal):
                await self._ledger.check_signer(each)
                standing.append(each)
        return standing

    async def _check_askers(self, stored: StoredChange, request: DelegationChange) -> None:
        """Raise Refusal unless somebody asked for a change in these words whose word counts; StoreUnavailable."""
        try:
            await self._ledger.check_signer(stored)
        except Refusal:
            latest = await self._ledger.get(stored.id)
            if latest is not None and any(self._request(each) == request for each in await self._standing(latest)):
                return
            raise

    def _request(self, stored: StoredChange) -> DelegationChange:
        request = read_request(walk(stored.message), self._zone, stored.child, b"")
        if not isinstance(request, DelegationChange):
            raise TypeError(f"change {stored.id} in the ledger waits to be written and is about keys")
        return request

    async def _displace(self, pending: Pending, actor: str) -> None:
        # only what waited for an operator has several askers
        is_wanted = pending.case.approved is not None and await self._is_wanted(pending.id)
        await self._displaced(Change(pending.origin, pending.change.after), actor, is_wanted)

    async def _is_wanted(self, change_id: int) -> bool:
        """Whether a trusted key of the child is among those that asked for a change. Raises StoreUnavailable."""
        stored = await self._ledger.get(change_id)
        return stored is not None and any(each.inception is not None for each in await self._standing(stored))

    def _settled(self, pending: Pending, identities: list[bytes], settled: "asyncio.Future[Outcome]") -> None:
        child = pending.child
        del self.pending[pending.id]
        outcome = None if settled.cancelled() else settled.result()
        if outcome is None:
            self._readings.ends(child, None)
        elif outcome.held:
            self._readings.ends(child, None)
            self.hold(Held(pending.id, pending.change, identities), outcome)
        elif outcome.rcode:
            self._readings.ends(child, None)
            self.counts.failed += 1
            self.failed(pending.id, identities, outcome)
        else:
            self._readings.ends(child, pending.change.after)
            self.counts.applied += 1
            for identity in identities:
                self._replay.settle(identity)
        self._ledger.when_done_first(pending.id, partial(self._turns.give_back, child))

    def failed(self, change_id: int, identities: Sequence[bytes], outcome: Outcome) -> None:
        """An accepted change has failed: sent again, it is answered like this until it can be tried again."""
        for identity in identities:
            self._replay.tell(identity, outcome)
            self._ledger.when_failed(change_id, partial(self._replay.reject, identity))

    async def repeated(self, identity: bytes) -> Outcome:
        """The answer to signed data that the ledger has already, although nobody here remembers it."""
        try:
            earlier = await self._ledger.find(identity)
        except StoreUnavailable as error:
            return Outcome.unavailable("store", error.reason)
        if earlier is None:
            told = "the same request has failed just now; it may be sent again"
            return Outcome.unavailable("repeated", told, told=told)
        if earlier.state is ChangeState.HELD:
            return Outcome.waits_for_operator(earlier.reason or "")
        return APPLIED if earlier.state is ChangeState.APPLIED else ACCEPTED

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
        for identity in held.identities:
            self._replay.tell(identity, outcome)
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
        held.ended = outcome
        for identity in held.identities:
            self._replay.tell(identity, outcome)

    def asked_again(self, held: Held, identity: bytes, waits: Outcome) -> Outcome:
        """The ledger has another message that asks for the same: how it is answered, now and later."""
        held.identities.append(identity)
        del held.identities[:-MAX_ASKED]
        outcome = held.ended or waits
        self._replay.tell(identity, outcome)
        return outcome

    def replaced(self, child: bytes, by: int) -> None:
        """The ledger has a change that puts an end to the child's held one: sent again, that is not taken up anew."""
        if (held := self._held.get(child)) is not None:
            told = "the child asked for something else since: what it asks for now is to be signed anew"
            self.drop(held, Outcome.of(Refusal("replaced", f"replaced by change {by}: {told}", told=told)))


def rejection(stored: StoredChange) -> Refusal:
    """What becomes of a change that an operator rejected. Who that was is no matter of the child's."""
    because = f": {stored.decided_because}" if stored.decided_because else ""
    return Refusal("rejected", f"an operator of the parent rejected it{because}", ede=EdeCode.PROHIBITED)
