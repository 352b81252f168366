"""What of a server's own words a child may hear: no path and no URL of the parent's side."""

import re

_PLACE = re.compile(r"(?:^|[\s'\"`(\[{<=:,;|])/[^\s/]|://|(?:^|[\s'\"`(\[{<=:,;|])\.{1,2}/|\b[A-Za-z]:\\")


def names_a_place(text: str) -> bool:
    """True for a text in which a path or a URL stands. A slash within a name, as RFC 2317 has it, is none."""
    return _PLACE.search(text) is not None


def fit_for_children(words: str) -> str:
    """These words, or nothing where they name a place: the child is told that the server does not take it, then."""
    return "" if names_a_place(words) else words
