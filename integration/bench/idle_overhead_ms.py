"""How much later a single change is done when it goes through zonecut."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

from bench import setting
from bench.figures import Figure, of_server, of_zonecut
from bench.traffic import tcp

_PAUSE = 0.005
"""Seconds between two changes beside the server's own, so that both sides are idle."""
_PROBES = 3
_LEAST, _MOST = 24, 200
"""Children whose changes go through zonecut, one after the other."""


def run(server: str, delegations: int, seconds: float, directory: Path) -> list[Figure]:
    """The server alone takes about twice `seconds` for its share of each of two rounds."""
    with setting.scene(server, delegations, directory) as scene, ExitStack() as stack:
        (to_zonecut,) = tcp.connections(setting.address(scene.process), 1, stack)
        told = stack.enter_context(scene.server.bare)
        others = scene.children(setting.OWN)
        pause = _PAUSE + scene.server.rest

        def seconds_of(work: Callable[[], None]) -> float:
            time.sleep(pause)
            start = time.perf_counter()
            work()
            return time.perf_counter() - start

        def through(request: bytes) -> None:
            tcp.check_accepted(to_zonecut.ask(request))

        each = median(seconds_of(partial(told.tell, change)) for change in told.prebuilt(others.changes(_PROBES)))
        count = min(max(round(2 * seconds / each), _LEAST), _MOST)
        own = scene.children(0, count)

        def measure() -> tuple[list[float], list[float]]:
            """A change of each child through zonecut, and in turn with it one told to the server: seconds of each."""
            pairs = zip(own.signed(count), told.prebuilt(others.changes(count)), strict=True)
            found = [(seconds_of(partial(through, ours)), seconds_of(partial(told.tell, bare))) for ours, bare in pairs]
            return [ours for ours, _ in found], [bare for _, bare in found]

        first, directly_first = measure()
        again, directly = measure()
    title = scene.server.title
    how = (
        f"median of {count} changes of as many children, one at a time on a kept TCP connection, when their "
        f"delegations were read before ({_range(again)} ms), less the median of {count} changes told to {title} "
        f"directly in turn with them ({_range(directly)} ms); zone of {delegations} delegations, signed; 1 round"
    )
    first_how = (
        f"the same for each child's first change, for which its key and delegation are read ({_range(first)} ms)"
    )

    def figure(name: str, value: float, detail: str) -> Figure:
        return Figure(name, 1000 * value, "ms", detail)

    return [
        figure(of_server(server, "idle_overhead_ms", delegations), median(again) - median(directly), how),
        figure(
            of_server(server, "idle_overhead_first_ms", delegations), median(first) - median(directly_first), first_how
        ),
        figure(of_zonecut(server, "zonecut_single_ms", delegations), median(again), "median of one through zonecut"),
        figure(
            of_server(server, "single_ms", delegations, before="bare_"),
            median(directly_first + directly),
            f"median of one change told to {title} directly",
        ),
    ]


def _range(values: list[float]) -> str:
    ordered = sorted(values)
    tenth = len(ordered) // 10
    return f"{1000 * ordered[tenth]:.2f}..{1000 * ordered[-tenth - 1]:.2f} from the 10th to the 90th percentile"
