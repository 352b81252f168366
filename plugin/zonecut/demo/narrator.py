"""Tells the tour: prints each step for a person and keeps it for the report."""

import difflib
import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from zonecut.demo.report import Check, DemoFailure, Exhibit, Report, Step
from zonecut.protocol.foreigntext import printable

WIDTH = 100
"""The longest line that is printed, in columns."""
_INDENT = "    "
_STYLES = {";": "dim", "-": "red", "+": "green"}


class Narrator:
    """Prints to a console; colours are its business (none where the output is no terminal)."""

    def __init__(self, console: Console, report: Report) -> None:
        self._console = console
        self._report = report
        # a pipe has no width of its own: rich takes 80 columns, which is too narrow for DNS records
        self._width = min(console.width, WIDTH) if console.is_terminal else WIDTH
        self._checking = False
        """The last line told of a check."""

    @property
    def _step(self) -> Step:
        return self._report.steps[-1]

    def step(self, title: str, lesson: str, *references: str) -> None:
        """Begin the next step; the one before it is complete."""
        self.complete()
        step = Step(len(self._report.steps) + 1, title, " ".join(lesson.split()), references)
        self._report.steps.append(step)
        self._print("")
        self._print(f"{step.number}. {title}", "bold cyan")
        self._wrapped(step.lesson)
        self._wrapped("; ".join(references), style="dim italic", first="See ")

    def complete(self) -> None:
        """The step under way has done all that it does."""
        if self._report.steps:
            self._step.complete = True

    def say(self, text: str) -> None:
        """A remark between two exhibits."""
        self._print("")
        self._wrapped(" ".join(text.split()))

    def show(self, title: str, output: str, command: str | None = None) -> None:
        """Something to look at, below what it is and, if there is one, the command that shows it."""
        self._step.exhibits.append(Exhibit(title, command, output))
        self._print("")
        if title:
            self._wrapped(f"{title}:")
        for number, line in enumerate(command.splitlines() if command else ()):
            self._folded(f"{'> ' if number else '$ '}{line}", "bold")
        for line in output.splitlines():
            self._folded(line)

    def check(self, claim: str, expected: object, found: object, *, passed: bool | None = None) -> None:
        """Note that a claim was checked; by default it holds if what was found is what was expected.

        Raises DemoFailure if it does not hold.
        """
        good = expected == found if passed is None else passed
        check = Check(claim, str(expected), str(found), good)
        self._step.checks.append(check)
        if not good:
            raise DemoFailure(
                f"step {self._step.number}, {self._step.title}: {claim}\n"
                f"  expected: {check.expected}\n"
                f"  found:    {check.found}"
            )
        if not self._checking:
            self._print("")
        self._print(f"  ok  {claim}", "green")
        self._checking = True

    def title(self, text: str, below: str) -> None:
        """What stands above all steps, or below them."""
        self._print("")
        self._print(text, "bold")
        self._wrapped(below)

    def fail(self, text: str) -> None:
        """Why the tour ended early."""
        self._print("")
        for line in text.splitlines():
            self._folded(line, style="bold red", indent="")

    def plain(self, text: str) -> None:
        """Lines as they are."""
        for line in text.splitlines():
            self._folded(line)

    def _wrapped(self, text: str, style: str = "", first: str = "") -> None:
        for line in textwrap.wrap(first + text, self._width, break_on_hyphens=False):
            self._print(line, style)

    def _folded(self, line: str, style: str | None = None, indent: str = _INDENT) -> None:
        """A line of output; one that is too long goes on further to the right."""
        text = indent + line.expandtabs(8).rstrip()
        further = " " * (len(text) - len(text.lstrip()) + 6)
        lines = textwrap.wrap(
            text, self._width, subsequent_indent=further, break_on_hyphens=False, replace_whitespace=False
        )
        for part in lines or [""]:
            self._print(part, _STYLES.get(line[:1], "") if style is None else style)

    def _print(self, line: str, style: str = "") -> None:
        self._checking = False
        self._console.print(Text(printable(line), style), soft_wrap=True)


def difference(before: Sequence[str], after: Sequence[str]) -> str:
    """The lines that are gone (-) and new (+)."""
    lines = difflib.unified_diff(before, after, n=0, lineterm="")
    return "\n".join(f"{line[0]} {line[1:]}" for line in lines if not line.startswith(("---", "+++", "@@")))
