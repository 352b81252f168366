"""The ledger: every change that was accepted, before anybody was told so."""

import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    null,
    select,
    tuple_,
    union_all,
    update,
)

from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.store import tables
from zonecut.store.bulk import Bulk
from zonecut.store.errors import InvalidTransition, NotInStore
from zonecut.store.ledger import askers, decisions
from zonecut.store.ledger.appending import append
from zonecut.store.ledger.change_values import (
    COLUMNS,
    AcceptedChange,
    Attempt,
    ChangeState,
    ChildRecord,
    NewChange,
    Remembered,
    Settlement,
    StoredChange,
)
from zonecut.store.thread import StoreThread

PAGE = 2000
"""Identities read at once."""
RECENT = 100
"""So many of a child's changes tell in which order the next one comes."""

_TABLE = tables.changes
# Written out, not bound: only then the database can use the index of unsettled changes.
_IS_UNSETTLED = _TABLE.c.state == literal_column("'accepted'")

_SETTLE = Bulk(
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("number"), _IS_UNSETTLED)
    .values(
        state=bindparam("new_state"),
        reason=bindparam("new_reason"),
        attempts=bindparam("new_attempts"),
        settled_at=bindparam("now"),
        next_at=null(),
        after=func.coalesce(bindparam("new_after", type_=_TABLE.c.after.type), _TABLE.c.after),
        history_number=bindparam("new_number", type_=_TABLE.c.history_number.type),
    )
)
_SETTLE_AUDIT = Bulk(
    insert(tables.audit).from_select(
        ["at", "event", "zone", "child", "actor", "source", "detail"],
        select(
            bindparam("now", type_=tables.audit.c.at.type),
            bindparam("event", type_=tables.audit.c.event.type),
            _TABLE.c.zone,
            _TABLE.c.child,
            literal_column("'zonecut'"),
            _TABLE.c.source,
            bindparam("detail", type_=tables.audit.c.detail.type),
        ).where(_TABLE.c.id == bindparam("number")),
    )
)
_ATTEMPT = Bulk(
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("number"), _IS_UNSETTLED)
    .values(reason=bindparam("new_reason"), attempts=bindparam("new_attempts"), next_at=bindparam("new_next_at"))
)
_REBASE = Bulk(
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("number"), _IS_UNSETTLED)
    .values(before=bindparam("new_before"), after=bindparam("new_after"))
)
_AFTER_POSITION = tuple_(_TABLE.c.expires_at, _TABLE.c.id) > tuple_(
    bindparam("expires_at", type_=_TABLE.c.expires_at.type), bindparam("number", type_=_TABLE.c.id.type)
)
_OF_CHILD = select(*COLUMNS).where(_TABLE.c.child == bindparam("child")).order_by(_TABLE.c.id.desc()).limit(1)
_LATEST = union_all(
    *(
        select(literal_column(f"'{kind}'").label("kind"), _OF_CHILD.where(condition).subquery())
        for kind, condition in (
            (
                "applied",
                and_(_TABLE.c.state == literal_column("'applied'"), _TABLE.c.kind == literal_column("'delegation'")),
            ),
            ("unsettled", _IS_UNSETTLED),
            ("newest", _TABLE.c.kind == literal_column("'delegation'")),
        )
    )
)

_NEWEST = (
    select(_TABLE.c.child, func.max(_TABLE.c.id).label("newest"))
    .where(
        _TABLE.c.zone == bindparam("zone"),
        _TABLE.c.kind == literal_column("'delegation'"),
        _TABLE.c.child.in_(select(_TABLE.c.child).where(_IS_UNSETTLED)),
    )
    .group_by(_TABLE.c.child)
)

_RECENT = select(_TABLE.c.id).where(_TABLE.c.child == bindparam("child")).order_by(_TABLE.c.id.desc()).limit(RECENT)
# those who asked before for what another message stands in now count as well
_ACCEPTED = union_all(
    *(
        select(_TABLE.c.accepted_at, asked.c.inception, tables.keys.c.tag, asked.c.source)
        .select_from(tables_of_asked.outerjoin(tables.keys, tables.keys.c.id == asked.c.key_id))
        .where(_TABLE.c.id.in_(_RECENT))
        for asked, tables_of_asked in (
            (_TABLE, _TABLE),
            (tables.askers, tables.askers.join(_TABLE, _TABLE.c.id == tables.askers.c.change_id)),
        )
    )
)


@dataclass(frozen=True, slots=True)
class _Rebase:
    id: int
    before: Delegation
    after: Delegation


class ChangeTable:
    """The changes of a store. Everything that writes is committed in groups."""

    def __init__(self, thread: StoreThread, clock: Callable[[], float]) -> None:
        self._thread = thread
        self._clock = clock

    async def append(self, change: NewChange) -> int:
        """The number of the change, once it and its audit entry are durable.

        Raises StoreConflict when its identity is that of a change that did not fail; StoreUnavailable.
        """
        return await self._thread.write(self._append, change)

    async def settle(
        self,
        change_id: int,
        state: ChangeState,
        reason: str | None = None,
        *,
        after: Delegation | None = None,
        attempts: int = 1,
    ) -> None:
        """End an unsettled change as applied or failed; `after` replaces what it asked for if it was judged again.

        Raises InvalidTransition when it is settled already, NotInStore, StoreUnavailable; ValueError for `accepted`.
        """
        await self.settle_many([Settlement(change_id, state, reason, attempts, after)])

    async def settle_many(self, settlements: Sequence[Settlement]) -> None:
        """End unsettled changes, all of them or none. Raises as `settle`, for any of them."""
        if any(each.state is ChangeState.ACCEPTED for each in settlements):
            raise ValueError("a change is settled as applied or failed")
        await self._thread.write(self._settle, settlements)

    async def note_attempts(self, attempts: Sequence[Attempt]) -> None:
        """Record why unsettled changes are still waiting; those that are settled stay as they are.

        Raises StoreUnavailable.
        """
        await self._thread.write(self._note_attempts, attempts)

    async def rebase(self, change_id: int, before: Delegation, after: Delegation) -> None:
        """Record that an unsettled change was judged again on another delegation. Raises as `settle`."""
        await self._thread.write(self._rebase, _Rebase(change_id, before, after))

    async def get(self, change_id: int) -> StoredChange | None:
        """The change with this number, or None. Raises StoreUnavailable."""
        found = await self._select(select(*COLUMNS).where(_TABLE.c.id == change_id))
        return found[0] if found else None

    async def find(self, identity: bytes) -> StoredChange | None:
        """The change with this identity that did not fail, or None. Raises StoreUnavailable."""
        # as in the index
        query = select(*COLUMNS).where(_TABLE.c.identity == identity, _TABLE.c.state != literal_column("'failed'"))
        found = await self._select(query)
        return found[0] if found else None

    async def unsettled(self, zone: bytes | None = None) -> Sequence[StoredChange]:
        """The changes that are accepted and neither applied nor failed, oldest first. Raises StoreUnavailable."""
        query = select(*COLUMNS).where(_IS_UNSETTLED).order_by(_TABLE.c.id)
        return await self._select(query if zone is None else query.where(_TABLE.c.zone == zone))

    async def newest(self, zone: bytes) -> Mapping[bytes, int]:
        """The number of the latest change of each child of a zone of which one is unsettled. Raises StoreUnavailable.

        Whatever became of the latest one; rolls of keys are none.
        """
        return await self._thread.read(
            lambda connection: {row.child: row.newest for row in connection.execute(_NEWEST, {"zone": zone})}
        )

    async def latest(self, child: bytes) -> ChildRecord:
        """What the ledger knows of a child. Raises StoreUnavailable."""
        rows = await self._thread.read(
            lambda connection: {row.kind: row for row in connection.execute(_LATEST, {"child": child})}
        )
        applied, unsettled, newest = rows.get("applied"), rows.get("unsettled"), rows.get("newest")
        last = None if newest is None else StoredChange.from_row(newest[1:])
        return ChildRecord(
            None if applied is None else Delegation.from_wire(applied.after),
            None if unsettled is None else StoredChange.from_row(unsettled[1:]),
            None if applied is None else applied.settled_at,
            None if last is None or not last.is_unseen else last.after,
            0 if applied is None else applied.id,
        )

    async def accepted(self, child: bytes) -> Sequence[AcceptedChange]:
        """The latest changes that were accepted of a child, whatever became of them. Raises StoreUnavailable."""
        return await self._thread.read(
            lambda connection: [AcceptedChange(*row) for row in connection.execute(_ACCEPTED, {"child": child})]
        )

    async def identities(self, now: float) -> AsyncIterator[Remembered]:
        """What the replay memory has to know at a start: identities that expire after `now`, in that order.

        Those of failed changes are among them; the state says so. Raises StoreUnavailable.
        """
        columns = (_TABLE.c.identity, _TABLE.c.expires_at, _TABLE.c.id, _TABLE.c.state)
        query = (
            select(*columns)
            .where(_TABLE.c.identity.is_not(None), _AFTER_POSITION)
            .order_by(_TABLE.c.expires_at, _TABLE.c.id)
            .limit(PAGE)
        )
        earlier = deque(await self._thread.read(lambda connection: askers.remembered(connection, now)))
        position = {"expires_at": now, "number": 2**62}
        while True:
            page = await self._thread.read(
                lambda connection, position=position: [  # type: ignore[misc]
                    Remembered.from_row(row) for row in connection.execute(query, position)
                ]
            )
            for remembered in page:
                while earlier and earlier[0].expires_at <= remembered.expires_at:
                    yield earlier.popleft()
                yield remembered
            if len(page) < PAGE:
                for asker in earlier:
                    yield asker
                return
            position = {"expires_at": page[-1].expires_at, "number": page[-1].change_id}

    async def list(
        self,
        *,
        zone: bytes | None = None,
        child: bytes | None = None,
        state: ChangeState | None = None,
        limit: int = 100,
        before_id: int | None = None,
        among: int | None = None,
    ) -> Sequence[StoredChange]:
        """Changes, newest first, at most `limit`, with numbers below `before_id`. Raises StoreUnavailable.

        `among`: of so many of the latest changes of the whole ledger, so that no more are looked through.
        """
        query = select(*COLUMNS).order_by(_TABLE.c.id.desc()).limit(limit)
        if zone is not None:
            query = query.where(_TABLE.c.zone == zone)
        if child is not None:
            query = query.where(_TABLE.c.child == child)
        if state is not None:
            query = query.where(_IS_UNSETTLED if state is ChangeState.ACCEPTED else _TABLE.c.state == state.value)
        if before_id is not None:
            query = query.where(_TABLE.c.id < before_id)
        if among is not None:
            query = query.where(_TABLE.c.id > select(func.max(_TABLE.c.id) - among).scalar_subquery())
        return await self._select(query)

    async def _select(self, query: Select[Any]) -> Sequence[StoredChange]:
        return await self._thread.read(
            lambda connection: [StoredChange.from_row(row) for row in connection.execute(query)]
        )

    # Handlers: called in the store thread, inside a transaction.

    def _append(self, connection: Connection, changes: Sequence[NewChange]) -> Sequence[int]:
        now = self._clock()
        numbers = append(connection, now, changes, ChangeState.ACCEPTED)
        for number, change in zip(numbers, changes, strict=True):
            if change.held_because is not None:
                decisions.hold(connection, now, number, change.held_because)
            if change.replaces is not None:
                decisions.replace(connection, now, change.replaces, number)
        return numbers

    def _settle(self, connection: Connection, groups: Sequence[Sequence[Settlement]]) -> Sequence[None]:
        now = self._clock()
        items = [item for group in groups for item in group]
        _update(
            connection,
            _SETTLE,
            [
                {
                    "number": item.change_id,
                    "new_state": item.state.value,
                    "new_reason": item.reason,
                    "new_attempts": item.attempts,
                    "now": now,
                    "new_number": item.history_number,
                    "new_after": None if item.after is None else item.after.to_wire(),
                }
                for item in items
            ],
        )
        _SETTLE_AUDIT.execute(
            connection,
            [
                {
                    "number": item.change_id,
                    "now": now,
                    "event": f"change.{item.state.value}",
                    "detail": json.dumps({"change": item.change_id, "attempts": item.attempts, "reason": item.reason}),
                }
                for item in items
            ],
        )
        return [None] * len(groups)

    def _note_attempts(self, connection: Connection, groups: Sequence[Sequence[Attempt]]) -> Sequence[None]:
        now = self._clock()
        rows = [
            {
                "number": item.change_id,
                "new_reason": item.reason,
                "new_attempts": item.attempts,
                "new_next_at": now + item.retry_in,
            }
            for group in groups
            for item in group
        ]
        _ATTEMPT.execute(connection, rows)
        return [None] * len(groups)

    def _rebase(self, connection: Connection, items: Sequence[_Rebase]) -> Sequence[None]:
        rows = [
            {"number": item.id, "new_before": item.before.to_wire(), "new_after": item.after.to_wire()}
            for item in items
        ]
        _update(connection, _REBASE, rows)
        return [None] * len(items)


def _update(connection: Connection, statement: Bulk, rows: Sequence[dict[str, Any]]) -> None:
    """Update one unsettled change a row. Raises NotInStore or InvalidTransition when one is none."""
    if statement.execute(connection, rows) == len(rows):
        return
    for row in rows:
        found = connection.execute(
            select(_TABLE.c.child, _TABLE.c.state).where(_TABLE.c.id == row["number"])
        ).one_or_none()
        if found is None:
            raise NotInStore(f"there is no change number {row['number']}")
        if found.state != row.get("new_state", ChangeState.ACCEPTED.value):
            raise InvalidTransition(
                f"change {row['number']} of {names.to_text(found.child)} is settled already: {found.state}"
            )
    raise InvalidTransition("one of the changes is settled already")
