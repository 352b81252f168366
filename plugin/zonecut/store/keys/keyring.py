"""The keys as the hot path sees them: most answers come from memory, none is older than a second.

Two structures answer: a filter of all owners says who has no key at all, a bounded cache holds the keys of those who
sign. A refresh that is repeated four times a second brings what any process changed. When it fails, or is late, the
ring says "must be fetched" to everything: it never answers from what may have been revoked.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select

from zonecut.protocol.codepoints import CodePoints
from zonecut.protocol.keys import UnusableKey, Verifier, verifier
from zonecut.store import tables
from zonecut.store.errors import StoreUnavailable
from zonecut.store.key_values import COLUMNS, KeyState, StoredKey
from zonecut.store.keys.owners import OwnerFilter
from zonecut.store.place.mark import Restored
from zonecut.store.thread import StoreThread

PERIOD = 0.25
"""Seconds between two refreshes."""
MAX_AGE = 1.0
"""Seconds after the start of the last successful refresh for which answers from memory count."""
CHUNK = 500
"""Owners that one query asks for."""
EVENTS = 5000
"""Events that one refresh takes."""
LOAD_PAGE = 20_000

_events = tables.key_events
_keys = tables.keys
# The event seen last comes along: when it is gone, others may be, too.
_EVENTS_SINCE = (
    select(_events.c.seq, _events.c.owner)
    .where(_events.c.seq >= bindparam("last"))
    .order_by(_events.c.seq)
    .limit(EVENTS + 1)
)
_KEYS_OF = select(*COLUMNS).where(_keys.c.owner.in_(bindparam("owners", expanding=True)))
_OWNERS_AFTER = (
    select(_keys.c.owner).distinct().where(_keys.c.owner > bindparam("after")).order_by(_keys.c.owner).limit(LOAD_PAGE)
)
_RANK = {KeyState.TRUSTED: 0, KeyState.KNOWN: 1}
_LAST = 2


class RingKey(NamedTuple):
    """A key ready for use. `verify` is None where messages must not be signed with such a key."""

    stored: StoredKey
    verify: Verifier | None


class _Page(NamedTuple):
    """What one read transaction saw."""

    started: float
    """Monotonic time before the transaction began to read."""
    seq: int
    """The number of the newest event it took."""
    changed: Sequence[bytes]
    complete: bool
    """False when there are more events."""
    intact: bool
    """False when events that were not seen have been removed."""
    keys: dict[bytes, tuple[RingKey, ...]]


class KeyRing:
    """Look-up of child keys. All methods belong to one event loop."""

    def __init__(
        self,
        thread: StoreThread,
        codepoints: CodePoints,
        capacity: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`capacity`: the owners whose keys are kept in memory, at least 2."""
        self._thread = thread
        self._codepoints = codepoints
        self._monotonic = monotonic
        # Two generations instead of an exact order of use: a hit costs one dict look-up and moves nothing.
        self._half = max(capacity // 2, 1)
        self._young: dict[bytes, tuple[RingKey, ...]] = {}
        self._old: dict[bytes, tuple[RingKey, ...]] = {}
        self._owners = OwnerFilter()
        self._seq = 0
        self._fresh_until = float("-inf")
        self._loaded = False
        self._loading = asyncio.Lock()
        self.problem: str | None = None
        """Why the last refresh failed, or None."""

    async def start(self) -> None:
        """Read all owners. Raises StoreUnavailable."""
        await self._load()
        await self._bring(())

    @property
    def restored(self) -> Restored | None:
        """What shows that the store was restored from a backup, until an operator has accepted that."""
        return self._thread.restored

    def __len__(self) -> int:
        """The owners that have or had a key."""
        return len(self._owners)

    def lookup(self, owner: bytes) -> tuple[RingKey, ...] | None:
        """The keys of an owner, trusted ones first; `()` if there is certainly none; None if `fetch` has to tell.

        Costs less than a microsecond and never waits. `owner` is in lower-case wire form.
        """
        if self._monotonic() > self._fresh_until:
            return None
        found = self._young.get(owner)
        if found is not None:
            return found
        found = self._old.get(owner)
        if found is not None:
            self._remember(owner, found)
            return found
        return None if owner in self._owners else ()

    async def fetch(self, owners: Collection[bytes]) -> dict[bytes, tuple[RingKey, ...]]:
        """The keys of each of these owners as the store has them now; one query for up to 500 owners.

        They are in memory afterwards, until other owners push them out. Raises StoreUnavailable.
        """
        if not self._loaded:
            await self._load()
        wanted = list(owners)
        found: dict[bytes, tuple[RingKey, ...]] = {}
        for start in range(0, max(len(wanted), 1), CHUNK):
            found |= await self._bring(wanted[start : start + CHUNK])
        return found

    async def run(self) -> None:
        """Refresh until cancelled; a second after that everything "must be fetched"."""
        while True:
            await asyncio.sleep(PERIOD)
            try:
                await self._bring(())
                self.problem = None
            except StoreUnavailable as error:
                self.problem = error.reason

    async def _bring(self, owners: Sequence[bytes]) -> dict[bytes, tuple[RingKey, ...]]:
        """Read events and owners until both are in memory. Every fetch is a refresh as well."""
        while True:
            page = await self._thread.read(partial(self._read, owners))
            if not page.intact:
                await self._load(lost=page.seq)
            elif self._apply(page):
                return page.keys

    def _apply(self, page: _Page) -> bool:
        """Take a page over; False when it does not tell everything and another one is needed."""
        # Pages of overlapping reads may come in any order; to drop an owner once more does no harm.
        self._owners.update(page.changed)
        for owner in page.changed:
            self._young.pop(owner, None)
            self._old.pop(owner, None)
        if page.seq < self._seq:
            return False  # read before something that is known by now: its keys may be stale
        self._seq = page.seq
        if not page.complete:
            return False
        for owner, found in page.keys.items():
            self._remember(owner, found)
        self._fresh_until = max(self._fresh_until, page.started + MAX_AGE)
        return True

    def _remember(self, owner: bytes, found: tuple[RingKey, ...]) -> None:
        self._young[owner] = found
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}

    async def _load(self, lost: int | None = None) -> None:
        """Read all owners anew. `lost`: the event at which the thread was lost; somebody else may have loaded since."""
        async with self._loading:
            if self._loaded and (lost is None or self._seq != lost):
                return
            self._fresh_until = float("-inf")
            # The events before the owners: what changes while they are read is then seen as an event.
            seq = await self._thread.read(
                lambda connection: connection.execute(select(func.max(_events.c.seq))).scalar() or 0
            )
            owners = OwnerFilter()
            after: bytes | None = b""
            while after is not None:
                after = await self._thread.read(partial(_load_owners, owners, after))
            self._young, self._old, self._owners = {}, {}, owners
            self._seq = seq
            self._loaded = True

    # In the store thread.

    def _read(self, owners: Sequence[bytes], connection: Connection) -> _Page:
        started = self._monotonic()
        last = self._seq
        events = connection.execute(_EVENTS_SINCE, {"last": last}).all()
        intact = last == 0 or (bool(events) and events[0][0] == last)
        if not intact:
            return _Page(started, last, (), complete=False, intact=False, keys={})
        new = [owner for seq, owner in events if seq > last]
        keys = self._read_keys(connection, owners) if owners else {}
        return _Page(started, events[-1][0] if events else 0, new, len(events) <= EVENTS, intact=True, keys=keys)

    def _read_keys(self, connection: Connection, owners: Sequence[bytes]) -> dict[bytes, tuple[RingKey, ...]]:
        found: dict[bytes, list[RingKey]] = {owner: [] for owner in owners}
        for row in connection.execute(_KEYS_OF, {"owners": owners}).all():
            stored = StoredKey.from_row(row)
            found[stored.key.owner].append(RingKey(stored, self._verifier(stored)))
        return {owner: tuple(sorted(ring, key=_rank)) if ring[1:] else tuple(ring) for owner, ring in found.items()}

    def _verifier(self, stored: StoredKey) -> Verifier | None:
        try:
            return verifier(stored.key, self._codepoints)
        except UnusableKey:
            return None


def _rank(ring_key: RingKey) -> tuple[int, int]:
    return _RANK.get(ring_key.stored.state, _LAST), ring_key.stored.id


def _load_owners(owners: OwnerFilter, after: bytes, connection: Connection) -> bytes | None:
    """Add a page of owners; the last of them, or None when there are no more."""
    page = connection.execute(_OWNERS_AFTER, {"after": after}).scalars().all()
    owners.update(page)
    return page[-1] if len(page) == LOAD_PAGE else None
