"""`python -m bench [NAME...]`: run benchmarks, print a table, write bench.json."""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from shutil import rmtree

from bench import (
    accept_cpu_of_verify,
    agent_500_zones,
    growth_1k_to_1m_keys,
    idle_overhead_ms,
    keystate_of_limit,
    keystate_open_of_limit,
    of_adapter,
    rss_mb_50k_delegations,
    unknown_key_of_verify,
    verify_of_limit,
)
from bench.cores import LOAD_CORE, on_core
from bench.figures import Figure, of_server, short
from bench.servers import SERVERS
from bench.setting import DELEGATIONS, MANY_DELEGATIONS

TOP = Path(__file__).parents[2]
WORK = TOP / ".work" / "bench"

Benchmark = Callable[[float, Path], list[Figure]]

BENCHMARKS: dict[str, Benchmark] = {
    "verify_of_limit": verify_of_limit.run,
    "unknown_key_of_verify": unknown_key_of_verify.run,
    "keystate_of_limit": keystate_of_limit.run,
    "keystate_open_of_limit": keystate_open_of_limit.run,
    "accept_cpu_of_verify": accept_cpu_of_verify.run,
    "growth_1k_to_1m_keys": growth_1k_to_1m_keys.run,
    "rss_mb_1m_keys": growth_1k_to_1m_keys.run,
    "rss_mb_50k_delegations": rss_mb_50k_delegations.run,
    "agent_rss_mb_500_zones": agent_500_zones.run,
    "agent_idle_cpu_percent_500_zones": agent_500_zones.run,
    "agent_change_s_500_zones": agent_500_zones.run,
}

AIMS = {
    "verify_of_limit": (">=", 0.80),
    "unknown_key_of_verify": ("<=", 0.40),
    "keystate_of_limit": (">=", 0.75),
    "keystate_open_of_limit": (">=", 0.5),
    "accept_cpu_of_verify": ("<=", 5.0),
    "growth_1k_to_1m_keys": (">=", 0.8),
    "rss_mb_1m_keys": ("<=", 150.0),
    "rss_mb_50k_delegations": ("<=", 150.0),
    "agent_rss_mb_500_zones": ("<=", 200.0),
    "agent_idle_cpu_percent_500_zones": ("<=", 2.0),
    "agent_change_s_500_zones": ("<=", 5.0),
    "bind_idle_overhead_first_ms": ("<=", 5.0),
}

_GAINS = {"bind": 1.2, "knot": 8.0, "powerdns": 15.0}
_OVERHEADS = {"bind": 5.0, "knot": 5.0, "powerdns": 8.0}

for size in (DELEGATIONS, MANY_DELEGATIONS):
    for server in SERVERS:
        rates: Benchmark = partial(of_adapter.run, server, size)
        for figure, benchmark, aim in (
            ("of_adapter", rates, (">=", 0.7)),
            ("gain_over_single", rates, (">=", _GAINS[server])),
            ("idle_overhead_ms", partial(idle_overhead_ms.run, server, size), ("<=", _OVERHEADS[server])),
        ):
            BENCHMARKS[of_server(server, figure, size)] = benchmark
            AIMS[of_server(server, figure, size)] = aim


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(BENCHMARKS)}; default: everything")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load that is measured (default: 3)")
    parser.add_argument("--output", type=Path, default=TOP / "bench.json", help="default: bench.json at the top")
    arguments = parser.parse_args()
    if unknown := set(arguments.name) - BENCHMARKS.keys():
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    # A benchmark that gives two figures runs once.
    chosen = {BENCHMARKS[name]: name for name in reversed(arguments.name or list(BENCHMARKS))}
    figures: list[Figure] = []
    failed = []
    with on_core(LOAD_CORE):
        for benchmark, name in reversed(chosen.items()):
            start = time.monotonic()
            print(f"{name} ...", file=sys.stderr)
            try:
                figures += benchmark(arguments.seconds, _fresh(WORK / name))
            except Exception:
                traceback.print_exc()
                failed.append(name)
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    arguments.output.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")
    _print(figures)
    for name in failed:
        print(f"{name} could not be measured")
    return 1 if failed else 0


def _fresh(directory: Path) -> Path:
    if directory.exists():
        rmtree(directory)
    directory.mkdir(parents=True)
    return directory


def _print(figures: Iterable[Figure]) -> None:
    print(f"{'figure':<34} {'value':>9} {'unit':<6} aim")
    for figure in figures:
        print(f"{figure.name:<34} {short(figure.value):>9} {figure.unit:<6} {_aim(figure)}")
        print(f"    {figure.detail}")


def _aim(figure: Figure) -> str:
    if figure.name not in AIMS:
        return "-"
    sign, aim = AIMS[figure.name]
    reached = figure.value >= aim if sign == ">=" else figure.value <= aim
    return f"{sign} {aim:g}{'' if reached else '   MISSED'}"


if __name__ == "__main__":
    sys.exit(main())
