"""One writer per parent zone: it takes all that waits, commits it in one transaction and reads it back (group commit).

A batch that the server will not take as a whole is split until the offender stands alone, and the rest goes through.
What the server holds instead of `before` is never overwritten: the change is judged again on what is there now.
What the server has yet to decide is put aside, and the other children's changes go on.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from zonecut.plugin import (
    Backend,
    BackendConflict,
    BackendError,
    BackendLater,
    BackendRejected,
    BackendUnavailable,
    Change,
    Reading,
)
from zonecut.protocol import names
from zonecut.protocol.codepoints import EdeCode, Rcode
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.errors import Refusal
from zonecut.receiver.ledger import Ledger
from zonecut.receiver.outcome import APPLIED, Outcome
from zonecut.store import ChangeState, StoreUnavailable

MAX_ATTEMPTS = 5
"""How often a change is judged again on what the server holds, before it ends as failed."""
BACKOFF = (0.1, 30.0)
"""The first and the longest pause, in seconds, before a server that is away is tried again."""

_log = structlog.get_logger(__name__)

Judge = Callable[[Reading], Delegation]
"""What the child's request makes of a reading; raises Refusal where policy does not allow it."""


@dataclass(slots=True, eq=False)
class Pending:
    """An accepted change on its way to the server. `settled` tells how it ended."""

    id: int
    change: Change
    judge: Judge
    settled: asyncio.Future[Outcome]
    attempts: int = 0
    resumed: bool = False
    """It comes from before a crash, or was put aside: it may have been written."""
    waits_for: str | None = None
    """Why it was put aside last."""


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
        self._queue: deque[Pending] = deque()
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._aside: dict[bytes, tuple[Pending, asyncio.TimerHandle]] = {}
        self.trouble: str | None = None
        """Why the server does not take anything now; None while it does."""

    def put(self, pending: Pending) -> None:
        """Take over a change that the ledger holds."""
        self._queue.append(pending)
        self._idle.clear()
        self._work.set()

    async def drain(self, patience: float) -> bool:
        """Wait up to `patience` seconds until nothing is left to write; False if something is (the ledger has it).

        What the server has yet to decide is left, and not waited for.
        """
        try:
            async with asyncio.timeout(patience):
                await self._idle.wait()
        except TimeoutError:
            return False
        return not self._aside

    def waits_for(self, child: bytes) -> str | None:
        """What keeps a child's change that the server has yet to decide; None for any other."""
        found = self._aside.get(child)
        return None if found is None else found[0].waits_for

    async def run(self) -> None:
        """Write until cancelled."""
        try:
            await self._run()
        finally:
            for _, timer in self._aside.values():
                timer.cancel()

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            waiting = [self._queue[place] for place in range(min(len(self._queue), self.max_batch))]
            size = self._backend.batch([pending.change for pending in waiting])
            batch = [self._queue.popleft() for _ in range(min(size, len(waiting)))]
            try:
                await self._write(batch)
            except Exception:
                # a defect of an adapter or of ours must not end the writer: what is accepted stays in work
                _log.exception("writer.defect", zone=names.to_text(self._zone))
                self._queue.extendleft(pending for pending in reversed(batch) if self._is_in_work(pending))
                await asyncio.sleep(BACKOFF[1] * self._jitter.uniform(0.5, 1.0))
            if not self._queue:
                self._work.clear()
                self._idle.set()

    async def _write(self, batch: Sequence[Pending]) -> None:
        """Write a batch until each of its changes is settled."""
        pause = BACKOFF[0]
        uncertain = any(pending.resumed for pending in batch)
        while batch:
            try:
                if uncertain:
                    # an earlier transaction may have taken place without our hearing of it
                    batch = await self._without_applied(batch)
                    uncertain = False
                    if not batch:
                        return None
                await self._backend.write([pending.change for pending in batch])
                batch = await self._without_applied(batch)
                self._recovered()
                if batch:
                    # NOERROR is no proof: some of it is not there
                    await self._resolve(batch[0], "the server took the change and does not hold it")
                    batch = batch[1:]
            except BackendLater as error:
                self._recovered()
                batch = self._put_aside(batch, error)
            except BackendUnavailable as error:
                uncertain = True
                self._in_trouble(error, batch)
                await asyncio.sleep(pause * self._jitter.uniform(0.5, 1.0))
                pause = min(pause * 2, BACKOFF[1])
            except (BackendConflict, BackendRejected) as error:
                self._recovered()
                if len(batch) == 1:
                    return await self._offender(batch[0], error)
                for part in _split(batch, await self._named(batch, error)):
                    await self._write(part)
                return None
            except BackendError as error:
                for pending in batch:
                    self._fail(pending, Outcome.unavailable("backend", error.reason))
                return None
        return None

    def _is_in_work(self, pending: Pending) -> bool:
        return not pending.settled.done() and pending.change.child not in self._aside

    def _put_aside(self, batch: Sequence[Pending], error: BackendLater) -> list[Pending]:
        """Have those wait that the server has yet to decide; returns the others."""
        named = set(error.children).intersection(pending.change.child for pending in batch)
        others = []
        for pending in batch:
            child = pending.change.child
            if named and child not in named:
                others.append(pending)
                continue
            if pending.waits_for != error.reason:
                _log.info(
                    "change.later",
                    zone=names.to_text(self._zone),
                    child=names.to_text(child),
                    change=pending.id,
                    reason=error.reason,
                    again_in=error.again_in,
                )
                self._ledger.note(pending.id, error.reason, pending.attempts)
            pending.waits_for, pending.resumed = error.reason, True
            timer = asyncio.get_running_loop().call_later(error.again_in, self._take_up, child)
            self._aside[child] = pending, timer
        return others

    def _take_up(self, child: bytes) -> None:
        pending, _ = self._aside.pop(child)
        self.put(pending)

    async def _named(self, batch: Sequence[Pending], error: BackendConflict | BackendRejected) -> frozenset[bytes]:
        """The children that an error is about; empty where that is not to be known."""
        if error.children or isinstance(error, BackendRejected):
            return frozenset(error.children)
        try:
            unchanged = [Change(pending.change.before, pending.change.before) for pending in batch]
            return frozenset(await self._backend.verify(unchanged))
        except BackendUnavailable:
            return frozenset()

    async def _without_applied(self, batch: Sequence[Pending]) -> list[Pending]:
        missing = set(await self._backend.verify([pending.change for pending in batch]))
        rest = []
        for pending in batch:
            if pending.change.child in missing:
                rest.append(pending)
            else:
                self._settle(pending)
        return rest

    async def _offender(self, pending: Pending, error: BackendError) -> None:
        if isinstance(error, BackendConflict):
            return await self._resolve(pending, error.reason)
        self._fail(pending, Outcome(Rcode.SERVFAIL, "backend-rejected", error.reason, EdeCode.OTHER))
        return None

    async def _resolve(self, pending: Pending, reason: str) -> None:
        """The server holds something else than was believed: applied if it is `after`, else judged again, or failed."""
        pending.attempts += 1
        reading = await self._read(pending.change.child)
        if reading.delegation == pending.change.after:
            return self._settle(pending)
        _log.warning(
            "change.conflict",
            zone=names.to_text(self._zone),
            child=names.to_text(pending.change.child),
            change=pending.id,
            reason=reason,
            server_holds=reading.delegation.to_json(),
        )
        if pending.attempts >= MAX_ATTEMPTS:
            return self._fail(pending, Outcome.unavailable("conflict", f"{reason}; tried {pending.attempts} times"))
        try:
            after = pending.judge(reading)
        except Refusal as refusal:
            outcome = Outcome(refusal.rcode, refusal.rule, refusal.reason, refusal.ede)
            return self._fail(pending, outcome)
        pending.change = Change(reading.delegation, after, pending.change.identity)
        try:
            await self._ledger.rebase(pending.id, pending.change)
        except StoreUnavailable as error:
            _log.warning("change.rebase.delayed", change=pending.id, reason=error.reason)
        if after == reading.delegation:
            return self._settle(pending)
        return await self._write([pending])

    async def _read(self, child: bytes) -> Reading:
        pause = BACKOFF[0]
        while True:
            try:
                reading = await self._backend.read(child)
                with suppress(StoreUnavailable):  # it is noticed at the next reading
                    await self._noticed(child, reading)
                return reading
            except BackendError as error:
                self._in_trouble(error, ())
                await asyncio.sleep(pause * self._jitter.uniform(0.5, 1.0))
                pause = min(pause * 2, BACKOFF[1])

    def _settle(self, pending: Pending) -> None:
        self._ledger.settle(pending.id, ChangeState.APPLIED, None, pending.attempts)
        if not pending.settled.done():
            pending.settled.set_result(APPLIED)

    def _fail(self, pending: Pending, outcome: Outcome) -> None:
        _log.error(
            "change.failed",
            zone=names.to_text(self._zone),
            child=names.to_text(pending.change.child),
            change=pending.id,
            rule=outcome.rule,
            reason=outcome.reason,
        )
        self._ledger.settle(pending.id, ChangeState.FAILED, f"{outcome.rule}: {outcome.reason}", pending.attempts)
        if not pending.settled.done():
            pending.settled.set_result(outcome)

    def _in_trouble(self, error: BackendError, batch: Sequence[Pending]) -> None:
        if self.trouble != error.reason:
            _log.error(
                "backend.unavailable",
                zone=names.to_text(self._zone),
                reason=error.reason,
                waiting=len(self._queue) + len(batch),
            )
        self.trouble = error.reason

    def _recovered(self) -> None:
        if self.trouble is not None:
            _log.info("backend.recovered", zone=names.to_text(self._zone))
        self.trouble = None


def _split(batch: Sequence[Pending], named: frozenset[bytes]) -> list[list[Pending]]:
    """Parts of a batch that failed: the offenders alone where they are known, else halves."""
    offenders = [pending for pending in batch if pending.change.child in named]
    rest = [pending for pending in batch if pending.change.child not in named]
    if offenders:
        return [*([rest] if rest else []), *([pending] for pending in offenders)]
    middle = len(batch) // 2
    return [list(batch[:middle]), list(batch[middle:])]
