"""A zone whose serial goes back: a server that has not caught up answers, and nothing follows from it (RFC 1982)."""

import time
from pathlib import Path

import dns.zone
import pytest

from agent_world import QUICK
from lab.process import until
from lab.scripted import behaviours
from lab.scripted.hostile import HostileReceiver
from lab.scripted.scripted_parent import CHILD, UPDATER, PlayedParent
from lab.zonecut import CommandFailed, ZonecutProcess
from zonecut.protocol import names
from zonecut.protocol.codepoints import ReceiverState

NS1, NS3 = names.from_text(f"ns1.{CHILD}"), names.from_text(f"ns3.{CHILD}")


def version(serial: int, *servers: str) -> dns.zone.Zone:
    lines = [f"@ SOA ns hostmaster {serial} 7200 3600 1209600 300", *(f"@ NS {server}" for server in servers)]
    text = "\n".join(["$TTL 60", *lines, *(f"{server} A 127.0.0.1" for server in servers)])
    return dns.zone.from_text(text + "\n", CHILD, relativize=False)


def test_a_stale_server_behind_primary_does_not_revert_the_delegation(tmp_path: Path) -> None:
    new, old = version(100, "ns1", "ns2", "ns3"), version(90, "ns1", "ns2")
    with HostileReceiver(UPDATER, behaviours.silent) as receiver, PlayedParent(receiver, child_signed=False) as played:
        receiver.play(
            behaviours.telling(ReceiverState.TRUSTED, updates=behaviours.applying(played.apply, behaviours.accepting))
        )
        played.child.load(new)
        with ZonecutProcess(tmp_path, played.configuration(tmp_path, **QUICK, methods=["manual"])) as agent:
            until(lambda: bool(agent.log_events("agent.in-sync")), timeout=20, what="the agent is in sync")
            assert NS3 in played.delegation.ns
            assert agent.cli("child", "status", CHILD)["serial"] == 100
            count = len(receiver.updates)

            def told() -> bool:
                return any("serial 90" in each["reason"] for each in agent.log_events("agent.state"))

            played.child.load(old)
            until(told, timeout=10, what="the agent says so")
            time.sleep(1)
            assert len(receiver.updates) == count
            state = agent.cli("child", "status", CHILD, expect=None)
            assert "--serial-reset" in state["advice"]
            assert state["attempts"]
            with pytest.raises(CommandFailed, match="serial 90"):
                agent.cli("child", "sync", CHILD, "--dry-run", json=False)

            # a server that has caught up is followed at once
            played.child.load(version(101, "ns1", "ns3"))
            until(lambda: played.delegation.ns == (NS1, NS3), timeout=10, what="the parent holds the newest version")

            # a zone that was made anew
            played.child.load(version(1, "ns1", "ns2"))
            agent.cli("child", "sync", CHILD, "--dry-run", "--serial-reset", expect=3)
            agent.cli("child", "sync", CHILD, "--serial-reset", expect=None)
            until(lambda: NS3 not in played.delegation.ns, timeout=10, what="the parent holds the new zone")
            assert agent.cli("child", "status", CHILD, expect=None)["serial"] == 1
