"""How many changes a parent zone has accepted since the start, and how they ended."""

from dataclasses import dataclass


@dataclass(slots=True)
class ChangeCounts:
    """Of one parent zone. What an earlier process accepted counts where it ends."""

    accepted: int = 0
    applied: int = 0
    failed: int = 0
