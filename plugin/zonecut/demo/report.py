"""What the tour did, as values: its steps, what each of them showed, and what it checked."""

from dataclasses import dataclass, field
from typing import Any


class DemoFailure(Exception):
    """The tour cannot go on; the message says what is missing or what did not happen."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something that a step says, what must be seen if it is true, and what was seen."""

    claim: str
    expected: str
    found: str
    passed: bool

    def to_json(self) -> dict[str, Any]:
        return {"claim": self.claim, "expected": self.expected, "found": self.found, "passed": self.passed}


@dataclass(frozen=True, slots=True)
class Exhibit:
    """Something shown: what it is, the command that shows it, if a person would type one, and its output."""

    title: str
    command: str | None
    output: str

    def to_json(self) -> dict[str, Any]:
        return {"title": self.title, "command": self.command, "output": self.output}


@dataclass(slots=True)
class Step:
    """One step of the tour."""

    number: int
    title: str
    lesson: str
    references: tuple[str, ...]
    exhibits: list[Exhibit] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    complete: bool = False

    @property
    def passed(self) -> bool:
        """True if it came to its end, checked something, and all that it checked was so."""
        return self.complete and bool(self.checks) and all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "title": self.title,
            "lesson": self.lesson,
            "references": list(self.references),
            "passed": self.passed,
            "exhibits": [exhibit.to_json() for exhibit in self.exhibits],
            "checks": [check.to_json() for check in self.checks],
        }


@dataclass(slots=True)
class Report:
    """The whole tour. `failure` says why it ended early; `logs` are the last lines of each daemon then."""

    adapter: str
    steps: list[Step] = field(default_factory=list)
    seconds: float = 0.0
    failure: str | None = None
    logs: dict[str, str] = field(default_factory=dict)
    directory: str | None = None
    """Where everything is, if it was kept."""

    @property
    def passed(self) -> bool:
        return self.failure is None and bool(self.steps) and all(step.passed for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        return {
            "adapter": self.adapter,
            "passed": self.passed,
            "seconds": round(self.seconds, 2),
            "failure": self.failure,
            "logs": self.logs,
            "directory": self.directory,
            "steps": [step.to_json() for step in self.steps],
        }
