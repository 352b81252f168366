"""One agent for hundreds of zones: a change in one is not late, and a dead parent is not hammered."""

import time
from pathlib import Path

from agent_many import ManyZones
from lab.daemons.server import Add
from lab.process import until

COUNT = 200


def test_a_change_in_one_of_hundreds_of_zones_is_soon_at_the_parent(tmp_path: Path) -> None:
    with ManyZones(tmp_path, COUNT, {"retry_longest": 10}) as world:
        world.wait_for_all("bootstrapping", timeout=240)
        world.trust_all()
        world.wait_for_all("in-sync", timeout=240)
        child = world.children[123]
        world.named.edit(Add(child, 60, "NS", f"ns3.{child}"), zone=child)

        def is_there() -> bool:
            referral = world.parent.query(child, "NS", tcp=True)
            return f"ns3.{child}" in str(referral.authority)

        until(is_there, timeout=20, what=f"the parent has ns3.{child}")
        assert world.rss_mb() < 200

        world.receiver.kill()
        began = len(world.agent.log_events("agent.change"))
        for each in world.children[:100]:
            world.named.edit(Add(each, 60, "NS", f"ns3.{each}"), zone=each)
        time.sleep(10)
        # each tried once at most before it was known that nobody is there
        assert len(world.agent.log_events("agent.change")) - began < 20
        world.receiver.start()
        until(
            lambda: len(world.receiver.log_events("change.applied")) >= 101, timeout=180, what="all are at the parent"
        )
