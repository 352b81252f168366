"""Carries out what `publication` plans, and with it the roll of the receiver's key: for the daemon and for commands."""

import asyncio
from collections.abc import Callable, Sequence

from zonecut.plugin import Backend, BackendRejected
from zonecut.plugin.reconcile import Plan, reconcile
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.keys import Key, UnusableKey
from zonecut.protocol.rrset import RRset, RRsetDifference
from zonecut.receiver.announce.identity import Identity, Phase
from zonecut.receiver.announce.key_directory import KeyDirectory
from zonecut.receiver.announce.publication import Announcement, Unpublishable, plan, plan_keys, plan_withdrawal


class Announcer:
    """What one parent zone announces, on its server. Methods raise BackendError, UnusableKey and OSError.

    What the zone holds that leaves no room is BackendRejected, too.
    """

    def __init__(self, backend: Backend, announcement: Announcement, directory: KeyDirectory) -> None:
        self._backend = backend
        self._announcement = announcement
        self._directory = directory

    async def held(self) -> tuple[RRset, ...]:
        """What the zone holds now at the names that concern us."""
        return await self._backend.read_rrsets(self._announcement.names)

    def missing(self, held: Sequence[RRset], identity: Identity | None, now: float) -> RRsetDifference:
        """What `publish` would change. Raises BackendRejected."""
        keys = identity.published(now) if identity else ()
        return _explained(lambda rrsets: plan(self._announcement, rrsets, keys), held)

    def present(self, held: Sequence[RRset], identity: Identity | None) -> RRsetDifference:
        """What `withdraw` would change."""
        keys: list[Key] = []
        if identity is not None:
            keys = [pair.key for pair in (identity.current, identity.coming) if pair is not None]
        return plan_withdrawal(self._announcement, held, keys)

    def key_ttl(self, held: Sequence[RRset]) -> int:
        """The TTL (seconds) with which the zone holds our KEY RRset; 0 without one."""
        rrset = self._key_rrset(held)
        return rrset.ttl if rrset else 0

    async def publish(self, identity: Identity, now: float, *, keys_only: bool = False) -> RRsetDifference:
        """Have the zone hold what it should, with `keys_only` the KEY RRset alone; returns what had to change.

        A roll goes on as far as it can: that the new key is there is noted, and the old one is retired once it is not.
        """
        planned = plan_keys if keys_only else plan
        keys = identity.published(now)
        difference, held = await self._bring_about(lambda rrsets: planned(self._announcement, rrsets, keys))
        if identity.coming is not None and self._announcement.holds_target:
            await self._note(identity, held, now)
        return difference

    async def withdraw(self, identity: Identity | None) -> RRsetDifference:
        """Have the zone hold nothing of ours; returns what had to change."""
        difference, _ = await self._bring_about(lambda rrsets: self.present(rrsets, identity))
        return difference

    async def _bring_about(self, planned: Plan) -> tuple[RRsetDifference, tuple[RRset, ...]]:
        """Have the zone hold what is planned; the first difference, and what is held in the end."""
        return await reconcile(self._backend, self._announcement.names, lambda held: _explained(planned, held))

    async def _note(self, identity: Identity, held: Sequence[RRset], now: float) -> None:
        """Take note of what the zone holds, for the roll of the key."""
        owner = self._announcement.target
        rrset = self._key_rrset(held)
        keys = _keys(rrset)
        if identity.phase(now) is Phase.WITHDRAWING:
            if identity.current.key not in keys:
                await asyncio.to_thread(self._directory.update, owner, _end(now))
            return
        ttl = rrset.ttl if rrset else 0
        await asyncio.to_thread(self._directory.update, owner, lambda known: known.observed(keys, ttl, now))

    def _key_rrset(self, held: Sequence[RRset]) -> RRset | None:
        return next((each for each in held if each.key == (self._announcement.target, RRType.KEY)), None)


def _end(now: float) -> Callable[[Identity], Identity]:
    return lambda known: known.rolled() if known.phase(now) is Phase.WITHDRAWING else known


def _keys(rrset: RRset | None) -> list[Key]:
    found = []
    for rdata in rrset.rdatas if rrset else ():
        try:
            found.append(Key.from_rdata(rrset.owner if rrset else b"", rdata))
        except UnusableKey:
            continue
    return found


def _explained(planned: Plan, held: Sequence[RRset]) -> RRsetDifference:
    try:
        return planned(held)
    except Unpublishable as error:
        raise BackendRejected(str(error)) from error
