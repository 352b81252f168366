"""The store thread: what waits for a disk happens here, and whatever waits to be written is one transaction."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from zonecut.store.engine import begin, display, explain, is_locked
from zonecut.store.errors import StoreConflict, StoreError, StoreReplaced, StoreRestored, StoreUnavailable
from zonecut.store.operations import CallersOwn, Handler, Outcome, Read, Write, first, hand_back, of_the_caller
from zonecut.store.place.mark import Mark, Restored, newest
from zonecut.store.place.marking import Marking
from zonecut.store.place.store_file import StoreFile

LOCK_PATIENCE = 5.0
"""Seconds for which a write tries to get the lock that another process holds."""
_LAST_MARKS = 3
"""How often the mark is written at the end, where other processes have just written theirs."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class StoreThread:
    """One thread that owns the engine's connection, with awaitable reads and group-committed writes.

    It starts with the first operation and ends with `close`, which has to be called: it is no daemon thread, so that
    nothing that was accepted is lost when the program ends.
    """

    def __init__(self, engine: Engine, file: StoreFile | None = None, marking: Marking | None = None) -> None:
        """`file`: the one that must stay in its place for anything to be read or recorded.

        `marking` is told what is recorded; while it holds that the store was restored, only what takes trust away is.
        """
        self._engine = engine
        self._file = file
        self.marking = marking
        self._queue: SimpleQueue[Read | Write | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._closed = False
        self._locked_since: float | None = None
        self._trouble = self.restored.reason if self.restored else None
        self._write_fails = False
        self.elsewhere: str | None = None
        """Says of which store this one is a copy that a running daemon has: what it does not see is not recorded."""
        self.noticed: Callable[[str | None], None] = _nobody
        """Called, in the thread, with the reason when the database does not work any more, and with None when it does
        again."""
        self.failed: Callable[[str, BaseException], None] = _no_one
        """Called, in the thread, with a sentence and the exception that nobody had expected: a defect."""

    @property
    def restored(self) -> Restored | None:
        """What shows that the store was restored from a backup, until an operator has accepted that."""
        return None if self.marking is None else self.marking.restored

    async def read(self, function: Callable[[Connection], _Result]) -> _Result:
        """What `function` returns, called in the store thread inside one transaction, which is rolled back.

        Raises StoreUnavailable, and whatever `function` raises that is no error of the database. Nothing that goes
        wrong ends the thread, or leaves a caller waiting: what was not expected is StoreUnavailable as well.
        """
        future: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._submit(Read(function, future))
        return await future

    async def write(
        self,
        handler: Callable[[Connection, Sequence[_Item]], Sequence[_Result]],
        item: _Item,
        *,
        untrusts: bool = False,
    ) -> _Result:
        """What `handler` returns for `item`, once that is durable.

        Whatever waits is committed at once: `handler` is called with all waiting items that named it, in order of
        arrival, and returns a result for each. When the transaction fails, each item is tried in one of its own, so
        that only the offender fails; a handler may therefore be called twice and has no effects outside its
        transaction. Cancelling the caller does not take the item back. What only takes trust away, `untrusts`, is
        recorded in a store that was restored, too. Raises StoreUnavailable, StoreConflict for a constraint, and
        whatever the handler raises.
        """
        future: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._submit(Write(handler, item, future, untrusts))
        return await future

    async def close(self) -> None:
        """Do what was accepted, then close the connection and end the thread. May be called again."""
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            await asyncio.get_running_loop().run_in_executor(None, thread.join)

    def _submit(self, operation: Read | Write) -> None:
        if self._closed:
            raise StoreUnavailable(f"the store {display(self._engine.url)!r} is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="zonecut-store")
            self._thread.start()
        self._queue.put(operation)

    # What follows runs in the thread.

    def _run(self) -> None:
        writes: deque[Write] = deque()
        stopping = False
        try:
            while writes or not stopping:
                reads, told_to_stop = self._take(writes, wait=not writes)
                stopping = stopping or told_to_stop
                # Reads first: however many writes wait, a read waits for one transaction at most.
                hand_back([self._read(read) for read in reads])
                if writes:
                    hand_back(self._write(writes))
                self._mark()
        finally:
            for _ in range(_LAST_MARKS):
                self._mark(at_once=True)
            self._drop_connection()
            self._engine.dispose()

    def _take(self, writes: deque[Write], *, wait: bool) -> tuple[list[Read], bool]:
        """Move the waiting writes to `writes`; the waiting reads, and whether to stop when all is done."""
        reads: list[Read] = []
        stop = False
        try:
            operation = self._queue.get(block=wait)
            while True:
                if isinstance(operation, Write):
                    writes.append(operation)
                elif operation is None:
                    stop = True
                else:
                    reads.append(operation)
                operation = self._queue.get_nowait()
        except Empty:
            return reads, stop

    def _read(self, read: Read) -> Outcome:
        try:
            connection = self._current()
            if self.marking is not None:
                self.marking.look_again(connection)
            begin(connection, write=False)
            self._check_contents(connection, at_once=False)
            with of_the_caller():
                result = read.function(connection)
            connection.rollback()
        except BaseException as error:
            return Outcome(read.future, None, self._recover(error, write=False))
        if self._write_fails:
            # One that was opened while the file could not be written stays read-only when the file no longer is.
            self._drop_connection()
        else:
            self._notice(None)
        return Outcome(read.future, result, None)

    def _write(self, writes: deque[Write]) -> list[Outcome]:
        """Commit the first of `writes` and take them out; nothing while another process holds the lock."""
        try:
            self._check_accepted(writes)
            begin(self._current(), write=True)
        except BaseException as error:
            if is_locked(error) and self._patient():
                self._drop_connection()
                return []
            recovered = self._recover(error, write=True)
            return [Outcome(write.future, None, recovered) for write in first(writes)]
        self._locked_since = None
        group = first(writes)
        try:
            results, reached = self._execute(group)
        except BaseException as error:
            recovered = self._recover(error, write=True)
            if len(group) == 1:
                return [Outcome(group[0].future, None, recovered)]
            return [outcome for write in group for outcome in self._write_alone(write)]
        return self._committed(group, results, reached)

    def _write_alone(self, write: Write) -> list[Outcome]:
        try:
            begin(self._current(), write=True)
            results, reached = self._execute([write])
        except BaseException as error:
            return [Outcome(write.future, None, self._recover(error, write=True))]
        return self._committed([write], results, reached)

    def _committed(self, group: Sequence[Write], results: Sequence[Any], reached: Mark) -> list[Outcome]:
        """What the callers of a group get that is durable. Whatever goes wrong now, none of it is executed again."""
        try:
            self._check_file()  # else it may be durable where nobody reads
            self._write_fails = False
            if self.marking is not None:
                self.marking.recorded(reached)
        except BaseException as error:
            recovered = self._recover(error, write=True)
            return [Outcome(write.future, None, recovered) for write in group]
        self._notice(None)
        return [Outcome(write.future, result, None) for write, result in zip(group, results, strict=True)]

    def _execute(self, group: Sequence[Write]) -> tuple[list[Any], Mark]:
        """Commit the transaction that has begun: the results of `group`, in its order, and how far the store got."""
        connection = self._current()
        by_handler: dict[Handler, list[int]] = {}
        for index, write in enumerate(group):
            by_handler.setdefault(write.handler, []).append(index)
        results: list[Any] = [None] * len(group)
        self._check_contents(connection, at_once=True)
        if not all(self._may(write) for write in group):
            raise self._refusal()
        for handler, indexes in by_handler.items():
            with of_the_caller():
                given = handler(connection, [group[index].item for index in indexes])
                for index, result in zip(indexes, given, strict=True):
                    results[index] = result
        reached = newest(connection)
        if self.marking is not None:
            self.marking.advance(connection)
        connection.commit()
        return results, reached

    def _patient(self) -> bool:
        now = time.monotonic()
        if self._locked_since is None:
            self._locked_since = now
        if now - self._locked_since < LOCK_PATIENCE:
            return True
        self._locked_since = None
        return False

    def _current(self) -> Connection:
        """The connection, after a look whether it leads to the file that others see. Raises StoreReplaced."""
        self._check_file()
        if self._connection is None:
            self._connection = self._engine.connect()
            self._check_file()
        return self._connection

    def _may(self, write: Write) -> bool:
        """False for what is not recorded while a store that was restored waits for an operator."""
        return write.untrusts or self.restored is None or (self.marking is not None and self.marking.accepting)

    def _refusal(self) -> StoreRestored:
        return StoreRestored(self.restored.reason if self.restored else "")

    def _check_accepted(self, writes: deque[Write]) -> None:
        if self.elsewhere is not None:
            raise StoreReplaced(f"{self.elsewhere}, so nothing is recorded; give that one's configuration")
        if self.marking is not None and self.marking.restored and not self.marking.accepting:
            self.marking.look_again(self._current())
            if not any(self._may(write) for write in writes):
                raise self._refusal()

    def _check_contents(self, connection: Connection, *, at_once: bool) -> None:
        """Look whether the file that is open holds what it held: see Marking."""
        if self.marking is None or self._file is None or self.marking.restored:
            return
        self.marking.check(connection, self._file.stamp, at_once=at_once)
        if self.marking.restored is not None:
            self._tell(self.marking.restored.reason)

    def _mark(self, *, at_once: bool = False) -> None:
        if self.marking is None or self._file is None or self._connection is None:
            return
        try:
            self._check_file()
            self.marking.keep(self._connection, self._file.stamp, self._file.generation, at_once=at_once)
        except (SQLAlchemyError, StoreUnavailable):
            return  # whoever reads or writes next is told
        except BaseException as error:
            self._report("the mark of the store is not kept up to date", error)

    def _check_file(self) -> None:
        if self._file is not None:
            self._file.check()

    def _recover(self, error: BaseException, *, write: bool) -> BaseException:
        """End the transaction, so that the next one finds nothing left of it; what to tell the caller."""
        if isinstance(error, SQLAlchemyError) and not isinstance(error, IntegrityError):
            return self._out_of_order(explain(error), write=write)
        if not isinstance(error, CallersOwn | StoreError | IntegrityError):
            self._report("an operation of the store ended in a way that nobody had expected", error)
            return self._out_of_order(f"internal error ({type(error).__name__}), see the log", write=write)
        if self._connection is not None:
            try:
                self._connection.rollback()
            except BaseException:
                self._drop_connection()
        if isinstance(error, CallersOwn):
            return error.error
        if isinstance(error, StoreUnavailable) and not isinstance(error, StoreRestored):
            # the connection stays: what it holds is not lost while it is open, and counts when the file is put back
            self._notice(error.reason)
        return (
            StoreConflict(f"the store holds such a row: {error.orig}") if isinstance(error, IntegrityError) else error
        )

    def _out_of_order(self, why: str, *, write: bool) -> StoreUnavailable:
        self._drop_connection()
        self._write_fails |= write
        reason = f"the store {display(self._engine.url)!r} does not work: {why}"
        self._notice(reason)
        return StoreUnavailable(reason)

    def _notice(self, trouble: str | None) -> None:
        if trouble is None and self.restored:
            return
        self._tell(trouble)

    def _tell(self, trouble: str | None) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            try:
                self.noticed(trouble)
            except BaseException as error:
                self._report("what became of the store was not told", error)

    def _report(self, what: str, error: BaseException) -> None:
        """Tell of a defect: it costs one operation, and neither the thread nor those who wait."""
        with suppress(BaseException):
            self.failed(what, error)

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if self._file is not None:
            try:
                self._file.closed()  # before it is: SQLite may remove what others compare with
            except BaseException as error:
                self._report("others are not told that the store is closed", error)
        if connection is not None:
            try:
                connection.close()
            except BaseException:
                with suppress(BaseException):
                    connection.invalidate()


def _nobody(trouble: str | None) -> None:
    """Who wants to know replaces this."""


def _no_one(what: str, error: BaseException) -> None:
    """Who wants to know replaces this."""
