"""What becomes of the rate and of the memory when a million children have keys."""

import random
from pathlib import Path

from bench import setting
from bench.cores import resident_mib
from bench.figures import ROUNDS, Figure, of_rounds
from bench.traffic import raw, requests, udp
from zonecut.protocol.codepoints import Rcode

FEW = 1000
MANY = 1_000_000
DRAWN = 60_000
"""Signers drawn from the million, each with a request: many times more than the receiver keeps in memory."""


def run(seconds: float, directory: Path) -> list[Figure]:
    pairs = requests.kept_pairs(directory.parent / "pairs")
    few_store = setting.new_store(directory / "few.db", FEW, pairs)
    many_store = setting.kept_store(directory.parent, MANY, pairs)
    with (
        setting.receiver(directory / "few", setting.file_backend(directory / "few-zone"), few_store) as few,
        setting.receiver(directory / "many", setting.file_backend(directory / "many-zone"), many_store) as many,
    ):
        at_start = resident_mib(many.pid)
        draw = random.Random(20261124).sample
        from_many = requests.forged(draw(range(MANY), DRAWN), pairs)
        from_few = requests.forged([*range(FEW)] * 10, pairs)
        udp.closed_loop(setting.address(few), from_few, seconds / 2, rcode=Rcode.NOTAUTH)
        udp.closed_loop(setting.address(many), from_many, seconds / 2, rcode=Rcode.NOTAUTH)
        ratios, rates, limits = [], [], []
        for _ in range(ROUNDS):
            before = udp.closed_loop(setting.address(few), from_few, seconds / 2, rcode=Rcode.NOTAUTH)
            load = udp.closed_loop(setting.address(many), from_many, seconds, rcode=Rcode.NOTAUTH)
            after = udp.closed_loop(setting.address(few), from_few, seconds / 2, rcode=Rcode.NOTAUTH)
            ratios.append(2 * load.per_second / (before.per_second + after.per_second))
            rates.append(load.per_second)
            limits.append(raw.verify(pairs[0].key, from_many).per_second)
        memory, memory_of_few = resident_mib(many.pid), resident_mib(few.pid)
    how = (
        f"wrong signatures of {DRAWN:,} signers drawn uniformly from {MANY:,} trusted keys refused over UDP in "
        f"{seconds:g} s, {udp.WINDOW} outstanding, by those of {FEW:,} keys, {seconds / 2:g} s before and after"
    )
    of_limit = [rate / limit for rate, limit in zip(rates, limits, strict=True)]
    remembered = f"VmRSS after that load; {at_start:.0f} at the start; {memory_of_few:.0f} with {FEW:,} keys"
    return [
        of_rounds("growth_1k_to_1m_keys", ratios, "ratio", how),
        Figure("rss_mb_1m_keys", memory, "MiB", remembered),
        of_rounds("refused_1m_keys_per_s", rates, "1/s", "the rate with a million keys"),
        of_rounds("verify_1m_keys_of_limit", of_limit, "ratio", "that rate by failing verifications a second"),
    ]
