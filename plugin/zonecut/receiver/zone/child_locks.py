"""One unsettled change per child: the next one of that child waits for its turn."""

import asyncio


class TurnTimeout(Exception):
    """The child's earlier change is still unsettled."""


class TooManyWaiting(Exception):
    """More changes of one child wait than are accepted."""


class ChildLocks:
    """A lock for each child that has a change in work; the others cost no memory."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._waiting: dict[bytes, int] = {}
        self._locks: dict[bytes, asyncio.Lock] = {}

    async def take(self, child: bytes, timeout: float) -> bool:  # noqa: ASYNC109 (callers want one exception type)
        """Wait for the child's turn, `timeout` seconds at most; True if it had to wait at all.

        Raises TurnTimeout, or TooManyWaiting at once.
        """
        lock = self._locks.get(child)
        if lock is None:
            lock = self._locks[child] = asyncio.Lock()
        if not lock.locked() and child not in self._waiting:
            await lock.acquire()
            return False
        waiting = self._waiting.get(child, 0)
        if waiting >= self._max_waiting:
            raise TooManyWaiting
        self._waiting[child] = waiting + 1
        try:
            async with asyncio.timeout(timeout):
                await lock.acquire()
        except TimeoutError:
            raise TurnTimeout from None
        finally:
            if waiting := self._waiting.pop(child) - 1:
                self._waiting[child] = waiting
            self._forget(child)
        return True

    def give_back(self, child: bytes) -> None:
        """The child's change is settled or refused: the next one may go."""
        self._locks[child].release()
        self._forget(child)

    def _forget(self, child: bytes) -> None:
        if child not in self._waiting and not self._locks[child].locked():
            del self._locks[child]


class Turn:
    """A child's turn; `keep` hands it on to who gives it back later."""

    kept = False

    def keep(self) -> None:
        self.kept = True
