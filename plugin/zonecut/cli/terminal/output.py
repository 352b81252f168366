"""What a command writes: text for people, or one JSON document; complaints go to standard error."""

import json
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import IO, Any, Self

import typer

from zonecut.protocol.foreigntext import printable

BLOCK = 500
"""Rows of a table that are laid out together."""


def say(line: str, file: IO[str] | None = None) -> None:
    """Write one line to standard output, or to a file: what strangers wrote in it makes no line of its own."""
    typer.echo(_one_line(line), file=file)


def say_lines(lines: Iterable[str], file: IO[str] | None = None) -> None:
    """Write several lines."""
    for line in lines:
        say(line, file)


def say_block(text: str, file: IO[str] | None = None) -> None:
    """Write a text that has line breaks of our own, and none of strangers: records, advice."""
    say_lines(text.split("\n"), file)


def complain(line: str) -> None:
    """Write one line to standard error."""
    typer.echo(_one_line(line), err=True)


def _one_line(text: str) -> str:
    return "\t".join(map(printable, text.split("\t")))  # between the fields of a record


def say_json(document: Any) -> None:
    """Write the one document of `--json`."""
    typer.echo(to_json(document))


def to_json(document: Any) -> str:
    return json.dumps(document, indent=2)


class JsonArray:
    """A JSON array that is written element by element, so that it may be longer than memory. Use it with `with`."""

    def __init__(self, file: IO[str] | None = None) -> None:
        self._file = file
        self._begun = False

    def add(self, element: Any) -> None:
        typer.echo(",\n" if self._begun else "[\n", nl=False, file=self._file)
        typer.echo(json.dumps(element), nl=False, file=self._file)
        self._begun = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # an array that was cut off stays open: nobody shall take it for all there is
        if error is None:
            typer.echo("\n]" if self._begun else "[]", file=self._file)


class Table:
    """Columns for people, laid out block by block. Use it with `with`; nothing is written where there are no rows."""

    def __init__(self, *headings: str) -> None:
        self._headings = headings
        self._widths = [len(heading) for heading in headings]
        self._rows: list[Sequence[str]] = []
        self._begun = False

    def add(self, *cells: object) -> None:
        """A row; None is an empty cell."""
        self._rows.append(["" if cell is None else printable(str(cell)) for cell in cells])
        if len(self._rows) >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Write the rows so far."""
        rows, self._rows = self._rows, []
        if rows and not self._begun:
            rows.insert(0, self._headings)
            self._begun = True
        for row in rows:
            self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, row, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, self._widths, strict=True))
            say("  ".join(cells).rstrip())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()


def say_fields(title: str, fields: dict[str, object]) -> None:
    """A title and below it the fields that have a value, one a line; of a list, each element has a line."""
    width = max(map(len, fields), default=0)
    say(title)
    for name, value in fields.items():
        lines = value if isinstance(value, list | tuple) else () if value in (None, "") else (value,)
        for number, line in enumerate(lines):
            say(f"  {('' if number else name).ljust(width)}  {line}")
