"""Until when a message is stale, as a receiver says it with BADTIME (PROTOCOL section 3, "Held back"). Pure."""

import re
from datetime import datetime

_TIME = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z|\d{9,10}\b)"
_FLOORS = tuple(
    re.compile(each)
    for each in (
        rf" a change that .* signed at {_TIME}",
        rf" a change signed at {_TIME}",
        rf" a change .*accepted at {_TIME}",
        rf"accepted before {_TIME} is not known",
        rf"trusted key \d+ anew at {_TIME}",
    )
)
_TOLERATED = re.compile(r"more than the (\d{1,7}(?:\.\d{1,9})?) s that are tolerated")


def stale_until(text: str) -> float | None:
    """The time, in seconds since the epoch, that the inception of the next message has to be past.

    None where the text of the extended error names none: the clocks differ, or it is another implementation's. The text
    may be anybody's.
    """
    if not text.startswith("stale"):
        return None
    found = next((match for floor in _FLOORS if (match := floor.search(text))), None)
    if found is None:
        return None
    tolerated = _TOLERATED.search(text)
    until = _seconds(found[1])
    return None if until is None else until - (float(tolerated[1]) if tolerated else 0.0)


def _seconds(text: str) -> float | None:
    """None for what looks like a time and is none."""
    if text.isdecimal():
        return float(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
