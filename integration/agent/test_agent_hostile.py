"""A whole agent, `zonecut serve` with one child zone, whose parent's receiver is played: broken, hostile, or odd."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent_world import QUICK
from lab.process import until
from lab.scripted import behaviours
from lab.scripted.hostile import HostileReceiver, Manner, Received, Reply
from lab.scripted.scripted_parent import CHILD, UPDATER, PlayedParent
from lab.zonecut import ZonecutProcess
from signer import Signer
from zonecut.agent.keys.child_keys import ChildKeys
from zonecut.demo.loopback import faults
from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT, RRType
from zonecut.protocol.envelope import UPDATE

NEW_NS = names.from_text(f"ns3.{CHILD}")
TRUSTED, UNKNOWN, AUTO = 4, 5, 9
STRANGER = Signer.generate(UPDATER)


class Agent:
    """The agent at work, its receiver and its parent."""

    def __init__(self, played: PlayedParent, process: ZonecutProcess) -> None:
        self.played = played
        self.receiver = played.receiver
        self.process = process

    def states(self) -> list[dict[str, Any]]:
        return self.process.log_events("agent.state")

    def wait_for(self, phase: str, reason: str = "", *, timeout: float = 20.0) -> dict[str, Any]:
        """The event with which the agent says so."""

        def found() -> list[dict[str, Any]]:
            return [each for each in self.states() if each["phase"] == phase and reason in each["reason"]]

        until(lambda: bool(found()), timeout=timeout, what=f"the agent is {phase}: {reason}")
        return found()[-1]

    @property
    def is_done(self) -> bool:
        return NEW_NS in self.played.delegation.ns


@contextmanager
def running(
    directory: Path, manner: Callable[[PlayedParent], Manner], *, signed: bool = True, **entry: Any
) -> Iterator[Agent]:
    """An agent whose zone has got a name server that its parent does not know yet; its KEY is published."""
    with HostileReceiver(UPDATER, behaviours.silent) as receiver, PlayedParent(receiver, signed=signed) as played:
        receiver.play(manner(played))
        own = ChildKeys(directory / "keys", names.from_text(CHILD), DEFAULT).make("ED25519")
        played.put_key(own.key)
        played.child.put("@", "NS", *(f"{each}.{CHILD}" for each in ("ns1", "ns2", "ns3")))
        played.child.put("ns3", "A", "127.0.0.1")
        with ZonecutProcess(directory, played.configuration(directory, **{**QUICK, **entry})) as process:
            yield Agent(played, process)
            assert process.stray_lines() == []


def taking(played: PlayedParent, manner: Manner = behaviours.accepting) -> Manner:
    """Takes changes, says that the key is trusted."""
    return behaviours.telling(TRUSTED, updates=behaviours.applying(played.apply, manner))


def is_quiet(agent: Agent, seconds: float) -> bool:
    """No UPDATE comes for so long."""
    before = len(agent.receiver.updates)
    time.sleep(seconds)
    return len(agent.receiver.updates) == before


HONEST_ENOUGH: dict[str, Callable[[PlayedParent], Manner]] = {
    "signs without the request": lambda played: behaviours.message_only(taking(played)),
    "refuses once": lambda played: behaviours.telling(
        TRUSTED,
        updates=behaviours.in_turn(behaviours.refusing(), behaviours.applying(played.apply, behaviours.accepting)),
    ),
    "fails once": lambda played: behaviours.telling(
        TRUSTED,
        updates=behaviours.in_turn(behaviours.refusing(2), behaviours.applying(played.apply, behaviours.accepting)),
    ),
    "sends strays before its answers": lambda played: behaviours.babbling(taking(played)),
    "answers drop by drop": lambda played: behaviours.dripping(0.001, taking(played)),
    "takes a change and says nothing": lambda played: behaviours.for_updates(
        behaviours.in_turn(behaviours.applying(played.apply, behaviours.closing), behaviours.accepting), taking(played)
    ),
}


@pytest.mark.parametrize("case", HONEST_ENOUGH)
def test_the_delegation_is_brought_in_step_by_a_receiver_that(tmp_path: Path, case: str) -> None:
    with running(tmp_path, HONEST_ENOUGH[case]) as agent:
        agent.wait_for("in-sync")
        assert agent.is_done


NEVER_BELIEVED: dict[str, Callable[[PlayedParent], Manner]] = {
    "signs nothing": lambda played: behaviours.unsigned(taking(played)),
    "signs with another key than it publishes": lambda played: behaviours.signed_by(STRANGER, taking(played)),
    "answers with old signatures": lambda played: behaviours.outdated(7 * 86400, taking(played)),
}


@pytest.mark.parametrize("case", NEVER_BELIEVED)
def test_nothing_is_believed_of_a_receiver_that(tmp_path: Path, case: str) -> None:
    with running(tmp_path, NEVER_BELIEVED[case]) as agent:
        agent.wait_for("asking", "ignored: ")
        assert is_quiet(agent, 1.5)
        assert agent.receiver.updates == []
        assert not {"trusted", "in-sync"} & {each["phase"] for each in agent.states()}


def test_a_key_that_is_never_taken_is_given_up_with_advice(tmp_path: Path) -> None:
    with running(tmp_path, lambda _: behaviours.telling(UNKNOWN, updates=behaviours.badkey)) as agent:
        held = agent.wait_for("held", "BADKEY")
        assert held["advice"]
        assert 2 <= len(agent.receiver.updates) <= 8
        assert is_quiet(agent, 1.5)


def test_a_change_that_is_always_refused_is_given_up_with_advice(tmp_path: Path) -> None:
    refusing = behaviours.refusing(5, 18, "NS ns3: no such luck")
    with running(tmp_path, lambda _: behaviours.telling(TRUSTED, updates=refusing)) as agent:
        held = agent.wait_for("held", "no such luck")
        assert held["advice"]
        assert 2 <= len(agent.receiver.updates) <= 8
        assert is_quiet(agent, 1.5)
        assert not agent.is_done


def test_who_is_refused_finds_out_that_the_key_is_not_known_any_more_and_has_it_trusted_again(tmp_path: Path) -> None:
    """The delegation was deleted and is back: what the key signs is refused, and KeyState says that it is unknown."""

    def manner(played: PlayedParent) -> Manner:
        def uploaded(received: Received) -> Sequence[Reply]:
            played.receiver.play(taking(played))
            return behaviours.accepting(received)

        refused = behaviours.telling(
            UNKNOWN, updates=behaviours.only_a_single_add(uploaded, otherwise=behaviours.refusing())
        )
        changes = behaviours.refusing(5, 18, "child.parent.test. is not delegated")

        def forgetful(received: Received) -> Sequence[Reply]:
            is_change = received.is_update and not any(r.rtype == RRType.KEY for r in received.envelope.section(UPDATE))
            return (changes if is_change else refused)(received)

        def known_at_first(received: Received) -> Sequence[Reply]:
            if received.is_update:
                played.receiver.play(forgetful)
                return changes(received)
            return behaviours.telling(TRUSTED)(received)

        return known_at_first

    with running(tmp_path, manner) as agent:
        agent.wait_for("in-sync")
        assert agent.is_done
        assert "held" not in {each["phase"] for each in agent.states()}


def test_an_acceptance_that_nothing_comes_of_is_noticed(tmp_path: Path) -> None:
    with running(tmp_path, lambda _: behaviours.telling(TRUSTED), confirm=1) as agent:
        agent.wait_for("out-of-sync", "still not published")
        assert "in-sync" not in {each["phase"] for each in agent.states()}
        assert len(agent.receiver.updates) <= 8, "it does not hammer"


def test_a_receiver_that_takes_only_a_single_addition_gets_one(tmp_path: Path) -> None:
    def manner(played: PlayedParent) -> Manner:
        def uploaded(received: Received) -> Sequence[Reply]:
            # the key counts from now on
            played.receiver.play(behaviours.only_a_single_add(taking(played)))
            return behaviours.accepting(received)

        return behaviours.telling(UNKNOWN, updates=behaviours.only_a_single_add(uploaded))

    with running(tmp_path, manner) as agent:
        agent.wait_for("in-sync")
        assert agent.is_done
        both, single, *_ = agent.receiver.updates
        counts = [sum(1 for _ in each.envelope.section(2)) for each in (both, single)]
        assert counts == [2, 1]


def test_a_receiver_that_verifies_what_it_rendered_anew_is_served(tmp_path: Path) -> None:
    def manner(played: PlayedParent) -> Manner:
        own = ChildKeys(tmp_path / "keys", names.from_text(CHILD), DEFAULT)
        return lambda received: behaviours.re_rendering([each.key for each in own.all()], taking(played))(received)

    with running(tmp_path, manner) as agent:
        agent.wait_for("in-sync")
        assert agent.is_done


def test_blocking_look_ups_downgrades_nothing_that_was_validated(tmp_path: Path) -> None:
    """The attacker stands between child and parent: no KEY can be validated, and answers are not signed."""
    with running(tmp_path, taking) as agent:
        agent.wait_for("in-sync")
        agent.played.parents.override(UPDATER, "KEY", faults.broken_signatures)
        agent.receiver.play(behaviours.unsigned(behaviours.telling(TRUSTED)))
        count = len(agent.states())
        agent.process.stop()
        agent.played.child.put("@", "NS", f"ns1.{CHILD}", f"ns3.{CHILD}")
        with agent.process:
            agent.wait_for("out-of-sync", "ignored: ")
            assert "in-sync" not in {each["phase"] for each in agent.states()[count:]}
            # with the key from before the honest receiver is believed
            agent.receiver.play(taking(agent.played))
            until(lambda: len(agent.played.delegation.ns) == 2, timeout=20, what="the change is made")


@pytest.mark.parametrize("policy", ["accept-and-log", "reject"])
def test_a_receiver_that_is_provably_insecure_is_served_if_policy_says_so(tmp_path: Path, policy: str) -> None:
    def manner(played: PlayedParent) -> Manner:
        return behaviours.unsigned(behaviours.applying(played.apply, behaviours.accepting))

    with running(tmp_path, manner, signed=False, parent={"insecure_key": policy}) as agent:
        if policy == "reject":
            agent.wait_for("key-published", "is delegated without DS")
            assert is_quiet(agent, 1.5)
            assert agent.receiver.received == []
        else:
            agent.wait_for("in-sync")
            assert agent.is_done


def test_one_silent_receiver_is_not_hammered(tmp_path: Path) -> None:
    with running(tmp_path, lambda _: behaviours.silent) as agent:
        agent.wait_for("asking")
        time.sleep(3)
        assert len(agent.receiver.received) <= 2
