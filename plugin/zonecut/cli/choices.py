"""Words that an option may have: those of the store, here as well so that a command line is read without a database."""

from enum import StrEnum


class KeyStateChoice(StrEnum):
    """`zonecut.store.KeyState`."""

    KNOWN = "known"
    TRUSTED = "trusted"
    VALIDATION_FAILED = "validation-failed"
    REFUSED = "refused"
    SUPERSEDED = "superseded"
    SUSPENDED = "suspended"
    ENDED = "ended"
    REVOKED = "revoked"


class ChangeStateChoice(StrEnum):
    """`zonecut.store.ChangeState`."""

    ACCEPTED = "accepted"
    APPLIED = "applied"
    FAILED = "failed"
    HELD = "held"
