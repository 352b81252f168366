"""Keys on their way to trust as values: how far a bootstrap got, and what is asked of the table of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zonecut.protocol import names
from zonecut.protocol.keys import Key
from zonecut.store import timestamps
from zonecut.store.change_values import NewChange


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
            "next_at": timestamps.to_text(self.next_at),
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
