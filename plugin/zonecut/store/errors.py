"""What the store says no with. Each carries `reason`, a sentence for people; none is an error of SQLAlchemy's."""

from zonecut.protocol.foreigntext import clip


class StoreError(Exception):
    """Base of what this package raises."""

    def __init__(self, reason: str) -> None:
        self.reason = clip(reason)
        super().__init__(self.reason)


class StoreUnavailable(StoreError):
    """The database cannot do it now: disk full, read-only, locked, damaged, closed. The next operation tries afresh."""


class StoreReplaced(StoreUnavailable):
    """The files of the store were removed or replaced beneath us: the connection leads where nobody reads."""


class StoreRestored(StoreUnavailable):
    """The store was restored from a backup, and no operator has accepted that yet: it can be read, not written."""


class StoreUnusable(StoreError):
    """The URL does not lead to a store that this version can use; somebody has to change something."""


class StoreConflict(StoreError):
    """A row like that is there already."""


class InvalidTransition(StoreError):
    """The state that the row is in does not lead to the state that was asked for."""


class HeldBack(InvalidTransition):
    """It was signed before what it would undo now."""


class QuotaExceeded(StoreError):
    """Too many rows of that kind are there; a newcomer never displaces one."""


class NotInStore(StoreError):
    """There is no row with that number."""
