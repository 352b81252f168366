"""How much of something an agent may do within a time, whatever it is told: much after a quiet time, then at a rate.

Pure. What is kept is one moment, the one from which all of it is allowed again (the generic cell rate algorithm).
"""

from typing import NamedTuple

from zonecut.agent.settings import ChildSettings


class Allowance(NamedTuple):
    """`most` at once, and one more every `every` seconds: in an hour `most` and 3600 / `every` at most.

    Where an operator wants everything to be tried again within less, it comes back faster.
    """

    most: int
    every: float

    def wait(self, spent_until: float, now: float, settings: ChildSettings, count: int = 1) -> float:
        """Seconds until `count` are allowed; 0 if they are now."""
        every = self._every(settings)
        # no clock, set however, makes anybody wait for longer
        spent = min(spent_until - now, self.most * every)
        return max(spent - (self.most - count) * every, 0.0)

    def taken(self, spent_until: float, now: float, settings: ChildSettings) -> float:
        """The moment to keep, one having been taken."""
        every = self._every(settings)
        return min(max(spent_until, now), now + self.most * every) + every

    def _every(self, settings: ChildSettings) -> float:
        return min(self.every, settings.retry_longest / 4)


MESSAGES = Allowance(40, 120.0)
"""Messages to the receiver of one zone."""
STEP = 3
"""So many of them one step may send: the question whether the key is trusted, a change, and the question again."""
CHANGES = Allowance(20, 300.0)
"""Changes of one zone that end the pauses of before and go to the parent at once."""
