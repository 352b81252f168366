"""A line on the terminal that tells how far a long command is."""

import sys
import time
from types import TracebackType
from typing import Self

import typer

_PERIOD = 0.1
_CLEAR = "\r\x1b[K"


class ProgressLine:
    """Shown on standard error if that is a terminal and `wanted`. Use it with `with`; `clear` before other output."""

    def __init__(self, label: str, total: int | None = None, *, wanted: bool = True) -> None:
        self._label = label
        self._total = total
        self._shown = wanted and sys.stderr.isatty()
        self._count = 0
        self._due = 0.0

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        self._count += count
        if self._shown and time.monotonic() >= self._due:
            self._due = time.monotonic() + _PERIOD
            of_all = f" of {self._total}" if self._total else ""
            typer.echo(f"{_CLEAR}{self._label}: {self._count}{of_all}", err=True, nl=False)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown and self._due:
            typer.echo(_CLEAR, err=True, nl=False)
            self._due = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
