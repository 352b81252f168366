"""Who the receiver is: the SIG(0) key with which it signs responses, and how another one takes its place.

Pure: where a roll stands follows from the time and from when the zone was seen to hold the new key. Both keys are
published at first; once caches can hold no KEY RRset without the new one, that one signs; after another TTL the old
one leaves the zone.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from zonecut.protocol import names
from zonecut.protocol.keys import Key, KeyPair
from zonecut.store.timestamps import to_optional_text


class Phase(StrEnum):
    """Where a roll stands."""

    STEADY = "steady"
    """There is one key."""
    INTRODUCING = "introducing"
    """Both keys are published, the old one signs."""
    RETIRING = "retiring"
    """Both keys are published, the new one signs."""
    WITHDRAWING = "withdrawing"
    """The old key leaves the zone, and its files their place."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The receiver's keys at one target name.

    `coming` is the key that takes the place of `current`, during a roll. `seen_at` is since when the zone has been
    seen to hold it (seconds since the epoch), None if it has not; `ttl` for how long (seconds) caches may hold a KEY
    RRset from before.
    """

    owner: bytes
    current: KeyPair
    coming: KeyPair | None = None
    seen_at: float | None = None
    ttl: int = 0

    @property
    def signs_at(self) -> float | None:
        """From when on the new key signs (seconds since the epoch); None if there is none, or it was not seen yet."""
        return None if self.coming is None or self.seen_at is None else self.seen_at + self.ttl

    @property
    def ends_at(self) -> float | None:
        """When the old key leaves the zone; None as long as that is not known."""
        return None if self.signs_at is None else self.signs_at + self.ttl

    def phase(self, now: float) -> Phase:
        if self.coming is None:
            return Phase.STEADY
        if self.signs_at is None or now < self.signs_at:
            return Phase.INTRODUCING
        assert self.ends_at is not None
        return Phase.RETIRING if now < self.ends_at else Phase.WITHDRAWING

    def signer(self, now: float) -> KeyPair:
        """The pair to sign with."""
        if self.coming is None or self.phase(now) is Phase.INTRODUCING:
            return self.current
        return self.coming

    def published(self, now: float) -> tuple[Key, ...]:
        """The keys that the zone must hold, and no others."""
        if self.coming is None:
            return (self.current.key,)
        if self.phase(now) is Phase.WITHDRAWING:
            return (self.coming.key,)
        return self.current.key, self.coming.key

    def next_at(self, now: float) -> float | None:
        """When the next phase begins by itself (seconds since the epoch); None if it does not."""
        return next((at for at in (self.signs_at, self.ends_at) if at is not None and at > now), None)

    def rolling(self, coming: KeyPair, ttl: int) -> "Identity":
        """The identity when a roll begins; `ttl` in seconds, the longest for which the KEY RRset is cached now."""
        return replace(self, coming=coming, seen_at=None, ttl=ttl)

    def observed(self, keys: Collection[Key], ttl: int, now: float) -> "Identity":
        """The identity after the zone was seen to hold these keys with this TTL; without the new one it starts over."""
        if self.coming is None or self.phase(now) is not Phase.INTRODUCING:
            return self
        if self.coming.key not in keys:
            return replace(self, seen_at=None)
        return replace(self, seen_at=now if self.seen_at is None else self.seen_at, ttl=max(self.ttl, ttl))

    def rolled(self) -> "Identity":
        """The identity after its roll."""
        return self if self.coming is None else Identity(self.owner, self.coming)

    def to_json(self, now: float) -> dict[str, Any]:
        """Which keys there are and where a roll stands, for `--json` and logs."""
        signer = self.signer(now).key
        return {
            "owner": names.to_text(self.owner),
            "phase": self.phase(now).value,
            "signer": _key_json(signer),
            "published": [_key_json(key) for key in self.published(now)],
            "seen_at": to_optional_text(self.seen_at),
            "signs_at": to_optional_text(self.signs_at),
            "ends_at": to_optional_text(self.ends_at),
        }


def _key_json(key: Key) -> dict[str, Any]:
    return {"tag": key.tag, "algorithm": key.algorithm, "fingerprint": key.fingerprint()}
