"""Changes a second through zonecut, of those that the adapter alone writes, and by those that the bare server takes.

The adapter is driven in this process with batches as full as the writer's; the bare server is told one change at a
time, from requests built before.
"""

from contextlib import ExitStack
from pathlib import Path

from bench import setting
from bench.adapter import Adapter
from bench.figures import ROUNDS, Figure, of_rounds, of_server, of_zonecut
from bench.traffic import tcp

BATCH = 50
"""Changes in one transaction: what zonecut takes at most, by default."""
WAITING = 2 * BATCH
"""Children that wait for their changes at the same time: while some are written, as many are judged."""
_MOST = 50_000
"""Requests at once: their IDs are 16 bits."""
_TRIED = 3
"""Single changes that show how fast the server is."""


def run(server: str, delegations: int, seconds: float, directory: Path) -> list[Figure]:
    """`seconds` of each round go through zonecut, about as many to the adapter and to the bare server."""
    with (
        setting.scene(server, delegations, directory) as scene,
        Adapter(scene.server.backend) as adapter,
    ):
        others = scene.children(setting.OWN)

        def bare(count: int, batch: int) -> float:
            with scene.server.bare as told:
                return count / told.tell_all(told.prebuilt(others.changes(count), batch))

        def by_adapter(count: int) -> float:
            return count / adapter.write_all(others.changes(count), BATCH)

        def through_zonecut(count: int) -> float:
            signed = own.signed(count)
            with ExitStack() as stack:
                waiting = tcp.connections(setting.address(scene.process), WAITING, stack)
                return count / tcp.all_accepted(waiting, signed)

        alone = bare(_TRIED, 1)
        # fewer children where reading each of them, before anything is measured, would take too long
        own = scene.children(0, min(max(round(alone * seconds), 4) * BATCH, setting.OWN))
        for _ in range(2):
            rate = through_zonecut(len(own))
        accepted = _count(rate, seconds, BATCH)
        written = _count(by_adapter(2 * BATCH), seconds / 2, BATCH)
        single = _count(alone, seconds / 4)
        batched = _count(bare(BATCH, BATCH), seconds / 3, BATCH)
        of_adapter, gains, rates, writes, singles, batches = [], [], [], [], [], []
        for _ in range(ROUNDS):
            single_before, written_before = bare(single, 1), by_adapter(written)
            rates.append(through_zonecut(accepted))
            written_after, single_after = by_adapter(written), bare(single, 1)
            batches.append(bare(batched, BATCH))
            writes.append((written_before + written_after) / 2)
            singles.append((single_before + single_after) / 2)
            of_adapter.append(rates[-1] / writes[-1])
            gains.append(rates[-1] / singles[-1])
    title = scene.server.title
    load = (
        f"changes a second end to end, {WAITING} of {len(own)} children waiting on as many TCP connections, "
        f"{title}, zone of {delegations} delegations, signed, {accepted} changes a round"
    )
    driven = (
        f"the adapter in the load's process on the receiver's core, {BATCH} changes at a time compared, "
        f"written and read back, {written} before and {written} after each load"
    )
    told = f"{title} alone, one change at a time, requests built before, {single} before and {single} after each load"

    def figure(name: str, values: list[float], unit: str, detail: str, before: str = "") -> Figure:
        return of_rounds(of_server(server, name, delegations, before=before), values, unit, detail)

    return [
        figure("of_adapter", of_adapter, "ratio", f"{load}, by {driven}"),
        figure("gain_over_single", gains, "ratio", f"{load}, by {told}"),
        of_rounds(of_zonecut(server, "accepted_per_s", delegations), rates, "1/s", "accepted and written by zonecut"),
        figure("adapter_per_s", writes, "1/s", driven),
        figure("single_per_s", singles, "1/s", told, before="bare_"),
        figure("batched_per_s", batches, "1/s", f"{title} alone, {BATCH} changes a request", before="bare_"),
    ]


def _count(rate: float, seconds: float, batch: int = 1) -> int:
    """How many changes take about so many seconds: at least one batch, and whole ones."""
    return min(max(round(rate * seconds / batch), 1) * batch, _MOST // batch * batch)
