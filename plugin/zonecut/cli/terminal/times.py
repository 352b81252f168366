"""Points in time as an operator writes them."""

import re
from datetime import UTC, datetime

_SPAN = re.compile(r"([0-9]+)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LATEST = 2**32 * 2


def parse_time(text: str, now: float) -> float:
    """Seconds since the epoch, from `1795500000`, `2026-11-24T05:38:00Z`, or `90m`, `2h`, `7d` before `now`.

    A time without a zone is UTC. Raises ValueError.
    """
    if text.isascii() and text.isdigit() and int(text) < _LATEST:
        return int(text)
    if span := _SPAN.fullmatch(text):
        return max(0.0, now - int(span[1]) * _SECONDS[span[2]])
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time: give seconds since 1970, 2026-11-24T05:38:00Z, or a span before now such as 2h or 7d"
        ) from None
