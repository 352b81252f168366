"""The agent keeps what the parent holds in step with the child, whatever servers both have."""

from pathlib import Path

import pytest

from agent_world import CHILD, AgentWorld
from lab.process import until
from lab.server import Add


@pytest.mark.parametrize("child", ["bind"])
@pytest.mark.parametrize("parent", ["bind"])
def test_a_change_in_the_child_is_at_the_parent_soon(tmp_path: Path, parent: str, child: str) -> None:
    with AgentWorld(tmp_path, parent=parent, child=child) as world:
        world.wait_for("in-sync")
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"), zone=CHILD)
        wanted = {f"{CHILD} NS ns3.{CHILD}", f"ns3.{CHILD} A 11.0.0.3", f"ns3.{CHILD} AAAA 2610::3"}
        until(lambda: wanted <= world.held(), timeout=5, what="the parent has the new name server")
        world.wait_for("in-sync")
