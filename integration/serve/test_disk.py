"""Disks that are full, and files that cannot be written: zonecut's own and those of the server."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.daemons.servers import SERVERS
from lab.disk import bound_by_modes, full_disk, read_only
from lab.process import until
from lab.zonecut import COMMAND
from lab.zones import PARENT, ParentZone, Signing
from peer import Answer, TcpPeer
from signer import A, Signer, address, name
from world import World, stop_cleanly
from zonecut.protocol import message

CHILDREN = [Signer.generate(f"child{number}") for number in range(20)]
ZONE = ParentZone(PARENT, delegations=len(CHILDREN))
MOVED_TO = "11.99.99.99"
ROOM = 64 * 1024
"""Octets that zonecut's files, or its log, may still grow by: less than a dozen changes take."""
STORE_AWAY = ("SERVFAIL", 0, "the receiver cannot look up or record anything now")
WAITS = ("SERVFAIL", 0, "an earlier change of this child waits")
"""What a child is told; why that is so is in the log."""


def moved(child: Signer, to: str = MOVED_TO) -> bytes:
    """A change of one address."""
    host = name(f"ns2.{child.text}")
    return child.update(message.delete_rrset(host, A), message.add(host, A, 60, address(to)))


def holders(world: World, text: str = MOVED_TO) -> set[str]:
    """The owners of this address."""
    return {record.split(" ")[0] for record in world.records() if record.endswith(f" A {text}")}


def hosts(children: Sequence[Signer]) -> set[str]:
    return {f"ns2.{child.text}" for child in children}


def told(answer: Answer) -> tuple[str, int, str]:
    assert answer.extended_error is not None
    return answer.rcode, *answer.extended_error


def settled(world: World) -> None:
    until(lambda: not world.changes("--state", "accepted"), timeout=45, what="nothing is left unsettled")


# The store


def test_a_disk_that_is_full_is_told_and_survived(tmp_path: Path) -> None:
    with World(tmp_path, ZONE, keys=CHILDREN) as world:
        for child in CHILDREN:
            assert world.udp(child.fresh()).rcode == "NOERROR"
        before = world.records()
        accepted = []
        with full_disk(world.zonecut, _room(world)):
            # there may be room within the store's log, which SQLite writes from its beginning again now and then
            for number in range(20 * len(CHILDREN)):
                child = CHILDREN[number % len(CHILDREN)]
                answer = world.udp(moved(child, f"11.98.{number // len(CHILDREN)}.1"))
                if answer.rcode != "NOERROR":
                    break
                accepted.append(child)
            assert told(answer) == STORE_AWAY
            assert {record.split(" ")[0] for record in world.records() - before} == hosts(accepted)
            # what needs no disk is served on: keys are known, strangers are refused
            assert world.udp(Signer.generate("child0").fresh()).rcode == "BADKEY"
            trouble = world.wait_for_event("store.unavailable")
            assert trouble["level"] == "error"
            assert trouble["reason"].startswith(f"the store '{world.store_url}' does not work: ")
        for child in CHILDREN:
            assert world.udp(moved(child)).rcode == "NOERROR"
        assert holders(world) == hosts(CHILDREN)
        settled(world)
        # once each, or twice: for something small there may be room in between
        told_of = [len(world.zonecut.log_events(f"store.{event}")) for event in ("unavailable", "recovered")]
        assert told_of in ([1, 1], [2, 2])
        stop_cleanly(world, expected=["audit.lost", "store.unavailable"])


def test_what_was_written_when_the_disk_filled_up_is_settled_when_there_is_room(tmp_path: Path) -> None:
    """Accepted, written, and not recorded as applied: the record follows, and a restart meanwhile changes nothing."""
    with World(tmp_path, ZONE, keys=CHILDREN) as world:
        accepted: list[Signer] = []
        room = _room(world)
        with full_disk(world.zonecut, room):
            for child in CHILDREN:
                if world.udp(moved(child)).rcode != "NOERROR":
                    break
                accepted.append(child)
            assert accepted
            world.zonecut.kill()
        world.zonecut.start()
        settled(world)
        assert holders(world) == hosts(accepted)
        assert {change["child"] for change in world.changes("--state", "applied")} == {each.text for each in accepted}


def test_a_store_that_becomes_read_only_is_told_and_works_again_when_it_may_be_written(tmp_path: Path) -> None:
    world = World(tmp_path, ZONE, keys=CHILDREN)
    world.zonecut.argv = bound_by_modes(world.zonecut.argv)
    database = Path(world.store_url.removeprefix("sqlite:///"))
    with world:
        assert world.udp(moved(CHILDREN[0])).rcode == "NOERROR"
        settled(world)
        with read_only(database):
            # a file that is open stays writable; the error makes zonecut open it again
            with full_disk(world.zonecut, 0):
                assert world.udp(moved(CHILDREN[1])).rcode == "SERVFAIL"
            for _ in range(2):
                assert told(world.udp(moved(CHILDREN[1]))) == STORE_AWAY
            # the first one of these was lost, with the full disk
            reason = world.wait_for_event("store.unavailable")["reason"]
            assert reason.startswith(f"the store '{world.store_url}' does not work: the file is read-only")
            assert world.wait_for_event("log.lost")["level"] == "error"
            assert holders(world) == hosts(CHILDREN[:1])
            # zonecut reads it meanwhile, which a file that is read-only allows
            time.sleep(1)
        assert world.udp(moved(CHILDREN[1])).rcode == "NOERROR"
        assert holders(world) == hosts(CHILDREN[:2])
        world.wait_for_event("store.recovered")
        stop_cleanly(world, expected=["audit.lost", "log.lost", "store.unavailable"])


@pytest.mark.parametrize("what", ["file", "directory", "both"])
def test_zonecut_does_not_start_on_a_store_that_it_cannot_write(tmp_path: Path, what: str) -> None:
    with World(tmp_path, ZONE, keys=CHILDREN) as world:
        world.zonecut.stop()
        database = Path(world.store_url.removeprefix("sqlite:///"))
        closed = {"file": [database], "directory": [database.parent], "both": [database, database.parent]}[what]
        with read_only(*closed):
            argv = bound_by_modes([COMMAND, "serve", "--config", world.zonecut.config_file])
            done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
        assert done.returncode == 1
        assert done.stderr.startswith(f"store url '{world.store_url}': ")
        assert f"recorded in {database} before it is answered: the user of zonecut must be able to write" in done.stderr
        assert done.stderr.count("\n") == 1
        world.zonecut.start()
        assert world.udp(moved(CHILDREN[0])).rcode == "NOERROR"


# The server


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_whose_disk_is_full_gets_all_that_was_accepted_when_there_is_room(tmp_path: Path, server: str) -> None:
    zone = ParentZone(PARENT, delegations=len(CHILDREN), signing=Signing.IN_PLACE)
    with World(tmp_path, zone, server=server, keys=CHILDREN) as world:
        assert world.udp(moved(CHILDREN[0])).rcode == "NOERROR"
        before = world.records()
        with full_disk(world.server), TcpPeer(world.port) as peer:
            peer.send(*(moved(child) for child in CHILDREN[1:]))
            answers = [peer.receive() for _ in CHILDREN[1:]]
            assert {answer.rcode for answer in answers if answer} == {"NOERROR"}
            assert world.records() == before
            (change,) = world.changes("--child", CHILDREN[1].text)
            assert (change["state"], change["settled_at"]) == ("accepted", None)
            trouble = world.wait_for_event("backend.unavailable")
            assert trouble["level"] == "error"
            # its next change waits for that one, and the child is told so; why is for the operator
            assert told(world.tcp(moved(CHILDREN[1], "11.77.77.77"))) == WAITS
            refused = world.wait_for_event("change.refused")["reason"]
            until(
                lambda: world.changes("--child", CHILDREN[1].text)[0]["attempts"] > 1,
                timeout=10,
                what="it is tried again",
            )
            (change,) = world.changes("--child", CHILDREN[1].text)
            assert change["next_at"] is not None
            assert change["reason"] in refused
            assert world.server.running
        settled(world)
        assert holders(world) == hosts(CHILDREN)
        assert world.changes("--state", "failed") == []
        world.wait_for_event("backend.recovered")
        world.server.verify()
        world.server.kill()
        world.server.start()
        assert holders(world) == hosts(CHILDREN)
        world.server.verify()
        # the room may come while a batch is being written, of which the first part had none
        stop_cleanly(world, expected=["backend.unavailable", "change.waits"])


def test_a_directory_of_zone_files_that_cannot_be_written_is_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path, ZONE, server="zonefile", keys=CHILDREN)
    world.zonecut.argv = bound_by_modes(world.zonecut.argv)
    with world:
        assert world.udp(moved(CHILDREN[0])).rcode == "NOERROR"
        before = _files(world)
        with read_only(world.server.directory):
            assert world.udp(moved(CHILDREN[1])).rcode == "NOERROR"
            assert _files(world) == before
            trouble = world.wait_for_event("backend.unavailable")
            assert str(world.server.directory) in trouble["reason"]
        settled(world)
        assert holders(world) == hosts(CHILDREN[:2])
        stop_cleanly(world, expected=["backend.unavailable", "change.waits"])


def _room(world: World) -> int:
    """Where zonecut's log, and what it writes before that is in its store's file, have to end."""
    log = Path(f"{world.store_url.removeprefix('sqlite:///')}-wal")
    return max(world.zonecut.log_file.stat().st_size, log.stat().st_size) + ROOM


def _files(world: World) -> dict[str, Any]:
    return {path.name: path.read_bytes() for path in world.server.directory.glob(f"*{PARENT}*")}
