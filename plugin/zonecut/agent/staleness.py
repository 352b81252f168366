"""Until when a message is stale, as a receiver says it with BADTIME (PROTOCOL section 3, "Held back"). Pure."""

import re
from datetime import UTC, datetime

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
_TOLERATED = re.compile(r"more than the (\d+(?:\.\d+)?) s that are tolerated")


def stale_until(text: str) -> float | None:
    """The time, in seconds since the epoch, that the inception of the next message has to be past.

    None where the text of the extended error names none: the clocks differ, or it is another implementation's.
    """
    if not text.startswith("stale"):
        return None
    found = next((match for floor in _FLOORS if (match := floor.search(text))), None)
    if found is None:
        return None
    tolerated = _TOLERATED.search(text)
    return _seconds(found[1]) - (float(tolerated[1]) if tolerated else 0.0)


def _seconds(text: str) -> float:
    if text.isdigit():
        return float(text)
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()
