"""Rows of the ledger as values: a change to be recorded, one that is recorded, and what they say about a child."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.store import tables, timestamps

_TABLE = tables.changes


class ChangeState(StrEnum):
    """How far a change got."""

    ACCEPTED = "accepted"
    """In the ledger, not yet confirmed by the backend."""
    APPLIED = "applied"
    FAILED = "failed"
    HELD = "held"
    """In the ledger, and waits for an operator to approve or reject it."""


class Decision(StrEnum):
    """What an operator decided about a change."""

    APPROVED = "approved"
    """It is judged again on what the server holds then, and written."""
    REJECTED = "rejected"
    DONE = "done"
    """A person has made it, and the zone was seen to hold it: whoever writes the zone looks at once."""


class ChangeKind(StrEnum):
    """What a change is about."""

    DELEGATION = "delegation"
    KEYS = "keys"
    """The child's keys; `before` and `after` are empty delegations."""


_KINDS = {kind.value: kind for kind in ChangeKind}
_DECISIONS: dict[str | None, Decision | None] = {None: None, **{decision.value: decision for decision in Decision}}
_STATES = {state.value: state for state in ChangeState}

COLUMNS = (
    _TABLE.c.id,
    _TABLE.c.zone,
    _TABLE.c.child,
    _TABLE.c.key_id,
    _TABLE.c.source,
    _TABLE.c.accepted_at,
    _TABLE.c.before,
    _TABLE.c.after,
    _TABLE.c.state,
    _TABLE.c.reason,
    _TABLE.c.attempts,
    _TABLE.c.settled_at,
    _TABLE.c.inception,
    _TABLE.c.identity,
    _TABLE.c.message,
    _TABLE.c.kind,
    _TABLE.c.next_at,
    _TABLE.c.decision,
    _TABLE.c.decided_by,
    _TABLE.c.decided_because,
    _TABLE.c.history_number,
)
"""The columns of which `StoredChange.from_row` makes a value, in its order."""


@dataclass(frozen=True, slots=True)
class NewChange:
    """A change about to be accepted. `actor` and `key_tag` are for the audit trail.

    `identity` is the hash of signed data and key, `expires_at` when it may be forgotten, in
    seconds since the epoch, `inception` the signature's; all None for what did not come in a signed message.
    """

    zone: bytes
    before: Delegation
    after: Delegation
    source: str
    actor: str
    message: bytes
    """The signed request as it was received."""
    key_id: int | None = None
    key_tag: int | None = None
    identity: bytes | None = None
    expires_at: float | None = None
    inception: int | None = None
    kind: ChangeKind = ChangeKind.DELEGATION
    held_because: str | None = None
    """Why it has to wait for an operator; None if it goes to the server at once."""
    replaces: int | None = None
    """The number of the child's held change, which this one puts an end to."""

    @property
    def child(self) -> bytes:
        return self.after.child


_UNSEEN = ("backend-mismatch: ", "conflict: ")
"""How the reason begins of what failed since the server holds something else; the rules are the receiver's."""


@dataclass(frozen=True, slots=True)
class StoredChange:
    """A row of the ledger; times are in seconds since the epoch.

    Those with `decided` are an operator's, who decided about it.

    `attempts` counts how often the change was taken to the server. While it is unsettled, `reason` says what the last
    attempt failed with, and `next_at` when the next one is due; both are None before the first has failed.
    """

    id: int
    zone: bytes
    child: bytes
    key_id: int | None
    source: str
    accepted_at: float
    before: Delegation
    after: Delegation
    state: ChangeState
    reason: str | None
    attempts: int
    settled_at: float | None
    inception: int | None
    identity: bytes | None
    message: bytes
    kind: ChangeKind
    next_at: float | None
    decision: Decision | None = None
    decided_by: str | None = None
    decided_because: str | None = None
    history_number: int | None = None
    """That of the server's history by which it is written, where others make the zone of it."""

    @property
    def is_unseen(self) -> bool:
        """Whether it failed since the server did not show it: one that acknowledged it may yet do so."""
        return self.state is ChangeState.FAILED and (self.reason or "").startswith(_UNSEEN)

    @property
    def verdict(self) -> str | None:
        """What an operator decided, who, and why; None where none has."""
        if self.decision is None:
            return None
        return f"{self.decision.value} by {self.decided_by}" + (
            f": {self.decided_because}" if self.decided_because else ""
        )

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> "StoredChange":
        """The value of a row of `COLUMNS`."""
        number, zone, child, key_id, source, accepted_at, before, after, *rest = row
        state, reason, attempts, settled_at, inception, identity, message, kind, next_at, *decided = rest
        decision, decided_by, decided_because, history_number = decided
        return cls(
            number,
            zone,
            child,
            key_id,
            source,
            accepted_at,
            Delegation.from_wire(before),
            Delegation.from_wire(after),
            _STATES[state],
            reason,
            attempts,
            settled_at,
            inception,
            identity,
            message,
            _KINDS[kind],
            next_at,
            _DECISIONS[decision],
            decided_by,
            decided_because,
            history_number,
        )

    def to_json(self) -> dict[str, Any]:
        """Names, delegations and times in presentation form."""
        return {
            "id": self.id,
            "zone": names.to_text(self.zone),
            "child": names.to_text(self.child),
            "kind": self.kind.value,
            "key_id": self.key_id,
            "source": self.source,
            "accepted_at": timestamps.to_text(self.accepted_at),
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "state": self.state.value,
            "reason": self.reason,
            "attempts": self.attempts,
            "next_at": timestamps.to_optional_text(self.next_at),
            "settled_at": timestamps.to_optional_text(self.settled_at),
            "inception": timestamps.to_optional_text(self.inception),
            "decision": None if self.decision is None else self.decision.value,
            "decided_by": self.decided_by,
            "decided_because": self.decided_because,
            "history_number": self.history_number,
        }


class Settlement(NamedTuple):
    """How an unsettled change ended, as applied or failed; `after`, if given, replaces what it asked for.

    `history_number`: that of the server's history by which it is written.
    """

    change_id: int
    state: ChangeState
    reason: str | None
    attempts: int
    after: Delegation | None = None
    history_number: int | None = None


class Attempt(NamedTuple):
    """An unsettled change was taken to the server, the so many-th time, in vain; `retry_in` seconds until the next."""

    change_id: int
    attempts: int
    reason: str
    retry_in: float


class AcceptedChange(NamedTuple):
    """When a change was accepted, in seconds since the epoch, how its message was signed, and where it came from.

    `inception` and `key_tag` are None for one without a signature, `key_tag` for one whose key is gone.
    """

    at: float
    inception: int | None
    key_tag: int | None
    source: str


@dataclass(frozen=True, slots=True)
class ChildRecord:
    """What the ledger knows of one child."""

    applied: Delegation | None
    """The delegation after the latest change that was applied."""
    unsettled: StoredChange | None
    """The change that is accepted and not yet applied or failed; there is one at most."""
    applied_at: float | None = None
    """When the change of `applied` was recorded as such, in seconds since the epoch."""
    unseen: Delegation | None = None
    """The delegation after the latest change, where that failed since the server did not show what it acknowledged."""
    applied_id: int = 0
    """The number of that change; what came before what is told by numbers, since a clock may be set."""


class Remembered(NamedTuple):
    """An identity that must not be applied again until `expires_at`, and the change that it became."""

    identity: bytes
    expires_at: float
    change_id: int
    state: ChangeState

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> "Remembered":
        identity, expires_at, number, state = row
        return cls(identity, expires_at, number, _STATES[state])
