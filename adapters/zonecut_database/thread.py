"""A thread with one connection: operations one after the other, each of which ends in time."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from zonecut.plugin import BackendUnavailable
from zonecut_database.engine import Database
from zonecut_database.failures import explained, is_in_the_way, is_read_only
from zonecut_database.shares import LOCK_SHARE

_GRACE = 1.0
"""Seconds for what was cut off to end."""
_PAUSE = 0.05
"""Seconds until a transaction is tried again that somebody else's was in the way of."""

T = TypeVar("T")


class DatabaseThread:
    """Operations that only read, statement by statement; or, as it was made, transactions that write."""

    def __init__(self, database: Database, timeout: float, *, write: bool) -> None:
        self._database = database
        self._timeout = timeout
        self._write = write
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="zonecut-database")
        self._connection: Connection | None = None
        self._guard = Lock()
        self._under_way: object = None
        self._raw: Any = None
        self._kept = False
        self._committing = False

    async def run(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns; if this thread is one that writes, in one transaction, which is committed.

        `work` may be called more than once, and has no effects but in the database. Raises BackendError: what
        `work` raises, what the database says, BackendUnavailable when it takes longer than the time limit.
        """
        token = object()
        deadline = time.monotonic() + self._timeout
        future = asyncio.wrap_future(self._executor.submit(self._attempt, work, token, deadline))
        # whoever waits may be cancelled, and then nobody asks what became of it
        future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        await asyncio.wait([future], timeout=self._timeout)
        if not future.done():
            self._cut_off(token)
            await asyncio.wait([future], timeout=_GRACE)
            # it may have come through at the last moment
            if not future.done() or isinstance(future.exception(), BackendUnavailable):
                future.cancel()
                raise BackendUnavailable(f"{self._database.where} did not answer within {self._timeout:g} s")
        return future.result()

    async def close(self) -> None:
        """Close the connection, once what is under way has ended or its time is up. Never raises."""
        closing = asyncio.wrap_future(self._executor.submit(self._drop))
        self._executor.shutdown(wait=False)
        await asyncio.wait([closing], timeout=self._timeout + _GRACE)

    def _cut_off(self, token: object) -> None:
        with self._guard:
            if self._under_way is token and self._raw is not None:
                self._database.cut_off(self._raw)

    # What follows runs in the thread.

    def _attempt(self, work: Callable[[Connection], T], token: object, deadline: float) -> T:
        with self._guard:
            self._under_way = token
        try:
            while True:
                self._in_time(deadline)
                try:
                    return self._transaction(work, deadline)
                except SQLAlchemyError as error:
                    stale = self._died_idle(error) or self._became_read_only(error)
                    self._roll_back()
                    if not stale and not self._may_wait_again(error, deadline):
                        raise explained(error, self._database.where) from error
                    if not stale:
                        time.sleep(_PAUSE)
                except BaseException:
                    self._roll_back()
                    raise
        finally:
            with self._guard:
                self._under_way = None

    def _transaction(self, work: Callable[[Connection], T], deadline: float) -> T:
        self._committing = False
        connection = self._current()
        self._in_time(deadline)
        if not self._write:
            result = work(connection)
            connection.rollback()  # nothing, to the database: each statement was a transaction
            return result
        self._database.begin(connection)
        result = work(connection)
        self._committing = True
        connection.commit()
        return result

    def _in_time(self, deadline: float) -> None:
        """Nothing is begun that nobody waits for any more."""
        if time.monotonic() > deadline:
            raise BackendUnavailable(f"{self._database.where} is busy: {self._timeout:g} s waited")

    def _died_idle(self, error: SQLAlchemyError) -> bool:
        """True if a connection failed that may have been dead before; until a commit is sent, nothing is done."""
        dead = isinstance(error, DBAPIError) and error.connection_invalidated
        return dead and self._kept and not self._committing

    def _became_read_only(self, error: SQLAlchemyError) -> bool:
        """True if a kept connection leads to what cannot be written to, as after a failover: a new one may do."""
        if not is_read_only(error):
            return False
        # the one for reading may lead to the same server
        self._database.distrust()
        return self._kept

    def _may_wait_again(self, error: SQLAlchemyError, deadline: float) -> bool:
        return is_in_the_way(error) and time.monotonic() + LOCK_SHARE * self._timeout < deadline

    def _current(self) -> Connection:
        """The connection that is kept, or a new one."""
        if self._connection is not None and not self._database.is_current(self._connection):
            self._drop()
        self._kept = self._connection is not None
        if self._connection is None:
            connection = self._database.connect(write=self._write)
            with self._guard:
                self._connection, self._raw = connection, connection.connection.dbapi_connection
        return self._connection

    def _roll_back(self) -> None:
        """End the transaction, so that the next one finds nothing left of it."""
        if self._connection is None:
            return
        try:
            self._connection.rollback()
            broken = self._connection.invalidated
        except SQLAlchemyError:
            broken = True
        if broken:
            self._drop()

    def _drop(self) -> None:
        with self._guard:
            connection, self._connection, self._raw = self._connection, None, None
        if connection is None:
            return
        try:
            connection.close()
        except SQLAlchemyError:
            connection.invalidate()
