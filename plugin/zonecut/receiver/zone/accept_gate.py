"""What is just being recorded, so that whoever ends can wait until nothing is."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class AcceptGate:
    """Lets things be recorded until `end`."""

    def __init__(self) -> None:
        self._under_way = 0
        self._nothing = asyncio.Event()
        self._nothing.set()
        self.has_ended = False

    async def do(self, write: Callable[[], Awaitable[T]]) -> T:
        """What `write` returns."""
        self._under_way += 1
        self._nothing.clear()
        try:
            return await write()
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._nothing.set()

    async def end(self) -> None:
        """Returns when what was begun is recorded; who asks `has_ended` begins nothing more."""
        self.has_ended = True
        await self._nothing.wait()
