"""One writer per parent zone: it takes all that waits, commits it in one transaction and reads it back (group commit).

A batch that the server will not take as a whole is split until the offender stands alone, and the rest goes through.
What the server holds instead of `before` is never overwritten: the change is judged again on what is there now.
What the server has yet to decide is put aside, and the other children's changes go on.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace

import structlog

from zonecut.plugin import (
    Backend,
    BackendConflict,
    BackendError,
    BackendLater,
    BackendRejected,
    Change,
    Reading,
)
from zonecut.protocol.codepoints import Rcode
from zonecut.protocol.errors import Refusal
from zonecut.receiver.change.case import Suspect
from zonecut.receiver.change.change_log import is_told
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.change.serials import Serials
from zonecut.receiver.outcome import Outcome
from zonecut.receiver.writer.aftercare import Aftercare
from zonecut.receiver.writer.batches import HOPELESS, Result, missing, named, split
from zonecut.receiver.writer.by_hand import ByHand
from zonecut.receiver.writer.claims import Claims
from zonecut.receiver.writer.endings import BACKEND_REJECTED, Endings
from zonecut.receiver.writer.looks import Looks
from zonecut.receiver.writer.outage import Outage
from zonecut.receiver.writer.said_done import SaidDone
from zonecut.receiver.writer.standing import Word
from zonecut.receiver.writer.superseded import Superseded
from zonecut.receiver.writer.waits import Waits, about
from zonecut.receiver.writer.write_queue import Pending, WriteQueue
from zonecut.store import StoreUnavailable

MAX_CONFLICTS = 5
"""How often a change is judged again on what the server holds, before it ends as failed."""
LAG = (0.1, 0.3, 0.6, 1.0, 2.0)
"""The pauses, in seconds, after which a server that shows nothing yet of what it acknowledged is looked at again. Its
reads may lag behind its writes: only then does it count that it does not hold the change."""
MAX_MISMATCHES = 2
"""How often a change that the server acknowledges and does not hold is written, before it ends as failed."""
GATHERING = (0.25, 0.1)
"""For what part of the time that the last transaction took the next one waits while most of what could share it is only
just being recorded; and for how many seconds at most."""
LOOK_AGAIN = 5.0
"""The first pause, in seconds, before what was judged again is looked at again, after nothing conclusive was seen."""

_log = structlog.get_logger(__name__)


class Writer:
    """The only one that writes a zone's delegations. `run` it in a task; `put` what the ledger holds."""

    def __init__(
        self,
        zone: bytes,
        backend: Backend,
        ledger: Ledger,
        noticed: Callable[[bytes, Reading, int], Awaitable[None]],
        max_batch: int,
        jitter: random.Random,
        serials: Serials,
    ) -> None:
        """`noticed` is told of each delegation that was read."""
        self._zone = zone
        self._backend = backend
        self._ledger = ledger
        self._noticed = noticed
        self.max_batch = max_batch
        self._queue = WriteQueue()
        self._waits = Waits(zone, self._queue, ledger, jitter)
        self.claims, self.by_hand = Claims(), ByHand(zone, backend, ledger.note_chores)
        self.aftercare = Aftercare(
            zone, backend, ledger.record, ledger.given, coming=self.claims.naming, by_hand=self.by_hand
        )
        self._endings, self._superseded = Endings(zone, backend, ledger), Superseded(zone, ledger, self.aftercare)
        self._serials, self._said = serials, SaidDone(zone, backend, serials)
        self._word = Word(zone, self._endings, self._waits, self._read, serials.doubt, self.claims, self._judge_again)
        self._looks, self._outage = Looks(self._looked), Outage(zone, self._waits)

    @property
    def trouble(self) -> str | None:
        return self._outage.trouble

    def put(self, pending: Pending) -> None:
        """Take over a change that the ledger holds."""
        self.claims.add(pending)
        for other in self.claims.affected(pending):
            self._queue.hurry(other.child)
        self.aftercare.named(pending.change.after.ns)
        self._queue.put(pending)

    def expecting(self) -> AbstractContextManager[None]:
        """While a change is being recorded, which is then put here: what is to be written may wait for it."""
        return self._queue.expecting()

    async def drain(self, patience: float) -> bool:
        """Wait up to `patience` seconds until nothing is left to write; False if something is (the ledger has it).

        What was put aside is left, and not waited for.
        """
        try:
            async with asyncio.timeout(patience):
                await self._queue.emptied()
        except TimeoutError:
            return False
        return not self._queue

    def waits_for(self, child: bytes) -> str | None:
        """What keeps a child's change that was put aside; None for any other."""
        if self._looks.are_at(child):
            return "its servers are being looked at again, since somebody else changed the delegation"
        pending = self._queue.aside(child)
        return None if pending is None else pending.trouble

    def hurry(self, child: bytes) -> None:
        """Have a child's change that was put aside taken to the server again at once."""
        self._queue.hurry(child)

    def held_up(self, reason: str, retry_in: float) -> None:
        """Record that nothing is written for the time being, and that the server is tried again in so many seconds."""
        self._waits.note(self._queue.first(self.max_batch), retry_in, reason)

    async def run(self) -> None:
        """Write until cancelled. Whatever else ends it leaves what is accepted in the queue, for the next run."""
        failures = refused = 0
        took = 0.0
        now = asyncio.get_running_loop().time
        part, longest = GATHERING
        while True:
            batch = await self._queue.take(self.max_batch, self._backend.batch, min(part * took, longest))
            result = Result()
            began = now()
            try:
                await self._take(batch, result)
            except BaseException:
                self._queue.put_back(self._unfinished(batch), ())
                raise
            self.by_hand.settled(batch)
            self._superseded.watch(*(each for each in batch if each.has_failed))
            self.aftercare.failed(each.written_change for each in batch if each.has_failed)
            await self.aftercare.after([*(each.written_change for each in batch if each.is_applied), *result.undone])
            took = now() - began
            if result.settled or result.later:
                failures = refused = 0
                self._outage.over()
                self._queue.put_back(result.untried, ())
                self._waits.set_aside(result.alone)
            elif batch[0].suspect:
                self._waits.set_aside(result.left)
            elif not result.untried and refused + len(result.alone) < HOPELESS:
                # a server that answers, and does not take this one, may take others: they do not wait with it
                refused += len(result.alone)
                self._waits.set_aside(result.alone)
            else:
                self._queue.put_back(result.untried, result.alone)
                await self._outage.pause(result.left, failures, len(self._queue))
                failures += 1
            self._queue.done()

    def close(self) -> None:
        """What was set aside does not come again."""
        self._queue.close()
        self._looks.close()
        self.aftercare.close()
        self.by_hand.close()

    def _unfinished(self, batch: Sequence[Pending]) -> list[Pending]:
        """What is left of a batch in whose midst we fell, to be looked for on the server first."""
        left = [each for each in batch if self._is_in_hand(each)]
        for pending in left:
            pending.out_of_sight()
        return left

    # Taking changes to the server

    async def _take(self, batch: Sequence[Pending], result: Result) -> None:
        """Take a batch to the server, split where it must be: each change is settled, or left in `result`."""
        if result.is_hopeless:
            for pending in batch:
                pending.trouble = result.left[0].trouble
            result.untried += batch
            return
        result.answered = False
        try:
            await self._transact(batch, result)
        except Exception as error:
            left = [each for each in batch if self._is_in_work(each, result)]
            await self._failed(left, error, result)

    async def _transact(self, batch: Sequence[Pending], result: Result) -> None:
        for pending in batch:
            pending.attempts += 1
        try:
            if any(pending.uncertain for pending in batch):
                batch = await self._without_applied(batch, result)
                batch = await self._without_lagging(batch, result)
            batch = await self._word.still_counts(batch, result)
            if not batch:
                return
            await self._backend.write([pending.ask() for pending in batch])
        except (BackendConflict, BackendRejected) as error:
            result.answered = True
            if len(batch) == 1:
                await self._offender(batch[0], error, result)
                return
            for part in split(batch, await named(self._backend, batch, error)):
                await self._take(part, result)
            return
        except BackendLater as error:
            if others := self._waits.put_aside(batch, error, result, self.by_hand):
                await self._take(others, result)
            return
        if any(pending.change.before != pending.change.after for pending in batch):
            self._serials.written()
        for pending in batch:
            pending.written = True
        for pending in await self._without_applied(batch, result):
            # NOERROR is no proof: it is not there, or not all of it
            await self._mismatched(pending, result)

    async def _failed(self, batch: Sequence[Pending], error: Exception, result: Result) -> None:
        """It is not known whether a batch was written; a server that answers and does not write may like a part."""
        if not isinstance(error, BackendError | StoreUnavailable):
            # a defect of an adapter or of ours must not end the writer: what is accepted stays in work. It may be about
            # one change alone, and is told ever more seldom
            result.answered = True
            if batch and is_told(batch[0].attempts):
                _log.exception("writer.defect", **about(self._zone, batch[0]), changes=len(batch))
        for pending in batch:
            pending.out_of_sight()
            pending.trouble = getattr(error, "reason", "internal error: see the log")
        if not result.answered:
            result.untried += batch
            result.away = True
        elif len(batch) < 2:
            result.alone += batch
        else:
            for part in split(batch, frozenset()):
                await self._take(part, result)

    def _is_in_work(self, pending: Pending, result: Result) -> bool:
        return pending not in result.left and self._is_in_hand(pending)

    def _is_in_hand(self, pending: Pending) -> bool:
        """Neither settled, nor put aside, nor being looked at."""
        if pending.settled.done() or self._looks.are_at(pending.child):
            return False
        return self._queue.aside(pending.child) is None

    async def _without_applied(self, batch: Sequence[Pending], result: Result) -> list[Pending]:
        """Settle those that the server holds; the others. Raises BackendError."""
        missing = await self._said.missing(batch)
        result.answered = True
        if held := [pending for pending in batch if pending.child not in missing]:
            await self._endings.number(*held)
        for pending in batch:
            if pending.child not in missing:
                if pending.uncertain:
                    await self._endings.leave_nothing(pending)
                self._endings.settle(pending, result)
            pending.uncertain = False
        return [pending for pending in batch if pending.child in missing]

    async def _without_lagging(self, batch: Sequence[Pending], result: Result) -> list[Pending]:
        """Those that are to be written; the others were, and are not shown yet. Raises BackendError."""
        late = [pending for pending in batch if pending.lagging]
        for pending in late:
            pending.lagging = False
            await self._mismatched(pending, result)
        return [pending for pending in batch if pending not in late]

    async def _offender(self, pending: Pending, error: BackendConflict | BackendRejected, result: Result) -> None:
        if isinstance(error, BackendConflict):
            await self._judge_again(pending, await self._read(pending), error.reason, result)
        else:
            told = error.told or "the parent's server does not take it"
            self._endings.fail(pending, Outcome.unavailable(BACKEND_REJECTED, error.reason, told=told), result)

    # When the server holds something else

    async def _judge_again(self, pending: Pending, reading: Reading, reason: str, result: Result) -> None:
        """The server holds something else than was believed: applied if it is `after`, else judged again, or failed."""
        held = reading.delegation
        is_there = held == pending.change.after
        if is_there and (pending.written or not pending.case.is_signed):
            await self._endings.found(pending, result)
            return
        if not (is_half := pending.may_have_left(held)) or not self.by_hand.is_meant:
            _log.warning("change.conflict", **about(self._zone, pending), reason=reason, server_holds=held.to_json())
        try:
            await pending.case.check_suspicion(reading, pending.untried)
            if is_there:
                await self._endings.found(pending, result)  # somebody else has done what the child asks for
                return
            weighed = await pending.case.weigh_anew(reading, is_half=is_half)
            after = weighed.change.after
            if pending.written and after != held:
                # what there is may be the half of it: then it counts from where it began
                pending.case.check_going_insecure(pending.origin, after)
        except Refusal as refusal:
            if isinstance(refusal, Suspect) and not pending.is_new:
                # a wrong copy may be there for a moment: it is written when that is known, or its key suspended
                self._waits.put_off(pending, refusal.reason, result)
            else:
                await self._endings.forget(pending)
                await self._endings.give_up(pending, Outcome.of(refusal), held, result)
            return
        pending.conflicts += 1
        # else it could carry out the former one after this one, and undo what the child asks for next
        await self._endings.forget(pending)
        if after != held and pending.conflicts >= MAX_CONFLICTS:
            tried = f"{reason}; tried {pending.conflicts} times"
            told = "somebody else changes this delegation at the same time"
            self._endings.fail(pending, Outcome.unavailable("conflict", tried, told=told), result)
            return
        change = replace(pending.change, before=held, after=after)
        why = None
        if after != held:
            why = pending.case.held_because(change, pending.origin if pending.written else None)
        if why is not None:
            await self._endings.hold(pending, change, weighed.with_kept(why), why, result)
            return
        if after != held and pending.case.must_look(change, pending.looked_at):
            # others' changes do not wait for what this child's servers have to say
            result.later = True
            pending.lost = frozenset()
            self._looks.begin(pending, change)
            return
        await self._superseded.rebase(pending, change)
        if after == held:
            self._endings.settle(pending, result)
        else:
            await self._take([pending], result)

    async def _looked(self, pending: Pending, change: Change, failed: Outcome | None) -> None:
        """What was judged again has been looked at: it is written, has failed, or is looked at once more."""
        if failed is None:
            pending.looked_at = change
            await self._superseded.rebase(pending, change)
            self._queue.put(pending)
        elif failed.rcode != Rcode.SERVFAIL or pending.conflicts >= MAX_CONFLICTS - 1:
            if pending.answered_later:
                # the server is told first, by whoever writes
                pending.withdrawn = failed.refusal
                self._queue.put(pending)
                return
            self._endings.fail(pending, failed, Result())
        else:
            pending.trouble = failed.reason
            pause = LOOK_AGAIN * 2.0 ** (pending.conflicts - 1)
            self._waits.set_aside_for(pending, pause)

    async def _mismatched(self, pending: Pending, result: Result) -> None:
        """The server acknowledged a change and does not hold it: judged again, and when that helps not, taken back."""
        reading = await self._read(pending)
        held, after = reading.delegation, pending.change.after
        pending.lost |= set(pending.change.before.records).difference(after.records, held.records)
        reason = f"the server took the change and does not hold it{missing(after, held)}"
        if held == pending.change.before == pending.origin and pending.shown_late < len(LAG):
            # others do not wait for what this one's server may show a while later
            result.later = True
            self._waits.set_aside_lagging(pending, LAG[pending.shown_late], reason)
            return
        if held != after and pending.may_have_left(held):
            pending.mismatches += 1
        if pending.mismatches < MAX_MISMATCHES:
            await self._judge_again(pending, reading, reason, result)
            return
        await self._endings.give_up(pending, Outcome.unavailable("backend-mismatch", reason, told=reason), held, result)

    async def _read(self, pending: Pending) -> Reading:
        reading = await self._backend.read(pending.child)
        # half of our own change is no edit of somebody else
        if not pending.may_have_left(reading.delegation):
            with suppress(StoreUnavailable):  # it is noticed at the next reading
                await self._noticed(pending.child, reading, pending.untried)
        return reading
