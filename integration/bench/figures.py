"""The figures that a benchmark gives, and how rounds become one figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

ROUNDS = 5
"""How often each ratio is taken; the median counts."""


@dataclass(frozen=True)
class Figure:
    """One entry of bench.json. `detail` says in a line how it was measured."""

    name: str
    value: float
    unit: str
    detail: str


def of_rounds(name: str, values: Sequence[float], unit: str, detail: str) -> Figure:
    """The median of several rounds, with their range in the detail."""
    spread = f"median of {len(values)} rounds, {short(min(values))}..{short(max(values))}"
    return Figure(name, median(values), unit, f"{detail}; {spread}")


def short(value: float) -> str:
    """A number with three significant digits, and never fewer than it has before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def of_server(server: str, figure: str, delegations: int, *, before: str = "") -> str:
    """The name of a figure that is taken for several servers and sizes of the zone: a thousand goes without saying."""
    size = f"_{delegations // 1000}k" if delegations != 1000 else ""
    return f"{before}{server}_{figure}{size}"


def of_zonecut(server: str, figure: str, delegations: int) -> str:
    """The name of what zonecut itself does: named and a thousand delegations go without saying."""
    return figure if (server, delegations) == ("bind", 1000) else of_server(server, figure, delegations)
