"""What `zonecut child status` says when something is down, missing, refused or bogus: never that all is well."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent_world import CHILD, AgentWorld
from lab.daemons.pdns import PowerDns
from lab.process import until
from lab.zonecut import CommandFailed
from lab.zones import Signing

CHECK = 2.0
QUICK_LOOKS = {"poll": 0.5, "check": CHECK, "retry_first": 0.2, "retry_longest": 0.5}


def status(world: AgentWorld, *, code: int) -> dict[str, Any]:
    found: dict[str, Any] = world.agent.cli("child", "status", CHILD, expect=code)
    return found


def becomes(world: AgentWorld, phase: str, *, within: float = 20.0) -> dict[str, Any]:
    until(lambda: world.state()["phase"] == phase, timeout=within, what=f"child status says {phase}")
    return world.state()


@contextmanager
def away(process: Any) -> Iterator[None]:
    process.stop()
    yield
    process.start()


def test_whatever_is_away_it_is_not_said_to_be_in_sync(tmp_path: Path) -> None:
    with AgentWorld(tmp_path, child_entry=QUICK_LOOKS) as world:
        world.wait_for("in-sync")
        assert status(world, code=0)["phase"] == "in-sync"
        (key,) = (world.agent.directory / "keys" / "children").rglob("K*.private")
        cases = (
            ("primary", world.child, "the zone cannot be read: "),
            ("parent", world.parent, "nothing is known of what the parent publishes"),
        )
        for what, process, reason in cases:
            with away(process):
                told = becomes(world, "failing")
                assert reason in told["reason"], what
                assert world.agent.log_events("agent.state")[-1]["phase"] == "failing"
            assert becomes(world, "in-sync")["attempts"] == 0, what
        with closing(sqlite3.connect(world.agent.directory / "zonecut.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert "the store cannot be written" in status(world, code=1)["reason"]
            other.execute("ROLLBACK")
        assert becomes(world, "in-sync")["attempts"] == 0
        hidden = key.with_suffix(".hidden")
        key.rename(hidden)
        assert str(key) in status(world, code=1)["reason"]
        hidden.rename(key)
        becomes(world, "in-sync")
        with away(world.receiver):
            assert str(world.port) in becomes(world, "failing")["reason"]
            (line,) = world.agent.cli("child", "status", json=False, expect=1).splitlines()[1:]
            assert line.split()[:2] == [CHILD, "failing"]
            world.agent.stop()
        # no daemon: what a command finds counts, for a while
        world.agent.cli("child", "sync", CHILD)
        status(world, code=0)
        told = becomes(world, "stale", within=4 * CHECK)
        assert "zonecut serve" in told["advice"]
        status(world, code=1)
        world.agent.cli("child", "sync", CHILD)
        world.child.stop()
        world.agent.cli("child", "sync", CHILD, expect=1)
        assert status(world, code=1)["phase"] == "failing"


def test_a_roll_that_is_refused_is_told_while_the_delegation_is_found_right(tmp_path: Path) -> None:
    with AgentWorld(tmp_path, child_entry=QUICK_LOOKS, parent_entry={"policy": {"rollover": "deny"}}) as world:
        world.wait_for("in-sync")
        world.agent.cli("child", "roll", CHILD, expect=None)
        becomes(world, "failing")
        until(
            lambda: [event["result"] for event in world.agent.log_events("agent.roll-add")][-1:] == ["refused"],
            timeout=10,
            what="the receiver refuses the roll",
        )
        begun = time.monotonic()
        while time.monotonic() < begun + 1.5 * CHECK:
            # each look at the parent finds the delegation right, and the roll refused as before
            assert status(world, code=1)["phase"] == "failing"
        assert "--abandon" in world.state()["advice"]


def test_a_child_whose_backend_does_not_show_that_it_is_signed(tmp_path: Path) -> None:
    """PowerDNS by its API alone: the zone is signed later, and no DS follows, as the agent and the commands say."""
    entry = {"primary": None, **QUICK_LOOKS}
    with AgentWorld(
        tmp_path, child="powerdns", child_signing=Signing.NONE, child_entry=entry, bootstrap=["manual"]
    ) as world:
        world.wait_for("bootstrapping")
        world.receiver.cli("key", "trust", CHILD)
        world.wait_for("in-sync")
        (note,) = status(world, code=0)["notes"]
        assert "neither CDS nor DNSKEY can be seen" in note
        assert "neither CDS nor DNSKEY" in world.agent.cli("child", "sync", CHILD, "--dry-run", json=False)
        assert world.agent.cli("check-config", "--strict")["problems"] == []
        assert isinstance(world.child, PowerDns)
        world.child.pdnsutil("secure-zone", CHILD)
        told = world.wait_for("held", timeout=20)
        assert "is signed" in told["reason"]
        assert "`primary`" in told["advice"]
        status(world, code=3)
        with pytest.raises(CommandFailed) as failed:
            world.agent.cli("child", "sync", CHILD, "--dry-run", json=False)
        assert "is signed" in str(failed.value)
        (problem,) = world.agent.cli("check-config", "--strict", expect=1)["problems"]
        assert problem.startswith(f"children[0]: {CHILD}: {CHILD} is signed")
