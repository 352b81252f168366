"""Ways in which a child zone can be had and a parent can be told, other than the usual ones."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent_world import CHILD, OPERATOR, PARENT, QUICK, AgentWorld, OperatedWorld
from lab.daemons.named import Named
from lab.daemons.server import Add, Delete
from lab.ports import LOOPBACK
from lab.process import until
from lab.scripted.behaviours import silent
from lab.scripted.hostile import HostileReceiver
from lab.scripted.scripted_parent import UPDATER, PlayedParent
from lab.zonecut import ZonecutProcess
from lab.zones import Signing
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation

NEW = {f"{CHILD} ns ns3.{CHILD}", f"ns3.{CHILD} a 127.11.0.3", f"ns3.{CHILD} aaaa ::1"}


def test_a_zone_that_only_a_secondary_sees_needs_its_operator_for_the_key(tmp_path: Path) -> None:
    """No backend: the KEY record is printed, and waited for."""
    with AgentWorld(tmp_path, bootstrap=["at-apex"], agent=False) as world:
        (entry,) = world.agent.configuration["children"]
        assert isinstance(world.child, Named)
        del entry["backend"]
        entry["primary"] = {"server": world.child.server, "tsig": str(world.child.tsig_file), "transfer": True}
        world.agent.configure({**world.agent.configuration, "children": [entry]})
        with world.agent:
            until(lambda: "KEY 512" in str(world.state()["advice"]), timeout=10, what="the record to add is told")
            assert world.state()["phase"] == "key-published"
            (line,) = [line for line in world.state()["advice"].splitlines() if line.startswith(f"+ {CHILD}")]
            _, _, ttl, _, kind, data = line.split(" ", 5)
            world.child.edit(Add(CHILD, int(ttl), kind, data))
            world.wait_for("in-sync")
            world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
            world.holds(NEW, within=5)


def test_a_zone_is_read_and_written_through_its_server_alone(tmp_path: Path) -> None:
    with AgentWorld(tmp_path, child="knot", agent=False) as world:
        (entry,) = world.agent.configuration["children"]
        del entry["primary"]
        world.agent.configure({**world.agent.configuration, "children": [entry]})
        with world.agent:
            world.wait_for("in-sync")
            world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
            world.holds(NEW, within=5)
            assert world.held_ds()


def test_an_unsigned_child_is_trusted_for_what_its_operator_publishes_at_its_name_servers(tmp_path: Path) -> None:
    """at-ns, the key's whole life long: published below `_signal`, believed, rolled, and nothing left behind."""
    owners = [CHILD, *(f"_sig0key.{CHILD}_signal.{server}.{OPERATOR}" for server in ("ns1", "ns2"))]

    def published() -> list[set[str]]:
        answers = [world.child.query(owner, "KEY", tcp=True).answer for owner in owners]
        return [{str(rdata) for rrset in answer for rdata in rrset} for answer in answers]

    with OperatedWorld(tmp_path, bootstrap=["at-ns"]) as world:
        world.wait_for("in-sync")
        first = published()
        assert len(first[0]) == 1
        assert first == [first[0]] * 3
        (key,) = world.receiver.cli("key", "list", CHILD)
        assert (key["state"], key["method"]) == ("trusted", "at-ns")
        # a third name server vouches for it, too
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{OPERATOR}"), zone=CHILD)
        world.holds({f"{CHILD} ns ns3.{OPERATOR}"}, within=5)
        owners.append(f"_sig0key.{CHILD}_signal.ns3.{OPERATOR}")
        until(lambda: published() == [first[0]] * 4, timeout=10, what="a copy for the new name server")
        world.child.edit(Delete(CHILD, "NS", f"ns1.{OPERATOR}"), zone=CHILD)
        until(lambda: published() == [first[0], set(), first[0], first[0]], timeout=10, what="ns1 vouches no more")
        del owners[1]
        world.wait_for("in-sync")
        assert world.agent.cli("child", "roll", CHILD, expect=3)
        until(lambda: bool(world.agent.log_events("agent.roll-ends")), timeout=20, what="the roll is over")
        until(lambda: [len(each) for each in published()] == [1] * 3, timeout=10, what="the old key is gone")
        assert published()[0].isdisjoint(first[0])


def test_what_others_have_to_publish_below_signal_is_told_and_waited_for(tmp_path: Path) -> None:
    with OperatedWorld(tmp_path, bootstrap=["at-ns"], agent=False) as world:
        (entry,) = world.agent.configuration["children"]
        del entry["signalling"]
        world.agent.configure({**world.agent.configuration, "children": [entry]})

        def told() -> list[str]:
            return [line for line in str(world.state()["advice"]).splitlines() if line.startswith("+ _sig0key.")]

        with world.agent:
            until(lambda: len(told()) == 2, timeout=10, what="both are told")
            _publish(world, told()[0])
            until(lambda: len(told()) == 1, timeout=10, what="one is left")
            # until the other is there, too, a receiver would say no
            assert world.state()["phase"] == "key-published"
            assert world.receiver.cli("key", "list", CHILD) == []
            _publish(world, told()[0])
            world.wait_for("in-sync")


def _publish(world: OperatedWorld, line: str) -> None:
    _, owner, ttl, _, kind, data = line.split(" ", 5)
    world.child.edit(Add(owner, int(ttl), kind, data), zone=OPERATOR)


@pytest.mark.parametrize("pinned", [True, False])
def test_a_receiver_is_configured_and_its_key_pinned_where_nothing_is_signed(tmp_path: Path, pinned: bool) -> None:
    with AgentWorld(tmp_path, parent_signing=Signing.NONE, bootstrap=["manual"], agent=False) as world:
        (entry,) = world.agent.configuration["children"]
        key = world.receiver.cli("parent", "status", PARENT)["key"]
        entry["parent"] |= {
            "zone": PARENT,
            "receiver": {"target": f"updater.{PARENT}", "addresses": [f"{LOOPBACK}:{world.port}"]},
            "insecure_key": "reject",
            "pins": [key["signer"]["fingerprint"]] if pinned else [],
        }
        world.agent.configure({**world.agent.configuration, "children": [entry]})
        with world.agent:
            if pinned:
                world.wait_for("bootstrapping")
                return
            until(lambda: "nobody vouches" in str(world.state()["advice"]), timeout=10, what="the operator is told")
            assert world.receiver.cli("key", "list", CHILD) == []
            assert not world.agent.log_events("agent.bootstrap")


@contextmanager
def notified() -> Iterator[tuple[int, list[bytes]]]:
    """Whoever takes NOTIFY for the parent's scanner; its port and what it got."""
    received: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((LOOPBACK, 0))
        listener.settimeout(0.2)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    wire, peer = listener.recvfrom(4096)
                except TimeoutError:
                    continue
                received.append(wire)
                listener.sendto(wire[:2] + bytes((wire[2] | 0x80, wire[3])) + wire[4:], peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], received
        finally:
            ended.set()
            thread.join()


def test_a_parent_that_scans_is_notified_and_then_watched(tmp_path: Path) -> None:
    """RFC 9859: where there is no receiver of UPDATEs, the scanner learns that there is something to see."""
    with notified() as (port, received), HostileReceiver(UPDATER, silent) as receiver, PlayedParent(receiver) as played:
        target = names.from_text(UPDATER)
        played.announce(Dsync(RRType.CSYNC, 1, port, target), Dsync(RRType.CDS, 1, port, target))
        played.child.put("@", "NS", "ns1", "ns2", "ns3")
        played.child.put("ns3", "A", "127.0.0.1")
        directory = tmp_path / "agent"
        directory.mkdir()
        with ZonecutProcess(directory, played.configuration(directory, **QUICK)) as agent:
            # without CSYNC, there is nothing that a scanner could see
            until(lambda: bool(agent.log_events("agent.state")), timeout=10, what="the agent has looked")
            state = agent.cli("child", "status", CHILD, expect=3)
            assert (state["phase"], received) == ("held", [])
            assert f"{CHILD} has no CSYNC record" in state["reason"]
            assert "@ CSYNC 0 1 A NS AAAA" in state["advice"]
            played.child.put("@", "CSYNC", "0 1 A NS AAAA")
            until(lambda: bool(received), timeout=10, what="a NOTIFY came")
            # opcode NOTIFY, QNAME the child, QTYPE CSYNC
            assert received[0][2] >> 3 & 15 == 4
            assert received[0][12:-15].startswith(names.from_text(CHILD))
            assert int(RRType.CSYNC).to_bytes(2) in received[0]
            assert agent.cli("child", "status", CHILD, expect=3)["phase"] == "out-of-sync"
            wanted = played.delegation
            ns3 = names.from_text(f"ns3.{CHILD}")
            records = [*wanted.records, RR(wanted.child, RRType.NS, ns3), RR(ns3, RRType.A, bytes((127, 0, 0, 1)))]
            played.delegate(Delegation.of(wanted.child, records))
            until(lambda: bool(agent.log_events("agent.in-sync")), timeout=10, what="the agent sees it")
            assert not receiver.received
