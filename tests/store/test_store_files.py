"""The files of a store that are removed or replaced beneath whoever has it open: nothing is lost unseen.

SQLite does not notice, and goes on in files that are gone at the next start.
"""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT, Algorithm
from zonecut.protocol.keys import KeyPair
from zonecut.receiver.message.key_lookup import KeyLookup
from zonecut.store import KeyState, Store, StoreReplaced, StoreUnavailable, StoreUnusable
from zonecut.store.audit import AuditEntry
from zonecut.store.place import marking
from zonecut.store.place.lock import locked

CHILD = names.from_text("child.parent.example.")
ENTRY = AuditEntry("test", "nobody")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        await store.audit.record(ENTRY)
        yield store


def _copied_over(file: Path) -> None:
    copy = file.with_name("copy")
    shutil.copy(file, copy)
    copy.replace(file)


def _removed(file: Path) -> None:
    file.unlink()


async def _events(directory: Path) -> int:
    async with Store.open(f"sqlite:///{directory}/zonecut.db") as store:
        return len(await store.audit.list())


@pytest.mark.parametrize("name", ["zonecut.db", "zonecut.db-wal", "zonecut.db-shm"])
@pytest.mark.parametrize("happens", [_removed, _copied_over])
async def test_nothing_is_read_or_recorded_once_a_file_is_removed_or_replaced(
    store: Store, tmp_path: Path, name: str, happens: Callable[[Path], None]
) -> None:
    told: list[str | None] = []
    store.thread.noticed = told.append
    happens(tmp_path / name)
    for _ in range(2):
        with pytest.raises(StoreReplaced, match=f"{tmp_path / name} .*beneath zonecut; what is recorded now would be"):
            await store.audit.record(ENTRY)
        with pytest.raises(StoreReplaced, match="beneath zonecut"):
            await store.audit.list()
    assert [each is not None and name in each for each in told] == [True]


async def test_an_older_copy_that_is_written_into_the_file_beneath_its_wal_is_not_mixed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marking, "PERIOD", 0)
    database, url = tmp_path / "zonecut.db", f"sqlite:///{tmp_path}/zonecut.db"
    with locked(url) as lock:
        async with Store.open(url, writes=True, lock=lock) as store:
            for number in range(5):
                await store.audit.record(ENTRY)
                with closing(sqlite3.connect(database)) as other:
                    assert other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[0] == 0
                    if number == 1:
                        other.execute(f"VACUUM INTO '{tmp_path}/copy'")
            await store.audit.record(ENTRY)
            assert (tmp_path / "zonecut.db-wal").stat().st_size
            whole = database.read_bytes()
            shutil.copyfile(tmp_path / "copy", database)
            for _ in range(2):
                with pytest.raises(StoreReplaced, match=r"an older copy was written into .*-wal goes with a newer one"):
                    await store.audit.record(ENTRY)
                with pytest.raises(StoreReplaced):
                    await store.audit.list()
            database.write_bytes(whole)
            await store.audit.record(ENTRY)
            assert len(await store.audit.list()) == 7


async def test_a_group_fails_as_a_whole_and_each_of_it_is_told(store: Store, tmp_path: Path) -> None:
    (tmp_path / "zonecut.db").unlink()
    ended = await asyncio.gather(*(store.audit.record(ENTRY) for _ in range(5)), return_exceptions=True)
    assert [type(each) for each in ended] == [StoreReplaced] * 5


async def test_what_is_committed_while_the_file_is_replaced_is_not_acknowledged(store: Store, tmp_path: Path) -> None:
    def replaced_meanwhile(connection: object, items: object) -> list[None]:
        _copied_over(tmp_path / "zonecut.db")
        return [None]

    with pytest.raises(StoreReplaced):
        await store.thread.write(replaced_meanwhile, None)


async def test_it_goes_on_when_the_file_is_put_back(store: Store, tmp_path: Path) -> None:
    told: list[str | None] = []
    store.thread.noticed = told.append
    (tmp_path / "zonecut.db").rename(tmp_path / "away.db")
    with pytest.raises(StoreReplaced):
        await store.audit.record(ENTRY)
    (tmp_path / "away.db").rename(tmp_path / "zonecut.db")
    await store.audit.record(ENTRY)
    assert len(await store.audit.list()) == 2
    assert told[-1] is None


async def test_a_wal_that_was_removed_is_saved_by_an_orderly_end(tmp_path: Path) -> None:
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        await store.audit.record(ENTRY)
        (tmp_path / "zonecut.db-wal").unlink()
        with pytest.raises(StoreReplaced, match="restart zonecut"):
            await store.audit.record(ENTRY)
    assert await _events(tmp_path) == 1


async def test_keys_of_a_store_that_was_replaced_are_not_trusted_any_more(tmp_path: Path) -> None:
    key = KeyPair.generate(CHILD, Algorithm.ED25519, DEFAULT).key
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        await store.keys.add(key, KeyState.TRUSTED, "test", "test")
        await store.ring.start()
        keys = KeyLookup(store.ring)
        assert len(await keys.keys_of(CHILD)) == 1
        _copied_over(tmp_path / "zonecut.db")
        await asyncio.sleep(1.3)
        with pytest.raises(StoreReplaced):
            await keys.keys_of(CHILD)


async def test_a_connection_that_is_made_anew_has_a_wal_of_its_own(store: Store) -> None:
    def broken(connection: Connection) -> None:
        connection.execute(text("SELECT nonsense"))

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="nonsense"):
            await store.thread.read(broken)
        await store.audit.record(ENTRY)
    assert len(await store.audit.list()) == 3


async def test_a_link_to_the_store_that_is_turned_leads_to_another_file(tmp_path: Path) -> None:
    link = tmp_path / "current.db"
    for name in ("a.db", "b.db"):
        (tmp_path / name).touch(0o600)
    link.symlink_to(tmp_path / "a.db")
    async with Store.open(f"sqlite:///{link}") as store:
        await store.audit.record(ENTRY)
        link.unlink()
        link.symlink_to(tmp_path / "b.db")
        with pytest.raises(StoreReplaced, match=r"current\.db beneath zonecut"):
            await store.audit.record(ENTRY)


async def test_a_store_that_is_moved_and_found_through_a_link_takes_nothing(tmp_path: Path) -> None:
    """It is the same file: but who comes through the link makes a `-wal` of its own beside it."""
    database, elsewhere = tmp_path / "zonecut.db", tmp_path / "data"
    elsewhere.mkdir()
    async with Store.open(f"sqlite:///{database}") as store:
        await store.audit.record(ENTRY)
        database.rename(elsewhere / "zonecut.db")
        database.symlink_to(elsewhere / "zonecut.db")
        with pytest.raises(StoreReplaced, match=r"leads to .*/data/zonecut\.db, and was opened as .*zonecut\.db"):
            await store.audit.record(ENTRY)
        database.unlink()
        (elsewhere / "zonecut.db").rename(database)
        await store.audit.record(ENTRY)


def test_a_store_with_two_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zonecut.db").touch(0o600)
    (tmp_path / "other.db").hardlink_to(tmp_path / "zonecut.db")
    for name in ("zonecut.db", "other.db"):
        with pytest.raises(StoreUnusable, match=r"has 2 names \(hard links\).*remove the others"):
            Store.open(f"sqlite:///{tmp_path}/{name}")


async def test_a_daemon_whose_lock_was_removed_records_nothing_and_no_other_begins(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/zonecut.db"
    with locked(url) as lock:
        async with Store.open(url, writes=True, lock=lock) as store:
            await store.audit.record(ENTRY)
            (tmp_path / "zonecut.db.lock").unlink()
            with pytest.raises(StoreReplaced, match=r"zonecut\.db\.lock was removed or replaced.*restart zonecut"):
                await store.audit.record(ENTRY)
            with (
                locked(url) as second,
                pytest.raises(StoreUnusable, match="another zonecut serve has it open, whose lock was removed"),
            ):
                Store.open(url, writes=True, lock=second)
    with locked(url) as lock:
        async with Store.open(url, writes=True, lock=lock) as store:
            assert len(await store.audit.list()) == 1
