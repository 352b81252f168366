"""How many zones are worked on at the same time: whoever waits for others takes no place that somebody else could use.

A zone's turn holds a slot. It gives it up while it waits for a receiver's answer, and for good once it has held it for
long: its server may be silent, or a transfer drip.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LONGEST = 10.0
"""Seconds for which a slot is held: whoever takes longer waits for somebody, and goes on without."""


class Lease:
    """A place of each of these semaphores, for so many seconds at most."""

    def __init__(self, longest: float, *semaphores: asyncio.Semaphore) -> None:
        self._longest = longest
        self._semaphores = semaphores
        self._taken: list[asyncio.Semaphore] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_held(self) -> bool:
        return bool(self._taken)

    async def take(self) -> None:
        """Wait for a place. Whoever is cancelled has none."""
        try:
            for semaphore in self._semaphores:
                await semaphore.acquire()
                self._taken.append(semaphore)
        except BaseException:
            self.give_up()
            raise
        self._timer = asyncio.get_running_loop().call_later(self._longest, self.give_up)

    def give_up(self) -> None:
        """Let others have it, if it is held still."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._taken:
            self._taken.pop().release()


class Slots:
    """So many of all zones, and at most half of them (one at least) for zones for which something is in vain: what they
    have in common may be silent."""

    def __init__(self, count: int, longest: float = LONGEST) -> None:
        self._all = asyncio.Semaphore(count)
        self._troubled = asyncio.Semaphore(max(count // 2, 1))
        self._longest = longest

    def lease(self, *, is_troubled: bool) -> Lease:
        return Lease(self._longest, *((self._troubled, self._all) if is_troubled else (self._all,)))


class Slot:
    """That of one zone, used by one task."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._lease: Lease | None = None

    @asynccontextmanager
    async def held(self, *, is_troubled: bool) -> AsyncIterator[None]:
        """Wait until there is one; it is given up in the end, if it was not before."""
        lease = self._lease = self._slots.lease(is_troubled=is_troubled)
        try:
            await lease.take()
            yield
        finally:
            lease.give_up()
            self._lease = None

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """Without the slot meanwhile. Within `held`, another is waited for afterwards, unless something was raised."""
        lease = self._lease
        if lease is not None:
            lease.give_up()
        yield
        if lease is not None:
            await lease.take()
