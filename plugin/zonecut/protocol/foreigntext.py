"""Texts that somebody else wrote, made fit to be told: short, and with nothing in them that a terminal obeys or hides.

What a request, a server or a resolver says is quoted in reasons, and those go to answers, logs, rows and screens. It is
clipped where such a reason is made, once, by the types that carry one.
"""

MAX_REASON = 1000
"""Characters of a reason."""
MAX_QUOTED = 300
"""Characters of one foreign text within a sentence of ours."""

_CUT = "..."
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_HIDING = frozenset(
    map(
        chr,
        (
            # Default_Ignorable_Code_Point in the Unicode Character Database, as far as Python calls it printable
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
            # a blank of Braille, of music and of Khitan
            *(0x2800, 0x1D159, 0x16FE4),
            # what is laid over the character before it
            *range(0x0334, 0x0339),
            *range(0x20D2, 0x20E1),
            *range(0x20E2, 0x20F1),
        ),
    )
)
"""Letters and marks that take no ink, or hide others under theirs."""


def printable(text: str) -> str:
    """The text with all escaped that is not seen as what it is: control characters, line breaks, what turns the
    direction of writing, what has no width, and halves of surrogate pairs."""
    if text.isprintable() and (text.isascii() or _HIDING.isdisjoint(text)):
        return text
    return "".join(each if each.isprintable() and each not in _HIDING else _escaped(each) for each in text)


def clip(text: str, most: int = MAX_REASON) -> str:
    """The text as `printable` gives it, `most` characters of it; a cut is marked."""
    shown = printable(text if len(text) <= most else text[: most + 1])
    return shown if len(shown) <= most else shown[: most - len(_CUT)] + _CUT


def quoted(text: str) -> str:
    """A foreign text within a sentence of ours: short, so that the rest of the sentence is read, too."""
    return clip(text, MAX_QUOTED)


def _escaped(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
