"""What a zone file with many delegations takes of memory, in which children change theirs."""

from contextlib import ExitStack
from pathlib import Path

from bench import setting
from bench.cores import resident_mib
from bench.figures import Figure
from bench.traffic import tcp
from bench.traffic.requests import Children, make_pairs
from lab.process import until

DELEGATIONS = 50_000
CHANGES = 20


def run(_seconds: float, directory: Path) -> list[Figure]:
    pairs = make_pairs()
    store = setting.new_store(directory / "zonecut.db", CHANGES, pairs)
    backend = setting.file_backend(directory / "zone", DELEGATIONS)
    with ExitStack() as stack:
        process = stack.enter_context(setting.receiver(directory, backend, store))
        until(lambda: bool(process.log_events("zone.ready")), timeout=120, what="zone.ready in the log")
        at_start = resident_mib(process.pid)
        (connection,) = tcp.connections(setting.address(process), 1, stack)
        for request in Children(range(CHANGES), pairs).signed(CHANGES):
            tcp.check_accepted(connection.ask(request))
        memory = resident_mib(process.pid)
    how = f"VmRSS of a receiver of a zone file with {DELEGATIONS:,} delegations after {CHANGES} changes, one at a time"
    return [Figure("rss_mb_50k_delegations", memory, "MiB", f"{how}; {at_start:.0f} before them")]
