"""Keeps what a running parent zone announces as the configuration wants it, and carries the roll of the key through."""

import asyncio
import math
from collections.abc import Callable

import structlog

from zonecut.plugin import BackendError
from zonecut.protocol import names
from zonecut.protocol.keys import UnusableKey
from zonecut.receiver.announce.announcer import Announcer
from zonecut.receiver.announce.identity import Identity, Phase
from zonecut.receiver.announce.key_directory import Identities
from zonecut.receiver.announce.publication import Announcement
from zonecut.serve.serialized_backend import SerializedBackend

REPAIR = 300.0
"""Seconds between looks at the zone when nothing else gives cause for one."""
RETRY = 10.0
"""Seconds after which what failed is tried again."""

_log = structlog.get_logger(__name__)


class Publisher:
    """Of one parent zone. Without `publish`, it writes the KEY RRset alone, and only during a roll."""

    def __init__(
        self,
        backend: SerializedBackend,
        identities: Identities,
        announcement: Announcement,
        *,
        publish: bool,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """`clock` gives seconds since the epoch; `monotonic` those that go by, whatever becomes of the clock."""
        self._backend = backend
        self._identities = identities
        self._clock = clock
        self._monotonic = monotonic
        self._signs_since: float | None = None
        """Since when the new key of a roll was seen here to sign, by `monotonic`."""
        self._due = asyncio.Event()
        self._trouble: str | None = None
        self._phase: Phase | None = None
        self.reconfigure(announcement, publish=publish)

    @property
    def target(self) -> bytes:
        return self._announcement.target

    def reconfigure(self, announcement: Announcement, *, publish: bool) -> None:
        """Go on with another announcement, and look at the zone at once."""
        self._announcement = announcement
        self._publish = publish
        self.look()

    def look(self) -> None:
        """Look at the zone at once: something has changed."""
        self._due.set()

    async def run(self) -> None:
        """Publish and repair until cancelled."""
        while True:
            await self._backend.opened.wait()
            self._due.clear()
            pause = await self._attempt()
            try:
                async with asyncio.timeout(pause):
                    await self._due.wait()
            except TimeoutError:
                continue

    async def _attempt(self) -> float:
        """Do what is to be done now; returns for how long (seconds) there is nothing more to do."""
        try:
            await self._step()
            await asyncio.to_thread(self._identities.refresh)
        except (BackendError, UnusableKey, OSError) as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                _log.error("publication.failed", zone=self._zone, reason=self._trouble)
            return RETRY
        self._trouble = None
        identity = self._identities.of(self.target)
        now = self._clock()
        if (early := self._early(identity, now)) > 0:
            return min(REPAIR, early)
        self._tell(identity.phase(now))
        next_at = identity.next_at(now)
        # a roll of which the beginning or the end was just noted goes on at once
        if identity.coming is not None and next_at is None:
            return min(1.0, RETRY)
        return REPAIR if next_at is None else min(REPAIR, max(0.0, next_at - now))

    async def _step(self) -> None:
        identity = self._identities.of(self.target)
        rolls = identity.coming is not None and self._announcement.holds_target
        if not self._publish and not rolls:
            return
        announcer = Announcer(self._backend, self._announcement, self._identities.directory)
        now = self._clock()
        if identity.ends_at is not None and self._early(identity, now) > 0:
            now = min(now, math.nextafter(identity.ends_at, 0.0))
        difference = await announcer.publish(identity, now, keys_only=not self._publish)
        if difference:
            # what was there is somebody else's perhaps: another receiver that announces itself for the same zone
            tell = _log.warning if difference.removed else _log.info
            tell("publication.written", zone=self._zone, **difference.to_json(self._announcement.codepoints))

    def _early(self, identity: Identity, now: float) -> float:
        """For how many seconds more the old key of a roll stays though its time is over by the clock.

        That it goes cannot be undone for those who have it cached, and one reading of a clock proves nothing: at a
        start it may be hours ahead. The new key has to have been seen here to sign for as long as caches keep the old.
        """
        phase = identity.phase(now)
        if phase in (Phase.STEADY, Phase.INTRODUCING):
            self._signs_since = None
            return 0.0
        at = self._monotonic()
        if self._signs_since is None:
            self._signs_since = at
        return self._signs_since + identity.ttl - at if phase is Phase.WITHDRAWING else 0.0

    def _tell(self, phase: Phase) -> None:
        if self._phase is not None and phase is not self._phase:
            signer = self._identities.signer(self.target, self._clock()).key
            _log.info("identity.phase", target=names.to_text(self.target), phase=phase.value, signer=signer.tag)
        self._phase = phase

    @property
    def _zone(self) -> str:
        return names.to_text(self._announcement.zone)
