"""A store that has not got as far as its mark says was restored: nothing is recorded until an operator accepts it."""

import asyncio
import itertools
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
from typing import Any

import pytest
from sqlalchemy import Connection, event

from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT, Algorithm
from zonecut.protocol.keys import KeyPair
from zonecut.receiver.message.key_lookup import KeyLookup
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
from zonecut.store.place import marking
from zonecut.store.place.mark import Mark, MarkFile
from zonecut.store.place.marking import LOOK_AGAIN

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


def as_a_kill_leaves_it(directory: Path, copy: Path) -> None:
    """What is in the files at this moment, as if the same ones were found by the next start."""
    copy.mkdir()
    for file in directory.iterdir():
        if not file.name.endswith("-shm"):
            shutil.copy(file, copy / file.name)
    mark = copy / ".zonecut.db.mark"
    if mark.exists():
        there(mark, file=(copy / "zonecut.db").stat().st_ino)


def there(mark: Path, **fields: Any) -> None:
    """As if a mark had been written where it is."""
    document = {**json.loads(mark.read_text()), **fields}
    del document["self"]
    mark.write_text(json.dumps(document))


async def test_a_store_that_was_killed_was_not_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a kill at any moment leaves: before and after each commit, and each time that the mark is written."""
    directory, moments = tmp_path / "store", itertools.count()
    directory.mkdir()

    def moment(*_: object) -> None:
        as_a_kill_leaves_it(directory, tmp_path / f"killed{next(moments)}")

    write = MarkFile.write

    def marked(file: MarkFile, mark: Mark, *, lasting: bool = False) -> None:
        moment()
        write(file, mark, lasting=lasting)
        moment()

    monkeypatch.setattr(MarkFile, "write", marked)
    monkeypatch.setattr(marking, "PERIOD", 0)
    event.listen(Connection, "commit", moment)
    try:
        for _ in range(2):
            await used(directory, 3)
    finally:
        event.remove(Connection, "commit", moment)
    monkeypatch.undo()
    count = next(moments)
    assert count > 20
    for number in range(count):
        each = tmp_path / f"killed{number}"
        for _ in range(2):
            async with opened(each) as store:
                assert store.restored is None
                await store.audit.record(ENTRY)


async def test_a_mark_that_is_too_old_says_nothing_against_the_store(tmp_path: Path) -> None:
    await used(tmp_path)
    mark = tmp_path / ".zonecut.db.mark"
    early = mark.read_bytes()
    await used(tmp_path, 3)
    mark.write_bytes(early)
    there(mark)
    async with opened(tmp_path) as store:
        assert store.restored is None


@pytest.mark.parametrize("content", [None, b"", b"{}", b"null"])
async def test_a_store_without_the_mark_that_it_had_is_a_copy_of_unknown_age(
    tmp_path: Path, content: bytes | None
) -> None:
    """On a new disk, or where the mark was lost: whoever puts only the database back has no other sign of it."""
    await used(tmp_path)
    back_up(tmp_path)
    await used(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(tmp_path / "copy", elsewhere / "zonecut.db")
    mark = elsewhere / ".zonecut.db.mark"
    if content is not None:
        mark.write_bytes(content)
    for _ in range(2):  # it does not wear off
        async with opened(elsewhere) as store:
            assert store.restored is not None
            assert f"its mark {mark} is not there or cannot be read" in store.restored.reason
            assert store.restored.to_json()["used_until"] is None
            with pytest.raises(StoreRestored, match="zonecut store check, and then zonecut store accept"):
                await store.audit.record(ENTRY)
    async with opened(elsewhere) as store:
        before = CLOCK.now
        # it may have been used until now, for all that anybody knows
        assert await store.restores.accept("operator:test", [], [], 300) > before + 300
    async with opened(elsewhere) as store:
        assert store.restored is None
        await store.audit.record(ENTRY)


def put_back(directory: Path, backup: Path) -> None:
    """All that was in a directory, with its times, as backup programs do; inodes may be used again."""
    shutil.rmtree(directory)
    shutil.copytree(backup, directory)


async def test_a_directory_that_is_put_back_as_a_whole_is_a_copy_of_unknown_age(tmp_path: Path) -> None:
    directory, backup = tmp_path / "store", tmp_path / "backup"
    directory.mkdir()
    await used(directory)
    shutil.copytree(directory, backup)
    await used(directory)  # a revocation, say
    put_back(directory, backup)
    for _ in range(2):  # it does not wear off
        async with opened(directory) as store:
            assert store.restored is not None
            assert "is a copy that came here together with it" in store.restored.reason
            assert store.restored.to_json()["used_until"] is None
            with pytest.raises(StoreRestored, match="zonecut store check, and then zonecut store accept"):
                await store.audit.record(ENTRY)
    async with opened(directory) as store:
        # it may have been used until now, for all that anybody knows
        assert await store.restores.accept("operator:test", [], [], 300) >= CLOCK.now + 300
    await used(directory)


async def test_a_directory_that_was_put_back_is_accepted_beside_the_daemon_that_found_it(tmp_path: Path) -> None:
    directory, backup = tmp_path / "store", tmp_path / "backup"
    directory.mkdir()
    await used(directory)
    shutil.copytree(directory, backup)
    await used(directory)
    put_back(directory, backup)
    with _daemon(directory) as daemon:
        async with opened(directory) as store:
            assert store.restored is not None
            await store.restores.accept("operator:test", [], [], 300)
            assert store.restored is None
        async with opened(directory) as store:
            assert store.restored is None
        daemon.communicate()


async def test_a_store_stays_what_it_is_where_its_directory_gets_another_name(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    directory.mkdir()
    await used(directory)
    await used(directory.rename(tmp_path / "elsewhere"))


async def test_the_mark_of_another_store_is_none(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        await used(tmp_path / name)
    shutil.copy(tmp_path / "one" / "zonecut.db", tmp_path / "other" / "zonecut.db")
    for _ in range(2):
        async with opened(tmp_path / "other") as store:
            assert store.restored is not None
            assert "is one of another store" in store.restored.reason
            with pytest.raises(StoreRestored):
                await store.audit.record(ENTRY)
    async with opened(tmp_path / "other") as store:
        await store.restores.accept("operator:test", [], [], 300)
    await used(tmp_path / "other")


async def test_a_store_of_an_older_version_gets_its_name_and_its_mark_without_an_alarm(tmp_path: Path) -> None:
    await used(tmp_path, 3)
    mark = tmp_path / ".zonecut.db.mark"
    known = json.loads(mark.read_text())
    for content in (None, {name: known[name] for name in ("entry", "at", "file")}):
        with closing(sqlite3.connect(tmp_path / "zonecut.db")) as database, database:
            database.execute("DELETE FROM store_name")  # as the migration leaves it
        if content is None:
            mark.unlink()
        else:
            mark.write_text(json.dumps(content))
        async with opened(tmp_path) as store:
            assert store.restored is None
            # one of the older version that still runs leaves a mark as it knows it
            mark.write_text(json.dumps({name: known[name] for name in ("entry", "at", "file")}))
        async with opened(tmp_path) as store:
            assert store.restored is None
        assert json.loads(mark.read_text())["store"]
    mark.unlink()
    async with opened(tmp_path) as store:
        assert store.restored is not None


async def test_an_older_copy_beneath_the_wal_of_a_newer_store_is_refused_before_sqlite_mixes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marking, "PERIOD", 0)
    database, url = tmp_path / "zonecut.db", f"sqlite:///{tmp_path}/zonecut.db"
    await used(tmp_path)
    back_up(tmp_path)
    await used(tmp_path, 2)
    with _daemon(tmp_path) as daemon:
        daemon.kill()
    assert (tmp_path / "zonecut.db-wal").stat().st_size
    whole = database.read_bytes()
    shutil.copyfile(tmp_path / "copy", database)  # as `cp` does: it is the same file
    before = database.read_bytes()
    with pytest.raises(
        StoreUnusable, match=r"a newer file was there before.*zonecut\.db-wal may not have been made with"
    ):
        opened(tmp_path)
    assert database.read_bytes() == before
    database.write_bytes(whole)
    async with opened(tmp_path) as store:
        assert store.restored is None
        assert len(await store.audit.list()) == 4
    shutil.copyfile(tmp_path / "copy", database)
    for name in ("zonecut.db-wal", "zonecut.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    async with opened(tmp_path) as store:
        assert store.restored is not None
        await store.restores.accept("operator:test", [], [], 300)
    # and what is younger now than the store that is lost is not held against it
    with _daemon(tmp_path) as daemon:
        daemon.kill()
    async with opened(tmp_path) as store:
        assert store.restored is None
    Store.open(url)


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
    shutil.copy(tmp_path / ".zonecut.db.mark", elsewhere / ".zonecut.db.mark")
    await used(tmp_path)
    async with opened(elsewhere) as store:
        await store.restores.accept("operator:test", [], [], 300)
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
        assert before < await store.restores.accept("operator:test", [], [], 300) - 300 <= CLOCK.now
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
from zonecut.store.place.lock import locked

async def serve(url, lock):
    async with Store.open(url, writes=True, lock=lock) as store:
        if store.restored is None:
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


async def test_what_the_daemon_has_open_is_not_opened_by_another_name(tmp_path: Path) -> None:
    """SQLite would make another `-wal` beside it: a key that is revoked there stays trusted here."""
    elsewhere = tmp_path / "data"
    elsewhere.mkdir()
    with _daemon(tmp_path) as daemon:
        (tmp_path / "zonecut.db").rename(elsewhere / "zonecut.db")
        (tmp_path / "zonecut.db").symlink_to(elsewhere / "zonecut.db")
        for directory in (tmp_path, elsewhere):
            with pytest.raises(StoreUnusable, match=rf"process {daemon.pid} has this file open by another name"):
                opened(directory)
        assert not (elsewhere / "zonecut.db-wal").exists()
        (tmp_path / "zonecut.db").unlink()
        (elsewhere / "zonecut.db").rename(tmp_path / "zonecut.db")
        async with opened(tmp_path) as store:
            await store.audit.record(ENTRY)
        daemon.communicate()


async def test_a_copy_of_what_the_daemon_has_is_read_and_not_written(tmp_path: Path) -> None:
    """Else `key revoke` with another configuration says that it revoked a key, and the daemon goes on with it."""
    served, copied = tmp_path / "served", tmp_path / "copied"
    for directory in (served, copied):
        directory.mkdir()
    with _daemon(served) as daemon:
        back_up(served)
        shutil.copy(served / "copy", copied / "zonecut.db")
        shutil.copy(served / ".zonecut.db.mark", copied / ".zonecut.db.mark")
        async with opened(copied) as store:
            assert store.elsewhere is not None
            assert f"{copied}/zonecut.db is a copy of {served}/zonecut.db, which zonecut serve has" in store.elsewhere
            assert str(daemon.pid) in store.elsewhere
            assert len(await store.audit.list()) == 1
            with pytest.raises(StoreReplaced, match=r"is a copy of .*nothing is recorded"):
                await store.audit.record(ENTRY)
        async with opened(served) as store:
            assert store.elsewhere is None
            await store.audit.record(ENTRY)
        (tmp_path / "link").symlink_to(served)
        async with opened(tmp_path / "link") as store:
            assert store.elsewhere is None
        daemon.communicate()
    async with opened(copied) as store:
        assert store.elsewhere is None


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


async def test_a_mark_that_is_late_takes_not_the_place_of_one_that_tells_of_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon's, whose disk is slow, and a command's that has just revoked a key: a backup would bring that back."""
    write = MarkFile.write
    overtaken: list[Mark] = []

    def slowly(file: MarkFile, mark: Mark, *, lasting: bool = False) -> None:
        if mark.entry and not overtaken:
            overtaken.append(mark)
            with closing(sqlite3.connect(tmp_path / "zonecut.db")) as other:
                other.execute(
                    "INSERT INTO audit (at, event, actor, source, detail) VALUES (?, 'test', '', '', '{}')", (CLOCK(),)
                )
                other.commit()
        write(file, mark, lasting=lasting)

    async with opened(tmp_path) as slow:
        monkeypatch.setattr(MarkFile, "write", slowly)
        await slow.audit.record(ENTRY)
    assert [mark.entry for mark in overtaken] == [1]
    assert json.loads((tmp_path / ".zonecut.db.mark").read_text())["entry"] == 2
