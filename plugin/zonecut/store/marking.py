"""Keeps a store's mark up to date, and holds back everything while the mark and the store contradict each other."""

import time
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Connection

from zonecut.store.mark import MarkFile, Restored, compare, newest

PERIOD = 1.0
"""Seconds between two writes of the mark: what it does not tell of yet is what a backup may lose unseen."""
LOOK_AGAIN = 0.5
"""Seconds between two looks whether an operator has accepted a store that was restored."""


class Marking:
    """Of one store, used by its thread."""

    def __init__(
        self,
        file: MarkFile,
        identity: int | None,
        restored: Restored | None,
        *,
        recorded: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`identity`: inode of the SQLite file; `restored`: what the mark says against the store;
        `recorded`: whether a mark is to be written in any case."""
        self.restored = restored
        self.accepting = False
        """Set while an operator's acceptance is being recorded."""
        self._file = file
        self._identity = identity
        self._monotonic = monotonic
        self._due = recorded
        self._written_at = float("-inf")
        self._looked_at = float("-inf")

    def recorded(self) -> None:
        """Something was committed."""
        self._due = True

    def accept(self) -> None:
        """An operator has accepted the store as it is: the next mark tells of that."""
        self.restored, self.accepting = None, False
        self._due = True

    def keep(self, connection: Connection, *, at_once: bool = False) -> None:
        """Write the mark if there is news and it is time. No transaction is under way on `connection`.

        While the store waits for an operator, the mark goes on saying what it said, now of the file that is there. One
        that cannot be written is tried again, and says less than it could until then.
        """
        now = self._monotonic()
        if not self._due or (not at_once and now - self._written_at < PERIOD):
            return
        self._written_at = now
        self._due = False  # before anything is looked at: what is recorded or accepted meanwhile makes it due again
        restored = self.restored
        mark = replace(restored.mark if restored else newest(connection), file=self._identity)
        connection.rollback()
        try:
            self._file.write(mark)
        except OSError:
            self._due = True

    def look_again(self, connection: Connection) -> None:
        """See whether a store that was restored has been accepted. No transaction is under way on `connection`."""
        now = self._monotonic()
        if self.restored is None or now - self._looked_at < LOOK_AGAIN:
            return
        self._looked_at = now
        self.restored = compare(connection, self._file.read())
        connection.rollback()
