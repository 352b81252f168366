"""Changes a second through zonecut, of those that bare named takes one at a time."""

from contextlib import ExitStack
from pathlib import Path

from bench import direct, requests, setting, tcp
from bench.figures import ROUNDS, Figure, of_rounds
from zonecut.plugin.tsigkey import load_key

OWN = 800
"""Children whose changes go through zonecut; those of the others go to named directly."""


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
        waiting = tcp.connections(setting.address(process), setting.WAITING, stack)
        (straight,) = tcp.connections(("127.0.0.1", server.port), 1, stack)

        def through_zonecut(count: int) -> float:
            return count / tcp.all_accepted(waiting, own.signed(count))

        def bare(count: int, batch: int) -> float:
            return count / direct.send_all(straight, direct.prebuilt(others.changes(count), key, batch))

        for _ in range(2):  # the first time, every delegation is read
            rate, alone = through_zonecut(OWN), bare(len(others), 1)
        count, single = min(int(rate * seconds), 50_000), min(int(alone * seconds), 50_000)
        ratios, rates, singles, batched = [], [], [], []
        for _ in range(ROUNDS):
            before = bare(single // 2, 1)
            rates.append(through_zonecut(count))
            after = bare(single // 2, 1)
            singles.append((before + after) / 2)
            batched.append(bare(20 * len(others), setting.WAITING))
            ratios.append(rates[-1] / singles[-1])
    how = (
        f"changes a second end to end, {setting.WAITING} children waiting on as many TCP connections, zone of "
        f"{setting.DELEGATIONS} delegations signed in place, {count} changes a round, by those that named takes from "
        f"prebuilt messages of one change with prerequisites and TSIG, one at a time on one connection ({single})"
    )
    return [
        of_rounds("bind_gain_over_single", ratios, "ratio", how),
        of_rounds("accepted_per_s", rates, "1/s", "changes accepted and written through zonecut"),
        of_rounds("bare_bind_single_per_s", singles, "1/s", "named alone, one change a message, one at a time"),
        of_rounds("bare_bind_batched_per_s", batched, "1/s", f"named alone, {setting.WAITING} changes a message"),
    ]
