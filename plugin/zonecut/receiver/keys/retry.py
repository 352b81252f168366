"""When a bootstrap is looked at again."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retry:
    """When to try again, and when to give up; times in seconds."""

    first: float
    longest: float
    attempts: int
    cool_down: float = 60.0
    """After a look, before the next one that is not due by the clock."""

    def pause(self, attempts: int, jitter: random.Random) -> float:
        """The pause after so many failed attempts."""
        return min(self.first * 2.0 ** min(attempts - 1, 60), self.longest) * jitter.uniform(0.8, 1.0)
