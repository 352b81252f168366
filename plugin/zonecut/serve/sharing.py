"""A backend that two tasks use, the writer of delegations and the publisher: one operation at a time."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from zonecut.plugin import Backend, Change, Reading
from zonecut.protocol.rrset import RRset


class SharedBackend(Backend):
    """What the interface promises an adapter: nothing but `read` overlaps with anything else."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._turn = asyncio.Lock()
        self.opened = asyncio.Event()
        """Set while the backend is open."""

    async def open(self) -> None:
        async with self._turn:
            await self._backend.open()
        self.opened.set()

    async def close(self) -> None:
        self.opened.clear()
        await self._backend.close()

    async def read(self, child: bytes) -> Reading:
        return await self._backend.read(child)

    def batch(self, changes: Sequence[Change]) -> int:
        return self._backend.batch(changes)

    async def write(self, changes: Sequence[Change]) -> None:
        async with self._turn:
            await self._backend.write(changes)

    async def verify(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        async with self._turn:
            return await self._backend.verify(changes)

    def children(self) -> AsyncIterator[Reading]:
        return self._backend.children()

    async def read_rrsets(self, names: Sequence[bytes]) -> tuple[RRset, ...]:
        async with self._turn:
            return await self._backend.read_rrsets(names)

    async def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        async with self._turn:
            await self._backend.replace_rrsets(before, after)
