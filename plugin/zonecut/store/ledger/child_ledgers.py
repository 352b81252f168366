"""What the ledger says of many children at once: for who compares a whole zone with it, in bounded memory."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, func, literal_column, select

from zonecut.protocol.delegation import Delegation
from zonecut.store import tables
from zonecut.store.ledger.change_values import COLUMNS, StoredChange
from zonecut.store.thread import StoreThread

PAGE = 500
"""Children looked up, and listed, at once."""

_TABLE = tables.changes
# written out, not bound: only then the database can use the index of unsettled changes
_IS_UNSETTLED = _TABLE.c.state == literal_column("'accepted'")
_IS_APPLIED = (_TABLE.c.state == literal_column("'applied'")) & (_TABLE.c.kind == literal_column("'delegation'"))


@dataclass(frozen=True, slots=True)
class AppliedChange:
    """The latest change of a child that was applied; `at` in seconds since the epoch."""

    id: int
    at: float
    after: Delegation


@dataclass(frozen=True, slots=True)
class ChildLedger:
    """What the ledger says of one child's delegation.

    `unsettled` are the changes that are accepted and neither applied nor failed, oldest first; all but the last of them
    are applied, and that is about to be recorded.
    """

    applied: AppliedChange | None = None
    unsettled: tuple[StoredChange, ...] = ()

    @property
    def waiting(self) -> StoredChange | None:
        """The change that is accepted and not applied yet."""
        return self.unsettled[-1] if self.unsettled else None


class ChildLedgers:
    """The ledger of a store, child by child."""

    def __init__(self, thread: StoreThread) -> None:
        self._thread = thread

    async def of(self, children: Collection[bytes]) -> dict[bytes, ChildLedger]:
        """What the ledger says of these children; those of which it says nothing are not in it.

        Raises StoreUnavailable.
        """
        wanted = list(children)
        found: dict[bytes, ChildLedger] = {}
        for start in range(0, len(wanted), PAGE):
            page = wanted[start : start + PAGE]
            found |= await self._thread.read(partial(_of, children=page))
        return found

    async def children(self, zone: bytes) -> AsyncIterator[Sequence[bytes]]:
        """The children of a zone of which the ledger has changes of their delegation, some at a time.

        Raises StoreUnavailable.
        """
        last: bytes | None = b""
        while last is not None:
            children, last = await self._thread.read(partial(_page, zone=zone, last=last))
            yield children


def _page(connection: Connection, zone: bytes, last: bytes) -> tuple[Sequence[bytes], bytes | None]:
    """Children of the zone among the next of all names, and the last of those names; None at the end."""
    child = _TABLE.c.child
    following = select(child).where(child > last).distinct().order_by(child).limit(PAGE)
    page = connection.execute(following).scalars().all()
    own = select(child).where(child.in_(page), _TABLE.c.zone == zone, _IS_APPLIED | _IS_UNSETTLED).distinct()
    return connection.execute(own.order_by(child)).scalars().all(), page[-1] if page else None


def _of(connection: Connection, children: Sequence[bytes]) -> dict[bytes, ChildLedger]:
    latest = (
        select(func.max(_TABLE.c.id)).where(_TABLE.c.child.in_(children), _IS_APPLIED).group_by(_TABLE.c.child)
    ).scalar_subquery()
    columns = (_TABLE.c.child, _TABLE.c.id, _TABLE.c.settled_at, _TABLE.c.after)
    applied = {
        child: AppliedChange(number, at, Delegation.from_wire(after))
        for child, number, at, after in connection.execute(select(*columns).where(_TABLE.c.id.in_(latest)))
    }
    unsettled: dict[bytes, tuple[StoredChange, ...]] = {}
    waiting = select(*COLUMNS).where(_TABLE.c.child.in_(children), _IS_UNSETTLED).order_by(_TABLE.c.id)
    for row in connection.execute(waiting):
        change = StoredChange.from_row(row)
        unsettled[change.child] = (*unsettled.get(change.child, ()), change)
    return {child: ChildLedger(applied.get(child), unsettled.get(child, ())) for child in applied.keys() | unsettled}
