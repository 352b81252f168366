"""What an accepted change costs the receiver, in verifications: everything from the signature to the read-back."""

import time
from contextlib import ExitStack
from pathlib import Path

from bench import servers, setting
from bench.cores import cpu_seconds
from bench.figures import ROUNDS, Figure, of_rounds
from bench.traffic import raw, requests, tcp


def run(seconds: float, directory: Path) -> list[Figure]:
    pairs = requests.make_pairs()
    store = setting.new_store(directory / "zonecut.db", setting.DELEGATIONS, pairs)
    children = requests.Children(range(setting.DELEGATIONS), pairs)
    wrong = requests.forged(range(setting.DELEGATIONS), pairs)
    with (
        servers.bind(directory / "named", setting.DELEGATIONS) as server,
        setting.receiver(directory, server.backend, store) as process,
        ExitStack() as stack,
    ):
        waiting = tcp.connections(setting.address(process), setting.WAITING, stack)

        def cost(count: int) -> tuple[float, float]:
            """CPU seconds a change, and changes a second."""
            signed = children.signed(count)
            used = cpu_seconds(process.pid)
            took = tcp.all_accepted(waiting, signed)
            # What is settled is still being recorded.
            time.sleep(0.2)
            return (cpu_seconds(process.pid) - used) / count, count / took

        limit = raw.verify(pairs[0].key, wrong).cpu
        first = cost(len(children))[0] / limit
        _, rate = cost(len(children))
        count = min(max(int(rate * seconds), len(children)), 50_000)
        ratios, rates, costs = [], [], []
        before = raw.verify(pairs[0].key, wrong)
        for _ in range(ROUNDS):
            each, rate = cost(count)
            after = raw.verify(pairs[0].key, wrong)
            ratios.append(each / ((before.cpu + after.cpu) / 2))
            rates.append(rate)
            costs.append(each * 1e6)
            before = after
    how = (
        f"CPU time of the receiver per change of one of {setting.DELEGATIONS} children that take turns, "
        f"{setting.WAITING} waiting on as many TCP connections, named 9.18 with the zone signed in place, {count} "
        "changes a round, by that of a failing verification"
    )
    return [
        of_rounds("accept_cpu_of_verify", ratios, "ratio", how),
        Figure("accept_cpu_first_of_verify", first, "ratio", "the first change of each child: with a read of named"),
        of_rounds("accept_cpu_us", costs, "us", "the same in CPU time"),
        of_rounds("accepted_loaded_per_s", rates, "1/s", "changes a second in those rounds"),
    ]
