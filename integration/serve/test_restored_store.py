"""The store is put back from a backup, or replaced beneath zonecut: nothing that it does not know is undone."""

import shutil
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lab.process import until
from lab.zonecut import CommandFailed
from lab.zones import PARENT, ParentZone
from peer import Answer
from signer import A, Signer, address, name
from world import World, stop_cleanly
from zonecut.protocol import message

FUDGE = 2
"""`receiver.signatures.fudge`: for so long after the lost store was last used nothing is accepted."""
RESTORED = "store"
"""What strangers are told, and nobody is known for more while no key counts; the log has the rest."""


def moved(child: Signer, to: str) -> bytes:
    host = name(f"ns2.{child.text}")
    return child.update(message.delete_rrset(host, A), message.add(host, A, 60, address(to)))


def back_up(world: World, copy: Path) -> None:
    with closing(sqlite3.connect(database(world))) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def database(world: World) -> Path:
    return Path(world.store_url.removeprefix("sqlite:///"))


def restore(world: World, copy: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        database(world).with_name(f"zonecut.db{suffix}").unlink(missing_ok=True)
    shutil.copy(copy, database(world))


def told(answer: Answer) -> tuple[str, str]:
    assert answer.extended_error is not None
    return answer.rcode, answer.extended_error[1]


def accepted(world: World, wire: bytes) -> None:
    assert world.tcp(wire).rcode == "NOERROR"


@pytest.mark.parametrize("server", ["bind", "knot", "powerdns"])
def test_nothing_comes_back_with_a_store_that_was_restored(tmp_path: Path, server: str) -> None:
    waits, held_back, lost = (Signer.generate(f"child{number}") for number in range(3))
    zone, copy = ParentZone(PARENT, delegations=3), tmp_path / "copy"
    receiver = {"signatures": {"fudge": FUDGE}}
    with World(tmp_path, zone, server=server, keys=[waits, held_back, lost], receiver=receiver) as world:
        for child in (waits, held_back, lost):
            accepted(world, moved(child, "11.0.0.1"))
        world.wait_until_recorded()
        # the backup: a change waits in it, and a key is trusted that is revoked soon
        world.server.kill()
        accepted(world, moved(waits, "11.0.0.2"))
        back_up(world, copy)
        world.server.start()
        world.wait_until_recorded()
        # since: what waited was written and undone, and what a message did was undone by a later one
        accepted(world, moved(waits, "11.0.0.1"))
        old = moved(held_back, "11.0.0.2")
        accepted(world, old)
        time.sleep(1.1)
        accepted(world, moved(held_back, "11.0.0.1"))
        world.zonecut.cli("key", "revoke", lost.text)
        world.zonecut.stop()
        restore(world, copy)
        before = world.records()

        world.zonecut.start()
        reason = world.wait_for_event("store.restored")["reason"]
        assert "until an operator has run zonecut store check, and then zonecut store accept" in reason
        for wire in (old, moved(waits, "11.0.0.3"), moved(lost, "11.0.0.3")):
            assert told(world.tcp(wire)) == ("SERVFAIL", RESTORED)
        # an operator sees what there is beside the daemon that waits
        assert [each["owner"] for each in world.zonecut.cli("key", "list", "--state", "trusted")] == [
            child.text for child in (waits, held_back, lost)
        ]
        assert world.change_count() > 0
        assert {each["child"] for each in world.changes("--state", "accepted")} == {waits.text}
        time.sleep(2)
        assert world.records() == before
        events = world.zonecut.log_events()
        since = next(number for number, each in enumerate(events) if each["event"] == "store.restored")
        counts = Counter(each["event"] for each in events[since:])
        # what is tried every second is told once
        assert max(counts[event] for event in ("bootstrap.store", "sweep.ended", "zone.resume.delayed")) <= 2, counts
        assert counts["change.settle.delayed"] == 0
        with pytest.raises(CommandFailed, match="the store was restored from a backup"):
            world.zonecut.cli("key", "end", waits.text)
        checked = world.zonecut.cli("store", "check", expect=3)
        assert checked["reason"] == reason
        assert checked["damage"] == []
        (waiting,) = checked["waiting"]
        assert (waiting["child"], waiting["server_holds"], waiting["outcome"]) == (
            waits.text,
            "what it started from",
            "held",
        )
        world.zonecut.stop()

        world.zonecut.cli("key", "revoke", lost.text)
        world.zonecut.cli("store", "accept")
        world.zonecut.start()
        until(lambda: len(world.zonecut.log_events("zone.ready")) == 2, timeout=10, what="the zone is ready")
        rcode, text = told(world.tcp(old))
        assert (rcode, "since the store was restored from a backup, or the zone was: sign it anew" in text) == (
            "BADTIME",
            True,
        )
        assert world.tcp(moved(lost, "11.0.0.3")).rcode in ("REFUSED", "BADKEY")
        assert world.records() == before
        assert [each["child"] for each in world.changes("--state", "held")] == [waits.text]
        until(lambda: world.tcp(moved(waits, "11.0.0.4")).rcode == "NOERROR", timeout=10, what="signatures count again")
        assert f"ns2.{waits.text} 3600 A 11.0.0.4" in {
            record.replace(" 86400 ", " 3600 ") for record in world.records(waits.text)
        }
        stop_cleanly(world, ["store.restored", "backend.unavailable", "change.failed", "store.unavailable"])


def test_a_restore_is_accepted_beside_a_running_daemon(tmp_path: Path) -> None:
    child, copy = Signer.generate("child0"), tmp_path / "copy"
    with World(tmp_path, keys=[child], receiver={"signatures": {"fudge": FUDGE}}) as world:
        accepted(world, moved(child, "11.0.0.1"))
        world.wait_until_recorded()
        back_up(world, copy)
        accepted(world, moved(child, "11.0.0.2"))
        world.zonecut.stop()
        restore(world, copy)
        world.zonecut.start()
        assert told(world.tcp(moved(child, "11.0.0.3"))) == ("SERVFAIL", RESTORED)
        world.zonecut.cli("store", "accept")
        until(lambda: world.tcp(moved(child, "11.0.0.3")).rcode == "NOERROR", timeout=10, what="it goes on")
        until(lambda: bool(world.zonecut.log_events("store.recovered")), timeout=5, what="that is told")


def test_an_older_copy_written_into_the_open_file_brings_no_key_back(tmp_path: Path) -> None:
    stolen, other, copy = Signer.generate("child0"), Signer.generate("child1"), tmp_path / "copy"
    zone, receiver = ParentZone(PARENT, delegations=3), {"signatures": {"fudge": FUDGE}}
    with World(tmp_path, zone, keys=[stolen, other], receiver=receiver) as world:
        for child in (stolen, other):
            accepted(world, moved(child, "11.0.0.1"))
        world.wait_until_recorded()
        back_up(world, copy)
        world.zonecut.cli("key", "revoke", stolen.text)
        with closing(sqlite3.connect(database(world))) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        shutil.copyfile(copy, database(world))
        before = world.records()
        assert world.tcp(moved(stolen, "11.0.0.2")).rcode in ("REFUSED", "SERVFAIL")
        assert world.tcp(moved(other, "11.0.0.2")).rcode == "SERVFAIL"
        assert "was restored from a backup" in world.wait_for_event("store.unavailable")["reason"]
        assert world.zonecut.cli("store", "check", expect=3)["restored"]
        assert world.records() == before
        world.zonecut.cli("key", "revoke", stolen.text)
        world.zonecut.cli("store", "accept")
        until(lambda: world.tcp(moved(other, "11.0.0.3")).rcode == "NOERROR", timeout=10, what="it goes on")
        assert world.tcp(moved(stolen, "11.0.0.3")).rcode in ("REFUSED", "BADKEY")


def _replaced(world: World) -> None:
    file = database(world)
    copy = file.with_name("copy")
    shutil.copy(file, copy)
    copy.replace(file)


def _removed(world: World) -> None:
    for file in database(world).parent.glob("zonecut.db*"):
        file.unlink()


def _without_wal(world: World) -> None:
    database(world).with_name("zonecut.db-wal").unlink()


@pytest.mark.parametrize("happens", [_replaced, _removed, _without_wal])
def test_files_that_are_replaced_or_removed_beneath_it_end_its_accepting(tmp_path: Path, happens: Any) -> None:
    child, other = Signer.generate("child0"), Signer.generate("child1")
    with World(tmp_path, ParentZone(PARENT, delegations=3), keys=[child, other]) as world:
        accepted(world, moved(child, "11.0.0.1"))
        world.wait_until_recorded()
        happens(world)
        before = world.records()
        for _ in range(2):
            for each in (child, other):
                rcode, _ = told(world.tcp(moved(each, "11.0.0.2")))
                assert rcode == "SERVFAIL"
            time.sleep(1.2)
        assert world.records() == before
        trouble = world.wait_for_event("store.unavailable")
        assert "beneath zonecut; what is recorded now would be lost, so nothing is" in trouble["reason"]
        if happens is not _without_wal:
            for command in (["key", "revoke", child.text], ["change", "list"], ["key", "list"]):
                with pytest.raises(CommandFailed, match=r"has taken its place beneath zonecut serve|the file is gone"):
                    world.zonecut.cli(*command)
        else:
            world.zonecut.stop()
            world.zonecut.start()
            accepted(world, moved(child, "11.0.0.2"))
            assert world.change_count() == 2
