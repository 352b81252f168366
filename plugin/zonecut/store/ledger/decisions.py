"""What operators decide about changes: one that is held is approved or rejected, one that waits may be rejected.

A daemon learns of a decision by asking, and a change that it may have begun to write ends by its hand only.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace as replaced
from typing import NamedTuple

from sqlalchemy import Connection, literal_column, select, update

from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.store import tables
from zonecut.store.audit import AuditEntry, insert_entries
from zonecut.store.errors import InvalidTransition, NotInStore
from zonecut.store.ledger import askers
from zonecut.store.ledger.change_values import COLUMNS, ChangeState, Decision, StoredChange
from zonecut.store.thread import StoreThread

_TABLE = tables.changes
# written out, not bound: only then the database can use the indexes
_IS_HELD = _TABLE.c.state == literal_column("'held'")
_IS_DECIDED = _TABLE.c.decision.is_not(None)
_UNDECIDED = {"decision": None, "decided_by": None, "decided_because": None}
_OPEN = (ChangeState.HELD.value, ChangeState.ACCEPTED.value)


class _Ruling(NamedTuple):
    change_id: int
    decision: Decision
    actor: str
    reason: str


class _Judged(NamedTuple):
    change_id: int
    before: Delegation
    after: Delegation
    reason: str


class Asker(NamedTuple):
    """A message that asks for a change which waits for an operator already; its fields are those of NewChange."""

    change_id: int
    actor: str
    source: str
    message: bytes
    key_id: int | None
    key_tag: int | None
    identity: bytes
    expires_at: float
    inception: int | None


class DecisionTable:
    """Of the changes of a store."""

    def __init__(self, thread: StoreThread, clock: Callable[[], float]) -> None:
        self._thread = thread
        self._clock = clock

    async def decide(self, change_id: int, decision: Decision, actor: str, reason: str) -> StoredChange:
        """The change after an operator's decision.

        One that is held goes to the server, or has failed. One that waits for the server already is rejected by whoever
        writes it, as soon as it is known that the server does not have it. Raises NotInStore, InvalidTransition for one
        that has ended, or is to be approved and no key of those who asked for it is trusted; StoreUnavailable.
        """
        return await self._thread.write(self._decide, _Ruling(change_id, decision, actor, reason))

    async def hold(self, change_id: int, before: Delegation, after: Delegation, reason: str) -> None:
        """Have an accepted change wait for an operator; what it was judged to be now comes along.

        An approval ends with that: it was of another change. One that was rejected meanwhile fails. Raises NotInStore,
        InvalidTransition for one that is not accepted, StoreUnavailable.
        """
        await self._thread.write(self._hold, _Judged(change_id, before, after, reason))

    async def ask_again(self, asker: Asker) -> bool:
        """Have another message stand behind a change that has not ended, in place of the one that did, which is kept.

        False if it has. Raises NotInStore, StoreUnavailable; StoreConflict when another change has its identity.
        """
        return await self._thread.write(self._ask_again, asker)

    async def take_up(self, change_id: int, before: Delegation, after: Delegation) -> None:
        """Record what an approved change was judged to be, just before it is written.

        Raises InvalidTransition for one that is not approved by now, NotInStore, StoreUnavailable.
        """
        await self._thread.write(self._take_up, _Judged(change_id, before, after, ""))

    async def held(self, zone: bytes) -> Sequence[StoredChange]:
        """The changes of a zone that wait for an operator, oldest first. Raises StoreUnavailable."""
        query = select(*COLUMNS).where(_TABLE.c.zone == zone, _IS_HELD).order_by(_TABLE.c.id)
        return await self._thread.read(
            lambda connection: [StoredChange.from_row(row) for row in connection.execute(query)]
        )

    async def since(self, zone: bytes, lowest: int) -> Sequence[StoredChange]:
        """The changes of a zone about which was decided, with this number and higher ones. Raises StoreUnavailable."""
        query = select(*COLUMNS).where(_TABLE.c.zone == zone, _IS_DECIDED, _TABLE.c.id >= lowest)
        return await self._thread.read(
            lambda connection: [StoredChange.from_row(row) for row in connection.execute(query)]
        )

    async def askers(self, change: StoredChange) -> Sequence[StoredChange]:
        """A change as those asked for it before whose message does not stand in it, the latest first.

        Raises StoreUnavailable.
        """
        return await self._thread.read(lambda connection: askers.of_change(connection, change))

    # Handlers: called in the store thread, inside a transaction.

    def _decide(self, connection: Connection, rulings: Sequence[_Ruling]) -> Sequence[StoredChange]:
        return [_rule(connection, self._clock(), ruling) for ruling in rulings]

    def _hold(self, connection: Connection, holds: Sequence[_Judged]) -> Sequence[None]:
        for each in holds:
            found = _get(connection, each.change_id)
            if found.state is not ChangeState.ACCEPTED:
                raise InvalidTransition(f"{_which(found)} is {found.state.value}, and cannot be held")
            if found.decision is Decision.REJECTED:
                _fail(connection, self._clock(), found, found.verdict or "")
                continue
            values = {"before": each.before.to_wire(), "after": each.after.to_wire()}
            connection.execute(update(_TABLE).where(_TABLE.c.id == each.change_id).values(**values))
            hold(connection, self._clock(), each.change_id, each.reason)
        return [None] * len(holds)

    def _ask_again(self, connection: Connection, items: Sequence[Asker]) -> Sequence[bool]:
        return [_stand_behind(connection, self._clock(), each) for each in items]

    def _take_up(self, connection: Connection, items: Sequence[_Judged]) -> Sequence[None]:
        for each in items:
            found = _get(connection, each.change_id)
            if (found.state, found.decision) != (ChangeState.ACCEPTED, Decision.APPROVED):
                raise InvalidTransition(f"{_which(found)} is {found.verdict or found.state.value}, and is not written")
            values = {"before": each.before.to_wire(), "after": each.after.to_wire()}
            connection.execute(update(_TABLE).where(_TABLE.c.id == each.change_id).values(**values))
        return [None] * len(items)


def hold(connection: Connection, now: float, change_id: int, reason: str) -> None:
    """Have an accepted change wait for an operator; inside a transaction of the store thread."""
    values = {"state": ChangeState.HELD.value, "reason": reason, "next_at": None, **_UNDECIDED}
    connection.execute(update(_TABLE).where(_TABLE.c.id == change_id).values(**values))
    _audit(connection, now, "change.held", _get(connection, change_id), "zonecut", reason)


def replace(connection: Connection, now: float, change_id: int, by: int) -> None:
    """End a held change since its child asked for something else; inside a transaction of the store thread.

    Raises InvalidTransition for one that an operator has approved: it was accepted, and is written first.
    """
    found = _get(connection, change_id)
    if found.state is ChangeState.ACCEPTED:
        raise InvalidTransition(f"{_which(found)} is approved, and not written yet")
    if found.state.value in _OPEN:
        _fail(connection, now, found, f"replaced by change {by}")


def _stand_behind(connection: Connection, now: float, asker: Asker) -> bool:
    found = _get(connection, asker.change_id)
    if found.state.value not in _OPEN or found.decision is Decision.REJECTED:
        return False
    askers.keep(connection, found.id)
    values = {
        "key_id": asker.key_id,
        "source": asker.source,
        "message": asker.message,
        "identity": asker.identity,
        "expires_at": asker.expires_at,
        "inception": asker.inception,
    }
    connection.execute(update(_TABLE).where(_TABLE.c.id == found.id).values(**values))
    detail = {"change": found.id}
    event = "change.asked-again"
    entry = AuditEntry(event, asker.actor, asker.source, found.zone, found.child, asker.key_tag, detail=detail)
    insert_entries(connection, now, [entry])
    return True


def _rule(connection: Connection, now: float, ruling: _Ruling) -> StoredChange:
    found = _get(connection, ruling.change_id)
    values: dict[str, object] = {
        "decision": ruling.decision.value,
        "decided_by": ruling.actor,
        "decided_because": ruling.reason,
    }
    if found.state.value not in _OPEN:
        because = f" ({found.reason})" if found.reason else ""
        raise InvalidTransition(f"{_which(found)} is {found.state.value} already{because}: there is nothing to decide")
    if ruling.decision is Decision.APPROVED:
        if found.state is not ChangeState.HELD:
            raise InvalidTransition(f"{_which(found)} is accepted and waits for the server, not for an operator")
        askers.check_word(connection, found)
        values |= {"state": ChangeState.ACCEPTED.value, "reason": None}
    elif ruling.decision is Decision.DONE:
        if found.state is ChangeState.HELD or found.decision is Decision.REJECTED:
            raise InvalidTransition(
                f"{_which(found)} is {found.verdict or found.state.value}: it was not to be made yet"
            )
        if found.decision is Decision.APPROVED:
            values = {"decision": found.decision.value}  # by which it is judged again
    elif found.state is ChangeState.HELD:
        values |= {"state": ChangeState.FAILED.value, "settled_at": now}
    connection.execute(update(_TABLE).where(_TABLE.c.id == found.id).values(**values))
    _audit(connection, now, f"change.{ruling.decision.value}", found, ruling.actor, ruling.reason)
    decided = _get(connection, found.id)
    if decided.state is ChangeState.FAILED:
        reason = decided.verdict
        connection.execute(update(_TABLE).where(_TABLE.c.id == found.id).values(reason=reason))
        return replaced(decided, reason=reason)
    return decided


def _fail(connection: Connection, now: float, found: StoredChange, reason: str) -> None:
    values = {"state": ChangeState.FAILED.value, "reason": reason, "settled_at": now, "next_at": None}
    connection.execute(update(_TABLE).where(_TABLE.c.id == found.id).values(**values))
    _audit(connection, now, "change.failed", found, "zonecut", reason)


def _get(connection: Connection, number: int) -> StoredChange:
    row = connection.execute(select(*COLUMNS).where(_TABLE.c.id == number).with_for_update()).one_or_none()
    if row is None:
        raise NotInStore(f"there is no change number {number}")
    return StoredChange.from_row(row)


def _audit(connection: Connection, now: float, event: str, change: StoredChange, actor: str, reason: str) -> None:
    detail = {"change": change.id, "reason": reason}
    entry = AuditEntry(event, actor, change.source, change.zone, change.child, detail=detail)
    insert_entries(connection, now, [entry])


def _which(change: StoredChange) -> str:
    return f"change {change.id} of {names.to_text(change.child)}"
