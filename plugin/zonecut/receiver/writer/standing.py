"""Whether the word behind a change still counts when it is about to be written: no change outlives its key.

One whose key was revoked, or which an operator rejected, ends here, and nothing of it stays on the server. One that
would take the addresses of a host which another one, accepted since, names is judged again.
"""

import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from zonecut.plugin import BackendError, BackendUnavailable, Reading
from zonecut.protocol.errors import Refusal
from zonecut.receiver.change.change_log import is_told
from zonecut.receiver.outcome import Outcome
from zonecut.receiver.writer.batches import Result
from zonecut.receiver.writer.claims import Claims
from zonecut.receiver.writer.endings import Endings
from zonecut.receiver.writer.waits import Waits, about
from zonecut.receiver.writer.write_queue import Pending
from zonecut.store import StoreUnavailable

SETTLED_IN = 0.5
"""Seconds after which it is asked again, before a change is written, whether the word behind it still counts."""

_log = structlog.get_logger(__name__)


class Word:
    """Of one parent zone's changes."""

    def __init__(
        self,
        zone: bytes,
        endings: Endings,
        waits: Waits,
        read: Callable[[Pending], Awaitable[Reading]],
        doubt: Callable[[], Awaitable[str | None]],
        claims: Claims,
        judge_again: Callable[[Pending, Reading, str, Result], Awaitable[None]],
    ) -> None:
        """`read` tells what the server holds for a change's child now; `doubt` why nothing is to be written that an
        earlier process accepted; `judge_again` settles a change, or takes it to the server, as it is judged now."""
        self._zone = zone
        self._endings = endings
        self._waits = waits
        self._read = read
        self._doubt = doubt
        self._claims = claims
        self._judge_again = judge_again

    async def still_counts(self, batch: Sequence[Pending], result: Result) -> list[Pending]:
        """Those whose word still counts; the others end, or come again where that is not known. Raises BackendError."""
        rest = []
        doubt = await self._doubt()
        for pending in batch:
            if pending.withdrawn is not None:
                await self._withdraw(pending, pending.withdrawn, result)
                continue
            if time.monotonic() - pending.since > SETTLED_IN:
                try:
                    await pending.case.check_standing()
                except Refusal as refusal:
                    await self._withdraw(pending, refusal, result)
                    continue
                except StoreUnavailable as error:
                    self._waits.put_off(pending, error.reason, result)
                    continue
            if pending.resumed and (why := pending.doubt or doubt) is not None:
                await self._hold(pending, why, result)
                continue
            if (needed := self._claims.needed(pending)) is not None:
                await self._judge_again(pending, await self._read(pending), needed, result)
                if not pending.has_failed and self._claims.needed(pending) is None:
                    self._endings.tell_kept(pending, needed)
                continue
            rest.append(pending)
        return rest

    async def _hold(self, pending: Pending, reason: str, result: Result) -> None:
        """Have a change wait for an operator that is not on the server. Raises BackendError, StoreUnavailable."""
        if await self._endings.withdraw(pending):
            raise BackendUnavailable("the server has carried it out meanwhile, and is looked at again")
        await self._endings.hold(pending, pending.change, reason, reason, result)

    async def _withdraw(self, pending: Pending, refusal: Refusal, result: Result) -> None:
        """End a change that is not on the server and must not come there, not even by half. Raises BackendError.

        Where the server cannot be told to forget what it was asked for, that is tried again: until then the change has
        not ended, and its child's next one waits.
        """
        try:
            done = await self._endings.withdraw(pending)
        except BackendError as error:
            if is_told(pending.attempts):
                _log.error("change.withdrawal-delayed", **about(self._zone, pending), reason=error.reason)
            why = f"{refusal.reason}; the server could not be told to forget it: {error.reason}"
            self._waits.put_off(pending, why, result)
            return
        if not pending.written and not done:
            self._endings.fail(pending, Outcome.of(refusal), result)
            return
        held = (await self._read(pending)).delegation
        if held == pending.change.after:
            self._endings.settle(pending, result)
        else:
            await self._endings.give_up(pending, Outcome.of(refusal), held, result)
