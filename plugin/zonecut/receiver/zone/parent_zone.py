"""One parent zone: a child's verified request becomes an accepted change, or a refusal that names the broken rule."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import structlog

from zonecut.plugin import Backend, BackendError, BackendUnavailable, Change, Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import EdeCode
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.errors import Refusal
from zonecut.protocol.update import DelegationChange, KeyRoll
from zonecut.receiver.change import policy
from zonecut.receiver.change.case import Case, Standing
from zonecut.receiver.change.change_log import tell_accepted, tell_kept
from zonecut.receiver.change.deciding import Deciding
from zonecut.receiver.change.judgement import check_place
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.change.neighbours import weigh
from zonecut.receiver.change.ordering import ChildOrder
from zonecut.receiver.change.readings import Readings
from zonecut.receiver.change.serials import Serials
from zonecut.receiver.duty import Duty
from zonecut.receiver.message.replay import ReplayMemory
from zonecut.receiver.outcome import ACCEPTED, EndsEarly, Outcome
from zonecut.receiver.provenance import Provenance
from zonecut.receiver.writer.write_queue import Pending
from zonecut.receiver.writer.writer import Writer
from zonecut.receiver.zone.accept_gate import AcceptGate
from zonecut.receiver.zone.child_locks import ChildLocks, TooManyWaiting, Turn, TurnTimeout
from zonecut.receiver.zone.decisions import Decisions
from zonecut.receiver.zone.in_work import Held, InWork
from zonecut.receiver.zone.resumption import Resumption
from zonecut.receiver.zone_settings import ZoneSettings
from zonecut.store import InvalidTransition, StoreConflict, StoreUnavailable

if TYPE_CHECKING:
    from zonecut.receiver.checks.runner import Checks

_log = structlog.get_logger(__name__)

T = TypeVar("T")


class ParentZone:
    """The delegations of one parent zone and the one writer that changes them."""

    def __init__(
        self,
        rules: policy.Rules,
        settings: ZoneSettings,
        backend: Backend,
        ledger: Ledger,
        replay: ReplayMemory,
        noticed: Callable[[bytes, Reading, int], Awaitable[bool]],
        suspends: Callable[[bytes, Reading, int], Awaitable[bool]],
        ds_taken_out: Callable[[bytes, Reading], Awaitable[bool]],
        seen: Callable[[bytes, Delegation], Awaitable[None]],
        displaced: Callable[[Change, str, bool], Awaitable[None]],
        *,
        max_waiting: int,
        monotonic: Callable[[], float],
        jitter: random.Random,
        checks: "Checks | None" = None,
    ) -> None:
        """`noticed` is told of each look at a delegation; `suspends` says whether that makes its child suspect, and
        `ds_taken_out` whether it is without DS because of somebody else, and is to stay so. `seen` is told of whatever
        is read; `displaced`, before it is recorded as applied, of what somebody else than the child has changed, who
        that is, and whether the child had asked for it as well. `checks` is None where all of them are off.
        """
        self.rules = rules
        self._settings = settings
        self._backend = backend
        self._ledger = ledger
        self._replay = replay
        self._checks = checks
        self._suspends = suspends
        self._ds_taken_out = ds_taken_out
        self._readings = Readings(rules.zone, backend, noticed, seen, monotonic)
        self._deciding = Deciding(self._readings, lambda: self._settings.answer_within)
        self.listing = self._readings.listing
        self._order = ChildOrder(ledger)
        self._serials = Serials(rules.zone, backend, ledger, self._order)
        notice = self._readings.notice
        self.writer = Writer(rules.zone, backend, ledger, notice, settings.max_batch, jitter, self._serials)
        self._turns = ChildLocks(max_waiting)
        self._in_work = InWork(
            rules.zone, ledger, replay, self._readings, self.writer, self._turns, self._case, displaced
        )
        self.counts = self._in_work.counts
        self._decisions = Decisions(rules.zone, ledger, self._in_work, self.writer, self._turns, self._deciding.afresh)
        self._resumption = Resumption(rules.zone, ledger, self._order, self._in_work, self._serials)
        self._recording = AcceptGate()
        self._duty = Duty(rules.zone, "writer", "requests")

    @property
    def trouble(self) -> str | None:
        """Why the server cannot be reached; None if it can, or was not tried yet."""
        return self._readings.trouble

    @property
    def is_resumed(self) -> bool:
        """Whether what the ledger held is taken up: changes are accepted from then on."""
        return self._resumption.done.is_set()

    @property
    def knows_absence(self) -> bool:
        """Whether it is known for how long this zone was not served: until then nothing is to be recorded of it."""
        return self._resumption.knows_absence

    @property
    def zone(self) -> bytes:
        return self.rules.zone

    def reconfigure(self, rules: policy.Rules, settings: ZoneSettings) -> None:
        """Go on with other rules and settings: they count for what is judged from now on."""
        self.rules = rules
        self._settings = settings
        self.writer.max_batch = settings.max_batch

    async def resume(self) -> None:
        """Take up what a crash, or an earlier self, left in the ledger; changes are accepted from then on.

        Does nothing when that is done. Raises StoreUnavailable; nothing is taken up then.
        """
        await self._resumption.begin()

    async def retire(self) -> None:
        """Accept nothing more; returns when all that was accepted is in the ledger."""
        await self._recording.end()

    async def run(self) -> None:
        """Resume, open the backend, however long that takes, and write until cancelled.

        Once anything else ends it, nothing is accepted until it is called again. Raises StoreUnavailable.
        """
        with self._duty.on():
            await self.resume()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._decisions.run())
                await self._readings.open(self.writer.held_up)
                await self._resumption.finish()
                self.writer.by_hand.recall(await self._ledger.chores())
                self.writer.aftercare.watch(await self._ledger.last_kept())
                self.writer.aftercare.resume(await self._ledger.last_applied(), await self._ledger.last_freed())
                tasks.create_task(self._serials.run())
                _log.info("zone.ready", zone=names.to_text(self.zone))
                await self.writer.run()

    async def drain(self, patience: float) -> None:
        """Write what is accepted, for `patience` seconds at most."""
        if not await self.writer.drain(patience):
            _log.warning("zone.unwritten", zone=names.to_text(self.zone), reason=self._trouble("the ledger keeps it"))

    async def close(self, patience: float) -> None:
        """Release the backend, once what is settled is recorded or `patience` seconds have passed."""
        self.writer.close()
        if self._checks:
            await self._checks.close()
        await self._ledger.close(patience)
        await self._backend.close()

    async def delegation_of(self, child: bytes) -> Delegation:
        """What counts for a child now, nothing where this zone has no say: no look. Raises as `look_at`."""
        reading = await self._read(child)
        return reading.delegation if policy.speaks_for(self.rules, child, reading.enclosing) else Delegation(child)

    async def look_at(self, child: bytes) -> Delegation:
        """What the server holds for a child now, and what follows from that for its keys is done.

        Raises BackendError, StoreUnavailable.
        """
        return (await self._readings.look(child, self._settings.answer_within)).delegation

    async def delegated(self, child: bytes) -> Delegation:
        """The delegation of a child now. Raises Refusal for a name that is none; BackendError, StoreUnavailable."""
        self._duty.check()
        policy.check_child(self.rules, child)
        reading = await self._read(child)
        check_place(child, reading)
        return reading.delegation

    async def around(self, name: bytes, *, afresh: bool = False) -> Reading | None:
        """The delegation at or above a name below the apex, the topmost one; None where there is none.

        What is believed of it is enough unless it is to be read `afresh`. Raises BackendError, StoreUnavailable.
        """
        return await self._readings.around(name, self._settings.answer_within, afresh=afresh)

    async def consider(self, request: DelegationChange) -> Change:
        """What a request would change; nothing is recorded. Raises Refusal, BackendError, StoreUnavailable."""
        self._duty.check()
        policy.check_child(self.rules, request.child)
        reading = self._readings.believed(request.child) or await self._read(request.child)
        try:
            return (await weigh(self._backend, self.rules, request, reading, coming=self.writer.claims.naming)).change
        except Refusal:
            # the server has the last word on a no
            reading = await self._read(request.child)
            return (await weigh(self._backend, self.rules, request, reading, coming=self.writer.claims.naming)).change

    async def change(
        self, provenance: Provenance, request: DelegationChange, now: float, standing: Standing
    ) -> Outcome:
        """Judge and record a request, and wait for the backend as long as an answer may wait.

        `now` in seconds since the epoch. Raises Refusal; what fails in the end is an Outcome.
        """
        child = request.child
        settled: asyncio.Future[Outcome] | None = None
        try:
            async with self._turn(provenance, request, now, standing) as turn:
                is_signed = provenance.key_id is not None
                case = self._case(request, standing, is_signed)
                with self.writer.expecting():
                    weighed = await self._deciding.decide(case, is_signed)
                change = weighed.change
                await case.look(change)
                earlier = self._in_work.held(child)
                replaces = None if earlier is None else earlier.id
                if (why := case.held_because(change)) is not None:
                    return await self._hold(provenance, change, weighed.with_kept(why), now)
                with self.writer.expecting():
                    change_id = await self._record(lambda: self._ledger.append(provenance, change, replaces=replaces))
                    self.counts.accepted += 1
                    self._in_work.replaced(child, change_id)
                    self._accepted(provenance, now)
                    pending = Pending(change_id, change, case, looked_at=change)
                    posted_by = provenance.actor if provenance.key_id is None else None
                    settled = self._in_work.hand_over(pending, (provenance.identity,), posted_by)
                turn.keep()
                case.watch(change, change_id)
        except EndsEarly as early:
            return early.outcome
        done, _ = await asyncio.wait((settled,), timeout=self._settings.answer_within)
        await self._ledger.done_first(change_id, self._settings.answer_within)
        # not yet written: accepted all the same, since the ledger has it and the writer keeps trying
        outcome = settled.result() if done else ACCEPTED
        if outcome.rcode:
            await self._look_again(child)
        else:
            tell_accepted(self.zone, change_id, change, weighed.noted, provenance, settled)
            if weighed.kept:
                by = provenance.actor, provenance.source, provenance.key_tag
                tell_kept(self._ledger, self.zone, child, change_id, weighed.kept, *by)
                outcome = replace(outcome, reason=weighed.kept, told=weighed.kept, ede=EdeCode.OTHER)
        return outcome

    async def _hold(self, provenance: Provenance, change: Change, why: str, now: float) -> Outcome:
        """Have a change wait for an operator, in place of the child's that does; behind that one, if it is the same."""
        child, earlier = change.child, self._in_work.held(change.child)
        outcome = Outcome.waits_for_operator(why)
        if earlier is not None and earlier.change == change:
            number = earlier.id
            if await self._record(lambda: self._ledger.ask_again(number, provenance)):
                self._accepted(provenance, now)
                return self._in_work.asked_again(earlier, provenance.identity, outcome)
        replaces = None if earlier is None else earlier.id
        number = await self._record(
            lambda: self._ledger.append(provenance, change, held_because=why, replaces=replaces)
        )
        self._in_work.replaced(child, number)
        self._accepted(provenance, now)
        self._in_work.hold(Held(number, change, [provenance.identity]), outcome)
        return outcome

    async def roll(
        self,
        provenance: Provenance,
        request: KeyRoll,
        now: float,
        apply: Callable[[Provenance, KeyRoll], Awaitable[None]],
        standing: Standing,
    ) -> Outcome:
        """Have a child's keys rolled over, in the child's turn and in the order in which its requests were signed.

        Raises Refusal; what fails in the end is an Outcome.
        """
        try:
            async with self._turn(provenance, request, now, standing):
                await self._record(lambda: apply(provenance, request))
                self._accepted(provenance, now)
        except EndsEarly as early:
            return early.outcome
        _log.info(
            "keys.rolled",
            zone=names.to_text(self.zone),
            child=names.to_text(request.child),
            key=provenance.key_tag,
            source=provenance.source,
            operations=[operation.to_text() for operation in request.operations],
        )
        return Outcome()

    @asynccontextmanager
    async def _turn(
        self,
        provenance: Provenance,
        request: DelegationChange | KeyRoll,
        now: float,
        standing: Standing,
    ) -> AsyncIterator[Turn]:
        """The child's turn, its name and the order of its requests checked; given back at the end unless kept.

        Raises Refusal, and EndsEarly for all that may be better at another time.
        """
        child = provenance.child
        policy.check_child(self.rules, child)
        if (trouble := self._duty.trouble) is not None:
            raise EndsEarly(Outcome.unavailable("not-running", trouble, told=trouble))
        if (held := self._resumption.held) is not None:
            raise EndsEarly(Outcome.unavailable("store", held))
        try:
            if not self.is_resumed:
                async with asyncio.timeout(self._settings.answer_within):
                    await self._resumption.done.wait()
            waited = await self._turns.take(child, self._settings.answer_within)
        except (TimeoutError, TurnTimeout):
            raise EndsEarly(self._waits(self.writer.waits_for(child))) from None
        except TooManyWaiting:
            raise Refusal(
                "max-pending-per-child", "too many changes of this child wait", ede=EdeCode.OVER_QUOTA
            ) from None
        turn = Turn()
        try:
            if waited:
                await standing()
            await self._order.check(provenance, request, now, self._settings)
            yield turn
        except StoreConflict:
            raise EndsEarly(await self._in_work.repeated(provenance.identity)) from None
        except InvalidTransition as error:
            raise EndsEarly(self._waits(error.reason)) from None
        except StoreUnavailable as error:
            raise EndsEarly(Outcome.unavailable("store", error.reason)) from error
        except BackendError as error:
            raise EndsEarly(Outcome.unavailable("backend", error.reason)) from error
        finally:
            if not turn.kept:
                self._turns.give_back(child)

    def _waits(self, reason: str | None) -> Outcome:
        told = "an earlier change of this child waits"
        return Outcome.unavailable("one-change-at-a-time", self._trouble(told, reason), told=told)

    async def _record(self, write: Callable[[], Awaitable[T]]) -> T:
        """Have something recorded, unless this zone is being replaced, or nobody writes it."""
        self._duty.check()
        if self._recording.has_ended:
            raise BackendUnavailable("the configuration of this zone is being changed")
        return await self._recording.do(write)

    async def _read(self, child: bytes) -> Reading:
        """What the server holds for a child now. Raises BackendError, StoreUnavailable."""
        return await self._readings.read(child, self._settings.answer_within)

    async def _look_again(self, child: bytes) -> None:
        """What made an accepted change fail may mean something for the child's keys."""
        with suppress(BackendError, StoreUnavailable):
            await self._readings.look(child, self._settings.answer_within)

    def _accepted(self, provenance: Provenance, now: float) -> None:
        self._replay.accept(provenance.identity, provenance.expires_at)
        self._order.accepted(provenance, now)

    def _case(self, request: DelegationChange, standing: Standing, is_signed: bool) -> Case:
        taken_out = self._ds_taken_out if is_signed else None
        coming = self.writer.claims.naming
        return Case(
            request, standing, self._backend, lambda: self.rules, self._checks, self._suspends, taken_out, coming
        )

    def _trouble(self, what: str, reason: str | None = None) -> str:
        trouble = reason or self.writer.trouble or self.trouble
        return f"{what}: {trouble}" if trouble else what
