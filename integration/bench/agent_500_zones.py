"""What one agent costs that looks after 500 zones: memory, CPU while nothing happens, and how late a change is."""

import time
from pathlib import Path

from agent_many import ManyZones
from bench.figures import Figure, of_rounds
from lab.daemons.server import Add
from lab.process import until

ZONES = 500
POLL = 60
"""Seconds between looks at each zone: five times as often as usual, so that a minute shows what it costs."""
IDLE = 60.0
CHANGES = 10


def run(seconds: float, directory: Path) -> list[Figure]:
    with ManyZones(directory, ZONES, {"poll": POLL, "check": 600}) as world:
        world.wait_for_all("bootstrapping", timeout=300)
        world.trust_all()
        world.wait_for_all("in-sync", timeout=300)
        time.sleep(10)
        before = world.cpu_seconds()
        time.sleep(IDLE)
        idle = 100 * (world.cpu_seconds() - before) / IDLE
        late = [_change(world, world.children[number * 37 % ZONES]) for number in range(CHANGES)]
        memory = world.rss_mb()
    how = f"one agent with {ZONES} unsigned zones on one named, each looked at every {POLL} s and compared every 600 s"
    return [
        Figure("agent_rss_mb_500_zones", memory, "MB", f"resident memory of {how}"),
        Figure("agent_idle_cpu_percent_500_zones", idle, "%", f"of one core, over {IDLE:g} s, {how}"),
        of_rounds("agent_change_s_500_zones", late, "s", f"from an edit in a zone until the parent serves it, {how}"),
    ]


def _change(world: ManyZones, child: str) -> float:
    """Seconds until the parent serves a new name server of one zone."""
    start = time.monotonic()
    world.named.edit(Add(child, 60, "NS", f"ns3.{child}"), zone=child)

    def is_there() -> bool:
        return f"ns3.{child}" in str(world.parent.query(child, "NS", tcp=True).authority)

    until(is_there, timeout=30, what=f"the parent has ns3.{child}")
    return time.monotonic() - start
