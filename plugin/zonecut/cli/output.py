"""What a command writes: text for people, or one JSON document; complaints go to standard error."""

import json
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Any, Self

import typer

BLOCK = 500
"""Rows of a table that are laid out together."""

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}


def printable(text: str) -> str:
    """The text with its control characters made visible: some of it comes from strangers, and a terminal obeys."""
    return text.translate(_CONTROLS)


def say(text: str, file: IO[str] | None = None) -> None:
    """Write text and a line end to standard output, or to a file."""
    typer.echo(printable(text), file=file)


def complain(line: str) -> None:
    """Write a line to standard error."""
    typer.echo(printable(line), err=True)


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
        self._rows.append(["" if cell is None else str(cell) for cell in cells])
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
    """A title and below it the fields that have a value, one a line."""
    width = max(map(len, fields), default=0)
    lines = [f"  {name.ljust(width)}  {value}" for name, value in fields.items() if value not in (None, "")]
    say("\n".join([title, *lines]))
