"""The servers that an agent reads and writes through adapters: opened when they are needed, closed afterwards."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from zonecut.agent.zone.source import Source, SourceError, ZoneContent
from zonecut.plugin import Backend, BackendError


class Backends:
    """The backends of one zone's agent, used by one task. With `keep` they stay open once they are, until `close`."""

    def __init__(self, backends: Sequence[Backend], *, keep: bool) -> None:
        self._backends = backends
        self._keep = keep
        self._open: list[Backend] = []
        self._users = 0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """All backends are open meanwhile. Raises BackendError."""
        self._users += 1
        try:
            for backend in self._backends:
                if backend not in self._open:
                    await backend.open()
                    self._open.append(backend)
            yield
        finally:
            self._users -= 1
            if not self._keep and not self._users:
                await self.close()

    async def closed(self) -> list[str]:
        """Why backends cannot be opened, a sentence each; nothing stays open."""
        found = []
        for backend in self._backends:
            try:
                await backend.open()
            except BackendError as error:
                found.append(error.reason)
            finally:
                await backend.close()
        return found

    async def close(self) -> None:
        """Close what is open; never raises."""
        while self._open:
            await self._open.pop().close()


class BehindDoors:
    """A source that is read through a backend: opened for each look, if it is not open."""

    def __init__(self, source: Source, doors: Backends) -> None:
        self._source = source
        self._doors = doors

    async def serial(self) -> int | None:
        """As `Source.serial`."""
        try:
            async with self._doors.opened():
                return await self._source.serial()
        except BackendError as error:
            raise SourceError(error.reason) from error

    async def mark(self) -> object:
        """As `Source.mark`."""
        try:
            async with self._doors.opened():
                return await self._source.mark()
        except BackendError as error:
            raise SourceError(error.reason) from error

    async def content(self) -> ZoneContent:
        """As `Source.content`."""
        try:
            async with self._doors.opened():
                return await self._source.content()
        except BackendError as error:
            raise SourceError(error.reason) from error

    async def close(self) -> None:
        await self._source.close()
