"""The agent keeps what the parent holds in step with the child, whatever servers both have."""

from pathlib import Path

import pytest

from agent_world import CHILD, AgentWorld, ds_of
from lab.daemons.server import Add, Delete
from lab.process import until
from lab.zones import Signing

SOON = 5.0
"""Seconds until the parent serves what the child has said."""


@pytest.mark.parametrize("child", ["bind", "knot", "powerdns"])
@pytest.mark.parametrize("parent", ["bind", "knot", "powerdns"])
def test_whatever_changes_in_the_child_is_soon_at_the_parent(tmp_path: Path, parent: str, child: str) -> None:
    with AgentWorld(tmp_path, parent=parent, child=child) as world:
        world.wait_for("in-sync")

        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"), Delete(CHILD, "NS", f"ns2.{CHILD}"))
        added = {f"{CHILD} ns ns3.{CHILD}", f"ns3.{CHILD} a 127.11.0.3", f"ns3.{CHILD} aaaa ::1"}
        gone = {f"{CHILD} ns ns2.{CHILD}", f"ns2.{CHILD} a 127.11.0.2"}
        world.holds(added, without=gone, within=SOON)

        world.child.edit(Delete(f"ns1.{CHILD}", "A", "127.11.0.1"), Add(f"ns1.{CHILD}", 60, "A", "127.11.0.11"))
        world.holds({f"ns1.{CHILD} a 127.11.0.11"}, without={f"ns1.{CHILD} a 127.11.0.1"}, within=SOON)

        old = {f"{CHILD} ds {each.lower()}" for each in ds_of(world.child, CHILD)}
        world.child.roll_ksk()
        until(lambda: bool(world.ds_of_cds() - old), timeout=20, what="the child publishes CDS of its new key")
        world.holds(world.ds_of_cds(), within=SOON)
        assert world.held_ds() == world.ds_of_cds()

        world.in_sync()
        world.parent.verify()
        assert not world.agent.stray_lines()
        assert [e for e in world.agent.log_events() if e["level"] in ("error", "critical")] == []


@pytest.mark.parametrize("parent", [Signing.IN_PLACE, Signing.NONE])
@pytest.mark.parametrize("child", [Signing.IN_PLACE, Signing.NONE])
def test_zones_need_not_be_signed(tmp_path: Path, parent: Signing, child: Signing) -> None:
    """Nothing can be looked up safely there: the parent's operator trusts the key."""
    with AgentWorld(tmp_path, parent_signing=parent, child_signing=child, bootstrap=["manual"]) as world:
        world.wait_for("bootstrapping")
        until(lambda: "fingerprint" in world.state()["advice"], timeout=5, what="the operator is told what to tell")
        world.receiver.cli("key", "trust", CHILD)
        world.wait_for("in-sync")
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
        world.holds({f"{CHILD} ns ns3.{CHILD}"}, within=SOON)
        world.in_sync()
        assert bool(world.held_ds()) == (child is Signing.IN_PLACE)
