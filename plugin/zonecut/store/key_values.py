"""A child's key as the store has it, and what a key may be worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from zonecut.protocol import names
from zonecut.protocol.keys import Key
from zonecut.store import tables, timestamps

_TABLE = tables.keys


class KeyState(StrEnum):
    """What a key is worth. Only a trusted key's signature moves anything."""

    KNOWN = "known"
    """Received; its bootstrap is under way, or waits for an operator."""
    TRUSTED = "trusted"
    VALIDATION_FAILED = "validation-failed"
    """No method found that it belongs to the child; it may be uploaded again."""
    REFUSED = "refused"
    """An operator rejected it; only an operator can change that."""
    SUPERSEDED = "superseded"
    """It was trusted until another key took its place; it comes back under a trusted key, or by an operator."""
    SUSPENDED = "suspended"
    """It was trusted until the delegation looked like another holder's; an operator trusts it anew, or does not."""
    ENDED = "ended"
    """Its delegation was gone for so long that the name may come back with another holder; it may be uploaded again."""
    REVOKED = "revoked"
    """For ever."""


_STATES = {state.value: state for state in KeyState}

ROLLED = "deleted under a trusted key"
ROLLOVER = "rollover"
"""The method of a key that came in under a trusted one: the trust in its child goes on and does not begin."""

COLUMNS = (
    _TABLE.c.id,
    _TABLE.c.owner,
    _TABLE.c.rdata,
    _TABLE.c.state,
    _TABLE.c.method,
    _TABLE.c.reason,
    _TABLE.c.actor,
    _TABLE.c.created_at,
    _TABLE.c.changed_at,
)
"""The columns of which `StoredKey.from_row` makes a value, in its order."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key with its state. `method` is how it came in or became trusted; `reason` and `actor` belong to the latest
    transition; times are in seconds since the epoch."""

    id: int
    key: Key
    state: KeyState
    method: str
    reason: str
    actor: str
    created_at: float
    changed_at: float

    @property
    def was_rolled(self) -> bool:
        """Whether it was trusted until its child itself went on to another key, which is what its reason says."""
        return self.state is KeyState.SUPERSEDED and self.reason == ROLLED

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> "StoredKey":
        """The value of a row of `COLUMNS`."""
        number, owner, rdata, state, method, reason, actor, created_at, changed_at = row
        key = Key.from_rdata(owner, rdata)
        return cls(number, key, _STATES[state], method, reason, actor, created_at, changed_at)

    def to_json(self) -> dict[str, Any]:
        """Names, times and the record in presentation form."""
        return {
            "id": self.id,
            "owner": names.to_text(self.key.owner),
            "tag": self.key.tag,
            "algorithm": self.key.algorithm,
            "fingerprint": self.key.fingerprint(),
            "key": self.key.to_text(),
            "state": self.state.value,
            "method": self.method,
            "reason": self.reason,
            "actor": self.actor,
            "created_at": timestamps.to_text(self.created_at),
            "changed_at": timestamps.to_text(self.changed_at),
        }
