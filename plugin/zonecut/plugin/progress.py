"""How far those have come who make a zone of what an adapter writes, where that is not the zone itself."""

from dataclasses import dataclass

MAX_CONSUMERS = 32
"""So many of those are told of one by one who make the zone of what is written, the first by their names."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """Somebody who makes the zone of what is written, and how far he has come by his own word.

    Everything up to `number` of the history is in the zone. `failed`: it is as it was then, since he cannot go on, for
    that `reason`. `idle` is for how many seconds he has said nothing, `owing` for how many the oldest change waits that
    he has not taken up; None where that is not known, or where there is none.
    """

    name: str
    number: int
    failed: bool = False
    reason: str = ""
    idle: float | None = None
    owing: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """The number of the last change that is written, in a history without gaps, and how far its consumers are."""

    number: int
    consumers: tuple[Consumer, ...] = ()
