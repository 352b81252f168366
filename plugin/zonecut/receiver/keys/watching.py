"""What a look at a delegation means for its child's keys: nothing, a word to a person, a suspicion, or the end.

One look suspends nothing: a wrong copy of a zone may be there for a moment. Who is suspect has signed changes refused,
and the keys are suspended when a later look sees such name servers still, and no look between them saw others.

A look says something only of children of which its zone is the nearest of ours, and which are not below another
delegation of it. Only the sweep, and what accepted requests read, have such looks: what a refused message made us read
is not told here.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from math import inf

import structlog

from zonecut.plugin import Change, Reading
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation, Difference
from zonecut.receiver.bounded import Bounded
from zonecut.receiver.keys import absence
from zonecut.receiver.keys.drift import drift, half, is_ds_removal, seen_instead, texts
from zonecut.receiver.keys.too_many import TooMany
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.receiver.message.key_lookup import KeyLookup
from zonecut.store import AuditEntry, Away, ChildRecord, KeyState, Store, StoredKey, Watch

ACTOR = "zonecut"
GONE = "the delegation was gone over the whole period"
FOREIGN = "NS were changed by somebody else"
RETURNED = "the delegation was away and came back with other name servers"
REMEMBERED = 100_000
"""Delegations that are away of which it is remembered when they were looked at by the monotonic clock."""
_FOREIGN_CHANGE = "delegation.foreign-change"
_SUSPECT = "delegation.suspect"
_DS_SUSPENDED = "delegation.ds-suspended"
_DS_ADVICE = (
    "somebody else took its DS out, and its signed changes bring none back until a DS set is put there; where the child"
    " is to do so itself: zonecut key trust {child}"
)
_GONE_ADVICE = "their trust does not end by itself; if they are gone indeed: zonecut key end --gone ZONE"
_SUSPECT_ADVICE = (
    "no keys are suspended by themselves, and their signed changes are refused; where the zone is wrong, mend it; where"
    " the name servers are meant: zonecut key trust CHILD, or zonecut key revoke CHILD"
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a child beside what it looks like now."""

    watch: Watch | None
    """None for a child without trusted keys; one that this look begins `is_new`."""
    record: ChildRecord
    trusted: tuple[StoredKey, ...]
    is_new: bool
    untried: int
    """The number of a change of which nothing can be there, beside what it starts from, which an earlier one wrote."""
    held: Delegation

    @property
    def ours(self) -> tuple[Delegation, ...]:
        """What is about to be written, or was written and is about to be settled, or may show after it failed."""
        unsettled = self.record.unsettled
        late = () if self.record.unseen is None else (self.record.unseen,)
        if unsettled is None:
            return late
        if unsettled.id == self.untried:
            return (unsettled.before, *late)
        return (unsettled.before, unsettled.after, *half(unsettled.before, unsettled.after, self.held), *late)

    @property
    def reference(self) -> Delegation | None:
        """What somebody else's change is told by: the last change through us, or what trust began with."""
        watch, record = self.watch, self.record
        if watch is None or watch.began is None or record.applied_id > watch.began_change:
            return record.applied
        return watch.began

    @property
    def had(self) -> tuple[frozenset[bytes], ...]:
        """The name servers with which the delegation may come back; none where it was never seen."""
        watch, record = self.watch, self.record
        assert watch is not None
        if record.applied is not None and record.applied_id > watch.seen_change:
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
        monotonic: Callable[[], float],
    ) -> None:
        """`zones` are all parent zones of ours, as they are configured now; `clock` gives seconds since the epoch.

        `monotonic` is the clock that nobody sets: how long a delegation was away is counted by the slower of the two.
        """
        self._zone = zone
        self._settings = settings
        self._store = store
        self._keys = keys
        self._zones = zones
        self._clock = clock
        self._monotonic = monotonic
        self._looked: Bounded[bytes, float] = Bounded(REMEMBERED)
        self._told: dict[bytes, dict[str, list[str]]] = {}
        self._telling = asyncio.Lock()
        self._too_many_gone = TooMany(zone, store, "trust.too-many-gone", ACTOR, _GONE_ADVICE)
        self._too_many_suspect = TooMany(zone, store, "trust.too-many-suspect", ACTOR, _SUSPECT_ADVICE)

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

    async def noticed(self, child: bytes, reading: Reading, untried: int = 0) -> bool:
        """Do what a look at a delegation means; False if its child is suspect. Raises StoreUnavailable.

        `untried`: the number of an accepted change of which nothing can be there, so that what is there is not ours.
        """
        if reading.enclosing is not None or not self.speaks_for(child):
            return True
        held = reading.delegation
        known = await self._known(child, held, untried)
        if known.watch is not None and known.is_new:
            await self._store.watches.begin(known.watch)
        if held.is_delegated:
            return await self._there(child, held, known)
        await self._away(child, held, known)
        return True

    async def suspends(self, child: bytes, reading: Reading, untried: int = 0) -> bool:
        """Whether a look makes the child suspect, as `noticed`; nothing is done. Raises StoreUnavailable."""
        if reading.enclosing is not None or not self.speaks_for(child) or not reading.delegation.is_delegated:
            return False
        foreign = self._foreign(reading.delegation, await self._known(child, reading.delegation, untried))
        return foreign is not None and foreign.suspends

    async def ds_taken_out(self, child: bytes, reading: Reading) -> bool:
        """Whether a child is without DS because of somebody else, and its changes are to bring none back (RFC 10026).

        Nothing is done. Raises StoreUnavailable.
        """
        held = reading.delegation
        if self._settings.foreign_ds != "suspend" or held.ds or not held.is_delegated:
            return False
        if reading.enclosing is not None or not self.speaks_for(child):
            return False
        known = await self._known(child, held)
        return known.watch is not None and _ds_gone_since(held, known, self._clock()) is not None

    async def displaced(self, change: Change, actor: str, is_wanted: bool) -> None:
        """What it means for a child's keys that somebody else is about to have its NS changed through us.

        `is_wanted`: a trusted key of the child had asked for the same, so that its name servers are the child's own.

        That is an act upon this child, not a look: there is nothing to wait for. Where it builds on name servers for
        which the child is suspect, these are what is meant. To be called before the change is recorded: a crash in
        between leaves keys that count for less, not for more. Raises StoreUnavailable.
        """
        before, after = change.before.ns, change.after.ns
        known = await self._known(change.child, change.before)
        if not known.trusted:
            return
        if change.after.ds and known.watch is not None and known.watch.ds_gone_since is not None:
            await self._store.watches.update(replace(known.watch, ds_gone_since=None))
        if change.before.is_delegated:
            foreign = self._foreign(change.before, known)
            if foreign is not None and foreign.suspends:
                await self._tell(change.child, foreign, actor)
                return
        if before != after and not is_wanted and self._settings.foreign_ns != "keep":
            seen = {"applied": texts(before), "found": texts(after), **change.difference.to_json()}
            await self._tell(change.child, _Foreign(seen, self._is_suspicious(before, after), FOREIGN), actor)

    async def round_ended(self) -> None:
        """Tell once when more delegations are away, or suspect, than may be. Raises StoreUnavailable."""
        watches, at_most = self._store.watches, self._settings.gone_at_most
        await self._too_many_gone.now(await watches.away(self._zone, at_most))
        since = self._clock() - self._settings.sweep
        await self._too_many_suspect.now(await watches.suspected(self._zone, at_most, since, ACTOR))

    async def _known(self, child: bytes, held: Delegation, untried: int = 0) -> _Known:
        keys = await self._keys.keys_of(child)
        trusted = tuple(each.stored for each in keys if each.stored.state is KeyState.TRUSTED)
        record, watch = await self._store.changes.latest(child), await self._store.watches.of(child)
        is_new = watch is None and bool(trusted)
        return _Known(self._begun(held, record, trusted) if is_new else watch, record, trusted, is_new, untried, held)

    def _begun(self, held: Delegation, record: ChildRecord, trusted: Collection[StoredKey]) -> Watch:
        """The watch of a child that has none: with what its trust began, as well as that is known."""
        now, last = self._clock(), record.applied_id
        began, ns = held if held.is_delegated else None, held.ns
        trusted_at = max(stored.changed_at for stored in trusted)
        # of a time that is still to come nothing is known but that a clock was wrong
        if record.applied is not None and trusted_at <= (record.applied_at or 0.0) <= now:
            # trusted before our last change: what was changed between that and this first look is somebody else's
            began, ns = record.applied, held.ns or record.applied.ns
        return Watch(held.child, self._zone, began, now, ns, now, began_change=last, seen_change=last)

    # It is there

    async def _there(self, child: bytes, held: Delegation, known: _Known) -> bool:
        """Whether it is there with name servers for which the child is not suspect."""
        foreign = self._foreign(held, known)
        watch = known.watch
        if foreign is not None:
            # a change and a bootstrap may read the same delegation at the same time
            async with self._telling:
                if foreign.suspends:
                    assert watch is not None
                    await self._suspect(watch, foreign)
                    return False
                if not await self._was_told(child, foreign.seen):
                    await self._tell(child, foreign, ACTOR)
        if watch is None or not known.trusted:
            return True
        if watch.suspect_since is not None:
            _log.warning("delegation.suspect-no-more", zone=names.to_text(self._zone), child=names.to_text(child))
        if watch.is_absent:
            _log.warning("delegation.back", zone=names.to_text(self._zone), child=names.to_text(child))
        self._looked.pop(child, None)
        last = known.record.applied_id
        is_news = watch.seen != held.ns or watch.seen_change < last
        is_news = is_news or watch.seen_ds != absence.sees_ds(watch, held, last)
        ds_gone = _ds_gone_since(held, known, self._clock()) if self._settings.foreign_ds == "suspend" else None
        is_news = is_news or ds_gone != watch.ds_gone_since
        if watch.is_absent or watch.suspect_since is not None or watch.zone != self._zone or is_news:
            began = held if watch.began is None else watch.began
            seen = absence.there(watch, held, self._clock(), last)
            await self._store.watches.update(replace(seen, zone=self._zone, began=began, ds_gone_since=ds_gone))
        if ds_gone is not None and watch.ds_gone_since is None:
            await self._ds_suspended(child)
        return True

    async def _ds_suspended(self, child: bytes) -> None:
        zone, text = names.to_text(self._zone), names.to_text(child)
        _log.warning(_DS_SUSPENDED, zone=zone, child=text, advice=_DS_ADVICE.format(child=text))
        await self._store.audit.record(AuditEntry(_DS_SUSPENDED, ACTOR, zone=self._zone, child=child))

    async def _suspect(self, watch: Watch, foreign: _Foreign) -> None:
        """A look saw what its keys are to be suspended for; they are if that was seen over the period.

        It is in the store, so that a restart does not begin the period anew.
        """
        now, is_new = self._clock(), watch.suspect_since is None
        suspect = absence.suspect(watch, now)
        if suspect != watch:
            await self._store.watches.update(suspect)
        suspended: int | Away = 0
        if absence.is_confirmed(suspect, now, self._settings.suspend_after):
            since = now - self._settings.sweep
            suspended = await self._store.watches.suspend(
                suspect, self._settings.gone_at_most, since, ACTOR, foreign.reason
            )
        if isinstance(suspended, Away):
            await self._too_many_suspect.now(suspended)
        elif suspended:
            await self._keys.refresh(watch.child)
            await self._record(_FOREIGN_CHANGE, watch.child, foreign.seen, ACTOR, suspended=True)
            return
        if is_new:
            await self._record(_SUSPECT, watch.child, foreign.seen, ACTOR, suspended=False)

    def _foreign(self, held: Delegation, known: _Known) -> _Foreign | None:
        """What somebody else did to a delegation that is there, if it is to be told, or more."""
        reference, watch = known.reference, known.watch
        difference = drift(reference, known.ours, held)
        if watch is not None and watch.is_absent and known.trusted:
            had = known.had
            if had and frozenset(held.ns) not in had:
                before = reference or Delegation(held.child)
                return _Foreign(seen_instead(before, held, Difference.between(before, held).to_json()), True, RETURNED)
        if reference is None or not difference:
            return None
        is_ns = reference.ns != held.ns
        if self._settings.foreign_ds == "keep" and is_ds_removal(reference, held):
            return None
        if is_ns and self._settings.foreign_ns == "keep":
            return None
        # a change of ours that is not settled may be the last one that took place
        servers = {server for each in (reference, *known.ours) for server in each.ns}
        suspends = is_ns and bool(known.trusted) and self._is_suspicious(servers, held.ns)
        return _Foreign(seen_instead(reference, held, difference.to_json()), suspends, FOREIGN)

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
            seen = seen_instead(reference, held, difference.to_json())
            async with self._telling:
                if not await self._was_told(child, seen):
                    await self._tell(child, _Foreign(seen, False, ""), ACTOR)
        if watch is None or not known.trusted:
            return
        looked, self._looked[child] = self._looked.get(child), self._monotonic()
        passed = inf if looked is None else self._looked[child] - looked
        watch = absence.away(watch, self._clock(), self._settings.gone_after, passed)
        await self._store.watches.update(watch)
        if absence.is_proven(watch, self._settings.gone_after):
            await self._end(watch)

    async def _end(self, watch: Watch) -> None:
        ended = await self._store.watches.end(watch, self._settings.gone_at_most, ACTOR, GONE)
        if isinstance(ended, Away):
            await self._too_many_gone.now(ended)
        elif ended:
            await self._keys.refresh(watch.child)
            child = names.to_text(watch.child)
            _log.warning("trust.ended", zone=names.to_text(self._zone), child=child, keys=ended)

    # Telling

    async def _tell(self, child: bytes, foreign: _Foreign, actor: str) -> None:
        if foreign.suspends:
            await self._store.bootstraps.suspend_child(child, actor, foreign.reason)
            await self._keys.refresh(child)
        await self._record(_FOREIGN_CHANGE, child, foreign.seen, actor, suspended=foreign.suspends)

    async def _record(
        self, event: str, child: bytes, seen: dict[str, list[str]], actor: str, *, suspended: bool
    ) -> None:
        zone, text = names.to_text(self._zone), names.to_text(child)
        _log.warning(event, zone=zone, child=text, actor=actor, **seen, suspended=suspended)
        detail = {**seen, "suspended": suspended}
        await self._store.audit.record(AuditEntry(event, actor, zone=self._zone, child=child, detail=detail))

    async def _was_told(self, child: bytes, seen: dict[str, list[str]]) -> bool:
        """Whether this is the foreign change of a child that was told last."""
        if self._told.get(child) == seen:
            return True
        for record in await self._store.audit.list(child=child, event=_FOREIGN_CHANGE, limit=1):
            self._told[child] = {what: record.entry.detail.get(what, []) for what in seen}
        return self._told.get(child) == seen


def _ds_gone_since(held: Delegation, known: _Known, now: float) -> float | None:
    """Since when a child that is delegated has no DS because of somebody else; None if that is not so.

    Once that is known, what the child itself changes since does not end it. What it asked to delete is no such thing.
    """
    watch, reference = known.watch, known.reference
    assert watch is not None
    if held.ds:
        return None
    if watch.ds_gone_since is not None:
        return watch.ds_gone_since
    # somebody else may have put there what somebody else takes out
    was_seen = watch.seen_ds and known.record.applied_id <= watch.seen_change
    is_gone = (was_seen or (reference is not None and bool(reference.ds))) and all(each.ds for each in known.ours)
    return now if is_gone else None
