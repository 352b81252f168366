"""An agent whose parent announces several receivers, or one that anybody could have announced."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent_world import QUICK
from lab.process import until
from lab.scripted import behaviours
from lab.scripted.hostile import HostileReceiver, Manner
from lab.scripted.scripted_parent import CHILD, PARENT, UPDATER, PlayedParent
from lab.zonecut import ZonecutProcess
from zonecut.agent.parent.discovery import discover
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync, generic_text
from zonecut.protocol.announced.svcb import Method, Svcb
from zonecut.protocol.codepoints import DEFAULT, ReceiverState, RRType
from zonecut.resolve import Verdict

SECOND = "zweiter.parent.test."
NEW_NS = names.from_text(f"ns3.{CHILD}")


def taking(played: PlayedParent) -> Manner:
    """Takes changes, says that the key is trusted."""
    return behaviours.telling(ReceiverState.TRUSTED, updates=behaviours.applying(played.apply, behaviours.accepting))


@contextmanager
def agent_of(directory: Path, played: PlayedParent, **entry: Any) -> Iterator[ZonecutProcess]:
    """An agent whose zone has got a name server that its parent does not know yet."""
    played.child.put("@", "NS", *(f"{each}.{CHILD}" for each in ("ns1", "ns2", "ns3")))
    played.child.put("ns3", "A", "127.0.0.1")
    configuration = played.configuration(directory, **{**QUICK, "methods": ["manual"], **entry})
    with ZonecutProcess(directory, configuration) as process:
        yield process
        assert process.stray_lines() == []


def announce_both(played: PlayedParent, first: HostileReceiver, second: HostileReceiver, *, signs: bool = True) -> None:
    """Announce both; unless it `signs`, the second one has no KEY that anybody vouches for."""
    both = ((first, UPDATER), (second, SECOND))
    played.announce(*(Dsync(RRType.ANY, DEFAULT.dsync_update, each.port, names.from_text(t)) for each, t in both))
    played.parent.put(SECOND, "A", second.address)
    played.parent.put(SECOND, "TYPE64", Svcb.announcing((Method.MANUAL,)).to_generic_text())
    if signs:
        played.parent.put(SECOND, "KEY", generic_text(second.key.pair.key.rdata))


@pytest.mark.parametrize("first", ["is away", "is silent", "cannot take it"])
def test_the_second_receiver_that_is_announced_is_asked_where_the_first(tmp_path: Path, first: str) -> None:
    manner = behaviours.refusing(2) if first == "cannot take it" else behaviours.silent
    with (
        HostileReceiver(UPDATER, manner) as away,
        HostileReceiver(SECOND, behaviours.silent) as there,
        PlayedParent(away) as played,
    ):
        there.play(taking(played))
        announce_both(played, away, there)
        if first == "is away":
            away.__exit__()
        with agent_of(tmp_path, played) as agent:
            until(lambda: NEW_NS in played.delegation.ns, timeout=20, what="the second receiver has the change")
            until(lambda: bool(agent.log_events("agent.in-sync")), timeout=10, what="the agent is in sync")
            state = agent.cli("child", "status", CHILD)
            assert state["receiver"].startswith(SECOND)


def test_a_receiver_that_nobody_vouches_for_does_not_stand_in_for_one_that_is_validated(tmp_path: Path) -> None:
    with (
        HostileReceiver(UPDATER, behaviours.silent) as away,
        HostileReceiver(SECOND, behaviours.silent) as there,
        PlayedParent(away) as played,
    ):
        there.play(taking(played))
        announce_both(played, away, there, signs=False)
        away.__exit__()
        with agent_of(tmp_path, played) as agent:
            until(
                lambda: any("refused" in each["reason"] for each in agent.log_events("agent.state")),
                timeout=10,
                what="the first one is asked",
            )
            time.sleep(2)
            assert there.received == []


def test_no_key_is_rolled_at_a_receiver_that_nobody_vouches_for(tmp_path: Path) -> None:
    """Whoever answers there may be anybody: the key that the right one trusts would be put away."""
    with HostileReceiver(UPDATER, behaviours.silent) as receiver, PlayedParent(receiver, signed=False) as played:
        receiver.play(taking(played))
        with agent_of(tmp_path, played) as agent:
            until(lambda: bool(agent.log_events("agent.in-sync")), timeout=20, what="the agent is in sync")
            before = agent.cli("child", "status", CHILD)["key"]
            agent.cli("child", "roll", CHILD, expect=None)
            until(
                lambda: "nobody vouches for the receiver" in agent.cli("child", "status", CHILD, expect=None)["reason"],
                timeout=10,
                what="the operator is told",
            )
            count = len(receiver.updates)
            time.sleep(1.5)
            state = agent.cli("child", "status", CHILD, expect=None)
            assert (state["key"], len(receiver.updates)) == (before, count)
            assert "parent.pins" in state["advice"]
            pinned = {"pins": [receiver.key.pair.key.fingerprint()]}
            (entry,) = agent.configuration["children"]
            entry["parent"] |= pinned
            agent.configure({**agent.configuration, "children": [entry]})
            agent.send_signal(signal.SIGHUP)
            until(lambda: bool(agent.log_events("agent.roll-ends")), timeout=15, what="it is rolled once it is pinned")


async def test_a_parent_may_announce_its_registrars_receiver_by_an_alias() -> None:
    with HostileReceiver(UPDATER, behaviours.silent) as receiver, PlayedParent(receiver) as played:
        record = Dsync(RRType.ANY, DEFAULT.dsync_update, receiver.port, names.from_text(UPDATER))
        played.announce()
        played.parent.put(f"child._dsync.{PARENT}", "CNAME", f"dsync.registrar.{PARENT}")
        played.parent.put(f"dsync.registrar.{PARENT}", "TYPE66", record.to_generic_text())
        found = await discover(played.lookups, names.from_text(CHILD))
        assert (found.verdict, found.updates, found.parent) == (Verdict.SECURE, (record,), names.from_text(PARENT))
