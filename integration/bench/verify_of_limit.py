"""Refusals of wrong signatures a second, of what the crypto library verifies in a second on the same core."""

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
    ratios, rates, limits, by_cpu = [], [], [], []
    with setting.receiver(directory, setting.file_backend(directory / "zone"), store) as process:
        wrong = requests.forged(range(CHILDREN), pairs)
        target = setting.address(process)
        udp.closed_loop(target, wrong, seconds / 2, rcode=Rcode.NOTAUTH)
        before = raw.verify(pairs[0].key, wrong)
        for _ in range(ROUNDS):
            used = cpu_seconds(process.pid)
            load = udp.closed_loop(target, wrong, seconds, rcode=Rcode.NOTAUTH)
            used = cpu_seconds(process.pid) - used
            after = raw.verify(pairs[0].key, wrong)
            limit = (before.per_second + after.per_second) / 2
            ratios.append(load.per_second / limit)
            by_cpu.append((before.cpu + after.cpu) / 2 * load.answered / used)
            rates.append(load.per_second)
            limits.append(limit)
            before = after
    how = (
        f"UPDATEs of {len(wrong[0])} octets with a wrong Ed25519 signature of {CHILDREN} trusted keys refused over UDP "
        f"in {seconds:g} s, {udp.WINDOW} outstanding, by verifications of the same data that fail"
    )
    return [
        of_rounds("verify_of_limit", ratios, "ratio", how),
        of_rounds("verify_of_limit_by_cpu", by_cpu, "ratio", "the same load: CPU time of a verification by that used"),
        of_rounds("refused_per_s", rates, "1/s", "wrong signatures refused over UDP, one core"),
        of_rounds("raw_verify_per_s", limits, "1/s", "failing Ed25519 verifications of cryptography, one core"),
    ]
