"""What a look at a delegation means for its child's keys: nothing, a word to a person, suspension, or the end.

A look says something only of children of which its zone is the nearest of ours, and which are not below another
delegation of it. Only the sweep, and what accepted requests read, have such looks: what a refused message made us read
is not told here.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

import structlog

from zonecut.plugin import Change, Reading
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation, Difference
from zonecut.receiver import absence
from zonecut.receiver.drift import drift
from zonecut.receiver.keylookup import KeyLookup
from zonecut.receiver.trust import TrustSettings
from zonecut.store import AuditEntry, Away, ChildRecord, KeyState, Store, StoredKey, Watch

ACTOR = "zonecut"
GONE = "the delegation was gone over the whole period"
FOREIGN = "NS were changed by somebody else"
RETURNED = "the delegation was away and came back with other name servers"
_FOREIGN_CHANGE = "delegation.foreign-change"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a child beside what it looks like now."""

    watch: Watch | None
    """None for a child without trusted keys; one that this look begins `is_new`."""
    record: ChildRecord
    trusted: tuple[StoredKey, ...]
    is_new: bool

    @property
    def ours(self) -> tuple[Delegation, ...]:
        """What is about to be written, or was written and is about to be settled, or may show after it failed."""
        unsettled, unseen = self.record.unsettled, self.record.unseen
        late = () if unseen is None else (unseen,)
        return late if unsettled is None else (unsettled.before, unsettled.after, *late)

    @property
    def reference(self) -> Delegation | None:
        """What somebody else's change is told by: the last change through us, or what trust began with."""
        watch, record = self.watch, self.record
        if watch is None or watch.began is None or (record.applied_at or 0.0) >= watch.began_at:
            return record.applied
        return watch.began

    @property
    def had(self) -> tuple[frozenset[bytes], ...]:
        """The name servers with which the delegation may come back; none where it was never seen."""
        watch, record = self.watch, self.record
        assert watch is not None
        if record.applied is not None and (record.applied_at or 0.0) >= watch.seen_at:
            last: tuple[bytes, ...] = record.applied.ns
        else:
            last = watch.seen
        return tuple(frozenset(ns) for ns in (last, *(each.ns for each in self.ours)) if ns)


@dataclass(frozen=True, slots=True)
class _Foreign:
    """What somebody else did."""

    seen: dict[str, list[str]]
    suspends: bool
    reason: str


class Watching:
    """The looks at the delegations of one parent zone's children."""

    def __init__(
        self,
        zone: bytes,
        settings: TrustSettings,
        store: Store,
        keys: KeyLookup,
        zones: Callable[[], Collection[bytes]],
        clock: Callable[[], float],
    ) -> None:
        """`zones` are all parent zones of ours, as they are configured now; `clock` gives seconds since the epoch."""
        self._zone = zone
        self._settings = settings
        self._store = store
        self._keys = keys
        self._zones = zones
        self._clock = clock
        self._told: dict[bytes, dict[str, list[str]]] = {}
        self._telling = asyncio.Lock()
        self._alarmed = False

    def speaks_for(self, child: bytes) -> bool:
        """Whether this zone is the nearest parent zone of ours of a child."""
        ours = self._zones()
        return names.is_below(child, self._zone) and not any(name in ours for name in names.between(child, self._zone))

    async def is_unwatched(self, child: bytes) -> bool:
        """Whether a child has a trusted key, and nobody has looked at its delegation since. Raises StoreUnavailable."""
        keys = await self._keys.keys_of(child)
        return any(each.stored.state is KeyState.TRUSTED for each in keys) and (
            await self._store.watches.of(child) is None
        )

    async def noticed(self, child: bytes, reading: Reading) -> None:
        """Do what a look at a delegation means. Raises StoreUnavailable."""
        if reading.enclosing is not None or not self.speaks_for(child):
            return
        held = reading.delegation
        known = await self._known(child, held)
        if known.watch is not None and known.is_new:
            await self._store.watches.begin(known.watch)
        if held.is_delegated:
            await self._there(child, held, known)
        else:
            await self._away(child, held, known)

    async def suspends(self, child: bytes, reading: Reading) -> bool:
        """Whether a look would suspend the child's keys; nothing is done. Raises StoreUnavailable."""
        if reading.enclosing is not None or not self.speaks_for(child) or not reading.delegation.is_delegated:
            return False
        foreign = self._foreign(reading.delegation, await self._known(child, reading.delegation))
        return foreign is not None and foreign.suspends

    async def displaced(self, change: Change, actor: str) -> None:
        """What it means for a child's keys that somebody else is about to have its NS changed through us.

        To be called before the change is recorded: a crash in between leaves keys that count for less, not for more.
        Raises StoreUnavailable.
        """
        before, after = change.before.ns, change.after.ns
        if before == after or self._settings.foreign_ns == "keep":
            return
        if not any(each.stored.state is KeyState.TRUSTED for each in await self._keys.keys_of(change.child)):
            return
        seen = {"applied": _texts(before), "found": _texts(after), **change.difference.to_json()}
        await self._tell(change.child, _Foreign(seen, self._is_suspicious(before, after), FOREIGN), actor)

    async def round_ended(self) -> None:
        """Tell once when more delegations are away than may end by themselves: they wait for an operator.

        Raises StoreUnavailable.
        """
        away = await self._store.watches.away(self._zone, self._settings.gone_at_most)
        if away.is_too_many or away.held:
            await self._alarm(away)
        else:
            self._alarmed = False

    async def _known(self, child: bytes, held: Delegation) -> _Known:
        keys = await self._keys.keys_of(child)
        trusted = tuple(each.stored for each in keys if each.stored.state is KeyState.TRUSTED)
        record, watch = await self._store.changes.latest(child), await self._store.watches.of(child)
        is_new = watch is None and bool(trusted)
        return _Known(self._begun(held, record, trusted) if is_new else watch, record, trusted, is_new)

    def _begun(self, held: Delegation, record: ChildRecord, trusted: Collection[StoredKey]) -> Watch:
        """The watch of a child that has none: with what its trust began, as well as that is known."""
        now = self._clock()
        if record.applied is not None and (record.applied_at or 0.0) >= max(stored.changed_at for stored in trusted):
            # trusted before our last change: what was changed between that and this first look is somebody else's
            began: Delegation | None = record.applied
            began_at = record.applied_at or 0.0
            return Watch(held.child, self._zone, began, began_at, held.ns or record.applied.ns, now)
        return Watch(held.child, self._zone, held if held.is_delegated else None, now, held.ns, now)

    # It is there

    async def _there(self, child: bytes, held: Delegation, known: _Known) -> None:
        foreign = self._foreign(held, known)
        if foreign is not None:
            # a change and a bootstrap may read the same delegation at the same time
            async with self._telling:
                if foreign.suspends or not await self._was_told(child, foreign.seen):
                    await self._tell(child, foreign, ACTOR)
            if foreign.suspends:
                return
        watch = known.watch
        if watch is None or not known.trusted:
            return
        if watch.is_absent:
            _log.warning("delegation.back", zone=names.to_text(self._zone), child=names.to_text(child))
        is_news = watch.seen != held.ns or watch.seen_at < (known.record.applied_at or 0.0)
        if watch.is_absent or watch.zone != self._zone or is_news:
            began = held if watch.began is None else watch.began
            seen = absence.there(watch, held.ns, self._clock())
            await self._store.watches.update(_in_zone(seen, self._zone, began))

    def _foreign(self, held: Delegation, known: _Known) -> _Foreign | None:
        """What somebody else did to a delegation that is there, if it is to be told, or more."""
        reference, watch = known.reference, known.watch
        difference = drift(reference, known.ours, held)
        if watch is not None and watch.is_absent and known.trusted:
            had = known.had
            if had and frozenset(held.ns) not in had:
                before = reference or Delegation(held.child)
                return _Foreign(_seen(before, held, Difference.between(before, held).to_json()), True, RETURNED)
        if reference is None or not difference:
            return None
        is_ns = reference.ns != held.ns
        if is_ns and self._settings.foreign_ns == "keep":
            return None
        # a change of ours that is not settled may be the last one that took place
        servers = {server for each in (reference, *known.ours) for server in each.ns}
        suspends = is_ns and bool(known.trusted) and self._is_suspicious(servers, held.ns)
        return _Foreign(_seen(reference, held, difference.to_json()), suspends, FOREIGN)

    def _is_suspicious(self, before: Collection[bytes], after: Collection[bytes]) -> bool:
        """Whether NS that somebody else changed suspend the child's keys (PROTOCOL section 4).

        All new is what a new holder looks like, or a move that the old one did not want.
        """
        policy = self._settings.foreign_ns
        return policy == "suspend" or (policy == "auto" and not set(before) & set(after))

    # It is away

    async def _away(self, child: bytes, held: Delegation, known: _Known) -> None:
        watch = known.watch
        if watch is not None and watch.zone != self._zone:
            return  # it was never seen in this zone: there is no absence where there was no presence
        reference = known.reference
        difference = drift(reference, known.ours, held)
        if reference is not None and difference:
            seen = _seen(reference, held, difference.to_json())
            async with self._telling:
                if not await self._was_told(child, seen):
                    await self._tell(child, _Foreign(seen, False, ""), ACTOR)
        if watch is None or not known.trusted:
            return
        watch = absence.away(watch, self._clock(), self._settings.gone_after)
        await self._store.watches.update(watch)
        if absence.is_proven(watch, self._settings.gone_after):
            await self._end(watch)

    async def _end(self, watch: Watch) -> None:
        ended = await self._store.watches.end(watch, self._settings.gone_at_most, ACTOR, GONE)
        if isinstance(ended, Away):
            await self._alarm(ended)
        elif ended:
            await self._keys.refresh(watch.child)
            child = names.to_text(watch.child)
            _log.warning("trust.ended", zone=names.to_text(self._zone), child=child, keys=ended)

    async def _alarm(self, away: Away) -> None:
        if self._alarmed:
            return
        self._alarmed = True
        _log.error(
            "trust.too-many-gone",
            zone=names.to_text(self._zone),
            away=away.count,
            most=away.most,
            watched=away.watched,
            held=away.held,
            advice="their trust does not end by itself; if they are gone indeed: zonecut key end --gone ZONE",
        )
        detail = {"away": away.count, "most": away.most, "watched": away.watched, "held": away.held}
        await self._store.audit.record(AuditEntry("trust.too-many-gone", ACTOR, zone=self._zone, detail=detail))

    # Telling

    async def _tell(self, child: bytes, foreign: _Foreign, actor: str) -> None:
        _log.warning(
            _FOREIGN_CHANGE,
            zone=names.to_text(self._zone),
            child=names.to_text(child),
            actor=actor,
            **foreign.seen,
            suspended=foreign.suspends,
        )
        if foreign.suspends:
            await self._store.bootstraps.suspend_child(child, actor, foreign.reason)
            await self._keys.refresh(child)
        detail = {**foreign.seen, "suspended": foreign.suspends}
        await self._store.audit.record(AuditEntry(_FOREIGN_CHANGE, actor, zone=self._zone, child=child, detail=detail))

    async def _was_told(self, child: bytes, seen: dict[str, list[str]]) -> bool:
        """Whether this is the foreign change of a child that was told last."""
        if self._told.get(child) == seen:
            return True
        for record in await self._store.audit.list(child=child, event=_FOREIGN_CHANGE, limit=1):
            self._told[child] = {what: record.entry.detail.get(what, []) for what in seen}
        return self._told.get(child) == seen


def _in_zone(watch: Watch, zone: bytes, began: Delegation) -> Watch:
    return Watch(watch.child, zone, began, watch.began_at, watch.seen, watch.seen_at)


def _seen(reference: Delegation, held: Delegation, difference: dict[str, list[str]]) -> dict[str, list[str]]:
    return {"applied": _texts(reference.ns), "found": _texts(held.ns), **difference}


def _texts(servers: tuple[bytes, ...]) -> list[str]:
    return [names.to_text(name) for name in servers]
