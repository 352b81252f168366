"""How much later a single change is done when it goes through zonecut."""

import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench import direct, requests, setting, tcp
from bench.figures import Figure
from zonecut.plugin.tsigkey import load_key

OWN = 500
"""Children whose changes go through zonecut, one after the other; those of the others go to named directly."""
PAUSE = 0.005
"""Seconds between two changes, so that both sides are idle."""


def run(seconds: float, directory: Path) -> list[Figure]:
    pairs = requests.make_pairs()
    store = setting.new_store(directory / "zonecut.db", OWN, pairs)
    own = requests.Children(range(OWN), pairs)
    others = requests.Children(range(OWN, setting.DELEGATIONS), pairs)
    with (
        setting.named(directory / "named") as server,
        setting.receiver(directory, setting.bind_backend(server), store) as process,
        ExitStack() as stack,
    ):
        key = load_key(server.tsig_file)
        (to_zonecut,) = tcp.connections(setting.address(process), 1, stack)
        (straight,) = tcp.connections(("127.0.0.1", server.port), 1, stack)

        def measure() -> tuple[list[float], list[float]]:
            """Each child's change through zonecut and another's to named, in turn: seconds of each."""
            requested, told = own.signed(OWN), direct.prebuilt(others.changes(OWN), key)
            through, directly = [], []
            for request, update in zip(requested, told, strict=True):
                through.append(_seconds(to_zonecut, request))
                directly.append(_seconds(straight, update))
            return through, directly

        measure_first = measure()
        measure_again = measure()
    (first, directly), (again, directly_again) = measure_first, measure_again
    both = [*directly, *directly_again]
    difference = 1000 * (median(first) - median(directly))
    warm = 1000 * (median(again) - median(directly_again))
    how = (
        f"median of {OWN} changes of as many children, one at a time on a kept TCP connection, each child's first, so "
        f"that its delegation is read ({_range(first)} ms), less the median of {OWN} changes told to named directly "
        f"in turn with them ({_range(directly)} ms); 1 round; {warm:.2f} ms in a second round, on believed delegations"
    )
    return [
        Figure("bind_idle_overhead_ms", difference, "ms", how),
        Figure("zonecut_single_ms", 1000 * median(first), "ms", "median of one change through zonecut"),
        Figure("bare_bind_single_ms", 1000 * median(both), "ms", "median of one change told to named directly"),
    ]


def _seconds(connection: tcp.Connection, request: bytes) -> float:
    time.sleep(PAUSE)
    start = time.perf_counter()
    tcp.check_accepted(connection.ask(request))
    return time.perf_counter() - start


def _range(values: list[float]) -> str:
    ordered = sorted(values)
    tenth = len(ordered) // 10
    return f"{1000 * ordered[tenth]:.2f}..{1000 * ordered[-tenth - 1]:.2f} from the 10th to the 90th percentile"
