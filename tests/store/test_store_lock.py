"""One daemon at a time has a store, and whoever comes second is told who."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zonecut.store import Store, StoreUnusable
from zonecut.store.place.lock import locked

HOLD = """
import sys
from zonecut.store.place.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/zonecut.db"


def hold(url: str) -> "subprocess.Popen[str]":
    """Another process that has the lock."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLD, url], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_who_has_it_since_when(url: str) -> None:
    with hold(url) as process:
        with pytest.raises(StoreUnusable) as refused, locked(url, patience=0.1):
            pass
        assert re.search(
            rf"zonecut\.db': another zonecut serve runs on it \(process {process.pid} has it since \d{{4}}-.*Z\): stop",
            refused.value.reason,
        )
        process.kill()
    with locked(url):
        pass


def test_a_lock_ends_with_who_had_it_however_that_ended(url: str) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM):
        with hold(url) as process:
            process.send_signal(number)
        with locked(url, patience=0):
            pass


def test_one_who_is_about_to_end_is_waited_for(url: str) -> None:
    with hold(url) as process:
        assert process.stdin is not None
        process.stdin.close()
        with locked(url):
            pass


def test_a_child_process_does_not_keep_it(url: str) -> None:
    """Neither one that goes on in the same program nor one that starts another."""
    with locked(url):
        forked = os.fork()
        if forked == 0:
            time.sleep(30)
            os._exit(0)
        started = subprocess.Popen(["sleep", "30"], close_fds=False)
    try:
        # the child lets go of it as soon as it runs at all
        with locked(url, patience=10):
            pass
    finally:
        for pid in (forked, started.pid):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(forked, 0)
        started.wait()


def test_a_child_process_that_ends_lets_go_of_nothing(url: str) -> None:
    with locked(url):
        forked = os.fork()
        if forked == 0:
            os._exit(0)
        os.waitpid(forked, 0)
        with pytest.raises(StoreUnusable), locked(url, patience=0):
            pass


async def test_a_command_beside_the_daemon_needs_no_lock(url: str) -> None:
    with hold(url) as process:
        async with Store.open(url) as store:
            assert not await store.keys.find(b"\x00")
        process.kill()


def test_a_store_is_one_by_whatever_name(tmp_path: Path, url: str) -> None:
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    with locked(url), pytest.raises(StoreUnusable), locked(f"sqlite:///{tmp_path}/elsewhere/zonecut.db", patience=0):
        pass


def test_its_file_is_its_owner_s_alone(tmp_path: Path, url: str) -> None:
    with locked(url):
        found = (tmp_path / "zonecut.db.lock").stat()
        assert (found.st_mode & 0o7777, found.st_uid) == (0o600, tmp_path.stat().st_uid)


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hardlink", "fifo", "directory", "open to others"])
def test_a_file_that_somebody_else_may_have_put_there_is_refused_and_left_alone(
    tmp_path: Path, url: str, kind: str
) -> None:
    lock, other = tmp_path / "zonecut.db.lock", tmp_path / "other"
    other.write_text("precious")
    match kind:
        case "symlink":
            lock.symlink_to(other)
        case "dangling":
            lock.symlink_to(tmp_path / "none")
        case "hardlink":
            lock.hardlink_to(other)
        case "fifo":
            os.mkfifo(lock, 0o600)
        case "directory":
            lock.mkdir()
        case _:
            lock.touch(0o600)
            lock.chmod(0o644)
    with pytest.raises(StoreUnusable, match=r"zonecut\.db\.lock"), locked(url, patience=0):
        pass
    assert other.read_text() == "precious"
    assert not (tmp_path / "none").exists()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="there is no directory"), locked(f"sqlite:///{tmp_path}/none/zonecut.db"):
        pass


def test_what_a_lock_s_file_holds_otherwise_is_no_hindrance(tmp_path: Path, url: str) -> None:
    (tmp_path / "zonecut.db.lock").touch(0o600)
    (tmp_path / "zonecut.db.lock").write_bytes(b"\xff" * 10_000)
    with locked(url), pytest.raises(StoreUnusable, match=f"process {os.getpid()} has it"), locked(url, patience=0):
        pass
