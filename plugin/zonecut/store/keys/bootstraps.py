"""Keys on their way to being trusted: what was uploaded, how far its bootstrap got, and how it ends.

Every transition that makes or unmakes trust is one transaction, and none of them takes trust from a key before the key
that replaces it has become trusted: a message that anybody can make must not evict a good key.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, and_, select, update

from zonecut.protocol import names
from zonecut.store import tables
from zonecut.store.audit import AuditEntry, insert_entries
from zonecut.store.errors import InvalidTransition, NotInStore, QuotaExceeded
from zonecut.store.key_values import ROLLED, ROLLOVER, KeyState, StoredKey
from zonecut.store.keys.bootstrap_rows import (
    begin_anew,
    bring_forward,
    check_quota,
    due_in_turn,
    from_row,
    insert_row,
    is_row_of,
    looked_in_vain,
    record_look,
    uploaded_again,
    without_place,
)
from zonecut.store.keys.bootstrap_values import Acceptance, Accepted, Bootstrap, Roll, Unpublished, Upload
from zonecut.store.keys.keys import add_key, keys_of, set_state
from zonecut.store.keys.watches import Watch, begin_watches, ds_gone_since, is_suspect, last_applied, suspend_keys
from zonecut.store.ledger.appending import append
from zonecut.store.ledger.change_values import ChangeState
from zonecut.store.thread import StoreThread

TRUSTED_ANEW = "manual-anew"
"""The method of a key that an operator trusts again after it was suspended: what it signed before is stale."""

_TABLE = tables.bootstraps
_DECIDED = (KeyState.TRUSTED, KeyState.SUSPENDED, KeyState.REFUSED, KeyState.REVOKED)
"""What no look changes, not even one that an operator wants."""
SETTLED = (*_DECIDED, KeyState.SUPERSEDED)
"""What an upload does not change. Who stole a key that the child has replaced since would come back with it."""
_DISPLACED = "all places of this child were taken, and it publishes other keys by now"
_SUSPECT = "NS were changed by somebody else, and another key was validated with those"


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

        A key that is trusted, suspended, superseded, refused or revoked stays as it is. One whose bootstrap is under
        way goes on with it, and is looked at again when the upload's `cool_down` has passed since the latest look.
        Raises QuotaExceeded when too many are pending: a newcomer displaces none but by `upload.published`;
        StoreUnavailable.
        """
        return await self._thread.write(self._begin, upload)

    async def retry(self, upload: Upload) -> StoredKey:
        """Have a key that is not trusted looked at anew and at once, as an operator wants it; all attempts before him.

        `upload` says by whom and why; its bounds on what may be pending do not count. Raises NotInStore;
        InvalidTransition for a key that no method makes trusted; StoreUnavailable.
        """
        return await self._thread.write(self._retry, upload)

    async def get(self, key_id: int) -> Bootstrap | None:
        """The bootstrap of a key, or None. Raises StoreUnavailable."""
        return await self._first(_TABLE.c.key_id == key_id)

    async def list(self, owner: bytes | None = None) -> Sequence[Bootstrap]:
        """The bootstraps under way, of one child or of all, oldest first. Raises StoreUnavailable."""
        query = select(_TABLE).order_by(_TABLE.c.started_at)
        if owner is not None:
            query = query.where(_TABLE.c.owner == owner)
        return await self._thread.read(lambda connection: [from_row(row) for row in connection.execute(query)])

    async def due(self, zone: bytes, now: float, limit: int, exclude: Collection[int]) -> Sequence[Bootstrap]:
        """Bootstraps of a zone of which a look is due or wanted: of each source one, then of each another one, and so
        on; those before the rest that were not looked at yet, and the longest waiting first. Raises StoreUnavailable.

        `exclude` are those that are being looked at: their sources have had their turn.
        """
        query = due_in_turn(zone, now, limit, exclude)
        return await self._thread.read(lambda connection: [from_row(row) for row in connection.execute(query)])

    async def expired(self, zone: bytes, now: float) -> Sequence[Bootstrap]:
        """Bootstraps of a zone whose time is over. Raises StoreUnavailable."""
        query = select(_TABLE).where(_TABLE.c.zone == zone, _TABLE.c.expires_at <= now)
        return await self._thread.read(lambda connection: [from_row(row) for row in connection.execute(query)])

    async def progress(self, bootstrap: Bootstrap, cool_down: float = 0.0) -> None:
        """Record how an attempt ended; a bootstrap that ended meanwhile stays ended.

        Where somebody gave a reason to look while the attempt was made, there is another one after `cool_down` seconds.
        Raises StoreUnavailable.
        """
        await self._thread.write(self._progress, (bootstrap, cool_down))

    async def look_again(
        self, owner: bytes, zone: bytes, delegation: bytes, no_ds_since: float | None, cool_down: float
    ) -> int:
        """Have the keys of a child that wait looked at again if they were judged on another delegation than this.

        `delegation` is a digest as in `Bootstrap.judged`, `no_ds_since` as there. Not sooner than `cool_down` seconds
        after the latest look. How many keys that concerned. Raises StoreUnavailable.
        """
        return await self._thread.write(self._look_again, (owner, zone, delegation, no_ds_since, cool_down))

    async def waiting(self, zone: bytes) -> Sequence[Bootstrap]:
        """Bootstraps of a zone that were looked at, and wait for the next look or for an operator.

        Raises StoreUnavailable.
        """
        query = select(_TABLE).where(_TABLE.c.zone == zone, _TABLE.c.judged.is_not(None))
        return await self._thread.read(lambda connection: [from_row(row) for row in connection.execute(query)])

    async def accept(self, acceptance: Acceptance) -> Accepted:
        """A method found that a key belongs to its child: it is trusted, in one transaction with what that means.

        If its upload asked to replace, the child's trusted keys that were not validated with it are superseded; else
        they are told of, or superseded where that is wanted. Raises InvalidTransition when this bootstrap is not the
        key's any more, for `alone`, or where a key would go that is not in `replaced`; QuotaExceeded when too many keys
        would be trusted; NotInStore, StoreUnavailable.
        """
        return await self._thread.write(self._accept, acceptance)

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

    async def suspend_child(self, owner: bytes, actor: str, reason: str) -> int:
        """A child's trusted keys count no more until an operator trusts them anew. How many that concerned."""
        return await self._thread.write(self._suspend, (owner, actor, reason))

    async def _first(self, condition: Any) -> Bootstrap | None:
        query = select(_TABLE).where(condition)
        row = await self._thread.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else from_row(row)

    # Handlers: called in the store thread, inside a transaction.

    def _begin(self, connection: Connection, uploads: Sequence[Upload]) -> Sequence[StoredKey]:
        return [self._begin_one(connection, upload) for upload in uploads]

    def _begin_one(self, connection: Connection, upload: Upload) -> StoredKey:
        now, key, actor = self._clock(), upload.key, upload.actor or names.to_text(upload.key.owner)
        stored = next((each for each in keys_of(connection, key.owner) if each.key == key), None)
        if stored is not None:
            if stored.state in SETTLED:
                return stored
            if (
                row := connection.execute(select(_TABLE.c.zone).where(_TABLE.c.key_id == stored.id)).first()
            ) is not None:
                if row.zone != upload.zone:
                    # the zone in which it waits has the child no more, and perhaps nobody works on that zone
                    begin_anew(connection, stored, upload, now)
                uploaded_again(connection, stored, upload, now)
                return stored
        looked_at = looked_in_vain(connection, stored, now)
        if (other := without_place(connection, upload)) is not None:
            self._end_one(connection, _End(other, KeyState.VALIDATION_FAILED, "zonecut", _DISPLACED))
        check_quota(connection, upload)
        if stored is None:
            stored = add_key(connection, now, key, KeyState.KNOWN, upload.method, actor, upload.reason or upload.source)
        else:
            stored = set_state(connection, now, stored.id, KeyState.KNOWN, actor, upload.reason or "uploaded again")
        insert_row(
            connection,
            stored,
            upload.zone,
            upload.source,
            replaces=upload.replaces,
            manual=upload.manual,
            now=now,
            next_at=max(upload.next_at, looked_at + upload.cool_down) if looked_at else upload.next_at,
            expires_at=upload.expires_at,
            looked_at=looked_at,
        )
        return stored

    def _retry(self, connection: Connection, uploads: Sequence[Upload]) -> Sequence[StoredKey]:
        return [self._retry_one(connection, upload) for upload in uploads]

    def _retry_one(self, connection: Connection, upload: Upload) -> StoredKey:
        now, key = self._clock(), upload.key
        text = f"key {key.tag} of {names.to_text(key.owner)}"
        stored = next((each for each in keys_of(connection, key.owner) if each.key == key), None)
        if stored is None:
            raise NotInStore(f"{text} is not in the store")
        if stored.state in _DECIDED:
            raise InvalidTransition(f"{text} is {stored.state.value}, and no look changes that")
        if stored.state is not KeyState.KNOWN:
            stored = set_state(connection, now, stored.id, KeyState.KNOWN, upload.actor, upload.reason)
        begin_anew(connection, stored, upload, now)
        entry = AuditEntry("key.retry", upload.actor, zone=upload.zone, child=key.owner, key_tag=key.tag)
        insert_entries(connection, now, [replace(entry, detail={"key": stored.id, "reason": upload.reason})])
        return stored

    def _progress(self, connection: Connection, items: Sequence[tuple[Bootstrap, float]]) -> Sequence[None]:
        now = self._clock()
        for bootstrap, cool_down in items:
            record_look(connection, bootstrap, cool_down, now)
        return [None] * len(items)

    def _look_again(
        self, connection: Connection, items: Sequence[tuple[bytes, bytes, bytes, float | None, float]]
    ) -> Sequence[int]:
        now, counts = self._clock(), []
        for owner, zone, delegation, no_ds_since, cool_down in items:
            of_child = and_(_TABLE.c.owner == owner, _TABLE.c.zone == zone)
            if no_ds_since is not None:
                connection.execute(update(_TABLE).where(of_child).values(no_ds_since=no_ds_since))
            changed = and_(of_child, _TABLE.c.judged != delegation)
            counts.append(bring_forward(connection, changed, owner, cool_down, now))
        return counts

    def _accept(self, connection: Connection, items: Sequence[Acceptance]) -> Sequence[Accepted]:
        return [self._accept_one(connection, item) for item in items]

    def _accept_one(self, connection: Connection, item: Acceptance) -> Accepted:
        stored, others = _key_and_trusted_others(connection, item.bootstrap.key_id)
        child = names.to_text(stored.key.owner)
        text = f"key {stored.key.tag} of {child}"
        row = connection.execute(select(_TABLE.c.replaces).where(is_row_of(item.bootstrap))).one_or_none()
        if row is None or stored.state is not KeyState.KNOWN:
            raise InvalidTransition(f"{text} is {stored.state.value} by now")
        if item.alone and others:
            raise InvalidTransition(f"{text}: another key of the child is trusted by now")
        unpublished = [other for other in others if other.key.rdata not in item.validated]
        replaced = unpublished if row.replaces or item.unpublished is Unpublished.SUPERSEDE else []
        if any(other.id not in item.replaced for other in replaced):
            raise InvalidTransition(f"{text} would replace keys of which nothing proves that they are replaced")
        count = 1 + len(others) - len(replaced)
        if count > max(item.max_trusted, len(others)):
            raise QuotaExceeded(
                f"{count} keys of {child} would be trusted, more than trust.trusted_per_child ({item.max_trusted});"
                " upload the key together with a deletion of the KEY RRset, and those go that are not published"
            )
        told = [] if row.replaces else unpublished
        insert_entries(connection, self._clock(), [_unpublished(other, stored, item) for other in told])
        if is_suspect(connection, stored.key.owner):
            # trust begins anew with what a method validated, which is what the others are suspected for
            suspend_keys(connection, self._clock(), stored.key.owner, item.actor, _SUSPECT)
        # whoever took the DS out has not said that they may come back
        ds_gone = ds_gone_since(connection, item.delegation, self._clock())
        trusted = self._trust(connection, stored, item.method, item.actor, item.reason, replaced)
        # what somebody else changes from now on is told by what trust began with
        now, where = trusted.changed_at, item.delegation
        last = last_applied(connection, where.child)
        watch = Watch(where.child, item.bootstrap.zone, where, now, where.ns, now, began_change=last, seen_change=last)
        begin_watches(connection, [replace(watch, ds_gone_since=ds_gone)])
        return Accepted(trusted, tuple(told))

    def _decide(self, connection: Connection, items: Sequence[_Decision]) -> Sequence[StoredKey]:
        return [self._decide_one(connection, item) for item in items]

    def _decide_one(self, connection: Connection, item: _Decision) -> StoredKey:
        stored, others = _key_and_trusted_others(connection, item.key_id)
        replaces = connection.execute(select(_TABLE.c.replaces).where(_TABLE.c.key_id == item.key_id)).scalar()
        method = TRUSTED_ANEW if stored.state is KeyState.SUSPENDED else "manual"
        return self._trust(connection, stored, method, item.actor, item.reason, others if replaces else [])

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
        # of a key that is trusted, an operator says that it is with the delegation as it became
        trusted = set_state(connection, now, stored.id, KeyState.TRUSTED, actor, reason, method=method, anew=True)
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
        now, reason = self._clock(), "added under a trusted key"
        keys = keys_of(connection, roll.owner)
        added, deleted = roll.outcome(keys, now)
        held = {stored.key.rdata: stored for stored in keys}
        for key in added:
            if key.rdata not in held:
                add_key(connection, now, key, KeyState.TRUSTED, ROLLOVER, roll.actor, reason)
                continue
            number = held[key.rdata].id
            set_state(connection, now, number, KeyState.TRUSTED, roll.actor, reason, method=ROLLOVER)
        for rdata in sorted(deleted):
            set_state(connection, now, held[rdata].id, KeyState.SUPERSEDED, roll.actor, ROLLED)
        append(connection, now, [roll.record], ChangeState.APPLIED)
        return keys_of(connection, roll.owner)

    def _suspend(self, connection: Connection, items: Sequence[tuple[bytes, str, str]]) -> Sequence[int]:
        now = self._clock()
        return [suspend_keys(connection, now, *item) for item in items]


def _key_and_trusted_others(connection: Connection, key_id: int) -> tuple[StoredKey, list[StoredKey]]:
    found = keys_of(connection, None, key_id)
    if not found:
        raise NotInStore(f"there is no key number {key_id}")
    keys = keys_of(connection, found[0].key.owner)
    return found[0], [each for each in keys if each.state is KeyState.TRUSTED and each.id != key_id]


def _unpublished(other: StoredKey, trusted: StoredKey, item: Acceptance) -> AuditEntry:
    detail = {
        "key": other.id,
        "fingerprint": other.key.fingerprint(),
        "trusted_now": trusted.key.tag,
        "method": item.method,
        "superseded": item.unpublished is Unpublished.SUPERSEDE,
    }
    zone, owner = item.bootstrap.zone, other.key.owner
    return AuditEntry("key.unpublished", item.actor, zone=zone, child=owner, key_tag=other.key.tag, detail=detail)
