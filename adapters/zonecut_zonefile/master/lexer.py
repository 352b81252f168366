"""Master files in lines (RFC 1035 section 5.1): which physical lines make an entry, and of which words it consists.

An entry always begins at the start of a physical line and ends at the end of one, so that whatever edits a file can
do it by whole lines.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_WORD = re.compile(
    rb"""(?P<space>[ \t]+)
    | (?P<eol>\r\n?|\n)
    | (?P<comment>;[^\r\n]*)
    | (?P<open>\()
    | (?P<close>\))
    | (?P<quoted>"(?:[^"\\\r\n]|\\[^\r\n])*")
    | (?P<word>(?:[^ \t\r\n;()"\\]|\\[^\r\n])+)""",
    re.VERBOSE,
)
_SPECIAL = re.compile(rb'[;()"\\\x0b\x0c]')


class MasterFileError(Exception):
    """A master file that makes no sense at one of its lines, counted from 1."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file}, line {line}: {reason}")


class OtherZone(ValueError):
    """What says that this is another zone's file."""


class OtherZoneError(MasterFileError):
    """A master file that is another zone's."""


class LineError(Exception):
    """What is wrong with the line at this index; the caller knows the file."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at = at
        self.reason = reason


class Word(NamedTuple):
    """One word of an entry, as written (with quotes and escapes), and where: line index, first and last+1 column."""

    text: bytes
    at: int
    start: int
    end: int


class LogicalLine(NamedTuple):
    """An entry: the index of its first physical line, how many there are, whether it begins with white space, words."""

    at: int
    height: int
    indented: bool
    words: list[bytes]


def logical_lines(lines: Sequence[bytes]) -> Iterator[LogicalLine]:
    """The entries of a file; empty lines and comments are none. Raises LineError."""
    at, end = 0, len(lines)
    while at < end:
        line = lines[at]
        height = 1
        if _SPECIAL.search(line):
            located, height = locate(lines, at)
            words = [word.text for word in located]
        else:
            words = line.split()
        if words:
            yield LogicalLine(at, height, line[:1] in (b" ", b"\t"), words)
        at += height


def locate(lines: Sequence[bytes], first: int) -> tuple[list[Word], int]:
    """The words of the entry that begins at this index, with their places, and the number of its physical lines.

    Raises LineError for parentheses or quotes that do not match.
    """
    words: list[Word] = []
    depth = 0
    for at in range(first, len(lines)):
        line = lines[at]
        column = 0
        while column < len(line):
            match = _WORD.match(line, column)
            if match is None:
                raise LineError(at, "a quote is not closed" if line[column] == 0x22 else "a backslash at its end")
            kind = match.lastgroup
            if kind in ("word", "quoted"):
                words.append(Word(match.group(), at, column, match.end()))
            elif kind == "open":
                depth += 1
            elif kind == "close":
                depth -= 1
                if depth < 0:
                    raise LineError(at, "a parenthesis is closed that was not opened")
            column = match.end()
        if depth == 0:
            return words, at - first + 1
    raise LineError(first, "a parenthesis is not closed before the end of the file")
