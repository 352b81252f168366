"""What a parent zone takes up when it begins: the changes that a crash, or an earlier self, left in the ledger.

An ordinary restart goes on with them as they are: a change that is conditional on what it was judged on may be written
a moment later as well. That is taken for granted no longer where other changes may have come and gone in between, of
which this ledger knows nothing, so that the zone may look as if nothing had:

- The store was restored from a backup. Nothing is taken up, and nothing accepted, until an operator has accepted the
  store; what waited then has been settled, and messages that were signed before are stale.
- The zone was not served for longer than `RESUME_WITHIN`: its section was out of the configuration, nothing ran, or the
  whole machine was put back to an earlier state. What the server holds by now is settled as applied; the rest waits
  for an operator, or for who asked to ask again: it may be the clock that is wrong.
- The machine was started anew, and the zone's serial is not the one that was seen last, see `serials`: what the server
  holds by now is settled as applied; the rest waits for an operator, or for who asked to ask again.
"""

import asyncio

from zonecut.protocol import names
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.change.ordering import ChildOrder
from zonecut.receiver.change.serials import Serials
from zonecut.receiver.outcome import Outcome
from zonecut.receiver.trouble import Trouble
from zonecut.receiver.zone.in_work import Held, InWork
from zonecut.store import ChangeState, Decision, StoredChange, StoreUnavailable

RESUME_WITHIN = 3600.0
"""Seconds for which a zone may not have been served, and what waits is written all the same."""
LOOK_AGAIN = 0.5
"""Seconds between two looks whether an operator has accepted the store."""


class Resumption:
    """Of one parent zone."""

    def __init__(self, zone: bytes, ledger: Ledger, order: ChildOrder, in_work: InWork, serials: Serials) -> None:
        self._zone = zone
        self._ledger = ledger
        self._order = order
        self._in_work = in_work
        self._serials = serials
        self._absence: float | None = None
        self.knows_absence = False
        """Whether it has been read for how long the zone was not served."""
        self.done = asyncio.Event()
        """Set when all is taken up: changes are accepted from then on."""

    @property
    def held(self) -> str | None:
        """Why nothing is taken up before an operator has decided; None if nothing is in the way."""
        return None if self.done.is_set() else self._ledger.restored

    async def begin(self) -> None:
        """Take up what the ledger holds, unless it waits for an operator. Raises StoreUnavailable."""
        if not self.knows_absence:
            self._absence = await self._ledger.absence()
            self.knows_absence = True
        if self.done.is_set() or self._ledger.restored is not None:
            return
        self._order.floor = await self._ledger.floor()
        await self._serials.begin()
        unsettled, held = await self._ledger.unsettled(), await self._ledger.held()
        newest = await self._ledger.newest()
        for stored in held:
            await self._hold(stored)
        for stored in unsettled:
            later = newest.get(stored.child, stored.id)
            if later > stored.id:
                # a later change of the child, whatever became of it, is accepted only once the earlier one is settled:
                # to write that one again would undo the later
                reason = f"its outcome was not recorded before change {later} was accepted"
                self._ledger.settle(stored.id, ChangeState.APPLIED, reason, stored.attempts)
            elif stored.decision is Decision.APPROVED:
                # it is judged again before it is written, as everything that waited for an operator
                await self._hold(stored)
            else:
                self._serials.expect(await self._in_work.resume(stored, self._too_late()))
        self.done.set()

    async def _hold(self, stored: StoredChange) -> None:
        waits = Outcome.waits_for_operator(stored.reason or "")
        self._in_work.hold(Held.of(stored, await self._ledger.askers(stored)), waits)

    async def finish(self) -> None:
        """Return when all is taken up, however long an operator takes."""
        trouble = Trouble("zone.resume.delayed", zone=names.to_text(self._zone))
        while not self.done.is_set():
            try:
                await self.begin()
                trouble.over()
            except StoreUnavailable as error:
                trouble.again(error.reason)
            if not self.done.is_set():
                await asyncio.sleep(LOOK_AGAIN)

    def _too_late(self) -> str | None:
        """Why a change that is not on the server yet is not written; None where the zone was served until recently."""
        if self._absence is None or self._absence <= RESUME_WITHIN:
            return None
        return (
            f"the zone was not served for {_duration(self._absence)}, and may have been changed meanwhile; "
            "it is not in the zone"
        )


def _duration(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.0f} days"
