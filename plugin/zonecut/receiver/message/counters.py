"""What strangers send is counted, and logged in samples: nobody fills a disk or burns a CPU by being refused."""

from collections import Counter
from enum import StrEnum

SAMPLE_INTERVAL = 10.0
"""Seconds between two logged samples of the same rule."""


class Result(StrEnum):
    """How a request ended."""

    ACCEPTED = "accepted"
    """A change, an upload or a roll."""
    ANSWERED = "answered"
    """A question."""
    REFUSED = "refused"
    FAILED = "failed"
    """Backend or store could not take it, or a defect of ours."""
    DROPPED = "dropped"
    """It was no request, and got no response."""


class Counters:
    """Counts of decisions by rule since the start, and which of them to log."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.results: Counter[tuple[Result, str]] = Counter()
        """Requests by how they ended, and the rule that decided."""
        self.responses: Counter[int] = Counter()
        """By RCODE."""
        self._sampled: dict[str, tuple[float, int]] = {}

    def end(self, rule: str, result: Result, now: float) -> int:
        """Count a request that ended so; returns what `count` does."""
        self.results[result, rule] += 1
        return self.count(rule, now)

    def count(self, rule: str, now: float) -> int:
        """Count one; the number of those that one log line now stands for, or 0 if none is due. `now` in seconds."""
        self.counts[rule] += 1
        due, since = self._sampled.get(rule, (0.0, 0))
        if now < due:
            return 0
        total = self.counts[rule]
        self._sampled[rule] = (now + SAMPLE_INTERVAL, total)
        return total - since
