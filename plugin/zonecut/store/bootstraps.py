"""Keys on their way to being trusted: what was uploaded, how far its bootstrap got, and how it ends.

Every transition that makes or unmakes trust is one transaction, and none of them takes trust from a key before the key
that replaces it has become trusted: a message that anybody can make must not evict a good key.
"""

import json
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, insert, select, update

from zonecut.protocol import names
from zonecut.protocol.keys import Key
from zonecut.store import tables
from zonecut.store.bootstrap_values import Bootstrap, Roll, Upload
from zonecut.store.change_values import ChangeState
from zonecut.store.changes import append
from zonecut.store.errors import InvalidTransition, NotInStore, QuotaExceeded
from zonecut.store.keys import KeyState, StoredKey, add_key, keys_of, set_state
from zonecut.store.thread import StoreThread

_TABLE = tables.bootstraps


@dataclass(frozen=True, slots=True)
class _Acceptance:
    bootstrap: Bootstrap
    method: str
    actor: str
    reason: str
    validated: frozenset[bytes]
    alone: bool


@dataclass(frozen=True, slots=True)
class _Decision:
    key_id: int
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class _End:
    key_id: int
    state: KeyState
    actor: str
    reason: str


class BootstrapTable:
    """The pending keys of a store."""

    def __init__(self, thread: StoreThread, clock: Callable[[], float]) -> None:
        self._thread = thread
        self._clock = clock

    async def begin(self, upload: Upload) -> StoredKey:
        """Take in an uploaded key as known, with a bootstrap that begins; the key as it stands then.

        A key that is trusted, refused or revoked stays as it is, and one whose bootstrap is under way goes on with it.
        Raises QuotaExceeded when too many are pending: a newcomer never displaces one that is there; StoreUnavailable.
        """
        return await self._thread.write(self._begin, upload)

    async def get(self, key_id: int) -> Bootstrap | None:
        """The bootstrap of a key, or None. Raises StoreUnavailable."""
        return await self._first(_TABLE.c.key_id == key_id)

    async def list(self, owner: bytes | None = None) -> Sequence[Bootstrap]:
        """The bootstraps under way, of one child or of all, oldest first. Raises StoreUnavailable."""
        query = select(_TABLE).order_by(_TABLE.c.started_at)
        if owner is not None:
            query = query.where(_TABLE.c.owner == owner)
        return await self._thread.read(lambda connection: [_from_row(row) for row in connection.execute(query)])

    async def due(self, zone: bytes, now: float, limit: int, exclude: Collection[int]) -> Sequence[Bootstrap]:
        """Automatic bootstraps of a zone whose next attempt is due, the longest waiting first.

        Raises StoreUnavailable.
        """
        query = (
            select(_TABLE)
            .where(
                _TABLE.c.zone == zone,
                _TABLE.c.manual.is_(False),
                _TABLE.c.next_at <= now,
                _TABLE.c.key_id.not_in(list(exclude)),
            )
            .order_by(_TABLE.c.next_at)
            .limit(limit)
        )
        return await self._thread.read(lambda connection: [_from_row(row) for row in connection.execute(query)])

    async def expired(self, zone: bytes, now: float) -> Sequence[Bootstrap]:
        """Bootstraps of a zone whose time is over. Raises StoreUnavailable."""
        query = select(_TABLE).where(_TABLE.c.zone == zone, _TABLE.c.expires_at <= now)
        return await self._thread.read(lambda connection: [_from_row(row) for row in connection.execute(query)])

    async def progress(self, bootstrap: Bootstrap) -> None:
        """Record how far a bootstrap got; one that ended meanwhile stays ended. Raises StoreUnavailable."""
        await self._thread.write(self._progress, bootstrap)

    async def accept(
        self, bootstrap: Bootstrap, method: str, actor: str, reason: str, *, validated: Collection[bytes], alone: bool
    ) -> StoredKey:
        """A method found that a key belongs to its child: it is trusted, in one transaction with what that means.

        If its upload asked to replace, the child's trusted keys whose RDATA is not in `validated` are superseded. With
        `alone`, a child that has a trusted key already gets no other. Raises InvalidTransition when this bootstrap is
        not the key's any more, or for `alone`; NotInStore, StoreUnavailable.
        """
        item = _Acceptance(bootstrap, method, actor, reason, frozenset(validated), alone)
        return await self._thread.write(self._accept, item)

    async def decide(self, key_id: int, actor: str, reason: str) -> StoredKey:
        """An operator trusts a key; if its upload asked to replace, the child's others are superseded with that.

        Raises InvalidTransition for a revoked key, NotInStore, StoreUnavailable.
        """
        return await self._thread.write(self._decide, _Decision(key_id, actor, reason))

    async def end(self, key_id: int, state: KeyState, actor: str, reason: str) -> StoredKey:
        """End a bootstrap without trust: the key becomes VALIDATION_FAILED or REFUSED.

        A key that is not KNOWN any more stays as it is. Raises NotInStore, StoreUnavailable.
        """
        return await self._thread.write(self._end, _End(key_id, state, actor, reason))

    async def roll(self, roll: Roll) -> tuple[StoredKey, ...]:
        """The child's keys after a change under a trusted signature; the ledger records it in the same transaction.

        What it adds is trusted, what it deletes superseded. Raises InvalidTransition when no trusted key would
        remain, a key to add is refused or revoked, or the key that signed is not trusted any more; QuotaExceeded when
        too many would be; whatever `roll.check` raises; StoreUnavailable.
        """
        return await self._thread.write(self._roll, roll)

    async def forget_child(self, owner: bytes, actor: str, reason: str) -> int:
        """A child's delegation ended: no key of it is trusted or pending any more. How many keys that concerned."""
        return await self._thread.write(self._forget, (owner, actor, reason))

    async def suspend_child(self, owner: bytes, zone: bytes, actor: str, reason: str) -> int:
        """A child's trusted keys count no more until an operator trusts them anew. How many that concerned."""
        return await self._thread.write(self._suspend, (owner, zone, actor, reason))

    async def _first(self, condition: Any) -> Bootstrap | None:
        query = select(_TABLE).where(condition)
        row = await self._thread.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else _from_row(row)

    # Handlers: called in the store thread, inside a transaction.

    def _begin(self, connection: Connection, uploads: Sequence[Upload]) -> Sequence[StoredKey]:
        return [self._begin_one(connection, upload) for upload in uploads]

    def _begin_one(self, connection: Connection, upload: Upload) -> StoredKey:
        now, key, actor = self._clock(), upload.key, upload.actor or names.to_text(upload.key.owner)
        stored = next((each for each in keys_of(connection, key.owner) if each.key == key), None)
        if stored is not None:
            if stored.state in (KeyState.TRUSTED, KeyState.REFUSED, KeyState.REVOKED):
                return stored
            if connection.execute(select(_TABLE.c.key_id).where(_TABLE.c.key_id == stored.id)).first():
                return stored
        _check_quota(connection, upload)
        if stored is None:
            stored = add_key(connection, now, key, KeyState.KNOWN, upload.method, actor, upload.reason or upload.source)
        else:
            stored = set_state(connection, now, stored.id, KeyState.KNOWN, actor, upload.reason or "uploaded again")
        _insert(
            connection,
            stored,
            upload.zone,
            upload.source,
            replaces=upload.replaces,
            manual=upload.manual,
            now=now,
            next_at=upload.next_at,
            expires_at=upload.expires_at,
        )
        return stored

    def _progress(self, connection: Connection, items: Sequence[Bootstrap]) -> Sequence[None]:
        for item in items:
            connection.execute(
                update(_TABLE)
                .where(_is(item))
                .values(
                    manual=item.manual,
                    method=item.method,
                    attempts=item.attempts,
                    reason=item.reason,
                    evidence=json.dumps(item.evidence),
                    next_at=item.next_at,
                    expires_at=item.expires_at,
                )
            )
        return [None] * len(items)

    def _accept(self, connection: Connection, items: Sequence[_Acceptance]) -> Sequence[StoredKey]:
        return [self._accept_one(connection, item) for item in items]

    def _accept_one(self, connection: Connection, item: _Acceptance) -> StoredKey:
        stored, others = _key_and_trusted_others(connection, item.bootstrap.key_id)
        text = f"key {stored.key.tag} of {names.to_text(stored.key.owner)}"
        row = connection.execute(select(_TABLE.c.replaces).where(_is(item.bootstrap))).one_or_none()
        if row is None or stored.state is not KeyState.KNOWN:
            raise InvalidTransition(f"{text} is {stored.state.value} by now")
        if item.alone and others:
            raise InvalidTransition(f"{text}: another key of the child is trusted by now")
        replaced = [other for other in others if other.key.rdata not in item.validated] if row.replaces else []
        return self._trust(connection, stored, item.method, item.actor, item.reason, replaced)

    def _decide(self, connection: Connection, items: Sequence[_Decision]) -> Sequence[StoredKey]:
        return [self._decide_one(connection, item) for item in items]

    def _decide_one(self, connection: Connection, item: _Decision) -> StoredKey:
        stored, others = _key_and_trusted_others(connection, item.key_id)
        replaces = connection.execute(select(_TABLE.c.replaces).where(_TABLE.c.key_id == item.key_id)).scalar()
        return self._trust(connection, stored, "manual", item.actor, item.reason, others if replaces else [])

    def _trust(
        self,
        connection: Connection,
        stored: StoredKey,
        method: str,
        actor: str,
        reason: str,
        replaced: Sequence[StoredKey],
    ) -> StoredKey:
        now = self._clock()
        trusted = set_state(connection, now, stored.id, KeyState.TRUSTED, actor, reason, method=method)
        for other in replaced:
            set_state(connection, now, other.id, KeyState.SUPERSEDED, actor, f"replaced by key {stored.key.tag}")
        return trusted

    def _end(self, connection: Connection, items: Sequence[_End]) -> Sequence[StoredKey]:
        return [self._end_one(connection, item) for item in items]

    def _end_one(self, connection: Connection, item: _End) -> StoredKey:
        stored = keys_of(connection, None, item.key_id)
        if not stored:
            raise NotInStore(f"there is no key number {item.key_id}")
        if stored[0].state is not KeyState.KNOWN:
            return stored[0]
        return set_state(connection, self._clock(), item.key_id, item.state, item.actor, item.reason)

    def _roll(self, connection: Connection, items: Sequence[Roll]) -> Sequence[tuple[StoredKey, ...]]:
        return [self._roll_one(connection, item) for item in items]

    def _roll_one(self, connection: Connection, roll: Roll) -> tuple[StoredKey, ...]:
        now = self._clock()
        held = {stored.key.rdata: stored for stored in keys_of(connection, roll.owner)}
        trusted = {rdata for rdata, stored in held.items() if stored.state is KeyState.TRUSTED}
        text = names.to_text(roll.owner)
        if not any(held[rdata].id == roll.signing_key for rdata in trusted):
            raise InvalidTransition(f"the key of {text} that signed is not trusted any more")
        after = set(trusted)
        for adds, rdata in roll.steps:
            if rdata is None:
                after.clear()
            elif adds:
                after.add(rdata)
            else:
                after.discard(rdata)
        if not after:
            raise InvalidTransition(f"no trusted key of {text} would remain")
        if len(after) > max(roll.max_trusted, len(trusted)):
            raise QuotaExceeded(f"{len(after)} keys of {text} would be trusted, more than {roll.max_trusted}")
        for rdata in sorted(after - trusted):
            key = Key.from_rdata(roll.owner, rdata)
            roll.check(key)
            stored = held.get(rdata)
            if stored is None:
                add_key(connection, now, key, KeyState.TRUSTED, "rollover", roll.actor, "added under a trusted key")
                continue
            if stored.state in (KeyState.REFUSED, KeyState.REVOKED):
                raise InvalidTransition(f"key {key.tag} of {text} is {stored.state.value}")
            reason = "added under a trusted key"
            set_state(connection, now, stored.id, KeyState.TRUSTED, roll.actor, reason, method="rollover")
        for rdata in sorted(trusted - after):
            reason = "deleted under a trusted key"
            set_state(connection, now, held[rdata].id, KeyState.SUPERSEDED, roll.actor, reason)
        append(connection, now, [roll.record], ChangeState.APPLIED)
        return keys_of(connection, roll.owner)

    def _forget(self, connection: Connection, items: Sequence[tuple[bytes, str, str]]) -> Sequence[int]:
        now = self._clock()
        counts = []
        for owner, actor, reason in items:
            ended = 0
            for stored in keys_of(connection, owner):
                if stored.state in (KeyState.TRUSTED, KeyState.KNOWN):
                    set_state(connection, now, stored.id, KeyState.SUPERSEDED, actor, reason)
                    ended += 1
            counts.append(ended)
        return counts

    def _suspend(self, connection: Connection, items: Sequence[tuple[bytes, bytes, str, str]]) -> Sequence[int]:
        now = self._clock()
        counts = []
        for owner, zone, actor, reason in items:
            trusted = [each for each in keys_of(connection, owner) if each.state is KeyState.TRUSTED]
            for stored in trusted:
                set_state(connection, now, stored.id, KeyState.KNOWN, actor, reason)
                _insert(connection, stored, zone, "", replaces=False, manual=True, now=now, next_at=now, reason=reason)
            counts.append(len(trusted))
        return counts


def _is(bootstrap: Bootstrap) -> ColumnElement[bool]:
    """The row of this bootstrap, and of no other that the same key had or has."""
    return and_(_TABLE.c.key_id == bootstrap.key_id, _TABLE.c.started_at == bootstrap.started_at)


def _key_and_trusted_others(connection: Connection, key_id: int) -> tuple[StoredKey, list[StoredKey]]:
    found = keys_of(connection, None, key_id)
    if not found:
        raise NotInStore(f"there is no key number {key_id}")
    keys = keys_of(connection, found[0].key.owner)
    return found[0], [each for each in keys if each.state is KeyState.TRUSTED and each.id != key_id]


def _insert(
    connection: Connection,
    stored: StoredKey,
    zone: bytes,
    source: str,
    *,
    replaces: bool,
    manual: bool,
    now: float,
    next_at: float,
    expires_at: float = math.inf,
    reason: str = "",
) -> None:
    row = {
        "key_id": stored.id,
        "owner": stored.key.owner,
        "zone": zone,
        "source": source,
        "replaces": replaces,
        "manual": manual,
        "method": "",
        "attempts": 0,
        "reason": reason,
        "evidence": "{}",
        "started_at": now,
        "next_at": next_at,
        "expires_at": expires_at,
    }
    connection.execute(insert(_TABLE), row)


def _check_quota(connection: Connection, upload: Upload) -> None:
    child = names.to_text(upload.key.owner)
    for condition, most, what in (
        (_TABLE.c.owner == upload.key.owner, upload.max_per_child, f"keys of {child} are pending"),
        (_TABLE.c.source == upload.source, upload.max_per_source, "keys from this source are pending"),
        (None, upload.max_in_all, "keys are pending"),
    ):
        query = select(func.count()).select_from(_TABLE)
        count = connection.execute(query if condition is None else query.where(condition)).scalar_one()
        if count >= most:
            raise QuotaExceeded(f"{count} {what}, and no more than {most} are taken")


def _from_row(row: Any) -> Bootstrap:
    values = dict(row._mapping)
    values["evidence"] = json.loads(values["evidence"])
    return Bootstrap(**values)
