"""How a change ends: as applied or failed, recorded in the ledger, told in the log and to whoever waits for it."""

from dataclasses import replace

import structlog

from zonecut.plugin import Backend, BackendError, BackendUnavailable, Change, Withdrawal
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.change.change_log import tell_kept
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.outcome import APPLIED, Outcome
from zonecut.receiver.writer.batches import Result
from zonecut.receiver.writer.undo import take_back
from zonecut.receiver.writer.waits import about
from zonecut.receiver.writer.write_queue import Pending
from zonecut.store import AuditEntry, ChangeState

BACKEND_REJECTED = "backend-rejected"
"""The rule that a change breaks to which the server itself said no."""
_DROPPED = "the server had yet to decide, and was told to forget it"
_MAY_FOLLOW = "the server was asked for it before, has yet to decide, and may carry it out"
_MAY_BE_MADE = "whoever has read what was to be done by hand may do it still"
_LEAVE_IT = "tell whoever changes the zone by hand to leave it: done all the same, it is an edit by somebody else"
_ADVICE = "have the server's own side drop what it was asked for, or look whether it carried it out"

_log = structlog.get_logger(__name__)


class Endings:
    """Of one parent zone's changes."""

    def __init__(self, zone: bytes, backend: Backend, ledger: Ledger) -> None:
        self._zone = zone
        self._backend = backend
        self._ledger = ledger

    @property
    def _by_hand(self) -> bool:
        """Whether it is people who write the zone: nobody is to decide, and nobody can be told to forget."""
        return self._backend.by_hand(()) is not None

    def settle(self, pending: Pending, result: Result) -> None:
        """The server holds it."""
        self._ledger.settle(pending.id, ChangeState.APPLIED, None, pending.attempts, pending.history_number)
        self.end(pending, APPLIED, result)

    def fail(self, pending: Pending, failed: Outcome, result: Result) -> None:
        """Nothing of it is on the server, or a person was told what may be."""
        if pending.dropped and failed.rule != BACKEND_REJECTED:
            failed = replace(failed, reason=f"{failed.reason}; {_DROPPED}")
        elif pending.answered_later and failed.rule != BACKEND_REJECTED:
            failed = replace(failed, reason=f"{failed.reason}; {_MAY_BE_MADE if self._by_hand else _MAY_FOLLOW}")
            self._tell_may_follow(pending)
        _log.error("change.failed", **about(self._zone, pending), rule=failed.rule, reason=failed.reason)
        self._ledger.settle(pending.id, ChangeState.FAILED, f"{failed.rule}: {failed.reason}", pending.attempts)
        self.end(pending, failed, result)

    async def hold(self, pending: Pending, change: Change, reason: str, told: str, result: Result) -> None:
        """Have it wait for an operator, as this change and with this reason. Raises StoreError."""
        await self._ledger.hold(pending.id, change, reason)
        pending.change = change
        self.end(pending, Outcome.waits_for_operator(told), result)

    async def give_up(self, pending: Pending, failed: Outcome, held: Delegation, result: Result) -> None:
        """Have one fail of which the server, which holds this, may hold a part. Raises BackendError."""
        left = await take_back(self._backend, self._ledger, self._zone, pending, held)
        # what others need of what goes with it is put back, as after any other change
        result.undone.append(Change(held, pending.origin))
        # where the child is told all of the reason, it is told this as well
        told = failed.told + left if failed.told == failed.reason else failed.told
        self.fail(pending, replace(failed, reason=failed.reason + left, told=told), result)

    async def withdraw(self, pending: Pending) -> bool:
        """Have the server forget what it was asked for of a change; True if it had carried that out.

        What it answers is told. One that cannot be told such a thing may carry the change out, which `fail` tells.
        Raises BackendError.
        """
        answers = set()
        for change in tuple(pending.asked):
            answer = await self._backend.withdraw(change)
            if answer is None:
                return False
            self._tell_withdrawn(pending, answer)
            answers.add(answer)
            if answer is not Withdrawal.UNKNOWN:
                pending.asked.remove(change)
        if Withdrawal.UNKNOWN in answers:
            pending.answered_later = True
        elif Withdrawal.DROPPED in answers:
            pending.answered_later, pending.dropped = False, True
        return Withdrawal.CARRIED_OUT in answers

    async def forget(self, pending: Pending) -> None:
        """Have the server not carry out later what it has yet to decide of a change. Raises BackendError."""
        if (pending.answered_later or pending.resumed) and await self.withdraw(pending):
            who = "somebody has made it by hand" if self._by_hand else "the server has carried it out"
            raise BackendUnavailable(f"{who} meanwhile, and it is looked at again")

    async def found(self, pending: Pending, result: Result) -> None:
        """The server holds it, whoever it was that put it there. Raises BackendError."""
        await self.leave_nothing(pending)
        await self.number(pending)
        self.settle(pending, result)

    async def number(self, *held: Pending) -> None:
        """Note by which number of its history the server holds these; others may make the zone of it."""
        try:
            number = await self._backend.history_number()
        except BackendError:
            return  # whatever asks next tells
        except Exception:
            # it only informs: no defect of an adapter there keeps a change from ending
            _log.exception("change.number.defect", zone=names.to_text(self._zone))
            return
        for pending in held:
            pending.history_number = number

    async def leave_nothing(self, pending: Pending) -> None:
        """Have the server forget what it may have yet to decide of a change that it holds. Raises BackendError.

        Whoever it was that put it there: carried out once more, it would undo what its child asks for next.
        """
        for change in tuple(pending.asked):
            answer = await self._backend.withdraw(change)
            if answer is None:
                return
            if answer is Withdrawal.DROPPED:
                self._tell_withdrawn(pending, answer)
            pending.asked.remove(change)

    def tell_kept(self, pending: Pending, why: str) -> None:
        """Addresses stay which it would have taken; whoever asked for it has been answered."""
        tell_kept(
            self._ledger, self._zone, pending.child, pending.id, f"{why}: it keeps its addresses", "zonecut", "", None
        )

    def _tell_withdrawn(self, pending: Pending, answer: Withdrawal) -> None:
        if self._by_hand:
            return
        _log.warning("change.withdrawn", **about(self._zone, pending), answer=answer.value)
        detail = {"change": pending.id, "answer": answer.value}
        self._ledger.tell(
            AuditEntry("change.withdrawn", "zonecut", zone=self._zone, child=pending.child, detail=detail)
        )

    def _tell_may_follow(self, pending: Pending) -> None:
        advice = _LEAVE_IT if self._by_hand else _ADVICE
        _log.error("change.may-follow", **about(self._zone, pending), advice=advice)
        detail = {"change": pending.id, "advice": advice}
        self._ledger.tell(
            AuditEntry("change.may-follow", "zonecut", zone=self._zone, child=pending.child, detail=detail)
        )

    def end(self, pending: Pending, how: Outcome, result: Result) -> None:
        """It is out of the writer's hands, however that came."""
        result.settled += 1
        if not pending.settled.done():
            pending.settled.set_result(how)
