"""Times as people and JSON read them."""

from datetime import UTC, datetime


def to_text(seconds: float) -> str:
    """A time in seconds since the epoch as ISO 8601 in UTC, to the millisecond: `2026-01-02T03:04:05.678Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_optional_text(seconds: float | None) -> str | None:
    """`to_text`, or None where there is no time."""
    return None if seconds is None else to_text(seconds)
