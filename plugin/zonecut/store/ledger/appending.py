"""New rows of the ledger, with their entries of the audit trail."""

from collections.abc import Sequence

from sqlalchemy import Connection, insert, text

from zonecut.store import tables
from zonecut.store.audit import AuditEntry, insert_entries
from zonecut.store.bulk import Bulk
from zonecut.store.ledger.change_values import ChangeState, NewChange

_TABLE = tables.changes
_LATER = ("reason", "next_at", "decision", "decided_by", "decided_because", "history_number")
_APPEND = Bulk(insert(_TABLE), [column.name for column in _TABLE.columns if column.name not in _LATER])
_LAST_NUMBER = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'changes'"
_TAKE_NUMBERS = text("SELECT nextval(pg_get_serial_sequence('changes', 'id')) FROM generate_series(1, :count)")


def _take_numbers(connection: Connection, count: int) -> Sequence[int]:
    """The numbers of the next rows, lowest first: to take them costs less than to read them back."""
    if connection.dialect.name == "sqlite":
        # nobody else takes one meanwhile: the transaction holds the lock of the file
        last = connection.exec_driver_sql(_LAST_NUMBER).scalar_one()
        return range(last + 1, last + 1 + count)
    return sorted(connection.execute(_TAKE_NUMBERS, {"count": count}).scalars())


def append(connection: Connection, now: float, changes: Sequence[NewChange], state: ChangeState) -> Sequence[int]:
    """The numbers of changes that are recorded with their audit entries; inside a transaction of the store thread."""
    settled_at = None if state is ChangeState.ACCEPTED else now
    numbers = _take_numbers(connection, len(changes))
    _APPEND.execute(
        connection,
        [
            {
                "id": number,
                "zone": change.zone,
                "child": change.after.child,
                "key_id": change.key_id,
                "source": change.source,
                "accepted_at": now,
                "before": change.before.to_wire(),
                "after": change.after.to_wire(),
                "message": change.message,
                "state": state.value,
                "attempts": 0,
                "settled_at": settled_at,
                "identity": change.identity,
                "expires_at": change.expires_at,
                "inception": change.inception,
                "kind": change.kind.value,
            }
            for number, change in zip(numbers, changes, strict=True)
        ],
    )
    insert_entries(
        connection,
        now,
        [
            AuditEntry(
                "change.accepted",
                change.actor,
                change.source,
                change.zone,
                change.after.child,
                change.key_tag,
                detail={"change": number, "kind": change.kind.value},
            )
            for number, change in zip(numbers, changes, strict=True)
        ],
    )
    return numbers
