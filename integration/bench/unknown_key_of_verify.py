"""What it costs to refuse somebody whose key nobody knows, in verifications."""

from pathlib import Path

from bench import setting
from bench.cores import cpu_seconds
from bench.figures import ROUNDS, Figure, of_rounds
from bench.traffic import raw, requests, udp
from zonecut.protocol.codepoints import Rcode

CHILDREN = 1000


def run(seconds: float, directory: Path) -> list[Figure]:
    pairs = requests.make_pairs()
    store = setting.new_store(directory / "zonecut.db", CHILDREN, pairs)
    ratios, costs = [], []
    with setting.receiver(directory, setting.file_backend(directory / "zone"), store) as process:
        strangers = requests.forged(range(CHILDREN, 6 * CHILDREN), pairs)
        target = setting.address(process)
        udp.closed_loop(target, strangers, seconds / 2, rcode=Rcode.NOTAUTH)
        before = raw.verify(pairs[0].key, strangers)
        for _ in range(ROUNDS):
            used = cpu_seconds(process.pid)
            load = udp.closed_loop(target, strangers, seconds, rcode=Rcode.NOTAUTH)
            cost = (cpu_seconds(process.pid) - used) / load.answered
            after = raw.verify(pairs[0].key, strangers)
            ratios.append(cost / ((before.cpu + after.cpu) / 2))
            costs.append(cost * 1e6)
            before = after
    how = (
        f"CPU time of the receiver per UPDATE of {len(strangers[0])} octets of {5 * CHILDREN} signers without a key, "
        f"over UDP for {seconds:g} s, {udp.WINDOW} outstanding, by that of a failing verification"
    )
    return [
        of_rounds("unknown_key_of_verify", ratios, "ratio", how),
        of_rounds("unknown_key_cpu_us", costs, "us", "the same in CPU time"),
    ]
