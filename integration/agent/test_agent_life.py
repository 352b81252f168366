"""What an agent lives through: restarts, kills, rolls and losses of its key, edits at the parent, commands."""

import random
import time
from pathlib import Path

import pytest

from agent_world import CHILD, PARENT, AgentWorld
from lab.daemons.server import Add, Delete
from lab.process import until
from lab.zones import Signing
from trust_tree import NOBODY

PATIENT = {"poll": 3600, "check": 3600}
NEW = {f"{CHILD} ns ns3.{CHILD}", f"ns3.{CHILD} a 127.11.0.3", f"ns3.{CHILD} aaaa ::1"}


def key_files(world: AgentWorld) -> list[Path]:
    return sorted((world.agent.directory / "keys" / "children").rglob("K*.private"))


def trusted(world: AgentWorld) -> set[int]:
    """The tags of the child's keys that the parent trusts."""
    keys = world.receiver.cli("key", "list", CHILD)
    return {key["tag"] for key in keys if key["state"] == "trusted"}


@pytest.mark.parametrize("child", ["bind", "knot", "powerdns"])
def test_notify_makes_it_look_at_once(tmp_path: Path, child: str) -> None:
    with AgentWorld(tmp_path, child=child, child_entry=PATIENT) as world:
        world.wait_for("in-sync")
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
        world.holds(NEW, within=5)


def test_what_changed_while_it_was_away_is_found_at_the_start(tmp_path: Path) -> None:
    with AgentWorld(tmp_path, child_entry=PATIENT) as world:
        world.wait_for("in-sync")
        world.agent.stop()
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
        world.agent.start()
        world.holds(NEW, within=5)


def test_an_edit_at_the_parent_is_found_by_the_periodic_check(tmp_path: Path) -> None:
    with AgentWorld(tmp_path, child_entry={"poll": 3600, "check": 1}) as world:
        world.wait_for("in-sync")
        world.parent.edit(Delete(CHILD, "NS", f"ns2.{CHILD}"), zone=PARENT)
        world.holds({f"{CHILD} ns ns2.{CHILD}"}, within=10)
        assert world.agent.log_events("agent.differs")


def test_a_key_record_that_somebody_took_out_is_put_back(tmp_path: Path) -> None:
    def published() -> set[str]:
        return {str(rdata) for rrset in world.child.query(CHILD, "KEY", tcp=True).answer for rdata in rrset}

    with AgentWorld(tmp_path, child_entry={"poll": 3600, "check": 1}) as world:
        world.wait_for("in-sync")
        before = published()
        world.child.edit(Delete(CHILD, "KEY"))
        until(lambda: published() == before, timeout=10, what="the KEY is back")


def test_a_key_whose_files_say_that_it_is_done_with_is_used_and_told(tmp_path: Path) -> None:
    with AgentWorld(tmp_path, child_entry={"poll": 3600, "check": 1}) as world:
        world.wait_for("in-sync")
        (file,) = key_files(world)
        with file.with_suffix(".private").open("a") as private:
            private.write("Inactive: 20250101000000\n")
        until(lambda: bool(world.state()["notes"]), timeout=10, what="the time is seen")
        (note,) = world.state()["notes"]
        assert "the Inactive time in its file, 2025-01-01 00:00:00 UTC, is past" in note
        time.sleep(1.5)
        assert [event["reason"] for event in world.agent.log_events("agent.key-ended")] == [note]
        world.in_sync()


def test_a_server_of_the_parent_that_is_silent_is_told_and_does_not_hinder(tmp_path: Path) -> None:
    with AgentWorld(tmp_path, child_entry={"poll": 3600, "check": 1}) as world:
        world.wait_for("in-sync")
        assert world.state()["notes"] == []
        world.parent.edit(Add(f"ns2.{PARENT}", 60, "A", NOBODY), Add(PARENT, 1, "NS", f"ns2.{PARENT}"), zone=PARENT)
        until(lambda: bool(world.state()["notes"]), timeout=10, what="somebody does not answer")
        (note,) = world.state()["notes"]
        assert note.startswith(f"ns2.{PARENT} ({NOBODY}) does not answer: ")
        assert note in world.agent.cli("child", "status", CHILD, json=False, expect=0)
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
        world.holds(NEW, within=5)
        world.in_sync()


_UNPROVEN = f"the CDS of {CHILD} are not signed by a key that a DS at the parent names"


def test_cds_zero_that_nobody_has_signed_removes_no_ds(tmp_path: Path) -> None:
    with AgentWorld(tmp_path, child_signing=Signing.NONE, bootstrap=["manual"]) as world:
        world.parent.edit(Add(CHILD, 60, "DS", f"12345 13 2 {'ab' * 32}"), zone=PARENT)
        world.wait_for("bootstrapping")
        world.receiver.cli("key", "trust", CHILD)
        told = world.wait_for("held")
        assert f"{CHILD} is bogus" in told["reason"]
        assert "`ds: {unsigned: remove}`" in told["advice"]
        assert "bogus" in world.agent.cli("child", "status", CHILD, expect=3)["reason"]
        assert world.held_ds(), "the parent's DS are not the agent's to remove"
        world.child.edit(Add(CHILD, 60, "CDS", "0 0 0 00"))
        until(lambda: _UNPROVEN in world.state()["reason"], timeout=15, what="it is said why the DS stay")
        # what is about name servers goes on
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
        world.holds(NEW, within=5)
        assert world.held_ds()


def test_a_roll_leaves_the_parent_at_every_moment_with_a_key_that_it_trusts(tmp_path: Path) -> None:
    with AgentWorld(tmp_path) as world:
        world.wait_for("in-sync")
        (old,) = trusted(world)
        said = world.agent.cli("child", "roll", CHILD, json=False, expect=3)
        assert "a roll of the key is under way" in said
        seen: list[set[int]] = []

        def is_replaced() -> bool:
            seen.append(trusted(world))
            return len(seen[-1]) == 1 and old not in seen[-1]

        until(is_replaced, timeout=20, what="the parent trusts the new key alone")
        assert all(seen)
        until(lambda: bool(world.agent.log_events("agent.roll-ends")), timeout=10, what="the roll is over")
        published = [str(rdata) for rrset in world.child.query(CHILD, "KEY", tcp=True).answer for rdata in rrset]
        assert len(published) == 1
        (file,) = [each for each in key_files(world) if "retired" not in each.parts]
        assert [each for each in key_files(world) if "retired" in each.parts], "a key is put aside, never deleted"
        assert file.stat().st_mode & 0o777 == 0o600
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
        world.holds(NEW, within=5)


def test_a_roll_that_is_given_up_leaves_the_old_key_alone_everywhere(tmp_path: Path) -> None:
    with AgentWorld(tmp_path, child_entry={"key": {"roll_wait": 3600}}) as world:
        world.wait_for("in-sync")
        (old,) = trusted(world)
        world.agent.cli("child", "roll", CHILD, expect=3)
        until(lambda: len(trusted(world)) == 2, timeout=10, what="the parent trusts both")
        world.agent.cli("child", "roll", CHILD, "--abandon", expect=None)
        until(lambda: bool(world.agent.cli("child", "status", CHILD)["roll"] is None), timeout=10, what="given up")
        assert trusted(world) == {old}
        assert len([rdata for rrset in world.child.query(CHILD, "KEY", tcp=True).answer for rdata in rrset]) == 1
        assert [each for each in key_files(world) if "retired" in each.parts]
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
        world.holds(NEW, within=5)


def test_a_bootstrap_during_a_roll_does_not_end_with_the_key_deleted(tmp_path: Path) -> None:
    with AgentWorld(tmp_path, child_entry={"key": {"roll_wait": 20}}) as world:
        world.wait_for("in-sync")
        (old,) = trusted(world)
        world.agent.cli("child", "roll", CHILD, expect=None)
        until(lambda: len(trusted(world)) == 2, timeout=10, what="the parent trusts both")
        world.agent.cli("child", "bootstrap", CHILD, expect=None)
        until(lambda: bool(world.agent.log_events("agent.roll-ends")), timeout=60, what="the roll is over")
        (key,) = trusted(world)
        assert key != old
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
        world.holds(NEW, within=5)
        assert trusted(world) == {key}


def test_a_roll_goes_on_after_a_kill_at_any_moment(tmp_path: Path) -> None:
    with AgentWorld(tmp_path, child_entry={"key": {"roll_wait": 0.5}}) as world:
        world.wait_for("in-sync")
        world.agent.cli("child", "roll", CHILD, expect=None)
        for _ in range(6):
            world.agent.kill()
            assert trusted(world)
            world.agent.start()
            time.sleep(random.uniform(0.0, 0.4))
        until(lambda: world.agent.cli("child", "status", CHILD, expect=None)["roll"] is None, timeout=15, what="done")
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
        world.holds(NEW, within=5)
        assert len(trusted(world)) == 1


def test_a_lost_key_is_waited_for_until_a_person_has_another_one_trusted_by_the_whole_ceremony(tmp_path: Path) -> None:
    with AgentWorld(tmp_path) as world:
        world.wait_for("in-sync")
        (old,) = trusted(world)
        for file in key_files(world):
            file.with_suffix(".key").unlink()
            file.unlink()
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
        until(lambda: "are not in " in world.agent.log_text(), timeout=20, what="the files are missed")
        assert "child keygen --new" in world.state()["advice"]
        assert not key_files(world)
        assert trusted(world) == {old}
        world.agent.cli("child", "keygen", CHILD, "--new")
        world.agent.cli("child", "bootstrap", CHILD, expect=None)
        # no server of the child is reached here: the old key counts for a day more, or until an operator says otherwise
        until(lambda: "the trusted keys go when" in world.agent.log_text(), timeout=60, what="the parent waits")
        assert trusted(world) == {old}
        world.receiver.cli("key", "revoke", CHILD, "--keyid", str(old), "--reason", "its files are gone")
        (new,) = {int(file.stem.rpartition("+")[2]) for file in key_files(world)} - {old}
        world.receiver.cli("key", "trust", CHILD, "--keyid", str(new))
        world.holds(NEW, within=60)
        assert old not in trusted(world)


def test_a_receiver_that_forgot_the_key_gets_it_once_more(tmp_path: Path) -> None:
    with AgentWorld(tmp_path) as world:
        world.wait_for("in-sync")
        world.receiver.stop()
        for file in world.receiver.directory.glob("*zonecut.db*"):
            file.unlink()
        world.receiver.start()
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
        world.holds(NEW, within=60)
        uploads = world.agent.log_events("agent.bootstrap")
        assert [each["result"] for each in uploads] == ["accepted", "accepted"]


def test_a_revoked_key_is_not_uploaded_again_and_again(tmp_path: Path) -> None:
    with AgentWorld(tmp_path) as world:
        world.wait_for("in-sync")
        world.receiver.cli("key", "revoke", CHILD, "--reason", "the laptop was stolen")
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
        held = world.wait_for("held", timeout=20)
        assert held["advice"]
        count = len(world.agent.log_events("agent.bootstrap"))
        time.sleep(2)
        assert len(world.agent.log_events("agent.bootstrap")) == count <= 4
        assert world.agent.cli("child", "status", CHILD, expect=3)["phase"] == "held"
        assert key_files(world)


def test_an_agent_that_is_killed_all_the_time_loses_nothing(tmp_path: Path) -> None:
    moments = random.Random()
    with AgentWorld(tmp_path, agent=False) as world:
        for number in range(6):
            world.agent.start()
            time.sleep(moments.uniform(0.0, 0.5))
            world.child.edit(Add(f"ns1.{CHILD}", 60, "A", f"11.0.1.{number + 1}"))
            time.sleep(moments.uniform(0.0, 0.3))
            world.agent.kill()
        world.agent.start()
        world.holds({f"ns1.{CHILD} a 11.0.1.{number + 1}" for number in range(6)}, within=10)
        world.in_sync()
        assert len([each for each in key_files(world) if "retired" not in each.parts]) == 1
        assert len(trusted(world)) == 1


def test_a_change_that_the_parents_policy_refuses_is_held_until_the_zone_is_mended(tmp_path: Path) -> None:
    with AgentWorld(tmp_path, parent_entry={"policy": {"min_ns": 2, "glue_addresses": "any"}}) as world:
        world.wait_for("in-sync")
        world.child.edit(Delete(CHILD, "NS", f"ns2.{CHILD}"))
        held = world.wait_for("held", timeout=20)
        assert "at least 2 are required" in held["reason"]
        status = world.agent.cli("child", "status", CHILD, json=False, expect=3)
        assert "held" in status
        assert "ask the parent's operator" in status
        sent = len(world.agent.log_events("agent.change"))
        time.sleep(2)
        assert len(world.agent.log_events("agent.change")) == sent
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
        world.holds(NEW, within=5)


def test_bootstrap_by_command_needs_no_daemon(tmp_path: Path) -> None:
    with AgentWorld(tmp_path, agent=False) as world:
        assert "would be made" in world.agent.cli("child", "bootstrap", CHILD, "--dry-run", json=False, expect=3)
        assert not key_files(world)
        world.agent.cli("child", "bootstrap", CHILD, expect=3)
        time.sleep(1)
        assert world.agent.cli("child", "inquire", CHILD)[0]["believed"]
        assert trusted(world)
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"))
        plan = world.agent.cli("child", "sync", CHILD, "--dry-run", json=False, expect=3)
        assert f"+ ns3.{CHILD} A 127.11.0.3" in plan
        assert "in-sync" in world.agent.cli("child", "sync", CHILD, json=False)
        assert world.held() >= NEW
