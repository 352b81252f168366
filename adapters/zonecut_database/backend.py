"""The Backend for tables: threads of their own for those who read, who write, and who only want to be informed.

So nobody who reads waits for a lock that somebody holds on a row, and nobody at all for one on the consumers' table.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection

from zonecut.plugin import (
    Backend,
    BackendContext,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Change,
    Host,
    Progress,
    Reading,
    Unreadable,
)
from zonecut.protocol.rrset import RRset
from zonecut_database import consumers, schema
from zonecut_database.engine import database_of
from zonecut_database.options import DatabaseOptions
from zonecut_database.thread import DatabaseThread
from zonecut_database.zone import ZoneTables

_LOG = logging.getLogger("zonecut.database")
_BATCH_RECORDS = 10_000

T = TypeVar("T")


class _Threads(NamedTuple):
    reading: DatabaseThread
    writing: DatabaseThread
    informing: DatabaseThread


class DatabaseBackend(Backend):
    """One parent zone in one database."""

    def __init__(self, context: BackendContext, options: DatabaseOptions) -> None:
        self._options = options
        self._tables = ZoneTables(context.zone, context.ttls)
        self._threads: _Threads | None = None
        self._lacking: tuple[str, ...] = ()
        self._unseen: tuple[str, ...] = ()
        self._has_consumers = False

    async def open(self) -> None:
        await self.close()
        database, timeout = database_of(self._options), self._options.timeout
        threads = _Threads(*(DatabaseThread(database, timeout, write=write) for write in (False, True, False)))
        self._threads = threads

        try:
            await asyncio.to_thread(database.prepare)
            if not await threads.reading.run(schema.exists):
                await threads.writing.run(schema.make)
            await threads.reading.run(self._check)
            await threads.reading.run(self._tables.check_made)
            await self._make_what_is_new(threads)
            await self._look_for_consumers(threads)
        except BaseException:
            await self.close()
            raise

    async def _make_what_is_new(self, threads: _Threads) -> None:
        """What tables of an earlier zonecut lack: it works without, and worse."""
        self._lacking = ()
        for addition in await threads.reading.run(schema.lacking):
            try:
                await threads.writing.run(addition.make)
            except BackendError as error:
                # the tables may be another role's
                cure = " ".join(addition.making.split())
                missing = f"{addition.what} is missing ({error.reason}): have the tables' owner do this: {cure}"
                self._lacking = (*self._lacking, missing)
                _LOG.warning("%s", missing)

    async def _look_for_consumers(self, threads: _Threads) -> None:
        """Tables of an earlier zonecut have no table of them, or none that we may read: it works without.

        So it does whatever is wrong with that table or in it.
        """
        self._unseen, self._has_consumers = (), True
        try:
            if not await threads.informing.run(consumers.exist):
                await self._make_consumers(threads)
            if self._has_consumers:
                await threads.informing.run(self._tables.progress)
        except BackendMisconfigured as error:
            self._has_consumers = False
            self._remark(error, f"GRANT {consumers.GRANTS} to zonecut's role")
        except BackendError as error:
            # it is looked at again; a lock that somebody holds on it ends
            ends = type(error) is BackendUnavailable
            self._remark(error, f"it is tried again; {consumers.TABLE} may be locked" if ends else consumers.CURE)

    async def _make_consumers(self, threads: _Threads) -> None:
        try:
            await threads.writing.run(consumers.make)
        except BackendError as error:
            # another one may have been faster; and somebody's long transaction keeps no zone from opening
            if not await threads.informing.run(consumers.exist):
                making = await threads.informing.run(lambda connection: consumers.making(connection.dialect.name))
                self._has_consumers = False
                self._remark(error, f"have the tables' owner do this: {' '.join(making.split())}")

    def _remark(self, error: BackendError, cure: str) -> None:
        self._unseen = (f"nobody is told how far the zone follows the tables ({error.reason}): {cure}",)
        _LOG.warning("%s", self._unseen[0])

    def remarks(self) -> Sequence[str]:
        return (*self._lacking, *self._unseen)

    def _check(self, connection: Connection) -> None:
        schema.check(connection)
        self._tables.check(connection)

    async def close(self) -> None:
        threads, self._threads = self._threads, None
        for thread in threads or ():
            await thread.close()

    async def read(self, child: bytes) -> Reading:
        return await self._reading(partial(self._tables.reading, child=child))

    async def unchanged(self, readings: Sequence[Reading]) -> frozenset[bytes]:
        return await self._reading(partial(self._tables.unchanged, readings=readings))

    def batch(self, changes: Sequence[Change]) -> int:
        """A database has no limit; ours is what a second or two carry out."""
        room = _BATCH_RECORDS
        for count, change in enumerate(changes):
            room -= len(change.before.records) + len(change.after.records)
            if room < 0:
                return max(count, 1)
        return len(changes)

    async def write(self, changes: Sequence[Change]) -> None:
        await self._writing(partial(self._tables.commit, changes=changes))

    async def verify(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        return await self._reading(partial(self._tables.missing, changes=changes))

    async def hosts(
        self, hosts: Sequence[bytes], *, not_before: float | None = None, shared: bool = False
    ) -> Mapping[bytes, Host]:
        return await self._reading(partial(self._tables.hosts, hosts=hosts))

    async def children(self) -> AsyncGenerator[Reading | Unreadable, None]:
        """Every delegation, some hundred in one step; one that comes or goes meanwhile may be there or not."""
        after: str | None = ""
        while after is not None:
            readings, after = await self._reading(partial(self._tables.page, after=after))
            for reading in readings:
                yield reading

    async def serial(self) -> int:
        return await self._reading(self._tables.serial)

    async def history_number(self) -> int:
        return await self._reading(self._tables.number)

    async def progress(self) -> Progress:
        if not self._has_consumers:
            return Progress(await self.history_number())
        try:
            found = await self._open().informing.run(self._tables.progress)
        except BackendError as error:
            raise consumers.unreadable(error) from error
        self._unseen = ()
        return found

    async def read_rrsets(self, names: Sequence[bytes]) -> tuple[RRset, ...]:
        return await self._reading(partial(self._tables.rrsets, places=names))

    async def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        await self._writing(partial(self._tables.replace_rrsets, before=before, after=after))

    async def _reading(self, work: Callable[[Connection], T]) -> T:
        return await self._open().reading.run(work)

    async def _writing(self, work: Callable[[Connection], T]) -> T:
        return await self._open().writing.run(work)

    def _open(self) -> _Threads:
        if self._threads is None:
            raise BackendUnavailable("the adapter database is not open")
        return self._threads
