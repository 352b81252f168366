"""Points in time as an operator writes them."""

import pytest

from zonecut.cli.terminal.times import parse_time

NOW = 1_795_500_000.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1795498700", 1795498700),
        ("2026-11-24T05:38:20Z", 1795498700),
        ("2026-11-24 06:38:20+01:00", 1795498700),
        ("2026-11-24", 1795478400),
        ("90s", NOW - 90),
        ("2h", NOW - 7200),
        ("7d", NOW - 7 * 86400),
        ("99999999w", 0),
    ],
)
def test_times_are_read(text: str, expected: float) -> None:
    assert parse_time(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "soon", "-5", "99999999999999999", "2026-13-01", "1.5h", "٣h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        parse_time(text, NOW)
