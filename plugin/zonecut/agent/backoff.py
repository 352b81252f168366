"""How long to wait after a failure, and when not to bother a receiver that many zones have in common."""

from collections.abc import Callable


def pause(attempts: int, first: float, longest: float, chance: float) -> float:
    """Seconds to wait after so many failures in a row: `first`, doubled each time, at most `longest`.

    `chance`, from 0 to 1, spreads what began together: a quarter more or less.
    """
    return min(first * 2.0 ** min(max(attempts - 1, 0), 32), longest) * (0.75 + chance / 2)


class Courtesy:
    """When a receiver may be talked to again. All zones with the same receiver share what one of them found out.

    While it is silent, only one zone tries at a time, and the pauses between those tries double.
    """

    def __init__(self, first: float, longest: float, chance: Callable[[], float]) -> None:
        self._first = first
        self._longest = longest
        self._chance = chance
        self._silent: dict[str, tuple[int, float]] = {}
        self._probing: set[str] = set()

    def delay(self, receiver: str, now: float) -> float:
        """Seconds for which this receiver is left alone; 0: talk to it now. Whoever is told 0 has the next try."""
        failures, at = self._silent.get(receiver, (0, 0.0))
        if now < at:
            return (at - now) * (1 + self._chance() / 4)
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
