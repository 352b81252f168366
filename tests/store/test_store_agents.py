"""What agents remember: one document a zone, replaced only by who has seen the last one."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from zonecut.store import Store, StoreConflict, StoredAgent, StoreUnavailable, thread

CHILD = b"\x05child\x07example\x00"
FIRST = StoredAgent(CHILD, 0, "no-key", {"reason": "begins"}, 0.0)


def _open(directory: Path) -> Store:
    return Store.open(f"sqlite:///{directory}/zonecut.db", clock=lambda: 1000.0)


async def test_a_document_is_there_when_the_store_is_opened_again(tmp_path: Path) -> None:
    async with _open(tmp_path) as store:
        assert await store.agents.get(CHILD) is None
        written = await store.agents.put(FIRST)
    assert written == replace(FIRST, version=1, changed_at=1000.0)
    async with _open(tmp_path) as store:
        assert await store.agents.get(CHILD) == written
        assert await store.agents.versions() == {CHILD: 1}


async def test_who_has_not_seen_the_last_document_does_not_replace_it(tmp_path: Path) -> None:
    async with _open(tmp_path) as store:
        first = await store.agents.put(FIRST)
        second = await store.agents.put(replace(first, phase="asking"))
        for late in (FIRST, first):
            with pytest.raises(StoreConflict, match=r"child\.example\."):
                await store.agents.put(replace(late, phase="held"))
        assert await store.agents.get(CHILD) == second


async def test_of_two_that_write_at_once_one_fails_and_others_are_not_hurt(tmp_path: Path) -> None:
    async with _open(tmp_path) as store:
        others = [replace(FIRST, zone=bytes((1, number)) + CHILD) for number in range(97, 107)]
        results = await asyncio.gather(*map(store.agents.put, [FIRST, FIRST, *others]), return_exceptions=True)
        assert [isinstance(result, StoreConflict) for result in results] == [False, True, *[False] * 10]
        assert len(await store.agents.versions()) == 11


async def test_a_zone_can_be_forgotten_and_begun_anew(tmp_path: Path) -> None:
    async with _open(tmp_path) as store:
        await store.agents.put(FIRST)
        await store.agents.forget(CHILD)
        assert await store.agents.get(CHILD) is None
        assert (await store.agents.put(FIRST)).version == 1


async def test_whether_a_document_could_be_kept_is_found_out_without_changing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "LOCK_PATIENCE", 0.1)
    async with _open(tmp_path) as store:
        written = await store.agents.put(FIRST)
        await store.agents.try_to_write()
        with closing(sqlite3.connect(tmp_path / "zonecut.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                await store.agents.try_to_write()
            other.execute("ROLLBACK")
        await store.agents.try_to_write()
        assert await store.agents.get(CHILD) == written
