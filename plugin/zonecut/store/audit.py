"""The audit trail: who did what, when, from where, and by which rule it was decided."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, RowMapping, func, insert, select

from zonecut.protocol import names
from zonecut.protocol.foreigntext import clip
from zonecut.store import tables, timestamps
from zonecut.store.bulk import Bulk
from zonecut.store.thread import StoreThread

_TABLE = tables.audit
_INSERT = Bulk(insert(_TABLE), [column.name for column in _TABLE.columns if column.name != "id"])


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One event to be recorded. `actor` is who did it: a child's name, an operator's account, "zonecut".

    `source` is the address and port it came from, or the program; `rule` the name of the rule that decided; `detail`
    is what else is worth keeping, in values that JSON has.
    """

    event: str
    actor: str
    source: str = ""
    zone: bytes | None = None
    child: bytes | None = None
    key_tag: int | None = None
    rule: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An entry as it stands in the trail. `at` is in seconds since the epoch."""

    id: int
    at: float
    entry: AuditEntry

    def to_json(self) -> dict[str, Any]:
        """Names and times in presentation form."""
        entry = self.entry
        return {
            "id": self.id,
            "at": timestamps.to_text(self.at),
            "event": entry.event,
            "zone": None if entry.zone is None else names.to_text(entry.zone),
            "child": None if entry.child is None else names.to_text(entry.child),
            "key_tag": entry.key_tag,
            "actor": entry.actor,
            "source": entry.source,
            "rule": entry.rule,
            "detail": dict(entry.detail),
        }


def insert_entries(connection: Connection, at: float, entries: Sequence[AuditEntry]) -> None:
    """Write entries as part of the transaction that is under way: what is done and its trace are one."""
    if entries:
        _INSERT.execute(
            connection,
            [
                {
                    "at": at,
                    "event": entry.event,
                    "zone": entry.zone,
                    "child": entry.child,
                    "key_tag": entry.key_tag,
                    "actor": clip(entry.actor),
                    "source": clip(entry.source),
                    "rule": entry.rule,
                    "detail": json.dumps(_clipped(entry.detail)) if entry.detail else "{}",
                }
                for entry in entries
            ],
        )


def _clipped(detail: Mapping[str, Any]) -> dict[str, Any]:
    return {name: clip(value) if isinstance(value, str) else value for name, value in detail.items()}


class AuditTable:
    """The audit trail of a store."""

    def __init__(self, thread: StoreThread, clock: Callable[[], float]) -> None:
        self._thread = thread
        self._clock = clock

    async def record(self, entry: AuditEntry) -> None:
        """Append an entry; it is durable afterwards. Raises StoreUnavailable."""
        await self._thread.write(self._record, entry)

    async def list(
        self,
        *,
        child: bytes | None = None,
        event: str | None = None,
        since: float | None = None,
        limit: int = 100,
        before_id: int | None = None,
        among: int | None = None,
    ) -> Sequence[AuditRecord]:
        """Entries, newest first, at most `limit`; `since` in seconds since the epoch. Raises StoreUnavailable.

        `among`: of so many of the latest entries of the whole trail, so that no more are looked through.
        """
        query = select(_TABLE).order_by(_TABLE.c.id.desc()).limit(limit)
        if child is not None:
            query = query.where(_TABLE.c.child == child)
        if event is not None:
            query = query.where(_TABLE.c.event == event)
        if since is not None:
            query = query.where(_TABLE.c.at >= since)
        if before_id is not None:
            query = query.where(_TABLE.c.id < before_id)
        if among is not None:
            query = query.where(_TABLE.c.id > select(func.max(_TABLE.c.id) - among).scalar_subquery())
        return await self._thread.read(
            lambda connection: [_record_of(row) for row in connection.execute(query).mappings()]
        )

    def _record(self, connection: Connection, entries: Sequence[AuditEntry]) -> Sequence[None]:
        insert_entries(connection, self._clock(), entries)
        return [None] * len(entries)


def _record_of(row: RowMapping) -> AuditRecord:
    return AuditRecord(
        row["id"],
        row["at"],
        AuditEntry(
            event=row["event"],
            actor=row["actor"],
            source=row["source"],
            zone=row["zone"],
            child=row["child"],
            key_tag=row["key_tag"],
            rule=row["rule"],
            detail=json.loads(row["detail"]),
        ),
    )
