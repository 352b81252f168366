"""What fails on something unexpected is started again, and takes nobody with it; two daemons never share a store."""

import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lab.daemons.named import Named
from lab.ports import LOOPBACK, free_port
from lab.process import until
from lab.zones import PARENT, ParentZone
from signer import Signer
from watched import Watched
from world import World, stop_cleanly

CHILDREN = [Signer.generate(f"child{number}") for number in range(4)]
FIRST, SECOND, THIRD, _ = CHILDREN
ZONE = ParentZone(PARENT, delegations=len(CHILDREN))
HALTED = "its writer is not running"
MANY = 1_000_000


class Faulty(Watched):
    """zonecut in front of named, through somebody else's adapter that has defects."""

    def __init__(self, directory: Path, **entry: Any) -> None:
        self.faults = directory / "faults"
        self.faults.mkdir()
        server = Named(directory / "server", ZONE)
        backend = {**server.backend(), "adapter": "faulty", "faults": str(self.faults)}
        super().__init__(directory, server=server, parents=[{"backend": backend, **entry}], keys=CHILDREN)

    def fail(self, operation: str, count: int, child: Signer | None = None) -> None:
        """Have an operation fail so often from now on."""
        (self.faults / operation).write_text(f"{count} {child.text}" if child else str(count))

    def restarts(self, task: str) -> float:
        return self.metric("zonecut_task_restarts_total", zone=PARENT, task=task)

    def change(self, child: Signer) -> tuple[str, str]:
        """What a child is told that sends a change."""
        answer = self.udp(child.fresh())
        return answer.rcode, answer.extended_error[1] if answer.extended_error else ""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter as an installed package: a module, and metadata with its entry point."""
    packages = tmp_path / "packages"
    metadata = packages / "zonecut_faulty-1.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(Path(__file__).parents[1] / "faulty" / "zonecut_faulty.py", packages)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: zonecut-faulty\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[zonecut.adapters]\nfaulty = zonecut_faulty\n")
    monkeypatch.setenv("PYTHONPATH", str(packages))


def test_a_defect_in_one_read_is_nobody_else_s(tmp_path: Path) -> None:
    with Faulty(tmp_path, trust={"sweep": 1}, publish=True, addresses=["192.0.2.53"]) as world:
        world.fail("read", MANY, SECOND)
        world.fail("read_rrsets", 2)
        world.zonecut.send_signal(signal.SIGHUP)  # the publisher looks at once
        until(lambda: world.restarts("publisher") == 2, timeout=15, what="the publisher runs again")
        time.sleep(2)  # sweeps come by
        before = world.records(FIRST.text)
        assert world.change(FIRST) == ("NOERROR", "")
        until(lambda: world.records(FIRST.text) != before, timeout=5, what="the change is in the zone")
        assert world.restarts("writer") == 0
        assert world.metric("zonecut_task_running", zone=PARENT, task="writer") == 1
        assert world.server_state()["state"] == "ready"
        told = [event for event in world.zonecut.log_events("task.failed") if event["task"] == "publisher"]
        assert [event["failures"] for event in told] == [1, 2]
        assert "a defect in read_rrsets" in str(told[0])
        world.zonecut.stop()


def test_a_defect_in_one_write_holds_up_that_change_alone(tmp_path: Path) -> None:
    with Faulty(tmp_path) as world:
        world.fail("write", MANY, SECOND)
        assert world.change(SECOND)[0] == "NOERROR"
        assert world.change(FIRST)[0] == "NOERROR"
        until(
            lambda: [each["child"] for each in world.changes("--state", "accepted")] == [SECOND.text],
            timeout=10,
            what="the other change is written",
        )
        assert world.restarts("writer") == 0
        (world.faults / "write").unlink()
        until(lambda: not world.changes("--state", "accepted"), timeout=40, what="it is written, too")
        stop_cleanly(world, ["writer.defect", "change.waits", "backend.unavailable"])


def test_a_zone_whose_writer_fails_accepts_nothing_until_it_runs_again(tmp_path: Path) -> None:
    with Faulty(tmp_path) as world:
        world.fail("batch", MANY)
        assert world.change(FIRST)[0] == "NOERROR"
        until(lambda: world.server_state()["state"] == "halted", timeout=10, what="the zone is halted")
        until(lambda: world.restarts("writer") >= 2, timeout=10, what="the writer was tried again")
        until(lambda: world.change(SECOND)[0] == "SERVFAIL", timeout=5, what="nothing is accepted")
        rcode, reason = world.change(THIRD)
        assert (rcode, HALTED in reason) == ("SERVFAIL", True)
        assert "KeyError" not in reason
        assert "KeyError" in world.server_state()["reason"]
        assert world.metric("zonecut_backend_up", zone=PARENT) == 0
        (world.faults / "batch").unlink()
        until(lambda: world.change(THIRD)[0] == "NOERROR", timeout=20, what="changes are taken again")
        world.wait_until_recorded()
        assert {change["state"] for change in world.changes()} == {"applied"}
        assert world.server_state()["state"] == "ready"
        stop_cleanly(world, ["task.failed"])


def test_a_server_that_cannot_be_opened_for_a_defect_is_opened_later(tmp_path: Path) -> None:
    with Faulty(tmp_path) as world:
        world.zonecut.stop()
        world.fail("open", 2)
        world.zonecut.start()
        until(lambda: HALTED in world.change(FIRST)[1], timeout=5, what="nothing is accepted")
        assert world.change(FIRST)[0] == "SERVFAIL"
        assert "a defect in open" in str(world.wait_for_event("task.failed"))
        assert world.change_count() == 0
        until(lambda: world.change(FIRST)[0] == "NOERROR", timeout=20, what="changes are taken")
        assert world.restarts("writer") == 2
        world.wait_until_recorded()
        stop_cleanly(world, ["task.failed"])


def test_an_adapter_that_cannot_be_closed_ends_no_daemon(tmp_path: Path) -> None:
    with Faulty(tmp_path) as world:
        world.fail("close", 1)
        (entry,) = world.configuration["parents"]
        world.zonecut.configure({**world.configuration, "parents": [{**entry, "policy": {"ttl": {"ds": 77}}}]})
        world.zonecut.send_signal(signal.SIGHUP)
        world.wait_for_event("reload.done")
        until(lambda: world.change(FIRST)[0] == "NOERROR", timeout=10, what="changes are taken")
        stop_cleanly(world, ["backend.defect"])


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, ZONE, keys=CHILDREN) as world:
        yield world


def rename(world: World, old: str, new: str) -> None:
    """The store cannot be read, or can again."""
    with closing(sqlite3.connect(world.store_url.removeprefix("sqlite:///"))) as database:
        database.execute(f"ALTER TABLE {old} RENAME TO {new}")
        database.commit()


def test_a_reload_while_the_store_cannot_be_read_counts_as_soon_as_it_can(ledger: World) -> None:
    world = ledger
    assert world.udp(FIRST.fresh()).rcode == "NOERROR"
    world.wait_until_recorded()
    rename(world, "changes", "away")
    (entry,) = world.configuration["parents"]
    world.zonecut.configure({**world.configuration, "parents": [{**entry, "policy": {"ttl": {"ds": 77}}}]})
    world.zonecut.send_signal(signal.SIGHUP)
    world.wait_for_event("reload.done")
    event = world.wait_for_event("task.failed")
    assert (event["task"], "no such table" in event["reason"]) == ("writer", True)
    answer = world.udp(FIRST.fresh())
    assert answer.rcode == "SERVFAIL"
    assert world.zonecut.running
    rename(world, "away", "changes")
    until(lambda: world.udp(FIRST.fresh()).rcode == "NOERROR", timeout=20, what="changes are taken")
    until(lambda: any(" 77 DS " in each for each in world.records(FIRST.text)), timeout=5, what="the new TTL counts")
    stop_cleanly(world, ["task.failed", "store.unavailable"])


@pytest.mark.parametrize("table", ["key_events", "changes"])
def test_a_start_while_the_store_cannot_be_read_ends_with_the_reason(ledger: World, table: str) -> None:
    ledger.zonecut.stop()
    rename(ledger, table, "away")
    argv = [str(ledger.zonecut.command), "serve", "--config", str(ledger.zonecut.config_file)]
    done = subprocess.run(argv, cwd=ledger.zonecut.directory, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert f"no such table: {table}" in done.stderr
    assert "Traceback" not in done.stderr
    rename(ledger, "away", table)
    ledger.zonecut.start()
    assert ledger.udp(FIRST.fresh()).rcode == "NOERROR"
    stop_cleanly(ledger)


def test_a_reload_that_is_refused_opens_no_address(ledger: World) -> None:
    """The second of two new addresses is somebody else's."""
    world = ledger
    added, hook = free_port(), free_port()
    key = world.zonecut.directory / "api.key"
    key.touch(0o600)
    key.write_text("a" * 32)
    with closing(socket.create_server((LOOPBACK, hook))):
        receiver = dict(world.configuration["receiver"])
        receiver["listen"] = [f"{LOOPBACK}:{added}", receiver["listen"][1]]
        receiver["hook"] = {"listen": [f"{LOOPBACK}:{hook}"], "api_keys": {"portal": str(key)}}
        world.zonecut.configure({**world.configuration, "receiver": receiver})
        world.zonecut.send_signal(signal.SIGHUP)
        event = world.wait_for_event("reload.refused")
    assert f"{LOOPBACK}:{hook}" in event["problems"][0]
    assert world.udp(FIRST.fresh()).rcode == "NOERROR", "the old address is open"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((LOOPBACK, added))
    stop_cleanly(world, ["reload.refused"])


def test_a_second_daemon_on_a_store_says_who_has_it_and_ends(ledger: World) -> None:
    world = ledger
    other = world.zonecut.directory / "other.yaml"
    text = world.zonecut.config_file.read_text()
    for port in (world.port, world.port6):
        text = text.replace(f":{port}", f":{free_port()}")
    other.touch(0o600)
    other.write_text(text)
    argv = [str(world.zonecut.command), "serve", "--config", str(other)]
    done = subprocess.run(argv, cwd=world.zonecut.directory, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert f"process {world.zonecut.pid} has it since 2" in done.stderr
    assert "Traceback" not in done.stderr
    # a command beside it is another matter
    assert world.changes() == []
    assert world.udp(FIRST.fresh()).rcode == "NOERROR"
    world.zonecut.kill()
    world.zonecut.start()
    assert world.udp(FIRST.fresh()).rcode == "NOERROR"
    stop_cleanly(world)


def test_the_service_manager_is_told_what_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(path)
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        with Faulty(tmp_path) as world:
            world.fail("batch", 1)
            assert world.change(FIRST)[0] == "NOERROR"
            heard: list[str] = []
            while "STATUS=" not in heard:
                heard.append(manager.recv(4096).decode())
            assert [each for each in heard if "READY=1" in each.splitlines()]
            assert heard.count("WATCHDOG=1") >= 1
            assert f"STATUS=not running: writer of {PARENT} (internal error (KeyError): see the log)" in heard
            world.wait_until_recorded()
            stop_cleanly(world, ["task.failed"])
