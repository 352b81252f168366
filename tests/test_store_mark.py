"""A store that has not got as far as its mark says was restored: nothing is recorded until an operator accepts it."""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT, Algorithm
from zonecut.protocol.keys import KeyPair
from zonecut.receiver.keylookup import KeyLookup
from zonecut.store import (
    ChangeState,
    KeyState,
    NotInStore,
    Settlement,
    Store,
    StoreReplaced,
    StoreRestored,
    StoreUnusable,
)
from zonecut.store.audit import AuditEntry
from zonecut.store.marking import LOOK_AGAIN

CHILD = names.from_text("child.parent.example.")
ENTRY = AuditEntry("test", "nobody")


class Clock:
    """Seconds since the epoch; each look takes one."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        self.now += 1
        return self.now


CLOCK = Clock()


def opened(directory: Path) -> Store:
    return Store.open(f"sqlite:///{directory}/zonecut.db", clock=CLOCK, writes=True)


async def used(directory: Path, entries: int = 1) -> None:
    async with opened(directory) as store:
        for _ in range(entries):
            await store.audit.record(ENTRY)


def back_up(directory: Path) -> None:
    with (
        closing(sqlite3.connect(directory / "zonecut.db")) as source,
        closing(sqlite3.connect(directory / "copy")) as copy,
    ):
        source.backup(copy)


def remove(directory: Path) -> None:
    """As people do it: all that is named like the file goes."""
    for file in directory.glob("zonecut.db*"):
        file.unlink()


def beside_the_mark(directory: Path) -> list[Path]:
    return list(directory.glob(".zonecut.db.mark.*"))


def restore(directory: Path) -> None:
    remove(directory)
    shutil.copy(directory / "copy", directory / "zonecut.db")


async def test_a_store_that_is_opened_again_was_not_restored(tmp_path: Path) -> None:
    for _ in range(3):
        async with opened(tmp_path) as store:
            assert store.restored is None
            await store.audit.record(ENTRY)


async def test_a_store_that_was_killed_was_not_restored(tmp_path: Path) -> None:
    """What a crash leaves is a store that got further than its mark, or a mark that was never written."""
    await used(tmp_path)
    mark = tmp_path / ".zonecut.db.mark"
    early = mark.read_bytes()
    await used(tmp_path, 3)
    for content in (early, b"", b"{}", None):
        if content is None:
            mark.unlink()
        else:
            mark.write_bytes(content)
        async with opened(tmp_path) as store:
            assert store.restored is None


async def test_a_backup_is_known_for_what_it_is_and_takes_nothing(tmp_path: Path) -> None:
    await used(tmp_path)
    back_up(tmp_path)
    await used(tmp_path)
    restore(tmp_path)
    for _ in range(2):  # it does not wear off
        async with opened(tmp_path) as store:
            assert store.restored is not None
            with pytest.raises(StoreRestored, match="zonecut store check, and then zonecut store accept"):
                await store.audit.record(ENTRY)
            assert len(await store.audit.list()) == 1


async def test_a_backup_in_which_nothing_was_recorded_since_is_as_good_as_the_store(tmp_path: Path) -> None:
    await used(tmp_path)
    back_up(tmp_path)
    restore(tmp_path)
    async with opened(tmp_path) as store:
        assert store.restored is None


async def test_a_backup_that_went_on_elsewhere_is_no_longer_the_store_that_was_here(tmp_path: Path) -> None:
    await used(tmp_path)
    back_up(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(tmp_path / "copy", elsewhere / "zonecut.db")
    await used(tmp_path)
    await used(elsewhere, 5)
    back_up(elsewhere)
    shutil.copy(elsewhere / "copy", tmp_path / "copy")
    restore(tmp_path)
    async with opened(tmp_path) as store:
        assert store.restored is not None
        assert "has gone another way since" in store.restored.reason


async def test_no_key_of_a_restored_store_is_worth_anything_until_an_operator_has_accepted_it(tmp_path: Path) -> None:
    key = KeyPair.generate(CHILD, Algorithm.ED25519, DEFAULT).key
    async with opened(tmp_path) as store:
        await store.keys.add(key, KeyState.TRUSTED, "test", "test")
    back_up(tmp_path)
    async with opened(tmp_path) as store:
        (stored,) = await store.keys.find(CHILD)
        await store.keys.set_state(stored.id, KeyState.REVOKED, "test", "lost")
    restore(tmp_path)
    async with opened(tmp_path) as store:
        await store.ring.start()
        keys = KeyLookup(store.ring)
        assert keys.in_memory(CHILD) is None
        with pytest.raises(StoreRestored):
            await keys.keys_of(CHILD)
        failed: list[str] = []
        keys.look_up(CHILD, lambda _: failed.append("used"), failed.append)
        assert failed == ["the key store was restored from a backup and waits for an operator"]
        async with opened(tmp_path) as operator:
            floor = await operator.restores.accept("operator:test", [], [], 300)
        await asyncio.sleep(2 * LOOK_AGAIN)
        await store.audit.record(ENTRY)  # it sees that without being opened anew
        assert store.restored is None
        assert [each.stored.state for each in await keys.keys_of(CHILD)] == [KeyState.TRUSTED]
        assert await store.restores.floor() == floor


async def test_an_acceptance_that_did_not_come_about_leaves_the_store_held(tmp_path: Path) -> None:
    await used(tmp_path)
    back_up(tmp_path)
    await used(tmp_path)
    restore(tmp_path)
    async with opened(tmp_path) as store:
        with pytest.raises(NotInStore):
            await store.restores.accept("operator:test", [Settlement(99, ChangeState.FAILED, "", 1)], [], 300)
        with pytest.raises(StoreRestored):
            await store.audit.record(ENTRY)
    async with opened(tmp_path) as store:
        assert store.restored is not None


async def test_signatures_count_from_the_acceptance_on_and_from_what_clocks_may_have_been_ahead(tmp_path: Path) -> None:
    await used(tmp_path)
    back_up(tmp_path)
    await used(tmp_path)
    lost_at = json.loads((tmp_path / ".zonecut.db.mark").read_text())["at"]
    restore(tmp_path)
    async with opened(tmp_path) as store:
        assert await store.restores.floor() is None
        assert await store.restores.accept("operator:test", [], [], 300) == lost_at + 300
    CLOCK.now += 1000
    async with opened(tmp_path) as store:
        before = CLOCK.now
        assert before < await store.restores.accept("operator:test", [], [], 300) <= CLOCK.now
        (newest, *_) = await store.audit.list()
        assert (newest.entry.event, newest.entry.actor) == ("store.accepted", "operator:test")


async def test_a_store_that_is_gone_is_not_begun_anew_by_the_way(tmp_path: Path) -> None:
    await used(tmp_path)
    remove(tmp_path)
    with pytest.raises(
        StoreUnusable, match=r"the file is gone.*put a backup in its place.*remove .*\.zonecut\.db\.mark"
    ):
        opened(tmp_path)
    (tmp_path / ".zonecut.db.mark").unlink()
    await used(tmp_path)


_DAEMON = """
import asyncio, sys
from zonecut.store import Store
from zonecut.store.audit import AuditEntry
from zonecut.store.lock import locked

async def serve(url, lock):
    async with Store.open(url, writes=True, lock=lock) as store:
        await store.audit.record(AuditEntry("test", "nobody"))
        await store.audit.list()
        print("ready", flush=True)
        sys.stdin.read()

with locked(sys.argv[1]) as lock:
    asyncio.run(serve(sys.argv[1], lock))
"""


def test_a_store_in_the_place_of_the_one_that_a_daemon_has_open_is_refused_before_it_is_touched(tmp_path: Path) -> None:
    database, url = tmp_path / "zonecut.db", f"sqlite:///{tmp_path}/zonecut.db"
    with subprocess.Popen(
        [sys.executable, "-c", _DAEMON, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"ready\n"
        opened(tmp_path)  # beside a daemon that has the same file: as always
        copy = tmp_path / "copy"
        copy.write_bytes(database.read_bytes())
        copy.replace(database)
        before = database.read_bytes()
        with pytest.raises(
            StoreUnusable, match=rf"beneath zonecut serve \(process {daemon.pid} has it since .*stop it"
        ):
            opened(tmp_path)
        daemon.communicate()
    # what is left in the `-wal` would be mixed into the file that is there now
    with pytest.raises(StoreUnusable, match=r"zonecut\.db-wal may not have been made with .*Copy .*are kept; then"):
        opened(tmp_path)
    assert database.read_bytes() == before
    for name in ("zonecut.db-wal", "zonecut.db-shm"):
        (tmp_path / name).unlink()
    opened(tmp_path)


@contextmanager
def _daemon(directory: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Another process that has the store and its lock, with one entry and the mark of it."""
    arguments = [sys.executable, "-c", _DAEMON, f"sqlite:///{directory}/zonecut.db"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"ready\n"
        for _ in range(200):
            if (directory / ".zonecut.db.mark").exists():
                break
            time.sleep(0.05)
        yield daemon


async def test_a_file_system_that_has_another_number_after_a_boot_makes_no_other_file_of_it(tmp_path: Path) -> None:
    """Devices are numbered in the order in which they are found; what a power cut left is in the `-wal`."""
    with _daemon(tmp_path) as daemon:
        daemon.kill()
    assert (tmp_path / "zonecut.db-wal").stat().st_size
    assert json.loads((tmp_path / ".zonecut.db.mark").read_text())["file"] == (tmp_path / "zonecut.db").stat().st_ino
    async with opened(tmp_path) as store:
        assert store.restored is None
        assert len(await store.audit.list()) == 1


async def test_a_command_does_not_record_where_the_daemon_does_not_look(tmp_path: Path) -> None:
    """Without `-shm`, SQLite makes another index of the `-wal`: two writers do not see each other then."""
    with _daemon(tmp_path) as daemon:
        async with opened(tmp_path) as store:
            await store.audit.record(ENTRY)
            (tmp_path / "zonecut.db-shm").unlink()
            with pytest.raises(StoreReplaced, match=r"zonecut\.db-shm was removed"):
                await store.audit.record(ENTRY)
        with pytest.raises(StoreUnusable, match=rf"zonecut\.db-shm .* serve \(process {daemon.pid} .*restart it first"):
            opened(tmp_path)
        daemon.communicate()
    async with opened(tmp_path) as store:
        assert len(await store.audit.list()) == 2


async def test_what_is_no_mark_ends_nothing_and_is_waited_for_by_nobody(tmp_path: Path) -> None:
    await used(tmp_path)
    mark = tmp_path / ".zonecut.db.mark"
    for content in (
        "[]",
        "null",
        "[" * 900,
        '{"entry": 1e400, "at": 1}',
        '{"entry": 1000000000000000000000000000000, "at": 1}',
        '{"entry": 1, "at": 1e300}',
        '{"entry": 1, "at": NaN}',
        '{"entry": true, "at": 1}',
        '{"entry": 1, "at": 1, "file": "x"}',
    ):
        mark.write_text(content)
        async with opened(tmp_path) as store:
            assert await store.audit.list()
    mark.unlink()
    os.mkfifo(mark)
    async with opened(tmp_path) as store:
        assert await store.audit.list()


async def test_two_that_write_a_mark_do_not_meet(tmp_path: Path) -> None:
    async with opened(tmp_path) as one, opened(tmp_path) as other:
        taken = tmp_path / ".zonecut.db.mark.new"
        taken.mkdir()
        await one.audit.record(ENTRY)
        await other.audit.record(ENTRY)
    assert json.loads((tmp_path / ".zonecut.db.mark").read_text())["entry"] == 2
    assert beside_the_mark(tmp_path) == [taken]


def overwrite(directory: Path) -> None:
    """As `cp COPY zonecut.db` does, into the very file that is open, when all that was in the `-wal` is in that."""
    with closing(sqlite3.connect(directory / "zonecut.db")) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    shutil.copyfile(directory / "copy", directory / "zonecut.db")


async def test_a_key_that_was_revoked_does_not_come_back_with_a_copy_written_into_the_open_file(tmp_path: Path) -> None:
    key = KeyPair.generate(CHILD, Algorithm.ED25519, DEFAULT).key
    told: list[str | None] = []
    async with opened(tmp_path) as store:
        store.thread.noticed = told.append
        await store.keys.add(key, KeyState.TRUSTED, "test", "test")
        await store.ring.start()
        back_up(tmp_path)
        async with opened(tmp_path) as operator:
            (stored,) = await operator.keys.find(CHILD)
            await operator.keys.set_state(stored.id, KeyState.REVOKED, "test", "stolen")
        overwrite(tmp_path)
        with pytest.raises(StoreRestored):
            await store.audit.record(ENTRY)
        with pytest.raises(StoreRestored):
            await KeyLookup(store.ring).keys_of(CHILD)
        assert [each is not None and "was restored from a backup" in each for each in told] == [True]
        async with opened(tmp_path) as operator:
            assert operator.restored is not None
    async with opened(tmp_path) as store:  # nor is it forgotten
        assert store.restored is not None


async def test_keys_are_looked_up_with_an_eye_on_a_copy_written_into_the_open_file(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.audit.record(ENTRY)
        back_up(tmp_path)
        await store.audit.record(ENTRY)
        await store.audit.list()
        overwrite(tmp_path)
        await store.audit.list()
        assert store.restored is not None


async def test_a_mark_never_tells_of_less_than_it_did(tmp_path: Path) -> None:
    mark = tmp_path / ".zonecut.db.mark"
    async with opened(tmp_path) as store:
        await store.audit.record(ENTRY)
        back_up(tmp_path)
        for _ in range(3):
            await store.audit.record(ENTRY)
        await store.audit.list()
        overwrite(tmp_path)
    assert json.loads(mark.read_text())["entry"] == 4
    async with opened(tmp_path) as store:
        assert store.restored is not None


async def test_trust_may_be_taken_away_before_a_restored_store_is_accepted(tmp_path: Path) -> None:
    stolen, unwanted, other = (KeyPair.generate(CHILD, Algorithm.ED25519, DEFAULT).key for _ in range(3))
    async with opened(tmp_path) as store:
        keys = [(await store.keys.add(key, KeyState.TRUSTED, "test", "test"))[0] for key in (stolen, unwanted, other)]
    back_up(tmp_path)
    await used(tmp_path, 2)
    restore(tmp_path)
    async with opened(tmp_path) as store:
        ended = await asyncio.gather(
            store.keys.set_state(keys[0].id, KeyState.REVOKED, "test", "stolen"),
            store.audit.record(ENTRY),
            store.keys.set_state(keys[1].id, KeyState.REFUSED, "test", "unwanted"),
            store.keys.set_state(keys[2].id, KeyState.ENDED, "test", ""),
            return_exceptions=True,
        )
        assert [isinstance(each, StoreRestored) for each in ended] == [False, True, False, True]
    async with opened(tmp_path) as store:  # as many entries as were lost do not make up for them
        assert store.restored is not None
        await store.restores.accept("operator:test", [], [], 300)
        found = [each.state for each in await store.keys.find(CHILD)]
        assert found == [KeyState.REVOKED, KeyState.REFUSED, KeyState.TRUSTED]
