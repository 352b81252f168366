"""What strangers send is counted, and logged in samples: nobody fills a disk or burns a CPU by being refused."""

from collections import Counter

SAMPLE_INTERVAL = 10.0
"""Seconds between two logged samples of the same rule."""


class Tally:
    """Counts of decisions by rule since the start, and which of them to log."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._sampled: dict[str, tuple[float, int]] = {}

    def count(self, rule: str, now: float) -> int:
        """Count one; the number of those that one log line now stands for, or 0 if none is due. `now` in seconds."""
        self.counts[rule] += 1
        due, since = self._sampled.get(rule, (0.0, 0))
        if now < due:
            return 0
        total = self.counts[rule]
        self._sampled[rule] = (now + SAMPLE_INTERVAL, total)
        return total - since
