"""When a key is done with, by what `dnssec-keygen -I -D` and `dnssec-settime` write into its files.

Those times govern DNSKEYs; whoever gave them to a KEY meant it, and forgot it where the key is used later.
"""

import re
from datetime import UTC, datetime
from typing import NamedTuple

_LINE = re.compile(r"^;?[ \t]*(Inactive|Delete):[ \t]*([0-9]{14})\b", re.MULTILINE)


class Ended(NamedTuple):
    """A time that has passed: which one, and in seconds since the epoch."""

    which: str
    at: float

    def __str__(self) -> str:
        return (
            f"the {self.which} time in its file, {datetime.fromtimestamp(self.at, UTC):%Y-%m-%d %H:%M:%S} UTC, is past"
        )


def ended(text: str, now: float) -> Ended | None:
    """The first time in a `.key` or `.private` file after which its key is not to be used, if it has passed by `now`
    (seconds). What makes no sense as a time is none."""
    found = []
    for which, digits in _LINE.findall(text):
        try:
            at = datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
        except (ValueError, OverflowError):
            continue
        if at <= now:
            found.append(Ended(which, at))
    return min(found, key=lambda each: each.at, default=None)
