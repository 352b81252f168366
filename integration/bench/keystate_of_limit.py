"""Signed KeyState inquiries answered a second, of what the crypto library verifies and signs in a second."""

from pathlib import Path

from bench import keystate, setting
from bench.cores import cpu_seconds
from bench.figures import ROUNDS, Figure, of_rounds
from bench.traffic import requests, udp
from zonecut.protocol.codepoints import Rcode


def run(seconds: float, directory: Path) -> list[Figure]:
    return measure(seconds, directory, "keystate_of_limit", signed=True)


def measure(seconds: float, directory: Path, name: str, *, signed: bool) -> list[Figure]:
    """The figure called `name`, and what it is made of; for inquiries that are `signed`, or are not."""
    pairs = requests.make_pairs()
    inquiries = keystate.inquiries(pairs, signed=signed)
    ratios, rates, limits, by_cpu = [], [], [], []
    with keystate.receiver(directory, pairs) as process:
        target = setting.address(process)
        exchange = keystate.ask(process, inquiries[0])

        def load(length: float) -> udp.Load:
            return udp.closed_loop(target, inquiries, length, rcode=Rcode.NOERROR, additional=keystate.SIGNED)

        load(seconds / 2)
        before = keystate.limit(pairs[0], exchange, verify=signed)
        for _ in range(ROUNDS):
            used = cpu_seconds(process.pid)
            answered = load(seconds)
            used = cpu_seconds(process.pid) - used
            after = keystate.limit(pairs[0], exchange, verify=signed)
            limit = (before.per_second + after.per_second) / 2
            ratios.append(answered.per_second / limit)
            by_cpu.append((before.cpu + after.cpu) / 2 * answered.answered / used)
            rates.append(answered.per_second)
            limits.append(limit)
            before = after
    kind, done = ("signed", "verifications and signatures") if signed else ("unsigned", "signatures")
    how = (
        f"{kind} inquiries of {len(inquiries[0])} octets about {keystate.CHILDREN} trusted keys, each answered with a "
        f"signed {len(exchange.response)} octets over UDP in {seconds:g} s, {udp.WINDOW} outstanding, by {done} of the "
        "same data with Ed25519, one core"
    )
    return [
        of_rounds(name, ratios, "ratio", how),
        of_rounds(f"{name}_by_cpu", by_cpu, "ratio", "the same load: CPU time of the crypto library by that used"),
        of_rounds(name.replace("_of_limit", "_per_s"), rates, "1/s", "those answers a second"),
        of_rounds(name.replace("_of_limit", "_limit_per_s"), limits, "1/s", f"{done} of cryptography a second"),
    ]
