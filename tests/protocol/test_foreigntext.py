"""Texts that somebody else wrote: what is seen is what is there, and there is no more of it than that."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zonecut.protocol.foreigntext import MAX_QUOTED, MAX_REASON, clip, printable, quoted

ANYTHING = st.text(st.characters() | st.sampled_from("\ud800\udfff\u202e\u2028\u200b\ufe0f\u3164\n"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A: fine\n2026-11-28  key.trusted", "A: fine\\n2026-11-28  key.trusted"),
        ("\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2066a\u2069", "\\u2066a\\u2069"),
        ("a\u2028b\u2029c\u0085d", "a\\u2028b\\u2029c\\x85d"),
        ("a\u200bb\ufeffc\u2060d", "a\\u200bb\\ufeffc\\u2060d"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("a\tb\rc", "a\\tb\\rc"),
        ("a\u3164b", "a\\u3164b"),
        ("Grüße, 例え", "Grüße, 例え"),
        ("a\\b", "a\\b"),
    ],
)
def test_what_is_not_seen_as_what_it_is_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(ANYTHING)
def test_a_shown_text_is_one_line_that_any_output_takes(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") for each in shown)
    assert printable(shown) == shown


@given(ANYTHING, st.integers(10, 50))
def test_a_clipped_text_is_bounded_and_clipping_it_again_changes_nothing(text: str, most: int) -> None:
    clipped = clip(text, most)
    assert len(clipped) <= most
    assert clip(clipped, most) == clipped
    assert clipped == printable(text) or clipped.endswith("...")


def test_a_megabyte_is_told_as_so_many_characters() -> None:
    assert len(clip("X" * 1_000_000)) == MAX_REASON
    assert len(quoted("\u202e" * 1_000_000)) == MAX_QUOTED
