"""The daemon's own keys, held against what its store knows of them."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT, Algorithm
from zonecut.receiver.announce.key_directory import Identities, KeyDirectory, LostKey
from zonecut.serve.own_keys import OwnKeys
from zonecut.store import Store

TARGET, OTHER = (names.from_text(text) for text in ("updater.parent.example.", "updater.other.example."))


def identities(directory: Path) -> Identities:
    return Identities(KeyDirectory(directory / "keys", DEFAULT), Algorithm.ED25519)


async def test_a_start_without_the_keys_that_the_store_knows_is_refused(tmp_path: Path) -> None:
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        await OwnKeys(identities(tmp_path), store).ensure({TARGET})
        shutil.move(tmp_path / "keys", tmp_path / "away")
        with pytest.raises(LostKey, match=r"keys holds no key of updater.parent.example."):
            await OwnKeys(identities(tmp_path), store).ensure({TARGET, OTHER})
        assert not (tmp_path / "keys").exists()
        shutil.move(tmp_path / "away", tmp_path / "keys")
        again = identities(tmp_path)
        await OwnKeys(again, store).ensure({TARGET, OTHER})
        assert (await store.receiver_keys.all()).keys() == {TARGET, OTHER} == {each.owner for each in again.all()}


async def test_after_a_roll_an_older_copy_of_the_directory_is_refused(tmp_path: Path) -> None:
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        known = identities(tmp_path)
        own = OwnKeys(known, store)
        await own.ensure({TARGET})
        shutil.copytree(tmp_path / "keys", tmp_path / "backup")
        rolling = known.begin_roll(TARGET, 0)
        known.directory.update(TARGET, lambda each: each.observed(rolling.published(0), 0, 0).rolled())
        assert known.refresh() == {TARGET}
        await own.note()
        await OwnKeys(identities(tmp_path), store).ensure({TARGET})
        shutil.rmtree(tmp_path / "keys")
        shutil.copytree(tmp_path / "backup", tmp_path / "keys")
        with pytest.raises(LostKey, match=r"keys holds another key of updater.parent.example."):
            await OwnKeys(identities(tmp_path), store).ensure({TARGET})


async def test_a_store_that_cannot_be_written_ends_no_daemon(tmp_path: Path) -> None:
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        with closing(sqlite3.connect(tmp_path / "zonecut.db")) as database, database:
            database.execute("CREATE TRIGGER full BEFORE INSERT ON receiver_keys BEGIN SELECT RAISE(FAIL, 'x'); END")
        known = identities(tmp_path)
        own = OwnKeys(known, store)
        await own.ensure({TARGET})
        assert known.of(TARGET)
        with closing(sqlite3.connect(tmp_path / "zonecut.db")) as database, database:
            database.execute("DROP TRIGGER full")
        await own.note()
        assert (await store.receiver_keys.all()).keys() == {TARGET}
