"""What the doctor says: findings, grouped into sections, and the whole report."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from zonecut.agent.doctor.tags import Tag

MAX_TOLD = 6
"""Places or records that one line names."""


class Severity(StrEnum):
    """How much a finding matters, the least first."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; nobody has to do anything."""
    UNKNOWN = "unknown"
    """It could not be found out."""
    WARNING = "warning"
    """Something differs, or needs attention."""
    PROBLEM = "problem"
    """Something does not work for the world, or soon will not."""


_ORDER = tuple(Severity)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing: what was `seen`, `why` it matters, and what to do. `tag` is its kind."""

    tag: Tag
    severity: Severity
    seen: str
    why: str = ""
    advice: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "tag": self.tag.value,
            "severity": self.severity.value,
            "seen": self.seen,
            "why": self.why or None,
            "advice": self.advice or None,
        }


@dataclass(frozen=True, slots=True)
class Section:
    """What there is to say about one subject. `facts` are what is there, by name; several may have the same."""

    title: str
    facts: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]
    subject: str = ""
    """Whom it is about, where there may be several sections with that title."""

    @property
    def severity(self) -> Severity:
        return worst(self.findings)

    @property
    def verdict(self) -> str:
        """The section in one sentence: its worst finding."""
        return next((finding.seen for finding in self.findings if finding.severity is self.severity), "")

    @property
    def by_severity(self) -> tuple[Finding, ...]:
        """The findings, the worst first."""
        return tuple(sorted(self.findings, key=lambda finding: -_ORDER.index(finding.severity)))

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "subject": self.subject or None,
            "severity": self.severity.value,
            "verdict": self.verdict,
            "facts": [{"name": name, "value": value} for name, value in self.facts],
            "findings": [finding.to_json() for finding in self.findings],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All sections, in the order in which they are read."""

    sections: tuple[Section, ...]

    @property
    def severity(self) -> Severity:
        return worst(finding for section in self.sections for finding in section.findings)

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for section in self.sections for finding in section.findings)

    @property
    def verdict(self) -> str:
        """The report in one sentence."""
        words = ((Severity.PROBLEM, "problem"), (Severity.WARNING, "warning"), (Severity.UNKNOWN, "open question"))
        counts = [(self.count(severity), word) for severity, word in words]
        told = [f"{count} {word}{'s' if count > 1 else ''}" for count, word in counts if count]
        return ", ".join(told) or "all well"

    def find(self, tag: str) -> tuple[Finding, ...]:
        """The findings with that tag."""
        return tuple(finding for section in self.sections for finding in section.findings if finding.tag == tag)

    def to_json(self) -> dict[str, Any]:
        return {
            "severity": self.severity.value,
            "verdict": self.verdict,
            "sections": [section.to_json() for section in self.sections],
        }


def not_all(what: str, left_out: Sequence[object]) -> Iterator[Finding]:
    """That there is more than was looked at: nothing if `left_out`, of which the first are named, is empty."""
    if left_out:
        yield Finding(
            Tag.NOT_ALL_LOOKED_AT,
            Severity.UNKNOWN,
            f"not looked at, since there are more {what} than are asked: {listed(left_out)}",
            "nothing is known about these",
            "look at them by hand; so many are seldom meant",
        )


def worst(findings: Iterable[Finding]) -> Severity:
    return max((finding.severity for finding in findings), key=_ORDER.index, default=Severity.OK)


def listed(things: Sequence[object], most: int = MAX_TOLD, between: str = ", ") -> str:
    """Things in one line, and how many more there are."""
    told = between.join(map(str, things[:most]))
    return f"{told} and {len(things) - most} more" if len(things) > most else told or "none"
