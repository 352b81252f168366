"""Two agents with one key, with real servers on both sides."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent_world import CHILD, AgentWorld
from lab.daemons.server import Add
from lab.ports import LOOPBACK, free_port
from lab.process import until
from lab.zonecut import ZonecutProcess


def trusted(world: AgentWorld) -> set[int]:
    """The tags of the child's keys that the parent trusts."""
    return {key["tag"] for key in world.receiver.cli("key", "list", CHILD) if key["state"] == "trusted"}


def published(world: AgentWorld) -> set[str]:
    """The KEY records at the child's apex."""
    return {str(rdata) for rrset in world.child.query(CHILD, "KEY", tcp=True).answer for rdata in rrset}


@contextmanager
def second_agent(world: AgentWorld, directory: Path) -> Iterator[ZonecutProcess]:
    """Another machine with the same key and the same zone, as a clone of the first has them."""
    directory.mkdir()
    shutil.copytree(world.agent.directory / "keys", directory / "keys")
    configuration = {
        **world.agent.configuration,
        "store": {"url": f"sqlite:///{directory}/zonecut.db"},
        "agent": {"listen": [f"{LOOPBACK}:{free_port()}"]},
    }
    with ZonecutProcess(directory, configuration) as process:
        yield process


def test_of_two_agents_with_one_key_the_one_that_did_not_roll_it_says_so_and_stands_back(tmp_path: Path) -> None:
    with AgentWorld(tmp_path, child_entry={"check": 1, "key": {"roll_wait": 0.5}}) as world:
        world.wait_for("in-sync")
        with second_agent(world, tmp_path / "second") as second:

            def phase() -> str:
                return str(second.cli("child", "status", CHILD, expect=None)["phase"])

            until(lambda: phase() == "in-sync", timeout=20, what="the second one is in sync, too")
            world.agent.cli("child", "roll", CHILD, expect=None)
            until(lambda: bool(world.agent.log_events("agent.roll-ends")), timeout=20, what="the roll is over")
            until(lambda: phase() == "held", timeout=20, what="the second one stands back")
            (told,) = second.log_events("agent.key-shared")
            assert told["reason"].startswith("somebody else uses this key: KEY ")
            kept, keys = published(world), trusted(world)
            assert len(kept) == len(keys) == 1
            uploads = len(second.log_events("agent.bootstrap"))
            # a few checks of both later nobody has touched anything
            seen = len(second.log_events())
            time.sleep(3)
            world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
            world.holds({f"{CHILD} ns ns3.{CHILD}"}, within=10)
            assert (published(world), trusted(world)) == (kept, keys)
            assert len(second.log_events("agent.bootstrap")) == uploads
            assert len(second.log_events()) - seen <= 6
