"""Zonecut in front of a provisioning system: yes, no and later as a child sees them, and nothing lost or done twice."""

import os
import random
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from busy_children import Client, all_the_time, first_changes
from lab.child import make_key
from lab.process import until
from lab.scripted.provisioning import Provisioning
from lab.zones import PARENT, ParentZone
from peer import Answer
from signer import DS, Signer, another_ds
from world import World, stop_cleanly, unexpected_lines
from zonecut.protocol import message

ROUNDS = int(os.environ.get("ZONECUT_ROUNDS", "10"))
CHILDREN = 8


@pytest.fixture
def signers() -> list[Signer]:
    return [Signer.generate(f"child{number}") for number in range(CHILDREN)]


@pytest.fixture
def system(tmp_path: Path) -> Provisioning:
    return Provisioning(tmp_path / "provisioning", ParentZone(PARENT, delegations=CHILDREN))


@pytest.fixture
def world(tmp_path: Path, system: Provisioning, signers: list[Signer]) -> Iterator[World]:
    with World(tmp_path, server=system, keys=signers) as world:
        yield world


def held(system: Provisioning, signer: Signer) -> dict[str, Any]:
    (found,) = system.zone.look_up([signer.text])
    return found


def with_new_ds(signer: Signer) -> bytes:
    return signer.update(*another_ds(signer.owner))


def settled(world: World, state: str, count: int = 1) -> list[dict[str, Any]]:
    until(lambda: len(world.changes("--state", state)) == count, timeout=10, what=f"{count} changes are {state}")
    return world.changes("--state", state)


def refused(answer: Answer) -> str:
    assert answer.rcode == "SERVFAIL"
    assert answer.extended_error is not None
    return answer.extended_error[1]


def test_a_change_of_a_stock_client_arrives_whole(tmp_path: Path, world: World, system: Provisioning) -> None:
    key = make_key(tmp_path / "keys", f"child0.{PARENT}")
    world.trust(key, directory=tmp_path)
    commands = (
        f"update delete child0.{PARENT} NS\n"
        f"update add child0.{PARENT} 60 NS ns9.child0.{PARENT}\n"
        f"update add child0.{PARENT} 60 NS ns.elsewhere.test.\n"
        f"update add ns9.child0.{PARENT} 60 AAAA 2610::9\n"
    )
    assert world.nsupdate(commands, key).rcode == "NOERROR"
    ((_, child, before, after),) = system.zone.journal()
    assert (child, len(before["ns"])) == (f"child0.{PARENT}", 2)
    assert after["ns"] == ["ns.elsewhere.test.", f"ns9.child0.{PARENT}"]
    assert after["glue"] == {f"ns9.child0.{PARENT}": ["2610::9"]}
    shown = world.zonecut.cli("delegation", "show", f"child0.{PARENT}")
    assert shown["ns"] == after["ns"]
    assert shown["difference"] == {"removed": [], "added": []}
    listed = world.zonecut.cli("delegation", "export", PARENT, json=False)
    assert f"ns9.child0.{PARENT}\t86400\tIN\tAAAA\t2610::9\n" in listed
    stop_cleanly(world)


def test_a_child_is_told_why_the_system_will_not_have_its_change(
    world: World, system: Provisioning, signers: list[Signer]
) -> None:
    system.zone.decide(signers[0].text, "reject", "the contract has ended")
    before = held(system, signers[0])
    assert refused(world.tcp(with_new_ds(signers[0]))) == "the contract has ended"
    assert world.tcp(with_new_ds(signers[1])).rcode == "NOERROR"
    assert held(system, signers[0]) == before
    (failed,) = settled(world, "failed")
    assert failed["reason"] == "backend-rejected: the contract has ended"
    # the child may ask again, and the system may have another opinion by then
    system.zone.decide(signers[0].text, "accept")
    assert world.tcp(with_new_ds(signers[0])).rcode == "NOERROR"


def test_what_is_decided_later_waits_and_nobody_elses_change_does(
    world: World, system: Provisioning, signers: list[Signer]
) -> None:
    system.zone.decide(signers[0].text, "later", "a person looks at it")
    assert world.tcp(with_new_ds(signers[0])).rcode == "NOERROR"
    for other in signers[1:]:
        began = time.monotonic()
        assert world.tcp(with_new_ds(other)).rcode == "NOERROR"
        assert time.monotonic() - began < 1.5
    # the change stands in the ledger with what it waits for, and so the child's next one is told
    (waiting,) = settled(world, "accepted")
    assert (waiting["child"], waiting["reason"]) == (signers[0].text, "a person looks at it")
    assert refused(world.tcp(with_new_ds(signers[0]))) == "an earlier change of this child waits"
    assert "a person looks at it" in world.zonecut.log_events("change.refused")[-1]["reason"]
    system.zone.decide(signers[0].text, "accept")
    settled(world, "accepted", 0)
    assert held(system, signers[0])["ds"] == waiting["after"]["ds"]
    statuses = system.statuses(signers[0].text)
    assert statuses[-1] == 200
    assert set(statuses[:-1]) == {202}
    stop_cleanly(world)


def test_what_is_decided_against_in_the_end_fails_with_the_reason(
    world: World, system: Provisioning, signers: list[Signer]
) -> None:
    system.zone.decide(signers[0].text, "later", "a person looks at it")
    before = held(system, signers[0])
    assert world.tcp(with_new_ds(signers[0])).rcode == "NOERROR"
    system.zone.decide(signers[0].text, "reject", "that key was stolen")
    (failed,) = settled(world, "failed")
    assert failed["reason"] == "backend-rejected: that key was stolen"
    assert held(system, signers[0]) == before


def test_what_ends_before_the_system_has_decided_is_withdrawn_and_never_carried_out(
    world: World, system: Provisioning, signers: list[Signer]
) -> None:
    for signer in signers[:2]:
        system.zone.decide(signer.text, "later", "a person looks at it")
        assert world.tcp(with_new_ds(signer)).rcode == "NOERROR"
    before = [held(system, signer) for signer in signers[:2]]
    # one by an operator, and one with its key, while nothing runs
    numbers = {change["child"]: change["id"] for change in settled(world, "accepted", 2)}
    world.zonecut.cli("change", "reject", str(numbers[signers[0].text]), "--reason", "nobody asked for it")
    settled(world, "failed")
    world.zonecut.kill()
    world.zonecut.cli("key", "revoke", signers[1].text, "--reason", "stolen")
    world.zonecut.start()
    failed = settled(world, "failed", 2)
    assert [change["reason"].partition(":")[0] for change in failed] == ["key-trusted", "rejected"]
    told = "the server had yet to decide, and was told to forget it"
    assert all(change["reason"].endswith(told) for change in failed)
    assert system.zone.withdrawn() == {identity for _, identity, _, _ in system.zone.asked()}
    assert [system.zone.confirm(signer.text) for signer in signers[:2]] == [0, 0]
    assert [held(system, signer) for signer in signers[:2]] == before
    assert [entry["detail"]["answer"] for entry in world.audit("change.withdrawn")] == ["dropped"] * 2


def test_what_waits_is_asked_for_under_the_same_id_after_a_crash(
    world: World, system: Provisioning, signers: list[Signer]
) -> None:
    for signer in signers[:3]:
        system.zone.decide(signer.text, "later", "a person looks at it")
        assert world.tcp(with_new_ds(signer)).rcode == "NOERROR"
    world.zonecut.kill()
    count = len(system.zone.asked())
    world.zonecut.start()
    until(lambda: len(system.zone.asked()) >= count + 3, timeout=10, what="it is asked for again")
    ids = {(child, identity) for _, identity, child, _ in system.zone.asked()}
    assert len(ids) == 3
    for signer in signers[:3]:
        system.zone.decide(signer.text, "accept")
    settled(world, "accepted", 0)
    assert {(child, identity) for identity, child, _, _ in system.zone.journal()} == ids


def test_a_system_that_answers_late_does_it_once(world: World, system: Provisioning, signers: list[Signer]) -> None:
    system.zone.decide(signers[0].text, "accept", delay=3.0)
    began = time.monotonic()
    assert world.tcp(with_new_ds(signers[0])).rcode == "NOERROR"
    assert time.monotonic() - began < 2.9
    settled(world, "applied")
    assert len(system.zone.journal()) == 1


def test_a_system_that_is_away_gets_the_change_when_it_is_back(
    world: World, system: Provisioning, signers: list[Signer]
) -> None:
    assert world.tcp(with_new_ds(signers[0])).rcode == "NOERROR"
    system.kill()
    assert world.tcp(with_new_ds(signers[0])).rcode == "NOERROR"
    # nothing is known of this one's delegation; where the system is to be found is for the operator
    assert refused(world.tcp(with_new_ds(signers[1]))) == "the parent's server cannot be read or written now"
    assert "cannot be reached" in world.zonecut.log_events("change.refused")[-1]["reason"]
    system.start()
    settled(world, "applied", 2)
    assert len(system.zone.journal()) == 2


def test_the_receiver_is_announced_through_the_system(world: World, system: Provisioning) -> None:
    configuration = dict(world.configuration)
    configuration["parents"] = [{**configuration["parents"][0], "addresses": ["11.0.0.53"]}]
    world.zonecut.configure(configuration)
    world.zonecut.cli("parent", "publish", PARENT)
    published = {(rrset["name"], rrset["type"]) for rrset in system.zone.rrsets([f"_dsync.{PARENT}"])}
    assert published == {(f"_dsync.{PARENT}", "DSYNC")}
    target = {rrset["type"] for rrset in system.zone.rrsets([f"updater.{PARENT}"])}
    assert target == {"A", "KEY", "SVCB"}
    world.zonecut.cli("parent", "withdraw", PARENT)
    assert system.zone.rrsets([f"_dsync.{PARENT}", f"updater.{PARENT}"]) == []


def test_a_wrong_secret_is_told_to_the_operator_and_never_shown(
    tmp_path: Path, world: World, system: Provisioning, signers: list[Signer]
) -> None:
    wrong = "x" * 40
    system.key_file.write_text(wrong)
    world.zonecut.restart()
    unavailable = world.wait_for_event("backend.unavailable")
    assert "the key in" in unavailable["reason"]
    assert "answers 401" in unavailable["reason"]
    assert world.tcp(with_new_ds(signers[0])).rcode == "SERVFAIL"
    said = world.zonecut.cli("check-config", "--strict", expect=1)
    assert "answers 401" in said["problems"][0]
    assert wrong not in world.zonecut.log_text() + str(said)


@pytest.mark.crash
def test_zonecut_is_killed_again_and_again(tmp_path: Path, system: Provisioning, signers: list[Signer]) -> None:
    """Each id is carried out once, each child's changes follow one another, and the last accepted one is there."""
    clients = [Client(signer) for signer in signers]
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    with World(tmp_path, server=system, keys=signers) as world:
        first_changes(clients, world.port)
        with all_the_time(clients, world.port):
            for _ in range(ROUNDS):
                time.sleep(moments.uniform(0.1, 0.6))
                world.zonecut.kill()
                world.zonecut.start()
            time.sleep(0.5)
        until(lambda: not world.changes("--state", "accepted"), timeout=20, what="nothing is left to write")
        journal = system.zone.journal()
        for client in clients:
            mine = [(before, after) for _, child, before, after in journal if child == client.signer.text]
            for (_, after), (before, _) in pairwise(mine):
                assert before == after, f"{client.signer.text}: one change was lost or done twice (seed {seed})"
            number = int(mine[-1][1]["ds"][0].split()[3], 16)
            assert client.accepted <= number <= client.number, f"seed {seed}"
            assert held(system, client.signer)["ds"] == mine[-1][1]["ds"]
            assert client.refused == []
        identities = [identity for identity, _, _, _ in journal]
        assert len(set(identities)) == len(identities)
        applied = world.changes("--state", "applied")
        assert len(applied) == len(journal), "the ledger and the system count differently"
        assert len(applied) >= sum(client.count for client in clients)
        assert world.changes("--state", "failed") == []
        assert not [line for line in unexpected_lines(world.zonecut) if "Traceback" in line]


def test_going_insecure_and_back_is_two_changes(world: World, system: Provisioning, signers: list[Signer]) -> None:
    """The same values for the third time are a new change, not a repetition of the first."""
    signer = signers[0]
    digest = b"\x12\x67\x0d\x02" + bytes(32)
    there = [message.delete_rrset(signer.owner, DS), message.add(signer.owner, DS, 60, digest)]
    gone = [message.delete_rrset(signer.owner, DS)]
    for number, updates in enumerate([there, gone, there, gone, there]):
        assert world.tcp(signer.update(*updates, validity=300 + number)).rcode == "NOERROR"
    assert len(held(system, signer)["ds"]) == 1
    assert len(system.zone.journal()) == 5
