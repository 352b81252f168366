"""Restores that an operator accepted: from then on the store counts as it is, and older signatures do not."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, and_, func, insert, select, update

from zonecut.protocol.delegation import Delegation
from zonecut.store import tables, timestamps
from zonecut.store.audit import AuditEntry, insert_entries
from zonecut.store.ledger.change_values import Settlement, StoredChange
from zonecut.store.thread import StoreThread

MAY_BE_UNDONE = "the store was restored from a backup, and this may have been written and undone since"
"""Why a change waits for an operator."""

MAY_BE_DECIDED = "the store was restored from a backup, and this may have been decided, or asked for otherwise, since"
"""What is to be known besides of a change that waited for an operator already."""

_CHANGES = tables.changes
_TABLE = tables.restores
_FLOOR = select(func.max(_TABLE.c.floor))


class _Acceptance(NamedTuple):
    actor: str
    used_until: float | None
    """Until when the store was used that is lost, in seconds since the epoch; None where that is not known."""
    fudge: float


class RestoreTable:
    """The restores of a store."""

    def __init__(
        self,
        thread: StoreThread,
        clock: Callable[[], float],
        settle: Callable[[Sequence[Settlement]], Awaitable[None]],
        hold: Callable[[int, Delegation, Delegation, str], Awaitable[None]],
    ) -> None:
        """`settle` ends changes of the ledger, `hold` has one wait for an operator."""
        self._thread = thread
        self._clock = clock
        self._settle = settle
        self._hold = hold

    async def floor(self) -> float | None:
        """The time before which signed messages are stale, in seconds since the epoch; None without a restore.

        Raises StoreUnavailable.
        """
        return await self._thread.read(lambda connection: connection.execute(_FLOOR).scalar())

    async def accept(
        self, actor: str, settlements: Sequence[Settlement], held: Sequence[StoredChange], fudge: float
    ) -> float:
        """Record that the store counts as it is from now on, how what waited ends, and what an operator decides.

        `fudge`: seconds by which a child's clock may have been ahead when it signed what the lost store accepted.
        Returns the time before which signed messages are stale, in seconds since the epoch. Other processes see it when
        this one has closed the store. Raises StoreUnavailable, InvalidTransition, and whatever it does changes nothing
        then that may not be done again.
        """
        marking, restored = self._thread.marking, self._thread.restored
        try:
            if marking is not None:
                marking.accepting = True
            if settlements:
                await self._settle(settlements)
            for change in held:
                await self._hold(change.id, change.before, change.after, MAY_BE_UNDONE)
            used_until = restored.mark.at if restored is not None and restored.mark is not None else None
            floor = await self._thread.write(self._accept, _Acceptance(actor, used_until, fudge))
        finally:
            if marking is not None:
                marking.accepting = False
        if marking is not None:
            marking.accept()
        return floor

    def _accept(self, connection: Connection, items: Sequence[_Acceptance]) -> Sequence[float]:
        now = self._clock()
        reason = func.coalesce(_CHANGES.c.reason, "")
        waits = and_(_CHANGES.c.state == "held", reason != MAY_BE_UNDONE, ~reason.contains(MAY_BE_DECIDED))
        connection.execute(update(_CHANGES).where(waits).values(reason=reason.concat(f"; {MAY_BE_DECIDED}")))
        floors = []
        for actor, used_until, fudge in items:
            # it may have been used until now, for all that is known
            floor = max(now, (now if used_until is None else used_until) + fudge)
            connection.execute(insert(_TABLE), {"accepted_at": now, "floor": floor, "actor": actor})
            lost_since = None if used_until is None else timestamps.to_text(used_until)
            detail = {"used_until": lost_since, "signed_since": timestamps.to_text(floor)}
            insert_entries(connection, now, [AuditEntry("store.accepted", actor, detail=detail)])
            floors.append(floor)
        return floors
