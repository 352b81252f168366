"""What becomes of a request whose signature verified: a change, a key taken in, a key rolled over, or a refusal."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from zonecut.plugin import BackendError
from zonecut.protocol.codepoints import CodePoints, EdeCode
from zonecut.protocol.errors import Refusal
from zonecut.protocol.update import DelegationChange, KeyUpload
from zonecut.receiver.decision import wanted
from zonecut.receiver.message.admission import Limits, Source, TokenBuckets
from zonecut.receiver.message.authentication import Authenticated, check_trusted, untrusted
from zonecut.receiver.message.counters import Counters
from zonecut.receiver.message.key_lookup import KeyLookup
from zonecut.receiver.message.replay import ReplayMemory
from zonecut.receiver.outcome import Outcome
from zonecut.receiver.provenance import Provenance
from zonecut.receiver.refusals import RefusedBefore
from zonecut.receiver.served_zone import ServedZone
from zonecut.store import KeyState, StoreUnavailable


class Requests:
    """Carries verified requests through replay memory and limits to the zone that they are about."""

    def __init__(
        self,
        replay: ReplayMemory,
        keys: KeyLookup,
        limits: Limits,
        fudge: int,
        codepoints: CodePoints,
        tally: Counters,
        monotonic: Callable[[], float],
    ) -> None:
        """`fudge`: by how many seconds the clocks of children may differ from ours."""
        self._replay = replay
        self._keys = keys
        self._limits = limits
        self._fudge = fudge
        self._codepoints = codepoints
        self._tally = tally
        self._monotonic = monotonic
        self._children = TokenBuckets(limits.child_burst, limits.child_rate)
        self._pending = 0
        self.refused = RefusedBefore()

    async def outcome(self, zone: ServedZone, authenticated: Authenticated, source: Source, now: float) -> Outcome:
        """How a request ends, or how the same one ended before. `now` in seconds since the epoch.

        Raises Refusal, MalformedMessage.
        """
        if not authenticated.is_trusted:
            return await self._upload(zone, authenticated, source, now)
        identity = authenticated.identity
        earlier = self._replay.in_work(identity)
        if earlier is not None:
            self._tally.count("repeated", self._monotonic())
            return await asyncio.shield(earlier)
        answer = self._replay.answer(identity, now)
        if answer is not None:
            self._tally.count("repeated", self._monotonic())
            return answer
        self._check_limits(authenticated.key.owner, identity)
        in_work = self._replay.begin(identity)
        self._pending += 1
        outcome = Outcome.unavailable("internal", "internal error")
        try:
            outcome = await self._trusted(zone, authenticated, source, now)
            return outcome
        except Refusal as refusal:
            outcome = Outcome.of(refusal)
            raise
        finally:
            if outcome.rcode:
                self.refused.charged(identity)
            self._pending -= 1
            self._replay.end(identity)
            in_work.set_result(outcome)

    async def posted(self, zone: ServedZone, provenance: Provenance, request: DelegationChange, now: float) -> Outcome:
        """How a change ends that somebody posts whose word counts, within the limits of signed ones.

        `now` in seconds since the epoch. Raises Refusal.
        """
        self._check_limits(request.child)
        self._pending += 1
        try:
            return await zone.delegations.change(provenance, request, now, _counts)
        finally:
            self._pending -= 1

    def _check_limits(self, child: bytes, identity: bytes | None = None) -> None:
        """Raise Refusal for a change too many. What was refused before is paid for."""
        if not self.refused.is_paid(identity) and not self._children.take(child, self._monotonic()):
            raise Refusal("child-rate", "too many changes of this child", ede=EdeCode.RATE_LIMITED)
        if self._pending >= self._limits.max_pending:
            raise Refusal("max-pending", "too many changes are in work here", ede=EdeCode.OVER_QUOTA)

    async def _trusted(self, zone: ServedZone, authenticated: Authenticated, source: Source, now: float) -> Outcome:
        request = wanted(authenticated, int(now))
        assert request is not None
        if isinstance(request, KeyUpload):
            return Outcome()  # the key that is to be taken in is trusted already
        provenance = Provenance.signed(authenticated, str(source), now, self._fudge)
        standing = partial(self._check_standing, authenticated)
        if isinstance(request, DelegationChange):
            return await zone.delegations.change(provenance, request, now, standing)
        return await zone.delegations.roll(provenance, request, now, zone.trust.roll, standing)

    async def _upload(self, zone: ServedZone, authenticated: Authenticated, source: Source, now: float) -> Outcome:
        """A request under a key that is not trusted: an upload of this very key, or nothing."""
        request = wanted(authenticated, int(now))
        if isinstance(request, KeyUpload):
            try:
                zone.bootstrapper.duty.check()
                await zone.delegations.delegated(request.child)
                return await zone.trust.upload(authenticated, request, source, now)
            except StoreUnavailable as error:
                return Outcome.unavailable("store", error.reason)
            except BackendError as error:
                return Outcome.unavailable("backend", error.reason)
        stored = authenticated.stored
        assert stored is not None
        waits = False
        if stored.state is KeyState.KNOWN:
            try:
                stored, bootstrap = await zone.trust.standing(stored)
            except StoreUnavailable as error:
                return Outcome.unavailable("store", error.reason)
            if stored.state is KeyState.TRUSTED:
                # since a moment ago, which memory does not know yet
                return await self.outcome(zone, replace(authenticated, stored=stored), source, now)
            waits = bootstrap is None or bootstrap.manual
        raise untrusted(stored, waits, self._codepoints)

    async def _check_standing(self, authenticated: Authenticated) -> None:
        """Raise Refusal unless the key that signed is trusted now, after its request had to wait; StoreUnavailable."""
        stored, owner = authenticated.stored, authenticated.key.owner
        keys = await self._keys.keys_of(owner)
        check_trusted(owner, next((each.stored for each in keys if stored and each.stored.id == stored.id), None))


async def _counts() -> None:
    """In place of the trust in a key: who posts is known by a key of its own."""
