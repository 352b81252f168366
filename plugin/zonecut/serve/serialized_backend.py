"""A backend that two tasks use, the writer of delegations and the publisher: one operation at a time, all watched."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog

from zonecut.plugin import (
    Backend,
    BackendConflict,
    BackendError,
    BackendLater,
    BackendRejected,
    BackendUnavailable,
    Change,
    Host,
    Progress,
    Reading,
    Unreadable,
    Withdrawal,
)
from zonecut.protocol import names
from zonecut.protocol.rrset import RRset
from zonecut.serve.health import Health

_log = structlog.get_logger(__name__)

Written = Callable[[bytes, int, str, float], None]
"""Told of each transaction: the zone, the number of changes in it, how it ended, and the seconds that it took."""

_ENDINGS: tuple[tuple[type[BackendError], str], ...] = (
    (BackendConflict, "conflict"),
    (BackendLater, "later"),
    (BackendRejected, "rejected"),
    (BackendUnavailable, "unavailable"),
)


class SerializedBackend(Backend):
    """What the interface promises an adapter: of what it does, only some kinds of reading overlap."""

    def __init__(self, backend: Backend, zone: bytes, health: Health, written: Written) -> None:
        self._backend = backend
        self._zone = zone
        self.health = health
        self._written = written
        self._turn = asyncio.Lock()
        self.opened = asyncio.Event()
        """Set while the backend is open."""

    async def open(self) -> None:
        with self.health.watched(opening=True):
            async with self._turn:
                await self._backend.open()
        self.opened.set()

    async def close(self) -> None:
        """Never raises: what an adapter says then is for the log, and keeps nobody from closing the rest."""
        self.opened.clear()
        try:
            await self._backend.close()
        except Exception:
            _log.exception("backend.defect", zone=names.to_text(self._zone))

    def remarks(self) -> Sequence[str]:
        return self._backend.remarks()

    def by_hand(self, changes: Sequence[Change]) -> str | None:
        return self._backend.by_hand(changes)

    async def read(self, child: bytes) -> Reading:
        with self.health.watched():
            return await self._backend.read(child)

    async def unchanged(self, readings: Sequence[Reading]) -> frozenset[bytes]:
        with self.health.watched():
            return await self._backend.unchanged(readings)

    def batch(self, changes: Sequence[Change]) -> int:
        return self._backend.batch(changes)

    async def write(self, changes: Sequence[Change]) -> None:
        async with self._turn:
            with self.health.watched(writing=True), self._timed(len(changes)):
                await self._backend.write(changes)

    async def verify(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        async with self._turn:
            with self.health.watched():
                missing = await self._backend.verify(changes)
        if changes and not missing:
            # a write whose answer was lost took place
            self.health.answered(writing=True)
        return missing

    async def withdraw(self, change: Change) -> Withdrawal | None:
        async with self._turn:
            with self.health.watched():
                return await self._backend.withdraw(change)

    async def hosts(
        self, hosts: Sequence[bytes], *, not_before: float | None = None, shared: bool = False
    ) -> Mapping[bytes, Host]:
        with self.health.watched():
            return await self._backend.hosts(hosts, not_before=not_before, shared=shared)

    async def children(self) -> AsyncGenerator[Reading | Unreadable, None]:
        """Nobody writes until it is closed or at its end: who lists does nothing else meanwhile."""
        async with self._turn:
            found = self._backend.children()
            try:
                async for reading in found:
                    yield reading
            finally:
                if isinstance(found, AsyncGenerator):
                    await found.aclose()

    async def serial(self) -> int | None:
        if type(self._backend).serial is Backend.serial:
            return None  # nobody is asked, so that nobody has answered
        async with self._turn:
            with self.health.watched():
                return await self._backend.serial()

    async def history_number(self) -> int | None:
        """Not watched, like `progress`."""
        return await self._backend.history_number()

    async def progress(self) -> Progress | None:
        """Not watched: most servers are not asked for anything, and are as they are."""
        return await self._backend.progress()

    async def read_rrsets(self, owners: Sequence[bytes]) -> tuple[RRset, ...]:
        async with self._turn:
            with self.health.watched():
                return await self._backend.read_rrsets(owners)

    async def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        async with self._turn:
            with self.health.watched(writing=True):
                await self._backend.replace_rrsets(before, after)

    async def keep_watch(self) -> None:
        """Ask for the apex whenever nothing else was asked for some time, until cancelled."""
        while True:
            await self.opened.wait()
            await self.health.silent()
            try:
                if self.opened.is_set():
                    await self.read_rrsets([self._zone])
            except BackendError:
                continue  # its health tells

    @contextmanager
    def _timed(self, changes: int) -> Iterator[None]:
        began, ending = time.monotonic(), "defect"
        try:
            yield
            ending = "written"
        except BackendError as error:
            ending = next((name for kind, name in _ENDINGS if isinstance(error, kind)), ending)
            raise
        finally:
            self._written(self._zone, changes, ending, time.monotonic() - began)
