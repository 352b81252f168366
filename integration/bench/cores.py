"""Which core does what, and what a process has used of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOAD_CORE = 0
RECEIVER_CORE = 1

_MIB = 1024


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run this thread on one core only, and what it starts meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """The CPU time that the threads of a process have used so far, user and system, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_mib(pid: int) -> float:
    """The resident memory of a process now, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / _MIB
    raise ValueError(f"process {pid} has no VmRSS")
