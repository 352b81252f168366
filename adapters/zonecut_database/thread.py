"""A thread with one connection: operations one after the other, each of them one transaction that ends in time."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from zonecut.plugin import BackendUnavailable
from zonecut_database.engine import LOCK_SHARE, Database
from zonecut_database.failures import explained, is_in_the_way

_GRACE = 1.0
"""Seconds for what was cut off to end."""
_PAUSE = 0.05
"""Seconds until a transaction is tried again that somebody else's was in the way of."""

T = TypeVar("T")


class DatabaseThread:
    """Operations that only read, or operations that write, as it was made."""

    def __init__(self, database: Database, timeout: float, *, write: bool) -> None:
        self._database = database
        self._timeout = timeout
        self._write = write
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="zonecut-database")
        self._connection: Connection | None = None
        self._guard = Lock()
        self._under_way: object = None
        self._raw: Any = None

    async def run(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, called in one transaction, which is committed if this thread is one that writes.

        `work` may be called more than once, and has no effects outside of the transaction. Raises BackendError: what
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
        if time.monotonic() > deadline:
            raise BackendUnavailable(f"{self._database.where} is busy: {self._timeout:g} s waited")
        with self._guard:
            self._under_way = token
        try:
            while True:
                try:
                    return self._transaction(work)
                except SQLAlchemyError as error:
                    self._roll_back()
                    # not unless there is time for all that it may wait
                    if not is_in_the_way(error) or time.monotonic() + LOCK_SHARE * self._timeout > deadline:
                        raise explained(error, self._database.where) from error
                except BaseException:
                    self._roll_back()
                    raise
                time.sleep(_PAUSE)
        finally:
            with self._guard:
                self._under_way = None

    def _transaction(self, work: Callable[[Connection], T]) -> T:
        connection = self._begun()
        result = work(connection)
        if self._write:
            connection.commit()
        else:
            connection.rollback()
        return result

    def _begun(self) -> Connection:
        """The connection, in a new transaction. One that died while it was idle is replaced: nothing was under way."""
        kept = self._connection
        if kept is not None and not self._database.is_current(kept):
            self._drop()
            kept = None
        connection = kept or self._connect()
        try:
            self._database.begin(connection, write=self._write)
        except DBAPIError as error:
            if kept is None or not error.connection_invalidated:
                raise
            self._drop()
            connection = self._connect()
            self._database.begin(connection, write=self._write)
        return connection

    def _connect(self) -> Connection:
        connection = self._database.connect()
        with self._guard:
            self._connection, self._raw = connection, connection.connection.dbapi_connection
        return connection

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
