"""How the time limit of an operation is shared out: the database gives up first, and can say why."""

LOCK_SHARE = 0.6
"""The part that is waited for a lock."""
STATEMENT_SHARE = 0.8
"""The same for a whole statement."""
