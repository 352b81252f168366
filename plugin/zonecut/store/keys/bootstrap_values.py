"""Keys on their way to trust as values: how far a bootstrap got, and what is asked of the table of them."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.keys import Key
from zonecut.protocol.sig0 import seconds_until
from zonecut.store import timestamps
from zonecut.store.errors import HeldBack, InvalidTransition, QuotaExceeded
from zonecut.store.key_values import KeyState, StoredKey
from zonecut.store.ledger.change_values import NewChange


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A known key's way to trust. Times are in seconds since the epoch."""

    key_id: int
    owner: bytes
    zone: bytes
    source: str
    replaces: bool
    """The upload asked that the child's other keys go, once this one is trusted."""
    manual: bool
    """It waits for an operator."""
    method: str
    """The automatic method that is tried, or empty before the first."""
    attempts: int
    """Of this method."""
    reason: str
    """What the latest attempt found."""
    evidence: dict[str, Any]
    """What the method keeps between attempts, in values that JSON has."""
    started_at: float
    """It also tells this bootstrap from an earlier one of the same key."""
    next_at: float
    expires_at: float
    """Infinity for one that waits until an operator decides."""
    looked_at: float = 0.0
    """When the latest attempt ended; 0 before the first."""
    wanted_at: float | None = None
    """When there is to be a look beside those that are due: its key came again, or the delegation changed."""
    asked: int = 0
    """How often somebody gave a reason for such a look."""
    judged: bytes | None = None
    """Digest of the delegation that the latest attempt was made on."""
    no_ds_since: float | None = None
    """Since when a child that had a DS has shown none; infinity while it has one, None for one that never had any."""

    @property
    def next_look(self) -> float:
        """When the next look is due; infinity where only an operator decides."""
        due = math.inf if self.manual else self.next_at
        return due if self.wanted_at is None else min(due, self.wanted_at)

    def to_json(self) -> dict[str, Any]:
        return {
            "key_id": self.key_id,
            "child": names.to_text(self.owner),
            "zone": names.to_text(self.zone),
            "source": self.source,
            "replaces": self.replaces,
            "manual": self.manual,
            "method": self.method,
            "attempts": self.attempts,
            "reason": self.reason,
            "started_at": timestamps.to_text(self.started_at),
            "looked_at": timestamps.to_text(self.looked_at) if self.looked_at else None,
            "next_at": timestamps.to_text(self.next_at),
            "wanted_at": None if self.wanted_at is None else timestamps.to_text(self.wanted_at),
            "expires_at": timestamps.to_text(self.expires_at) if math.isfinite(self.expires_at) else None,
        }


@dataclass(frozen=True, slots=True)
class Upload:
    """A key that begins its way to trust, with the bounds on what may be pending."""

    key: Key
    zone: bytes
    source: str
    replaces: bool
    manual: bool
    next_at: float
    expires_at: float
    max_per_child: int
    max_per_source: int
    max_in_all: int
    actor: str = ""
    """Who brings it; the child itself where that is empty."""
    method: str = "upload"
    reason: str = ""
    cool_down: float = 0.0
    """Seconds after a look before an upload of a key that waits, or that failed, is a reason for the next one."""
    is_published: bool = False
    """Its child publishes it: it has a place beside those that strangers' keys may take, `max_per_child` of a child."""
    published: frozenset[bytes] = frozenset()
    """RDATA of all keys that its child was seen to publish, where that can be vouched for. Where all places are taken,
    a key that is none of them gives its own: one of a former holder, say."""


FORGEABLE = " (UDP)"
"""How the source of a key ends that came in a datagram, whose address anybody can forge."""


class Unpublished(StrEnum):
    """What becomes of a trusted key that is not in the KEY RRset by which another key of its child was validated."""

    ALARM = "alarm"
    """It stays, and that is told."""
    SUPERSEDE = "supersede"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A method found that a key belongs to its child."""

    bootstrap: Bootstrap
    method: str
    actor: str
    reason: str
    delegation: Delegation
    """On which the method judged, and which the zone has now."""
    validated: frozenset[bytes]
    """The KEY RDATA of the RRset that was validated."""
    alone: bool
    """A child that has a trusted key already gets no other."""
    max_trusted: int
    """The most keys of the child that may be trusted then."""
    unpublished: Unpublished = Unpublished.ALARM
    """For those that the upload did not ask to delete."""
    replaced: frozenset[int] = frozenset()
    """The trusted keys of which it is proven that they are not published any more: no other goes."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A key that is trusted now, and what that means for the child's others."""

    stored: StoredKey
    unpublished: tuple[StoredKey, ...]
    """Trusted keys that were not in the validated RRset, and that the upload did not ask to delete."""


@dataclass(frozen=True, slots=True)
class Roll:
    """A change of a child's keys under the signature of a trusted one: `add` and `delete` in the order of the message.

    Each step is a KEY RDATA to add (True) or to delete (False); None deletes all.
    """

    owner: bytes
    steps: tuple[tuple[bool, bytes | None], ...]
    actor: str
    signing_key: int
    max_trusted: int
    """The most keys of the child that may be trusted then."""
    record: NewChange
    """How it stands in the ledger."""
    check: Callable[[Key], None] = field(compare=False)
    """Raises for a key that may not be added."""

    def outcome(self, keys: Collection[StoredKey], now: float) -> tuple[tuple[Key, ...], frozenset[bytes]]:
        """The keys that become trusted by it, and the RDATA of those that are trusted no more; `keys` are the child's.

        `now` in seconds since the epoch. Raises InvalidTransition, QuotaExceeded, HeldBack, and what `check` raises.
        """
        held = {stored.key.rdata: stored for stored in keys}
        trusted = {rdata for rdata, stored in held.items() if stored.state is KeyState.TRUSTED}
        text = names.to_text(self.owner)
        if not any(held[rdata].id == self.signing_key for rdata in trusted):
            raise InvalidTransition(f"the key of {text} that signed is not trusted any more")
        after = set(trusted)
        for adds, rdata in self.steps:
            if rdata is None:
                after.clear()
            elif adds:
                after.add(rdata)
            else:
                after.discard(rdata)
        if not after:
            raise InvalidTransition(f"no trusted key of {text} would remain")
        if len(after) > max(self.max_trusted, len(trusted)):
            raise QuotaExceeded(f"{len(after)} keys of {text} would be trusted, more than {self.max_trusted}")
        added = tuple(Key.from_rdata(self.owner, rdata) for rdata in sorted(after - trusted))
        for key in added:
            self.check(key)
            stored = held.get(key.rdata)
            if stored is None:
                continue
            if stored.state in (KeyState.REFUSED, KeyState.REVOKED):
                raise InvalidTransition(f"key {key.tag} of {text} is {stored.state.value}")
            if stored.was_rolled:
                self.check_order(stored, now)
        return added, frozenset(trusted - after)

    def check_order(self, deleted: StoredKey, now: float) -> None:
        """Raise HeldBack where a key is added that was deleted after that was signed; `now` in seconds since the epoch.

        It is a copy that was held back: one that is meant now bears a later date.
        """
        signed_at = self._signed_at(now)
        if signed_at > int(deleted.changed_at):
            return
        signed, gone, here = (
            timestamps.to_text(int(at)).replace(".000Z", "Z") for at in (signed_at, deleted.changed_at, now)
        )
        key = f"key {deleted.key.tag} of {names.to_text(self.owner)}"
        raise HeldBack(f"stale: signed at {signed}, and {key} was deleted at {gone}: sign it anew; it is {here} here")

    def _signed_at(self, now: float) -> float:
        """What is dated ahead of our clock counts as now."""
        inception = self.record.inception
        return now if inception is None else now + min(0, seconds_until(inception, int(now)))
