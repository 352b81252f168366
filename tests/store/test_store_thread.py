"""The store thread: group commit, isolation of failures, durability, errors and recovery."""

import asyncio
import operator
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text

from zonecut.store import Store, StoreConflict, StoreUnavailable, operations
from zonecut.store import thread as store_thread
from zonecut.store.audit import AuditEntry
from zonecut.store.place.lock import locked

_Insert = tuple[int, str]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        await store.thread.write(_create, None)
        yield store


def _create(connection: Connection, items: Sequence[None]) -> Sequence[None]:
    connection.execute(text("CREATE TABLE things (id INTEGER PRIMARY KEY, value BLOB)"))
    return items


def _insert(connection: Connection, items: Sequence[_Insert]) -> Sequence[int]:
    for number, value in items:
        if value == "bad":
            raise ValueError(f"item {number} is bad")
        connection.execute(text("INSERT INTO things VALUES (:id, :value)"), {"id": number, "value": value})
    return [number for number, _ in items]


def _take_time(connection: Connection) -> None:
    """Keep the thread busy for some ten milliseconds, so that what comes meanwhile has to wait."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT count(*) FROM n"
    connection.execute(text(numbers)).scalar()


def _numbers(connection: Connection) -> list[int]:
    return list(connection.execute(text("SELECT id FROM things ORDER BY id")).scalars())


def _count_commits(store: Store) -> list[int]:
    commits = [0]

    @event.listens_for(store.thread._engine, "commit")
    def committed(_connection: Connection) -> None:
        commits[0] += 1

    return commits


async def test_writes_that_wait_together_are_one_transaction(store: Store) -> None:
    commits = _count_commits(store)
    hold = asyncio.ensure_future(store.thread.read(_take_time))
    results = await asyncio.gather(*(store.thread.write(_insert, (number, "good")) for number in range(100)), hold)
    assert results[:100] == list(range(100))
    assert commits[0] <= 2
    assert await store.thread.read(_numbers) == list(range(100))


async def test_a_handler_gets_its_items_in_order_of_arrival(store: Store) -> None:
    seen: list[int] = []

    def even(_connection: Connection, items: Sequence[int]) -> Sequence[int]:
        seen.extend(items)
        return items

    def odd(_connection: Connection, items: Sequence[int]) -> Sequence[str]:
        return [f"odd {item}" for item in items]

    results = await asyncio.gather(*(store.thread.write(odd if n % 2 else even, n) for n in range(20)))
    assert results == [f"odd {n}" if n % 2 else n for n in range(20)]
    assert seen == list(range(0, 20, 2))


async def test_only_the_offender_of_a_group_fails(store: Store) -> None:
    results = await asyncio.gather(
        *(store.thread.write(_insert, (number, "bad" if number == 7 else "good")) for number in range(20)),
        return_exceptions=True,
    )
    assert isinstance(results[7], ValueError)
    assert [number for number, result in enumerate(results) if isinstance(result, BaseException)] == [7]
    assert await store.thread.read(_numbers) == [number for number in range(20) if number != 7]


async def test_a_constraint_is_a_conflict_of_one_item(store: Store) -> None:
    await store.thread.write(_insert, (3, "good"))
    results = await asyncio.gather(
        *(store.thread.write(_insert, (number, "good")) for number in range(6)), return_exceptions=True
    )
    assert isinstance(results[3], StoreConflict)
    assert await store.thread.read(_numbers) == list(range(6))


async def test_commits_are_flushed_to_the_disk_and_readers_do_not_wait(store: Store) -> None:
    def pragmas(connection: Connection) -> list[object]:
        asked = ("synchronous", "journal_mode", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() for pragma in asked]

    assert await store.thread.read(pragmas) == [2, "wal", 1]


async def test_a_read_cannot_write(store: Store) -> None:
    await store.thread.read(lambda connection: _insert(connection, [(1, "good")]))
    assert await store.thread.read(_numbers) == []


async def test_a_read_does_not_wait_for_all_waiting_writes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "MAX_GROUP", 1)
    writes = [asyncio.ensure_future(store.thread.write(_insert, (number, "good"))) for number in range(50)]
    await asyncio.sleep(0)
    await store.thread.read(_numbers)
    assert not all(write.done() for write in writes)
    await asyncio.gather(*writes)


async def test_a_cancelled_caller_does_not_take_its_item_back(store: Store) -> None:
    write = asyncio.ensure_future(store.thread.write(_insert, (1, "good")))
    await asyncio.sleep(0)
    write.cancel()
    assert await store.thread.write(_insert, (2, "good")) == 2
    assert await store.thread.read(_numbers) == [1, 2]


async def test_closing_finishes_what_was_accepted_and_refuses_the_rest(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/zonecut.db")
    await store.thread.write(_create, None)
    writes = [asyncio.ensure_future(store.thread.write(_insert, (number, "good"))) for number in range(1000)]
    await asyncio.sleep(0)
    await store.close()
    assert [await write for write in writes] == list(range(1000))
    with pytest.raises(StoreUnavailable, match="is closed"):
        await store.thread.read(_numbers)
    await store.close()


async def test_a_full_disk_is_an_error_of_the_moment(store: Store) -> None:
    # SQLite's own limit of pages stands for the disk's; it is a property of the connection, and a new one has none.
    def shrink(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    await store.thread.read(shrink)
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        await store.thread.write(_insert, (1, "x" * 100_000))
    assert await store.thread.write(_insert, (2, "x" * 100_000)) == 2
    assert await store.thread.read(_numbers) == [2]


async def test_a_read_only_file_is_readable_and_says_so_when_written(store: Store) -> None:
    await store.thread.write(_insert, (1, "good"))
    await store.thread.read(lambda connection: connection.exec_driver_sql("PRAGMA query_only=1").close())
    assert await store.thread.read(_numbers) == [1]
    with pytest.raises(StoreUnavailable, match="read-only"):
        await store.audit.record(AuditEntry("test", "nobody"))
    await store.audit.record(AuditEntry("test", "nobody"))


async def test_reads_go_on_while_another_process_holds_the_lock(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sqlite3.connect(tmp_path / "zonecut.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write = asyncio.ensure_future(store.thread.write(_insert, (1, "good")))
    await asyncio.sleep(0.05)
    assert await store.thread.read(_numbers) == []
    assert not write.done()
    other.execute("COMMIT")
    assert await write == 1
    monkeypatch.setattr(store_thread, "LOCK_PATIENCE", 0.1)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="another process holds its lock"):
        await store.thread.write(_insert, (2, "good"))
    other.execute("COMMIT")
    assert await store.thread.write(_insert, (2, "good")) == 2
    other.close()


async def test_a_damaged_statement_is_no_error_of_the_database_library(store: Store) -> None:
    with pytest.raises(StoreUnavailable, match="no such table"):
        await store.thread.read(lambda connection: connection.execute(text("SELECT * FROM missing")))


_COLLABORATORS = {
    "the engine": ("_engine", "connect"),
    "the file": ("_file", "check"),
    "the lock": ("_file._lock", "check"),
    "what others are told": ("_file._lock", "publish"),
    "the contents": ("marking", "check"),
    "the mark": ("marking", "keep"),
    "what the mark is told": ("marking", "recorded"),
    "who is told": ("", "noticed"),
    "who is told of defects": ("", "failed"),
    "the transaction": ("_connection", "commit"),
    "the transaction that ends": ("_connection", "rollback"),
    "the connection that is closed": ("_connection", "close"),
}


@pytest.mark.parametrize("error", [OSError(27, "File too large"), MemoryError(), StopIteration(), SystemExit(1)])
@pytest.mark.parametrize("where", _COLLABORATORS)
async def test_nothing_that_goes_wrong_ends_the_thread_or_leaves_anybody_waiting(
    tmp_path: Path, where: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise error

    async def ended(work: Awaitable[object]) -> bool:
        """Whether it came about. What did not is told as any trouble of the store."""
        try:
            await asyncio.wait_for(work, 5)
        except StoreUnavailable:
            return False
        return True

    def damaged(connection: Connection) -> None:
        connection.execute(text("SELECT nonsense"))

    url, defects = f"sqlite:///{tmp_path}/zonecut.db", list[str]()
    with locked(url) as lock:
        async with Store.open(url, writes=True, lock=lock) as store:
            await store.thread.write(_create, None)
            store.thread.failed = lambda what, _: defects.append(what)
            owner, name = _COLLABORATORS[where]
            for owned in filter(None, owner.split(".")):
                assert owned != "_connection" or store.thread._connection is not None
            target = operator.attrgetter(f"thread.{owner}" if owner else "thread")(store)
            with monkeypatch.context() as broken:
                broken.setattr(target, name, fail)
                assert not await ended(store.thread.read(damaged))  # so that a connection is closed and opened
                for number in range(3):
                    await ended(store.thread.write(_insert, (number, "good")))
                    await ended(store.thread.read(_numbers))
                waiting = [ended(store.thread.write(_insert, (number, "good"))) for number in range(3, 20)]
                await asyncio.gather(*waiting, ended(store.thread.read(_numbers)))
            assert await store.thread.write(_insert, (100, "good")) == 100
            assert 100 in await store.thread.read(_numbers)
            await store.audit.record(AuditEntry("test", "nobody"))
            assert store.restored is None
    async with Store.open(url, writes=True) as store:
        assert store.restored is None
        assert len(await store.audit.list()) == 1


@pytest.mark.parametrize("error", [StopIteration(), KeyboardInterrupt(), SystemExit(1)])
async def test_a_handler_s_exception_that_no_future_takes_leaves_the_others_of_its_group_alone(
    store: Store, error: BaseException
) -> None:
    def handler(connection: Connection, items: Sequence[int]) -> Sequence[int]:
        if 3 in items:
            raise error
        return _insert(connection, [(number, "good") for number in items])

    work = [store.thread.write(handler, number) for number in range(6)]
    ended = await asyncio.wait_for(asyncio.gather(*work, return_exceptions=True), 5)
    assert isinstance(ended.pop(3), StoreUnavailable)
    assert ended == [0, 1, 2, 4, 5]
    assert await store.thread.read(_numbers) == ended


async def test_what_is_durable_is_not_executed_again_whatever_follows(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.thread.marking is not None
    with monkeypatch.context() as broken:
        broken.setattr(store.thread.marking, "recorded", lambda _: 1 / 0)
        records = [store.audit.record(AuditEntry("test", "nobody")) for _ in range(5)]
        ended = await asyncio.gather(*records, return_exceptions=True)
    assert all(isinstance(each, StoreUnavailable) for each in ended)
    assert len(await store.audit.list()) == 5


async def test_others_refuse_while_the_daemon_cannot_say_what_it_has_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/zonecut.db"
    program = """if True:
        import asyncio, sys
        from zonecut.store import Store
        async def main():
            async with Store.open(sys.argv[1]) as store:
                print(len(await store.audit.list()))
        asyncio.run(main())
    """

    async def command() -> str:
        pipe = asyncio.subprocess.PIPE
        arguments = [sys.executable, "-c", program, url]
        process = await asyncio.create_subprocess_exec(*arguments, stdout=pipe, stderr=pipe)
        return b"".join(await process.communicate()).decode()

    def full(*_: object) -> int:
        raise OSError(27, "File too large")

    with locked(url) as lock:
        async with Store.open(url, writes=True, lock=lock) as store:
            await store.audit.record(AuditEntry("test", "nobody"))
            with monkeypatch.context() as broken:
                broken.setattr(os, "pwrite", full)
                with pytest.raises(StoreUnavailable):
                    await store.thread.read(lambda connection: connection.execute(text("SELECT nonsense")))
                await store.audit.record(AuditEntry("test", "nobody"))  # it goes on
                assert "does not say which files it has open" in await command()
            await store.audit.list()
            assert await command() == "2\n"
