"""One writer per parent zone: it takes all that waits, commits it in one transaction and reads it back (group commit).

A batch that the server will not take as a whole is split until the offender stands alone, and the rest goes through.
What the server holds instead of `before` is never overwritten: the change is judged again on what is there now.
What the server has yet to decide is put aside, and the other children's changes go on.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace

import structlog

from zonecut.plugin import Backend, BackendConflict, BackendError, BackendLater, BackendRejected, Change, Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import EdeCode, Rcode
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.errors import Refusal
from zonecut.receiver.ledger import Ledger
from zonecut.receiver.outcome import APPLIED, Outcome
from zonecut.receiver.writequeue import Pending, WriteQueue
from zonecut.store import Attempt, ChangeState, StoreUnavailable

MAX_CONFLICTS = 5
"""How often a change is judged again on what the server holds, before it ends as failed."""
MAX_MISMATCHES = 2
"""How often a change that the server acknowledges and does not hold is written, before it ends as failed."""
BACKOFF = (0.1, 30.0)
"""The first and the longest pause, in seconds, before what the server would not take is tried again."""
GATHERING = (0.25, 0.1)
"""For what part of the time that the last transaction took the next one waits while most of what could share it is only
just being recorded; and for how many seconds at most."""
HOPELESS = 3
"""So many changes that fail alone, and none that succeeds, mean that the server takes nothing just now."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Result:
    """What comes of one batch."""

    settled: int = 0
    untried: list[Pending] = field(default_factory=list)
    """The server would not take them, or was not asked."""
    alone: list[Pending] = field(default_factory=list)
    """The server answered, and would not take them one by one either."""
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


class Writer:
    """The only one that writes a zone's delegations. `run` it in a task; `put` what the ledger holds."""

    def __init__(
        self,
        zone: bytes,
        backend: Backend,
        ledger: Ledger,
        noticed: Callable[[bytes, Reading], Awaitable[None]],
        max_batch: int,
        jitter: random.Random,
    ) -> None:
        """`noticed` is told of each delegation that was read."""
        self._zone = zone
        self._backend = backend
        self._ledger = ledger
        self._noticed = noticed
        self.max_batch = max_batch
        self._jitter = jitter
        self._queue = WriteQueue()
        self.trouble: str | None = None
        """Why the server does not take anything now; None while it does."""

    def put(self, pending: Pending) -> None:
        """Take over a change that the ledger holds."""
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
        pending = self._queue.aside(child)
        return None if pending is None else pending.trouble

    def held_up(self, reason: str, retry_in: float) -> None:
        """Record that nothing is written for the time being, and that the server is tried again in so many seconds."""
        self._note(self._queue.first(self.max_batch), retry_in, reason)

    async def run(self) -> None:
        """Write until cancelled. Whatever else ends it leaves what is accepted in the queue, for the next run."""
        failures = 0
        took = 0.0
        now = asyncio.get_running_loop().time
        part, longest = GATHERING
        while True:
            batch = await self._queue.take(self.max_batch, self._backend.batch, min(part * took, longest))
            result = _Result()
            began = now()
            try:
                await self._take(batch, result)
            except BaseException:
                self._queue.put_back(self._unfinished(batch), ())
                raise
            took = now() - began
            if result.settled or result.later:
                failures = 0
                self._recovered()
                self._queue.put_back(result.untried, ())
                self._set_aside(result.alone)
            elif batch[0].suspect:
                self._set_aside(result.left)
            else:
                self._queue.put_back(result.untried, result.alone)
                await self._pause(result.left, failures)
                failures += 1
            self._queue.done()

    def close(self) -> None:
        """What was set aside does not come again."""
        self._queue.close()

    def _unfinished(self, batch: Sequence[Pending]) -> list[Pending]:
        """What is left of a batch in whose midst we fell, to be looked for on the server first."""
        left = [each for each in batch if not each.settled.done() and self._queue.aside(each.child) is None]
        for pending in left:
            pending.uncertain = pending.written = True
        return left

    # When the server does not take it

    async def _pause(self, left: Sequence[Pending], failures: int) -> None:
        reason = left[0].trouble
        if self.trouble != reason:
            _log.error("backend.unavailable", zone=names.to_text(self._zone), reason=reason, waiting=len(self._queue))
        self.trouble = reason
        pause = self._backoff(failures)
        self._note(left, pause)
        await asyncio.sleep(pause)

    def _set_aside(self, suspects: Sequence[Pending]) -> None:
        """Have these come again later, each after a time of its own."""
        for pending in suspects:
            if not pending.suspect:
                _log.error("change.waits", **self._about(pending), reason=pending.trouble)
            pause = self._backoff(pending.pauses)
            pending.suspect = True
            pending.pauses += 1
            self._queue.set_aside(pending, pause)
            self._note([pending], pause)

    def _put_aside(self, batch: Sequence[Pending], error: BackendLater, result: _Result) -> list[Pending]:
        """Have those wait that the server has yet to decide; the others."""
        result.later = True
        named = set(error.children).intersection(pending.child for pending in batch)
        waiting = [pending for pending in batch if not named or pending.child in named]
        for pending in waiting:
            if pending.trouble != error.reason:
                _log.info("change.later", **self._about(pending), reason=error.reason, again_in=error.again_in)
            # somebody may carry it out meanwhile, other than by our writing
            pending.trouble, pending.uncertain = error.reason, True
            self._queue.set_aside(pending, error.again_in)
        self._note(waiting, error.again_in)
        return [pending for pending in batch if pending not in waiting]

    def _note(self, waiting: Sequence[Pending], retry_in: float, reason: str | None = None) -> None:
        self._ledger.note([Attempt(each.id, each.attempts, reason or each.trouble, retry_in) for each in waiting])

    def _backoff(self, failures: int) -> float:
        first, longest = BACKOFF
        return min(first * 2.0 ** min(failures, 32), longest) * self._jitter.uniform(0.5, 1.0)

    def _recovered(self) -> None:
        if self.trouble is not None:
            _log.info("backend.recovered", zone=names.to_text(self._zone))
        self.trouble = None

    # Taking changes to the server

    async def _take(self, batch: Sequence[Pending], result: _Result) -> None:
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

    async def _transact(self, batch: Sequence[Pending], result: _Result) -> None:
        for pending in batch:
            pending.attempts += 1
        try:
            if any(pending.uncertain for pending in batch):
                batch = await self._without_applied(batch, result)
                if not batch:
                    return
            await self._backend.write([pending.change for pending in batch])
        except (BackendConflict, BackendRejected) as error:
            result.answered = True
            if len(batch) == 1:
                await self._offender(batch[0], error, result)
                return
            for part in _split(batch, await self._named(batch, error)):
                await self._take(part, result)
            return
        except BackendLater as error:
            if others := self._put_aside(batch, error, result):
                await self._take(others, result)
            return
        for pending in batch:
            pending.written = True
        for pending in await self._without_applied(batch, result):
            # NOERROR is no proof: it is not there, or not all of it
            await self._mismatched(pending, result)

    async def _failed(self, batch: Sequence[Pending], error: Exception, result: _Result) -> None:
        """It is not known whether a batch was written; a server that answers and does not write may like a part."""
        if not isinstance(error, BackendError | StoreUnavailable):
            # a defect of an adapter or of ours must not end the writer: what is accepted stays in work
            _log.exception("writer.defect", zone=names.to_text(self._zone))
        for pending in batch:
            pending.uncertain = pending.written = True
            pending.trouble = getattr(error, "reason", "internal error: see the log")
        if not result.answered:
            result.untried += batch
            result.away = True
        elif len(batch) == 1:
            result.alone += batch
        else:
            for part in _split(batch, frozenset()):
                await self._take(part, result)

    def _is_in_work(self, pending: Pending, result: _Result) -> bool:
        return not pending.settled.done() and pending not in result.left and self._queue.aside(pending.child) is None

    async def _named(self, batch: Sequence[Pending], error: BackendConflict | BackendRejected) -> frozenset[bytes]:
        """The children that an error is about; empty where that is not to be known."""
        if error.children or isinstance(error, BackendRejected):
            return frozenset(error.children)
        with suppress(BackendError):
            unchanged = [Change(pending.change.before, pending.change.before) for pending in batch]
            return frozenset(await self._backend.verify(unchanged))
        return frozenset()

    async def _without_applied(self, batch: Sequence[Pending], result: _Result) -> list[Pending]:
        """Settle those that the server holds; the others. Raises BackendError."""
        missing = set(await self._backend.verify([pending.change for pending in batch]))
        result.answered = True
        rest = []
        for pending in batch:
            pending.uncertain = False
            if pending.child in missing:
                rest.append(pending)
            else:
                self._settle(pending, result)
        return rest

    async def _offender(self, pending: Pending, error: BackendError, result: _Result) -> None:
        if isinstance(error, BackendConflict):
            await self._judge_again(pending, await self._read(pending), error.reason, result)
        else:
            self._fail(pending, Outcome(Rcode.SERVFAIL, "backend-rejected", error.reason, EdeCode.OTHER), result)

    # When the server holds something else

    async def _judge_again(self, pending: Pending, reading: Reading, reason: str, result: _Result) -> None:
        """The server holds something else than was believed: applied if it is `after`, else judged again, or failed."""
        held = reading.delegation
        if held == pending.change.after:
            self._settle(pending, result)
            return
        _log.warning("change.conflict", **self._about(pending), reason=reason, server_holds=held.to_json())
        pending.conflicts += 1
        try:
            after = await pending.judge(reading)
        except Refusal as refusal:
            self._fail(pending, Outcome(refusal.rcode, refusal.rule, refusal.reason, refusal.ede), result)
            return
        if after != held and pending.conflicts >= MAX_CONFLICTS:
            tried = f"{reason}; tried {pending.conflicts} times"
            self._fail(pending, Outcome.unavailable("conflict", tried), result)
            return
        if not pending.may_have_left(held):
            pending.origin = held
        pending.change = replace(pending.change, before=held, after=after)
        try:
            await self._ledger.rebase(pending.id, Change(pending.origin, after))
        except StoreUnavailable as error:
            _log.warning("change.rebase.delayed", change=pending.id, reason=error.reason)
        if after == held:
            self._settle(pending, result)
        else:
            await self._take([pending], result)

    async def _mismatched(self, pending: Pending, result: _Result) -> None:
        """The server acknowledged a change and does not hold it: judged again, and when that helps not, taken back."""
        reading = await self._read(pending)
        held, after = reading.delegation, pending.change.after
        reason = f"the server took the change and does not hold it{_missing(after, held)}"
        if held != after and pending.may_have_left(held):
            pending.mismatches += 1
        if pending.mismatches < MAX_MISMATCHES:
            await self._judge_again(pending, reading, reason, result)
            return
        if held != pending.origin:
            reason += await self._take_back(pending, held)
        self._fail(pending, Outcome.unavailable("backend-mismatch", reason), result)

    async def _take_back(self, pending: Pending, held: Delegation) -> str:
        """Undo the half of a change that the server took; what became of that, for the reason. Raises BackendError."""
        undo = Change(held, pending.origin)
        try:
            await self._backend.write([undo])
            undone = not await self._backend.verify([undo])
        except (BackendConflict, BackendRejected) as error:
            undone = False
            _log.warning("change.undo.refused", **self._about(pending), reason=error.reason)
        if undone:
            return "; what it took of it was taken back"
        _log.error("change.half-written", **self._about(pending), server_holds=held.to_json())
        return "; what it took of it could not be taken back, and the delegation needs a look"

    async def _read(self, pending: Pending) -> Reading:
        reading = await self._backend.read(pending.child)
        # half of our own change is no edit of somebody else
        if not pending.may_have_left(reading.delegation):
            with suppress(StoreUnavailable):  # it is noticed at the next reading
                await self._noticed(pending.child, reading)
        return reading

    # How a change ends

    def _settle(self, pending: Pending, result: _Result) -> None:
        self._ledger.settle(pending.id, ChangeState.APPLIED, None, pending.attempts)
        self._end(pending, APPLIED, result)

    def _fail(self, pending: Pending, failed: Outcome, result: _Result) -> None:
        _log.error("change.failed", **self._about(pending), rule=failed.rule, reason=failed.reason)
        self._ledger.settle(pending.id, ChangeState.FAILED, f"{failed.rule}: {failed.reason}", pending.attempts)
        self._end(pending, failed, result)

    def _end(self, pending: Pending, how: Outcome, result: _Result) -> None:
        result.settled += 1
        if not pending.settled.done():
            pending.settled.set_result(how)

    def _about(self, pending: Pending) -> dict[str, object]:
        return {
            "zone": names.to_text(self._zone),
            "child": names.to_text(pending.child),
            "change": pending.id,
        }


def _split(batch: Sequence[Pending], named: frozenset[bytes]) -> list[list[Pending]]:
    """Parts of a batch that failed: the offenders alone where they are known, else halves."""
    offenders = [pending for pending in batch if pending.child in named]
    rest = [pending for pending in batch if pending.child not in named]
    if offenders and rest:
        return [rest, *([pending] for pending in offenders)]
    middle = len(batch) // 2
    return [list(batch[:middle]), list(batch[middle:])]


def _missing(wanted: Delegation, held: Delegation) -> str:
    """The first record that should be there, in words; nothing where only too much is there."""
    there = set(held.records)
    return next((f": {record.to_text()} is missing" for record in wanted.records if record not in there), "")
