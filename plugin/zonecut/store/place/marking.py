"""Keeps a store's mark up to date, and holds back everything while the mark and the store contradict each other."""

import time
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Connection

from zonecut.store.place.mark import Mark, MarkFile, Restored, holds, newest
from zonecut.store.place.naming import compare, judge, name_of

PERIOD = 1.0
"""Seconds between two writes of the mark: what it does not tell of yet is what a backup may lose unseen. In the same
time, or more, the store comes to its next generation."""
GLANCE = 0.2
"""Seconds between two glances of those who read at whether the store holds what it held."""
SETTLED = 0.05
"""Seconds after which a file that has changed is not being written any more, for all that its time can tell."""
LOOK_AGAIN = 0.5
"""Seconds between two looks whether an operator has accepted a store that was restored."""


class Marking:
    """Of one store, used by its thread."""

    def __init__(
        self,
        file: MarkFile,
        identity: int | None,
        restored: Restored | None,
        known: Mark | None,
        *,
        recorded: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`identity`: inode of the SQLite file; `restored`: what the mark says against the store; `known`: the mark
        that was there; `recorded`: whether a mark is to be written in any case."""
        self.restored = restored
        self.accepting = False
        """Set while an operator's acceptance is being recorded."""
        self._file = file
        self._identity = identity
        self._monotonic = monotonic
        self._known = known
        """How far the store had got when this was last seen."""
        self._accepted = False
        """Set until the mark tells of what an operator has accepted."""
        self._stamp: tuple[int, int] | None = None
        self._glanced_at = float("-inf")
        self._due = recorded
        self._written_at = float("-inf")
        self._looked_at = float("-inf")
        self._advanced_at = float("-inf")

    def advance(self, connection: Connection) -> None:
        """Number the state that is about to be committed, every PERIOD: see `generations`.

        The number is in the first page of the SQLite file, where it can be read before SQLite opens that.
        """
        now = self._monotonic()
        if now - self._advanced_at < PERIOD or connection.dialect.name != "sqlite":
            return
        self._advanced_at = now
        number = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        connection.exec_driver_sql(f"PRAGMA user_version = {min(number + 1, 2**31 - 1)}")

    def recorded(self, newest: Mark) -> None:
        """Something was committed, and the audit trail has got so far with it."""
        self._known = newest
        self._due = True

    def accept(self) -> None:
        """An operator has accepted the store as it is: the next mark tells of that."""
        self._known, self._accepted = None, True
        self.restored, self.accepting = None, False
        self._due = True

    def check(self, connection: Connection, stamp: tuple[int, int], *, at_once: bool) -> None:
        """See whether the store still holds what it held; if not, it was restored, beneath us, and `restored` says so.

        An older copy may be written into the very file that is open. `stamp`: that file's size, and when it was changed
        in nanoseconds since the epoch; without `at_once` one look every GLANCE is enough while it stays.
        """
        now = self._monotonic()
        if self.restored is not None:
            return
        if not at_once and stamp == self._stamp and now - self._glanced_at < GLANCE:
            return
        mark = None
        if stamp != self._stamp:
            # SQLite goes by the pages that it has read, while nobody tells it that the file was written
            connection.exec_driver_sql("PRAGMA shrink_memory")
            # before anything is selected: it may tell of what is recorded after that
            mark = None if self._accepted else self._file.read()
        if not holds(connection, self._known):
            self.restored = Restored(self._known, newest(connection), self._file.path)
        else:
            self.restored = judge(connection, mark, self._file.path)
        if self.restored is not None:
            # at once, and before anybody looks again: what the file says may be older
            self._due, self._written_at = True, float("-inf")
            return
        self._known = newest(connection)
        self._glanced_at = now
        # while a file may still be being written, it is looked at each time
        self._stamp = None if 0 <= time.time() - stamp[1] / 1e9 < SETTLED else stamp

    def keep(
        self, connection: Connection, stamp: tuple[int, int], generation: int | None = None, *, at_once: bool = False
    ) -> None:
        """Write the mark if there is news and it is time. No transaction is under way on `connection`.

        `generation`: that of the SQLite file itself, where that is known.

        It never tells of less than it did: a store that does not hold that any more was restored, see `check`. While it
        waits for an operator, the mark goes on saying what it said, now of the file that is there. One that cannot be
        written is tried again, and says less than it could until then.
        """
        now = self._monotonic()
        if not self._due or (not at_once and now - self._written_at < PERIOD):
            return
        self._written_at = now
        self._due = False  # before anything is looked at: what is recorded or accepted meanwhile makes it due again
        self._stamp = None  # so that other processes' marks count, too
        self.check(connection, stamp, at_once=True)
        restored = self.restored
        if restored is not None:
            mark = still(restored, self._identity)
        else:
            if generation is None and not self._accepted and (there := self._file.read()) is not None:
                generation = there.generation
            mark = replace(newest(connection), store=name_of(connection), file=self._identity, generation=generation)
        connection.rollback()
        if mark is None:
            return
        try:
            self._file.write(mark)
        except OSError:
            self._due = True
        else:
            self._accepted = self._accepted and restored is not None
            # another process may have written one meanwhile that tells of more, in whose place this one is now
            overtaken = restored is None and newest(connection).entry != mark.entry
            connection.rollback()
            self._due = self._due or overtaken

    def look_again(self, connection: Connection) -> None:
        """See whether a store that was restored has been accepted. No transaction is under way on `connection`."""
        now = self._monotonic()
        if self.restored is None or self._due or now - self._looked_at < LOOK_AGAIN:
            return
        self._looked_at = now
        self._known, self.restored = compare(connection, self._file)
        connection.rollback()


def still(restored: Restored, identity: int | None) -> Mark | None:
    """The mark that goes on saying of the file that is there now, by its inode, what it says against it.

    None where there is no mark, which says the same. The generation is that of the file that was there.
    """
    return None if restored.mark is None else replace(restored.mark, file=identity, generation=None)
