"""How long to wait after a failure, and when not to bother a receiver that many zones have in common."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from zonecut.agent.pace.slots import Lease

TALKS = 8
"""So many zones talk to one receiver at the same time, beside those that it keeps waiting."""


def pause(attempts: int, first: float, longest: float, chance: float) -> float:
    """Seconds to wait after so many failures in a row: `first`, doubled each time, at most `longest`.

    `chance`, from 0 to 1, spreads what began together: a quarter more or less.
    """
    return min(first * 2.0 ** min(max(attempts - 1, 0), 32), longest) * (0.75 + chance / 2)


class Crowded(Exception):
    """So many zones talk to a receiver that it was not our turn for long: to be tried again after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Courtesy:
    """When a receiver may be talked to again. All zones with the same receiver share what one of them found out.

    While it is silent, only one zone tries at a time, and the pauses between those tries double; so they do once it has
    left one of them without an answer for `first` seconds, which nobody has given up yet.
    """

    def __init__(self, first: float, longest: float, chance: Callable[[], float]) -> None:
        self._first = first
        self._longest = longest
        self._chance = chance
        self._silent: dict[str, tuple[int, float]] = {}
        self._probing: set[str] = set()
        self._begun: dict[str, list[float]] = {}
        """When the talks began that nobody has answered yet."""
        self._doors: dict[str, _Door] = {}

    @asynccontextmanager
    async def admitted(self, receiver: str) -> AsyncIterator[None]:
        """One of the few that talk to this receiver, until it has kept us waiting for `first` seconds.

        Raises Crowded where there are so many that it is not our turn for as long: what was seen before is old.
        """
        door = self._doors.setdefault(receiver, _Door())
        door.users += 1
        lease = Lease(self._first, door.free)
        try:
            try:
                async with asyncio.timeout(self._first):
                    await lease.take()
            except TimeoutError:
                raise Crowded(pause(1, self._first, self._longest, self._chance())) from None
            yield
        finally:
            lease.give_up()
            door.users -= 1
            if not door.users:
                del self._doors[receiver]

    @contextmanager
    def talking(self, receiver: str, now: float) -> Iterator[None]:
        """A talk with it is under way, which began now."""
        begun = self._begun.setdefault(receiver, [])
        begun.append(now)
        try:
            yield
        finally:
            begun.remove(now)
            if not begun and self._begun.get(receiver) is begun:
                del self._begun[receiver]

    def delay(self, receiver: str, now: float) -> float:
        """Seconds for which this receiver is left alone; 0: talk to it now. Whoever is told 0 has the next try."""
        failures, at = self._silent.get(receiver, (0, 0.0))
        if now < at:
            return (at - now) * (1 + self._chance() / 4)
        if (rest := self._rest(receiver, now)) > 0:
            return rest * (1 + self._chance() / 4)
        if failures:
            self._probing.add(receiver)
            self._silent[receiver] = failures, now + pause(failures, self._first, self._longest, self._chance())
        return 0.0

    def silent(self, receiver: str, now: float) -> None:
        """It did not answer. Those who tried at the same time have found out one thing, not several."""
        failures, at = self._silent.get(receiver, (0, 0.0))
        if failures and now < at and receiver not in self._probing:
            return
        self._probing.discard(receiver)
        self._silent[receiver] = failures + 1, now + pause(failures + 1, self._first, self._longest, self._chance())

    def answered(self, receiver: str) -> None:
        self._silent.pop(receiver, None)
        self._probing.discard(receiver)
        # those that it left without an answer before say nothing any more
        self._begun.pop(receiver, None)

    def _rest(self, receiver: str, now: float) -> float:
        """Seconds until the next try of a receiver that keeps somebody waiting; 0: now."""
        begun = self._begun.get(receiver)
        if not begun or now - min(begun) < self._first:
            return 0.0
        return max(begun) + min(max(max(begun) - min(begun), self._first), self._longest) - now


class _Door:
    """How many may still talk to a receiver, and how many do or want to."""

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(TALKS)
        self.users = 0
