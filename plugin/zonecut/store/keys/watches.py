"""What was seen of the delegations of children whose keys are trusted: what trust began with, and absences.

A row comes with what a method judged on, or with the first look after trust in a child began, and goes when it begins
anew. Only proven absence takes it, and the child's keys with it, in one transaction that holds it against what else is
away. Suspicions are kept here too, so that those of a whole zone can be counted before a key is suspended for one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, exists, func, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.store import tables, timestamps
from zonecut.store.key_values import KeyState
from zonecut.store.keys.keys import keys_of, set_state
from zonecut.store.thread import StoreThread

_TABLE = tables.watches
_KEYS = tables.keys
_CHANGES = tables.changes
AT_MOST = 10
"""Delegations that may be away at a time where nobody says how many, or `SHARE` of all, whichever is more."""
SHARE = 100
"""One in so many."""
PART = 3
"""But no more than one in so many, and one in any case: in a small zone ten are all of them."""
ENDS = (KeyState.TRUSTED, KeyState.SUSPENDED, KeyState.KNOWN)
"""The states of keys that go with their delegation."""

_IS_ABSENT = _TABLE.c.absent_since.is_not(None)
_IS_SUSPECT = _TABLE.c.suspect_since.is_not(None)
_HAS_TRUSTED = exists().where(_KEYS.c.owner == _TABLE.c.child, _KEYS.c.state == literal_column("'trusted'"))


@dataclass(frozen=True, slots=True)
class Watch:
    """What was seen of one child's delegation in a zone; times in seconds since the epoch, spans in seconds.

    `began` is what it was when trust began, None where it was away then; `began_at` tells this watch from an earlier
    one. `seen` are the name servers that were seen last, at `seen_at` for the first time. `began_change` and
    `seen_change` are the numbers of the last change through us that was applied by then, 0 for none. While it is away,
    `absent_since` is the first look at which it was, `absent_at` the latest, and `absent_for` how much of the time
    between `looks` counts as absence. `suspect_since` is the first of the looks, up to the latest, that all saw name
    servers for which its keys are to be suspended. One that `is_held` was away, or suspect, together with too many
    others: nothing follows by itself, however few of them are left, until it is seen as it was. `ds_gone_since` is the
    first look at which it had no DS any more, because of somebody else; `seen_ds` says whether the latest looks saw DS.
    """

    child: bytes
    zone: bytes
    began: Delegation | None
    began_at: float
    seen: tuple[bytes, ...] = ()
    seen_at: float = 0.0
    absent_since: float | None = None
    absent_at: float = 0.0
    absent_for: float = 0.0
    looks: int = 0
    is_held: bool = False
    suspect_since: float | None = None
    began_change: int = 0
    seen_change: int = 0
    ds_gone_since: float | None = None
    seen_ds: bool = False

    @property
    def is_absent(self) -> bool:
        return self.absent_since is not None

    def to_json(self) -> dict[str, Any]:
        return {
            "child": names.to_text(self.child),
            "zone": names.to_text(self.zone),
            "seen": [names.to_text(server) for server in self.seen],
            "seen_at": timestamps.to_text(self.seen_at),
            "absent_since": timestamps.to_optional_text(self.absent_since),
            "absent_for": self.absent_for,
            "looks": self.looks,
            "held": self.is_held,
            "suspect_since": timestamps.to_optional_text(self.suspect_since),
            "ds_gone_since": timestamps.to_optional_text(self.ds_gone_since),
        }


@dataclass(frozen=True, slots=True)
class Away:
    """How many delegations of a zone are away, or suspect; of how many that are watched; and how many may be.

    `held` of them were so with too many others and wait for an operator.
    """

    count: int
    watched: int
    most: int
    held: int

    @property
    def is_too_many(self) -> bool:
        return self.count > self.most


class WatchTable:
    """The watches of a store. All methods raise StoreUnavailable."""

    def __init__(self, thread: StoreThread, clock: Callable[[], float]) -> None:
        self._thread = thread
        self._clock = clock

    async def of(self, child: bytes) -> Watch | None:
        """The watch of a child, if there was a look at its delegation since trust in it began."""
        query = select(_TABLE).where(_TABLE.c.child == child)
        row = await self._thread.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else _from_row(row)

    async def begin(self, watch: Watch) -> None:
        """Record the first look; one that is there stays."""
        await self._thread.write(begin_watches, watch)

    async def update(self, watch: Watch) -> None:
        """Record a further look; where trust began anew meanwhile, nothing."""
        await self._thread.write(_update, watch)

    async def end(self, watch: Watch, at_most: int | None, actor: str, reason: str) -> int | Away:
        """Its delegation was absent over the whole period: the keys of a child end. How many that concerned.

        Not where more delegations of the zone are away than `at_most` (None: `may_be_away`), or it was away with too
        many others: how many.
        """
        return await self._thread.write(self._end, (watch, at_most, actor, reason))

    async def end_by_operator(self, child: bytes, actor: str, reason: str) -> int:
        """An operator says that a child's delegation ended. How many keys that concerned."""
        return await self._thread.write(self._end_by_operator, (child, actor, reason))

    async def absent(self, zone: bytes, after: bytes, limit: int) -> Sequence[Watch]:
        """Children of a zone with trusted keys whose delegation is away, in the order of names `after` one."""
        return await self._page(_of_absent(zone), after, limit)

    async def suspects(self, zone: bytes, after: bytes, limit: int) -> Sequence[Watch]:
        """Children of a zone with trusted keys that are suspect, in the order of names `after` one."""
        return await self._page(_of_suspect(zone), after, limit)

    async def suspend(self, watch: Watch, at_most: int | None, since: float, actor: str, reason: str) -> int | Away:
        """A child is suspect still: its trusted keys count no more until an operator trusts them anew. How many.

        Not where more children of the zone than `at_most` (as for `end`) are suspect, or were until `actor` suspended
        their keys `since` a time, in seconds since the epoch: how many.
        """
        return await self._thread.write(self._suspend, (watch, at_most, since, actor, reason))

    async def suspected(self, zone: bytes, at_most: int | None, since: float, actor: str) -> Away:
        """How many children of a zone are suspect, or were, as for `suspend`; too many are held from now on."""
        return await self._thread.write(_all_suspected, (zone, at_most, since, actor))

    async def away(self, zone: bytes, at_most: int | None) -> Away:
        """How many delegations of a zone are away now; where they are too many, all of them are held from now on."""
        return await self._thread.write(_counted, (zone, at_most))

    async def all_away(self) -> Mapping[bytes, int]:
        """How many delegations are away, of each zone of which some are."""
        return await self._counted(_IS_ABSENT)

    async def all_suspect(self) -> Mapping[bytes, int]:
        """How many children are suspect, of each zone of which some are."""
        return await self._counted(_IS_SUSPECT)

    async def _counted(self, which: ColumnElement[bool]) -> Mapping[bytes, int]:
        query = select(_TABLE.c.zone, func.count()).where(which, _HAS_TRUSTED).group_by(_TABLE.c.zone)
        return await self._thread.read(
            lambda connection: {zone: int(count) for zone, count in connection.execute(query)}
        )

    async def _page(self, which: ColumnElement[bool], after: bytes, limit: int) -> Sequence[Watch]:
        query = select(_TABLE).where(which, _TABLE.c.child > after).order_by(_TABLE.c.child).limit(limit)
        return await self._thread.read(lambda connection: [_from_row(row) for row in connection.execute(query)])

    # Handlers: called in the store thread, inside a transaction.

    def _end(self, connection: Connection, items: Sequence[tuple[Watch, int | None, str, str]]) -> Sequence[int | Away]:
        return [self._end_one(connection, *item) for item in items]

    def _end_one(
        self, connection: Connection, watch: Watch, at_most: int | None, actor: str, reason: str
    ) -> int | Away:
        unchanged = select(_TABLE.c.is_held).where(
            _is(watch), _TABLE.c.absent_since == watch.absent_since, _TABLE.c.looks == watch.looks
        )
        # who trusts the child anew just now is waited for, or waits
        is_held = connection.execute(unchanged.with_for_update()).scalar_one_or_none()
        if is_held is None:
            return 0
        away = _away(connection, watch.zone, at_most)
        return away if is_held or away.is_too_many else self._end_child(connection, watch.child, actor, reason)

    def _suspend(
        self, connection: Connection, items: Sequence[tuple[Watch, int | None, float, str, str]]
    ) -> Sequence[int | Away]:
        return [self._suspend_one(connection, *item) for item in items]

    def _suspend_one(
        self, connection: Connection, watch: Watch, at_most: int | None, since: float, actor: str, reason: str
    ) -> int | Away:
        unchanged = select(_TABLE.c.is_held).where(_is(watch), _TABLE.c.suspect_since == watch.suspect_since)
        # a look that was fine meanwhile, or who trusts the child anew, has ended it
        is_held = connection.execute(unchanged.with_for_update()).scalar_one_or_none()
        if is_held is None:
            return 0
        suspected = _suspected(connection, watch.zone, at_most, since, actor)
        if is_held or suspected.is_too_many:
            return suspected
        connection.execute(update(_TABLE).where(_is(watch)).values(suspect_since=None))
        return suspend_keys(connection, self._clock(), watch.child, actor, reason)

    def _end_by_operator(self, connection: Connection, items: Sequence[tuple[bytes, str, str]]) -> Sequence[int]:
        return [self._end_child(connection, *item) for item in items]

    def _end_child(self, connection: Connection, child: bytes, actor: str, reason: str) -> int:
        now = self._clock()
        ended = [stored for stored in keys_of(connection, child) if stored.state in ENDS]
        for stored in ended:
            set_state(connection, now, stored.id, KeyState.ENDED, actor, reason)
        connection.execute(delete(_TABLE).where(_TABLE.c.child == child))
        return len(ended)


def begin_watches(connection: Connection, watches: Sequence[Watch]) -> Sequence[None]:
    """Begin the watches of children that have none; inside a transaction of the store thread."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(_TABLE).on_conflict_do_nothing(index_elements=["child"])
    connection.execute(statement, [_to_row(watch) for watch in watches])
    return [None] * len(watches)


def is_suspect(connection: Connection, child: bytes) -> bool:
    """Whether the latest look saw name servers for which a child's keys are to be suspended."""
    query = select(_TABLE.c.child).where(_TABLE.c.child == child, _IS_SUSPECT)
    return connection.execute(query).first() is not None


def suspend_keys(connection: Connection, now: float, owner: bytes, actor: str, reason: str) -> int:
    """A child's trusted keys count no more until an operator trusts them anew. How many that concerned."""
    trusted = [each for each in keys_of(connection, owner) if each.state is KeyState.TRUSTED]
    for stored in trusted:
        set_state(connection, now, stored.id, KeyState.SUSPENDED, actor, reason)
    return len(trusted)


def ds_gone_since(connection: Connection, held: Delegation, now: float) -> float | None:
    """Since when somebody else has left a child without DS, seen by a look or not; None if that is not so.

    `held` is what trust begins anew with. Inside a transaction of the store thread.
    """
    row = connection.execute(select(_TABLE).where(_TABLE.c.child == held.child)).one_or_none()
    if row is None or held.ds:
        return None
    watch = _from_row(row)
    if watch.ds_gone_since is not None:
        return watch.ds_gone_since
    unsettled = select(_CHANGES.c.id).where(_CHANGES.c.child == held.child, _CHANGES.c.state == "accepted")
    if connection.execute(unsettled).first() is not None:
        return None  # what the child itself may be about to take out
    number, last = _last_applied(connection, held.child)
    reference = watch.began if last is None or number <= watch.began_change else last
    was_seen = watch.seen_ds and number <= watch.seen_change
    return now if was_seen or (reference is not None and reference.ds) else None


def last_applied(connection: Connection, child: bytes) -> int:
    """The number of the last change of a delegation that was applied, 0 for none; inside a transaction."""
    return _last_applied(connection, child)[0]


def _last_applied(connection: Connection, child: bytes) -> tuple[int, Delegation | None]:
    applied = _CHANGES.c.child == child, _CHANGES.c.state == "applied", _CHANGES.c.kind == "delegation"
    newest = select(_CHANGES.c.id, _CHANGES.c.after).where(*applied).order_by(_CHANGES.c.id.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return (0, None) if row is None else (row.id, Delegation.from_wire(row.after))


def _update(connection: Connection, watches: Sequence[Watch]) -> Sequence[None]:
    for watch in watches:
        values = _to_row(watch)
        if watch.is_absent or watch.suspect_since is not None:
            # who holds it meanwhile has the last word
            del values["is_held"]
        connection.execute(update(_TABLE).where(_is(watch)).values(values))
    return [None] * len(watches)


def _is(watch: Watch) -> ColumnElement[bool]:
    """The row of this watch, and of no other that the same child had or has."""
    return (_TABLE.c.child == watch.child) & (_TABLE.c.began_at == watch.began_at)


def _of_absent(zone: bytes) -> ColumnElement[bool]:
    return (_TABLE.c.zone == zone) & _IS_ABSENT & _HAS_TRUSTED


def _of_suspect(zone: bytes) -> ColumnElement[bool]:
    return (_TABLE.c.zone == zone) & _IS_SUSPECT & _HAS_TRUSTED


def may_be_away(watched: int) -> int:
    """How many of so many delegations may be away at a time, where nobody says how many (PROTOCOL section 4)."""
    return max(1, min(max(AT_MOST, watched // SHARE), watched // PART))


def _counted(connection: Connection, items: Sequence[tuple[bytes, int | None]]) -> Sequence[Away]:
    return [_away(connection, zone, at_most) for zone, at_most in items]


def _all_suspected(connection: Connection, items: Sequence[tuple[bytes, int | None, float, str]]) -> Sequence[Away]:
    return [_suspected(connection, *item) for item in items]


def _away(connection: Connection, zone: bytes, at_most: int | None) -> Away:
    watched = (_TABLE.c.zone == zone) & _HAS_TRUSTED
    return _held_against(connection, watched, _of_absent(zone), _of_absent(zone), at_most)


def _suspected(connection: Connection, zone: bytes, at_most: int | None, since: float, actor: str) -> Away:
    lately = (_TABLE.c.zone == zone) & exists().where(
        _KEYS.c.owner == _TABLE.c.child,
        _KEYS.c.state == KeyState.SUSPENDED.value,
        _KEYS.c.actor == actor,
        _KEYS.c.changed_at >= since,
    )
    watched = ((_TABLE.c.zone == zone) & _HAS_TRUSTED) | lately
    return _held_against(connection, watched, _of_suspect(zone) | lately, _of_suspect(zone), at_most)


def _held_against(
    connection: Connection,
    watched: ColumnElement[bool],
    counted: ColumnElement[bool],
    held: ColumnElement[bool],
    at_most: int | None,
) -> Away:
    """How many there are, of how many; where that is too many, they are held from now on."""
    of = _count(connection, watched)
    count = _count(connection, counted)
    away = Away(count, of, may_be_away(of) if at_most is None else at_most, 0)
    if away.is_too_many:
        connection.execute(update(_TABLE).where(held).values(is_held=True))
    return replace(away, held=_count(connection, held & _TABLE.c.is_held)) if count else away


def _count(connection: Connection, condition: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).select_from(_TABLE).where(condition)).scalar_one()


def _to_row(watch: Watch) -> dict[str, Any]:
    return {
        "child": watch.child,
        "zone": watch.zone,
        "began": None if watch.began is None else watch.began.to_wire(),
        "began_at": watch.began_at,
        # names end themselves
        "seen": b"".join(watch.seen),
        "seen_at": watch.seen_at,
        "absent_since": watch.absent_since,
        "absent_at": watch.absent_at,
        "absent_for": watch.absent_for,
        "looks": watch.looks,
        "is_held": watch.is_held,
        "suspect_since": watch.suspect_since,
        "began_change": watch.began_change,
        "seen_change": watch.seen_change,
        "ds_gone_since": watch.ds_gone_since,
        "seen_ds": watch.seen_ds,
    }


def _from_row(row: Any) -> Watch:
    values = dict(row._mapping)
    began = values["began"]
    values["began"] = None if began is None else Delegation.from_wire(began)
    values["seen"] = _names_in(values["seen"] or b"")
    return Watch(**values)


def _names_in(octets: bytes) -> tuple[bytes, ...]:
    found, start, at = [], 0, 0
    while at < len(octets):
        length = octets[at]
        at += 1 + length
        if not length:
            found.append(octets[start:at])
            start = at
    return tuple(found)
