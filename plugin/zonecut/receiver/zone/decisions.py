"""What operators decide about changes takes effect: within a second where a daemon runs, else when one starts."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from zonecut.plugin import BackendError, Change
from zonecut.protocol import names
from zonecut.protocol.errors import Refusal
from zonecut.receiver.change.case import Case, Suspect
from zonecut.receiver.change.change_log import tell_end, tell_kept
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.change.neighbours import Weighed
from zonecut.receiver.outcome import ACCEPTED, EndsEarly, Outcome
from zonecut.receiver.provenance import actor_of
from zonecut.receiver.writer.write_queue import Pending
from zonecut.receiver.writer.writer import Writer
from zonecut.receiver.zone.child_locks import ChildLocks, TooManyWaiting, TurnTimeout
from zonecut.receiver.zone.in_work import Held, InWork, rejection
from zonecut.store import Attempt, ChangeState, Decision, InvalidTransition, StoredChange, StoreUnavailable

PERIOD = 0.4
"""Seconds between two looks at what was decided."""
AGAIN = (1.0, 60.0)
"""The first and the longest pause, in seconds, before an approved change that could not be judged is tried again."""
PATIENCE = 2.0
"""Seconds for which an approved change waits for the child's turn."""

_log = structlog.get_logger(__name__)


class Decisions:
    """Carries them out in one parent zone."""

    def __init__(
        self,
        zone: bytes,
        ledger: Ledger,
        in_work: InWork,
        writer: Writer,
        turns: ChildLocks,
        judge: Callable[[Case, bool], Awaitable[Weighed]],
    ) -> None:
        """`judge` tells what a case, signed or not, makes of what the server holds; it raises as ParentZone.change."""
        self._zone = zone
        self._ledger = ledger
        self._in_work = in_work
        self._writer = writer
        self._turns = turns
        self._judge = judge
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look for decisions until cancelled."""
        try:
            while True:
                with suppress(StoreUnavailable):  # it is looked at again at once
                    await self._look()
                await asyncio.sleep(PERIOD)
        finally:
            for task in self._tasks.values():
                task.cancel()

    async def _look(self) -> None:
        held = {each.id: each for each in self._in_work.all_held()}
        pending = self._in_work.pending
        if not held and not pending:
            return
        for stored in await self._ledger.decided(min((*held, *pending))):
            if stored.id in pending:
                self._hurry(pending[stored.id], stored)
            elif stored.id in held:
                self._decided(held[stored.id], stored)

    def _hurry(self, pending: Pending, stored: StoredChange) -> None:
        """What the writer has already ends by its hand, as soon as it is known that the server does not have it."""
        if stored.decision is Decision.REJECTED and pending.withdrawn is None:
            pending.withdrawn = rejection(stored)
            self._writer.hurry(pending.child)
        elif stored.decision is Decision.DONE and pending.done_as is None:
            # it has been seen in the zone, which is looked at anew
            pending.done_as = stored.after
            self._writer.hurry(pending.child)

    def _decided(self, held: Held, stored: StoredChange) -> None:
        if stored.decision is Decision.REJECTED:
            if (task := self._tasks.get(stored.id)) is not None:
                # approved before, and not in the writer's hands yet; once it has ended, this is looked at again
                task.cancel()
            else:
                self._rejected(held, stored)
        elif stored.state is ChangeState.ACCEPTED and stored.id not in self._tasks:
            _log.info("change.approved", **self._about(stored), by=stored.decided_by)
            task = self._tasks[stored.id] = asyncio.create_task(self._take_up(held))
            task.add_done_callback(lambda _: self._tasks.pop(stored.id, None))

    def _rejected(self, held: Held, stored: StoredChange) -> None:
        """End what waited for an operator, or had been approved and was not taken up."""
        refusal = rejection(stored)
        _log.warning("change.rejected", **self._about(stored), by=stored.decided_by)
        if stored.state is ChangeState.ACCEPTED:
            reason = f"{refusal.rule}: {refusal.reason}"
            self._ledger.settle(stored.id, ChangeState.FAILED, reason, stored.attempts)
            self._in_work.counts.failed += 1
        self._in_work.drop(held, Outcome.of(refusal))

    async def _take_up(self, held: Held) -> None:
        pause, longest = AGAIN
        while True:
            try:
                return await self._reconsider(held)
            except InvalidTransition:
                return None  # it was rejected meanwhile, which the next look sees
            except (TurnTimeout, TooManyWaiting):
                reason = "an earlier change of this child waits"
            except EndsEarly as early:
                reason = early.outcome.reason
            except (BackendError, StoreUnavailable) as error:
                reason = error.reason
            except Exception:
                # a defect of ours: nothing is written that was not judged
                _log.exception("change.defect", zone=names.to_text(self._zone), change=held.id)
                reason = "internal error: see the log"
            self._ledger.note([Attempt(held.id, 0, reason, pause)])
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def _reconsider(self, held: Held) -> None:
        """Judge an approved change on what there is now, as if it had just come, and have it written."""
        child = held.change.child
        await self._turns.take(child, PATIENCE)
        turn_is_ours = True
        try:
            stored = await self._ledger.get(held.id)
            if stored is None or stored.state is not ChangeState.ACCEPTED or stored.decision is not Decision.APPROVED:
                return  # its child asked for something else meanwhile, or the operator has thought better of it
            word = await self._in_work.stands_behind(stored)
            posted_by = None if word.inception is not None else actor_of(word.source)
            case = self._in_work.case_of(word)
            try:
                weighed = await self._judge(case, posted_by is None)
                change = weighed.change
                if (why := case.held_because(change)) is not None:
                    await self._hold_again(held, change, weighed.with_kept(why))
                    return
                await case.look(change)
            except Suspect as suspect:
                raise EndsEarly(Outcome.of(suspect)) from None
            except Refusal as refusal:
                _log.error("change.failed", **self._about(stored), rule=refusal.rule, reason=refusal.reason)
                self._ledger.settle(stored.id, ChangeState.FAILED, f"{refusal.rule}: {refusal.reason}", stored.attempts)
                self._in_work.drop(held, Outcome.of(refusal))
                self._in_work.failed(stored.id, held.identities, Outcome.of(refusal))
                self._in_work.counts.failed += 1
                return
            await self._ledger.take_up(stored.id, change)
            if weighed.kept:
                actor = posted_by or names.to_text(child)
                tell_kept(self._ledger, self._zone, child, stored.id, weighed.kept, actor, word.source, None)
            self._in_work.drop(held, ACCEPTED)
            pending = Pending(stored.id, change, case, stored.attempts, looked_at=change, uncertain=True)
            settled = self._in_work.hand_over(pending, held.identities, posted_by)
            turn_is_ours = False
            tell_end(self._zone, child, stored.id, settled)
            case.watch(change, stored.id)
        finally:
            if turn_is_ours:
                self._turns.give_back(child)

    async def _hold_again(self, held: Held, change: Change, why: str) -> None:
        """What was approved is another change by now: an operator decides about that, too.

        Raises InvalidTransition where it was rejected meanwhile, StoreUnavailable.
        """
        await self._ledger.hold(held.id, change, why)
        self._in_work.hold(Held(held.id, change, held.identities), Outcome.waits_for_operator(why))

    def _about(self, stored: StoredChange) -> dict[str, object]:
        return {"zone": names.to_text(self._zone), "child": names.to_text(stored.child), "change": stored.id}
