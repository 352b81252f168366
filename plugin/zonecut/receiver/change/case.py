"""What stands behind a change until it is settled: the request, the word that counts for it, the rules, the checks.

What is judged again, since the server holds something else than was believed, is checked again before it is written.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from zonecut.plugin import Backend, Change, Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import EdeCode
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.errors import Refusal
from zonecut.protocol.update import DelegationChange
from zonecut.receiver.change import policy
from zonecut.receiver.change.approval import beyond
from zonecut.receiver.change.neighbours import Naming, Weighed, weigh

if TYPE_CHECKING:
    from zonecut.receiver.checks.runner import Checks

Standing = Callable[[], Awaitable[None]]
"""Raises Refusal once the word behind a request does not count any more; StoreUnavailable where that is not known."""


class Suspect(Refusal):
    """Nothing of a child is written over name servers that may be somebody else's (PROTOCOL section 4)."""

    def __init__(self, child: bytes) -> None:
        super().__init__(
            "foreign-ns",
            f"the name servers of {names.to_text(child)} were changed by somebody else: try again later; if they stay,"
            " an operator has to trust its keys anew",
            ede=EdeCode.PROHIBITED,
        )


class DsTakenOut(Refusal):
    """What somebody else took out of the parent's zone, the child does not bring back (RFC 10026)."""

    def __init__(self, child: bytes) -> None:
        name = names.to_text(child)
        super().__init__(
            "foreign-ds",
            f"{name} DS: taken out of the parent's zone by somebody else, and no change of the child brings them back:"
            " ask the parent's operator, who puts a DS set there or trusts the child's keys anew; NS and addresses can"
            " be changed meanwhile",
            ede=EdeCode.PROHIBITED,
        )


class Case:
    """One request, from when it is judged until its change is settled."""

    def __init__(
        self,
        request: DelegationChange,
        standing: Standing,
        backend: Backend,
        rules: Callable[[], policy.Rules],
        checks: "Checks | None",
        suspends: Callable[[bytes, Reading, int], Awaitable[bool]],
        ds_taken_out: Callable[[bytes, Reading], Awaitable[bool]] | None = None,
        coming: Naming = lambda _: {},
    ) -> None:
        """`rules` gives those that count now; `checks` is None where all of them are off.

        `suspends` says whether a reading makes its child suspect; `ds_taken_out` whether the DS that it is without must
        not come back by this request: None for one that is not the child's own. `coming` tells what accepted changes
        name.
        """
        self.request = request
        self._backend = backend
        self.check_standing = standing
        self.approved: Change | None = None
        """What an operator has said yes to, of what would be held."""
        self._rules = rules
        self._checks = checks
        self._suspends = suspends
        self._ds_taken_out = ds_taken_out
        self._coming = coming
        self.is_signed = ds_taken_out is not None
        """Whether it is the child's own."""

    async def weigh(self, reading: Reading, *, is_half: bool = False) -> Weighed:
        """What the request makes of a reading. Raises Refusal, BackendError, StoreUnavailable.

        Where there `is_half` of the change itself, its prerequisites are not held against that: they have been met.
        """
        request = replace(self.request, prerequisites=()) if is_half else self.request
        weighed = await weigh(self._backend, self._rules(), request, reading, coming=self._coming)
        if (
            self._ds_taken_out is not None
            and weighed.change.after.ds
            and not reading.delegation.ds
            and await self._ds_taken_out(self.request.child, reading)
        ):
            raise DsTakenOut(self.request.child)
        return weighed

    async def weigh_anew(self, reading: Reading, *, is_half: bool = False) -> Weighed:
        """What the request makes of what the server was just found to hold.

        That may have ended the trust in the key that signed the request. Raises Refusal, BackendError,
        StoreUnavailable.
        """
        weighed = await self.weigh(reading, is_half=is_half)
        await self.check_standing()
        return weighed

    async def check_suspicion(self, reading: Reading, untried: int = 0) -> None:
        """Raise Suspect where what was read may suspend the child's keys; StoreUnavailable.

        `untried`: the number of its change, where that is in the ledger and nothing of it can be on the server.
        """
        if await self._suspends(self.request.child, reading, untried):
            raise Suspect(self.request.child)

    def held_because(self, change: Change, origin: Delegation | None = None) -> str | None:
        """Why a change has to wait for an operator; None if it need not, or one has approved just this.

        `origin` is what there was before a half of it may have been written; None where nothing was.
        """
        rules, approved = self._rules(), self.approved
        origins = (change.before,) if origin is None else (change.before, origin)
        why = next(filter(None, (policy.held_because(rules, before, change.after) for before in origins)), None)
        if approved is None:
            return why
        if why is not None and policy.held_because(rules, approved.before, approved.after) is None:
            return f"{why}, which was not so when it was approved"
        return beyond(approved, change)

    def check_going_insecure(self, before: Delegation, after: Delegation) -> None:
        """Raise Refusal where what comes of a change takes the last DS, which is left to the parent's operator."""
        policy.check_going_insecure(self._rules(), before, after)

    def must_look(self, change: Change, looked_at: Change | None) -> bool:
        """Whether a change is to be checked before it is written, although another one of the same request was."""
        return self._checks is not None and self._checks.must_look(change, looked_at)

    async def look(self, change: Change) -> None:
        """Check what is enforced. Raises Refusal for what was seen, EndsEarly when nothing conclusive was."""
        if self._checks is not None and await self._checks.enforce(change):
            await self.check_standing()  # that took time

    def watch(self, change: Change, change_id: int) -> None:
        """Have what is in the ledger now looked at in the background, where a check warns."""
        if self._checks is not None:
            self._checks.watch(change, change_id)
