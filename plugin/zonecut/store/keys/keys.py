"""The keys of the children: which there are, what they are worth, and how that came about.

A key is its owner and its whole RDATA. Adding one never replaces, hides or evicts another.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import islice

from sqlalchemy import Connection, delete, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from zonecut.protocol import names
from zonecut.protocol.keys import Key
from zonecut.store import tables
from zonecut.store.audit import AuditEntry, insert_entries
from zonecut.store.errors import InvalidTransition, NotInStore
from zonecut.store.key_values import COLUMNS, ROLLOVER, KeyState, StoredKey
from zonecut.store.thread import StoreThread

BULK = 2000
"""Keys that `add_many` commits at once: a daemon on the same store never waits for more than that."""
PAGE = 1000
KEPT_EVENTS = 100_000
"""Events that stay for key rings to see; a ring that has missed more of them reads all owners anew."""

_TABLE = tables.keys
_EVENTS = tables.key_events
_FORGET_EVENTS = delete(_EVENTS).where(_EVENTS.c.seq <= select(func.max(_EVENTS.c.seq) - KEPT_EVENTS).scalar_subquery())
_UNTRUSTED = (KeyState.REVOKED, KeyState.REFUSED)
"""What an operator makes of a key by taking trust away, for good or until an operator gives it."""


@dataclass(frozen=True, slots=True)
class _Addition:
    key: Key
    state: KeyState
    method: str
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Transition:
    id: int
    state: KeyState
    actor: str
    reason: str
    method: str | None


class KeyTable:
    """The child keys of a store."""

    def __init__(self, thread: StoreThread, clock: Callable[[], float]) -> None:
        self._thread = thread
        self._clock = clock

    async def add(self, key: Key, state: KeyState, method: str, actor: str, reason: str = "") -> tuple[StoredKey, bool]:
        """The key as it stands in the store, and whether it was added now.

        A key that is there stays as it is, whatever `state` says. Raises StoreUnavailable.
        """
        return await self._thread.write(self._add, _Addition(key, state, method, actor, reason))

    async def add_many(
        self,
        keys: Iterable[Key],
        state: KeyState,
        method: str,
        actor: str,
        reason: str = "",
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[int, int]:
        """Add keys in transactions of a few thousand: how many were added, and how many were there already.

        `progress` is called with both counts after each transaction. Raises StoreUnavailable; what was counted before
        stays in the store, and the same call made again adds the rest.
        """
        added = present = 0
        source = iter(keys)
        while chunk := [_Addition(key, state, method, actor, reason) for key in islice(source, BULK)]:
            created = await self._thread.write(self._add_chunks, chunk)
            added += created
            present += len(chunk) - created
            if progress is not None:
                progress(added, present)
        return added, present

    async def set_state(
        self, key_id: int, state: KeyState, actor: str, reason: str, *, method: str | None = None
    ) -> StoredKey:
        """The key after the transition; setting the state that it has changes nothing.

        `method`, if given, replaces how it became what it is. Raises InvalidTransition for a revoked key, which
        stays revoked; NotInStore; StoreUnavailable. A store that was restored takes only REVOKED and REFUSED.
        """
        transition = _Transition(key_id, state, actor, reason, method)
        return await self._thread.write(self._set_states, transition, untrusts=state in _UNTRUSTED)

    async def get(self, key_id: int) -> StoredKey | None:
        """The key with this number, or None. Raises StoreUnavailable."""
        return await self._thread.read(lambda connection: _get(connection, key_id))

    async def find(self, owner: bytes, tag: int | None = None) -> tuple[StoredKey, ...]:
        """The keys of a child, oldest first; with a tag, those of that tag. Raises StoreUnavailable."""
        query = select(*COLUMNS).where(_TABLE.c.owner == owner).order_by(_TABLE.c.id)
        if tag is not None:
            query = query.where(_TABLE.c.tag == tag)
        return await self._thread.read(
            lambda connection: tuple(StoredKey.from_row(row) for row in connection.execute(query))
        )

    async def list(
        self, owner: bytes | None = None, state: KeyState | None = None, *, after: int = 0
    ) -> AsyncIterator[StoredKey]:
        """Keys, oldest first, those `after` a number, read page by page while they are taken.

        Raises StoreUnavailable.
        """
        query = select(*COLUMNS).order_by(_TABLE.c.id).limit(PAGE)
        if owner is not None:
            query = query.where(_TABLE.c.owner == owner)
        if state is not None:
            query = query.where(_TABLE.c.state == state.value)
        while True:
            page = await self._thread.read(
                lambda connection, after=after: [  # type: ignore[misc]
                    StoredKey.from_row(row) for row in connection.execute(query.where(_TABLE.c.id > after))
                ]
            )
            for stored in page:
                yield stored
            if len(page) < PAGE:
                return
            after = page[-1].id

    async def changed_since(self, event: int | None) -> tuple[int, Sequence[bytes]]:
        """The number of the newest event of a key, and whose keys changed since an earlier one; None: only the number.

        Raises StoreUnavailable.
        """
        return await self._thread.read(partial(_changed_since, event=event))

    # Handlers: called in the store thread, inside a transaction.

    def _add(self, connection: Connection, items: Sequence[_Addition]) -> Sequence[tuple[StoredKey, bool]]:
        now = self._clock()
        identities = [_identity(item.key) for item in items]
        created = _insert(connection, now, items, identities)
        present = _select(connection, set(identities) - created.keys())
        results = []
        for item, identity in zip(items, identities, strict=True):
            # The second of two equal ones in a group finds the first one's row.
            number = created.get(identity)
            if number is None:
                results.append((present[identity], False))
                continue
            stored = StoredKey(number, item.key, item.state, item.method, item.reason, item.actor, now, now)
            results.append((present.setdefault(identity, stored), present[identity] is stored))
        return results

    def _add_chunks(self, connection: Connection, chunks: Sequence[Sequence[_Addition]]) -> Sequence[int]:
        now = self._clock()
        return [len(_insert(connection, now, chunk, [_identity(item.key) for item in chunk])) for chunk in chunks]

    def _set_states(self, connection: Connection, items: Sequence[_Transition]) -> Sequence[StoredKey]:
        now = self._clock()
        return [
            set_state(connection, now, item.id, item.state, item.actor, item.reason, method=item.method)
            for item in items
        ]


def _changed_since(connection: Connection, event: int | None) -> tuple[int, Sequence[bytes]]:
    newest = connection.execute(select(func.max(_EVENTS.c.seq))).scalar() or 0
    if event is None or newest == event:
        return newest, ()
    query = select(_EVENTS.c.owner).where(_EVENTS.c.seq > event, _EVENTS.c.seq <= newest).distinct()
    return newest, connection.execute(query).scalars().all()


def _identity(key: Key) -> tuple[bytes, bytes]:
    return key.owner, sha256(key.rdata).digest()


def _insert(
    connection: Connection, now: float, items: Sequence[_Addition], identities: Sequence[tuple[bytes, bytes]]
) -> dict[tuple[bytes, bytes], int]:
    """Insert what is not there, with its events and audit entries; the numbers of the new rows by identity."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(_TABLE).on_conflict_do_nothing(index_elements=["owner", "digest"])
    rows = connection.execute(
        statement.returning(_TABLE.c.id, _TABLE.c.owner, _TABLE.c.digest),
        [
            {
                "owner": owner,
                "tag": item.key.tag,
                "algorithm": item.key.algorithm,
                "rdata": item.key.rdata,
                "digest": digest,
                "state": item.state.value,
                "method": item.method,
                "reason": item.reason,
                "actor": item.actor,
                "created_at": now,
                "changed_at": now,
            }
            for item, (owner, digest) in zip(items, identities, strict=True)
        ],
    )
    created = {(owner, digest): number for number, owner, digest in rows}
    if created:
        # Of equal keys in one group the first made the row.
        by_identity = dict(zip(reversed(identities), reversed(items), strict=True))
        _announce(connection, [owner for owner, _ in created])
        began = {by_identity[identity].key.owner for identity in created if _begins(by_identity[identity])}
        forget_watches(connection, began)
        insert_entries(
            connection,
            now,
            [_entry("key.added", number, by_identity[identity]) for identity, number in created.items()],
        )
    return created


def _begins(item: _Addition) -> bool:
    return item.state is KeyState.TRUSTED and item.method != ROLLOVER


def forget_watches(connection: Connection, owners: Collection[bytes]) -> None:
    """Trust in these children begins, now: what is seen of their delegations next is what it began with."""
    if owners:
        connection.execute(delete(tables.watches).where(tables.watches.c.child.in_(list(owners))))


def _announce(connection: Connection, owners: Sequence[bytes]) -> None:
    """Tell the key rings of all processes that something about these owners changed."""
    connection.execute(insert(_EVENTS), [{"owner": owner} for owner in owners])
    connection.execute(_FORGET_EVENTS)


def _entry(event: str, number: int, item: _Addition) -> AuditEntry:
    detail = {"key": number, "state": item.state.value, "method": item.method, "reason": item.reason}
    return AuditEntry(event, item.actor, child=item.key.owner, key_tag=item.key.tag, detail=detail)


def _select(connection: Connection, identities: set[tuple[bytes, bytes]]) -> dict[tuple[bytes, bytes], StoredKey]:
    if not identities:
        return {}
    query = select(*COLUMNS).where(tuple_(_TABLE.c.owner, _TABLE.c.digest).in_(identities))
    stored = (StoredKey.from_row(row) for row in connection.execute(query))
    return {_identity(found.key): found for found in stored}


def _get(connection: Connection, number: int, *, lock: bool = False) -> StoredKey | None:
    query = select(*COLUMNS).where(_TABLE.c.id == number)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else StoredKey.from_row(row)


def keys_of(connection: Connection, owner: bytes | None, key_id: int | None = None) -> tuple[StoredKey, ...]:
    """The keys of an owner, oldest first, or the one with a number; inside a transaction of the store thread."""
    condition = _TABLE.c.id == key_id if owner is None else _TABLE.c.owner == owner
    query = select(*COLUMNS).where(condition).order_by(_TABLE.c.id).with_for_update()
    return tuple(StoredKey.from_row(row) for row in connection.execute(query))


def add_key(
    connection: Connection, now: float, key: Key, state: KeyState, method: str, actor: str, reason: str
) -> StoredKey:
    """Add a key that is not there, with its event and audit entry; inside a transaction of the store thread."""
    (number,) = _insert(connection, now, [_Addition(key, state, method, actor, reason)], [_identity(key)]).values()
    return StoredKey(number, key, state, method, reason, actor, now, now)


def set_state(
    connection: Connection,
    now: float,
    key_id: int,
    state: KeyState,
    actor: str,
    reason: str,
    *,
    method: str | None = None,
    anew: bool = False,
) -> StoredKey:
    """The key after a transition, with its event and audit entry; inside a transaction of the store thread.

    Whatever its bootstrap was about is settled by it. `anew`: it is decided again where that is its state already.
    Raises NotInStore, InvalidTransition for a revoked key.
    """
    stored = _get(connection, key_id, lock=True)
    if stored is None:
        raise NotInStore(f"there is no key number {key_id}")
    if stored.state is state and not anew:
        return stored
    if stored.state is KeyState.REVOKED:
        raise InvalidTransition(
            f"key {stored.key.tag} of {names.to_text(stored.key.owner)} is revoked and cannot become"
            f" {state.value}: revocation is final, so the child needs a new key"
        )
    method = stored.method if method is None else method
    connection.execute(
        update(_TABLE)
        .where(_TABLE.c.id == key_id)
        .values(state=state.value, method=method, reason=reason, actor=actor, changed_at=now)
    )
    connection.execute(delete(tables.bootstraps).where(tables.bootstraps.c.key_id == key_id))
    item = _Addition(stored.key, state, method, actor, reason)
    if _begins(item):
        forget_watches(connection, [stored.key.owner])
    _announce(connection, [stored.key.owner])
    entry = _entry(f"key.{state.value}", key_id, item)
    insert_entries(connection, now, [entry])
    return StoredKey(key_id, stored.key, state, method, reason, actor, stored.created_at, now)
