"""The adapter `database` and what is peculiar to databases: others who edit, permissions, locks, versions, history."""

import asyncio
import random
import resource
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import dns.zone
import psycopg
import pymysql
import pytest
from sqlalchemy import text

from database_world import CHILD, KINDS, delegation, made, name, opened, registry_of, replayed
from lab.daemons.postgresql import PostgreSql, hand_over, home
from lab.daemons.server import Add, Delete
from lab.ports import free_port
from lab.registry import MariaDbRegistry, PostgreSqlRegistry, Registry, SqliteRegistry
from lab.tls import self_signed
from lab.unprivileged import unprivileged
from lab.zones import PARENT, ParentZone
from zonecut.plugin import (
    BackendConflict,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
    Reading,
    Unreadable,
)
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.rrset import RRset
from zonecut_database.backend import DatabaseBackend

NOT_TAKEN = (
    sqlite3.IntegrityError,
    psycopg.errors.IntegrityError,
    psycopg.errors.DataError,
    pymysql.err.IntegrityError,
    pymysql.err.DataError,
    pymysql.err.OperationalError,
)
"""What is raised for a row that the tables refuse."""


@pytest.fixture(params=KINDS)
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """A registry of each kind, with three delegations."""
    with registry_of(request, tmp_path) as made:
        yield made.add(ParentZone(PARENT, delegations=3))


@pytest.fixture
def on_postgresql(postgresql: PostgreSql, tmp_path: Path) -> Iterator[PostgreSqlRegistry]:
    registry = PostgreSqlRegistry(postgresql, tmp_path, "registry")
    with registry:
        yield registry.add(ParentZone(PARENT, delegations=3))


# The history


async def test_the_history_tells_what_changed_since_a_serial(registry: Registry) -> None:
    async with opened(registry) as backend:
        before = (await backend.read(names.from_text(CHILD))).delegation
        since = registry.serial(PARENT)
        after = Delegation.of(before.child, [*before.records[1:], RR(before.child, RRType.NS, b"\2ns\4test\0")])
        await backend.write([Change(before, after)])
        changed = {(action, record) for _, action, record in registry.history(PARENT, since)}
        gone = (CHILD, "NS", 86400, names.to_text(before.ns[0]))
        assert ("removed", gone) in changed
        assert {record for action, record in changed if action == "added"} == {
            (CHILD, "NS", 7200, "ns.test."),
            # the RRset has one TTL, which is the policy's
            (CHILD, "NS", 7200, names.to_text(before.ns[1])),
        }
        assert gone not in registry.records(PARENT)
        assert registry.serial(PARENT) == since + len(registry.history(PARENT, since))
        assert replayed(registry) == set(registry.records(PARENT))
        # nothing is noted where nothing changes
        now = registry.serial(PARENT)
        await backend.write([Change(after, after)])
        assert registry.serial(PARENT) == now


async def test_edits_of_others_are_in_the_history_too(registry: Registry) -> None:
    since = registry.serial(PARENT)
    registry.edit(PARENT, Delete(CHILD, "DS"), Add(CHILD, 60, "NS", "ns.elsewhere.test."))
    for _ in range(2):
        registry.execute(("UPDATE zonecut_records SET ttl = 61 WHERE rdata = ?", ("ns.elsewhere.test.",)))
    ds, *others = registry.history(PARENT, since)
    assert ds[1:] == ("removed", (CHILD, "DS", 3600, ds[2][3]))
    assert [entry[1:] for entry in others] == [
        ("added", (CHILD, "NS", 60, "ns.elsewhere.test.")),
        ("removed", (CHILD, "NS", 60, "ns.elsewhere.test.")),
        ("added", (CHILD, "NS", 61, "ns.elsewhere.test.")),
    ]
    assert replayed(registry) == set(registry.records(PARENT))


async def test_postgresql_notes_who_and_tells_listeners(on_postgresql: PostgreSqlRegistry) -> None:
    on_postgresql.execute(("INSERT INTO zonecut_zones (zone) VALUES (?)", ("other.test.",)))
    with on_postgresql.server.connect("registry") as listener:
        listener.execute("LISTEN zonecut")
        async with opened(on_postgresql) as backend:
            await backend.write([Change(Delegation(name(f"new{n}")), delegation(f"new{n}", n)) for n in range(20)])
        told = [(each.channel, each.payload) for each in listener.notifies(timeout=2, stop_after=1)]
        assert told == [("zonecut", PARENT)]
        assert not list(listener.notifies(timeout=0.1))
    authors = on_postgresql.execute(
        ("SELECT author, count(*) FROM zonecut_history GROUP BY author ORDER BY author", ())
    )
    assert authors == [("postgres", 3 + 18), ("registry", 80)]


async def test_many_who_write_at_once_leave_a_history_without_gaps(registry: Registry) -> None:
    """Two zonecuts and somebody with SQL; each takes what it finds, and a conflict is nothing but a conflict."""
    ended = threading.Event()
    edits = 0
    shared = f"shared.{PARENT}"

    def edit() -> None:
        nonlocal edits
        while not ended.is_set():
            number = random.randrange(50)
            with suppress(sqlite3.OperationalError, psycopg.errors.DeadlockDetected, pymysql.err.OperationalError):
                registry.edit(PARENT, Delete(shared, "NS"), Add(shared, 60, "NS", f"ns{number}.test."))
                edits += 1
            time.sleep(0.01)

    async def change(backend: DatabaseBackend, own: str) -> int:
        conflicts: list[bytes] = []
        for number in range(60):
            for child in (own, "shared"):
                held = (await backend.read(name(child))).delegation
                after = Delegation(name(child)) if number % 7 == 6 else delegation(child, number)
                try:
                    await backend.write([Change(held, after)])
                except BackendConflict as conflict:
                    conflicts += conflict.children
        assert set(conflicts) <= {name("shared")}
        return len(conflicts)

    async with opened(registry, timeout=20.0) as one, opened(registry, timeout=20.0) as other:
        thread = threading.Thread(target=edit)
        thread.start()
        try:
            conflicts = await asyncio.gather(change(one, "own1"), change(other, "own2"))
        finally:
            ended.set()
            thread.join()
        for backend, own in ((one, "own1"), (other, "own2")):
            assert (await backend.read(name(own))).delegation == delegation(own, 59)
    assert edits > 5
    assert sum(conflicts) < 120
    assert replayed(registry) == set(registry.records(PARENT))


# Others who hold a lock


async def test_who_reads_does_not_wait_for_somebodys_transaction(registry: Registry) -> None:
    async with opened(registry, timeout=2.0) as backend:
        change = Change(Delegation(name("new")), delegation("new", 1))
        with registry.transaction() as execute:
            execute(f"UPDATE zonecut_records SET ttl = 5 WHERE owner = '{CHILD}'")
            began = time.monotonic()
            assert (await backend.read(names.from_text(CHILD))).delegation.is_delegated
            assert time.monotonic() - began < 1
            with pytest.raises(BackendUnavailable, match="somebody else's transaction holds"):
                await backend.write([change])
            assert time.monotonic() - began < 4
        await backend.write([change])
        assert await backend.verify([change]) == ()


async def test_an_edit_that_comes_first_is_the_new_before(registry: Registry) -> None:
    """A write that waits for somebody's transaction is judged on what that one left."""
    async with opened(registry) as backend:
        before = (await backend.read(names.from_text(CHILD))).delegation
        with registry.transaction() as execute:
            execute(f"DELETE FROM zonecut_records WHERE owner = '{CHILD}' AND type = 'DS'")
            writing = asyncio.create_task(backend.write([Change(before, delegation("child1", 9))]))
            await asyncio.sleep(0.3)
            assert not writing.done()
        with pytest.raises(BackendConflict) as conflict:
            await writing
        assert conflict.value.children == (names.from_text(CHILD),)
        held = (await backend.read(names.from_text(CHILD))).delegation
        assert held == Delegation(before.child, before.ns, (), before.glue)


async def test_somebody_who_locked_rows_before_the_zone_gets_through(on_postgresql: PostgreSqlRegistry) -> None:
    """zonecut has the zone and wants the row, the other has the row and wants the zone: zonecut gives way."""
    async with opened(on_postgresql) as backend:
        before = (await backend.read(names.from_text(CHILD))).delegation
        with on_postgresql.server.connect("registry") as other, other.transaction():
            other.execute(f"SELECT FROM zonecut_records WHERE owner = '{CHILD}' FOR UPDATE")
            writing = asyncio.create_task(backend.write([Change(before, delegation("child1", 9))]))
            await asyncio.sleep(0.2)
            deleted = await asyncio.to_thread(
                other.execute, f"DELETE FROM zonecut_records WHERE owner = '{CHILD}' AND type = 'DS'"
            )
            assert deleted.rowcount == 1
        with pytest.raises(BackendConflict):
            await writing


# What stands in the tables


async def test_a_row_that_no_zone_could_hold_is_named_and_spoils_nothing_else(registry: Registry) -> None:
    long = "x" * 64
    good = Change(Delegation(name("new")), delegation("new", 1))
    async with opened(registry) as backend:
        held = (await backend.read(names.from_text(CHILD))).delegation
        registry.edit(PARENT, Add(CHILD, 60, "NS", f"{long}.test."))
        with pytest.raises(
            BackendMisconfigured, match=rf"the row with id \d+ \({CHILD} NS {long}\.test\.\) makes no sense"
        ):
            await backend.read(names.from_text(CHILD))
        bad = Change(Delegation(names.from_text(CHILD)), delegation("child1", 1))
        with pytest.raises(BackendRejected, match=long) as rejected:
            await backend.write([good, bad])
        assert rejected.value.children == (bad.child,)
        assert await backend.verify([good, bad]) == (good.child, bad.child)
        # what is there is there, whatever else is
        assert await backend.verify([Change(held, held)]) == ()
        await backend.write([good])
        (unreadable,) = [each async for each in backend.children() if isinstance(each, Unreadable)]
        assert (unreadable.child, unreadable.name) == (bad.child, CHILD)
        assert long in unreadable.reason
        registry.execute(("DELETE FROM zonecut_records WHERE rdata = ?", (f"{long}.test.",)))
        assert (await backend.read(bad.child)).delegation.is_delegated


@pytest.mark.parametrize(
    ("child", "owner", "rtype", "rdata", "unreadable"),
    [
        (f"a..{PARENT}", f"a..{PARENT}", "NS", "ns.x.", f"a..{PARENT}"),
        (f"{'b' * 65}.{PARENT}", f"{'b' * 65}.{PARENT}", "NS", "ns.x.", f"{'b' * 65}.{PARENT}"),
        (f"c\\999.{PARENT}", f"c\\999.{PARENT}", "NS", "ns.x.", f"c\\999.{PARENT}"),
        (f"d\\046e.{PARENT}", f"d\\046e.{PARENT}", "NS", "ns.x.", f"d\\046e.{PARENT}"),
        (f"x\\.{PARENT}", f"x\\.{PARENT}", "NS", "ns.x.", f"x\\.{PARENT}"),
        (f"q..{CHILD}", f"q..{CHILD}", "NS", "ns.x.", f"q..{CHILD}"),
        (CHILD, CHILD, "NS", "n..x.", CHILD),
        (CHILD, f"ns1.{CHILD}", "A", "999.1.1.1", CHILD),
        (CHILD, CHILD, "DS", "1 2 3 ABC", CHILD),
    ],
)
async def test_one_senseless_row_stops_no_listing(
    registry: Registry, child: str, owner: str, rtype: str, rdata: str, unreadable: str
) -> None:
    """Nine kinds that the tables' own constraints let pass, in SQLite at least."""
    try:
        registry.insert([(PARENT, child, owner, rtype, 60, rdata)])
    except (psycopg.errors.CheckViolation, psycopg.errors.InvalidTextRepresentation, pymysql.err.OperationalError):
        return  # PostgreSQL and MariaDB look at addresses and digests themselves
    async with opened(registry) as backend:
        found = [each async for each in backend.children()]
        (told,) = [each for each in found if isinstance(each, Unreadable)]
        assert told.name == unreadable
        assert told.reason
        readable = {each.delegation.child for each in found if isinstance(each, Reading)}
        others = {name("child0"), name("child1"), name("child2")} - {told.child}
        assert readable == others
        for other in others:
            assert (await backend.read(other)).delegation.is_delegated


async def test_glue_counts_wherever_it_is_filed(registry: Registry) -> None:
    registry.execute(("UPDATE zonecut_records SET child = zone WHERE owner = ?", (f"ns1.{CHILD}",)))
    child = names.from_text(CHILD)
    async with opened(registry) as backend:
        before = (await backend.read(child)).delegation
        assert {rr.owner for rr in before.glue} == {name("ns1.child1"), name("ns2.child1")}
        listed = [each async for each in backend.children() if isinstance(each, Reading)]
        assert [each.delegation for each in listed if each.delegation.child == child] == [before]
        await backend.write([Change(before, delegation("child1", 3))])
        assert not [record for record in registry.records(PARENT) if record[0] == f"ns1.{CHILD}"]


async def test_delegations_around_and_below_are_found_at_any_depth(registry: Registry) -> None:
    deep = [f"a.b.c.{PARENT}", f"c.{PARENT}", f"x_.c.{PARENT}", f"y.x_.c.{PARENT}", f"y.xx.c.{PARENT}"]
    registry.edit(PARENT, *(Add(owner, 60, "NS", "ns.test.") for owner in deep))
    async with opened(registry) as backend:
        found = {each.delegation.child: each async for each in backend.children() if isinstance(each, Reading)}
        for child in (*map(names.from_text, deep), name("b.c"), name("q.x_.c"), name("child0")):
            reading = await backend.read(child)
            assert reading.enclosing == (name("c") if names.is_below(child, name("c")) else None)
            below = {names.from_text(owner) for owner in deep if names.is_below(names.from_text(owner), child)}
            assert reading.nested == tuple(sorted(below))
            if child in found:
                assert found[child] == reading
        assert len(found) == 3 + len(deep)


async def test_large_keys_and_types_of_others_are_published_and_read(registry: Registry) -> None:
    """An ML-DSA-87 key takes more octets than PostgreSQL puts into an entry of an index."""
    mail = f"mail.{PARENT}"
    registry.edit(PARENT, Add(mail, 60, "MX", "10 mx.test."), Add(mail, 60, "TXT", '"a b" "c"'))
    keys = tuple(b"\2\0\3\xc9" + random.Random(n).randbytes(2592) for n in range(2))
    target = name("updater")
    async with opened(registry) as backend:
        await backend.replace_rrsets((), [RRset(target, RRType.KEY, 60, keys), RRset(target, 4711, 60, (b"\0\1",))])
        assert {each.rdatas for each in await backend.read_rrsets([target])} == {tuple(sorted(keys)), (b"\0\1",)}
        assert (f"updater.{PARENT}", "TYPE4711", 60, "\\# 2 0001") in registry.records(PARENT)
        held = {each.rtype: each.rdatas for each in await backend.read_rrsets([name("mail")])}
        assert held == {15: (b"\0\x0a\2mx\4test\0",), 16: (b"\3a b\1c",)}
        # and a generator can make a zone of all that
        zone = dns.zone.from_text(registry.generated(PARENT)[0], PARENT, relativize=False)
        assert len(zone.find_rdataset(f"updater.{PARENT}", "KEY")) == 2


def test_the_tables_take_nothing_that_is_written_in_two_ways(registry: Registry) -> None:
    for child, owner, rtype, ttl, rdata in (
        (CHILD, CHILD, "NS", 60, "NS.test."),
        (CHILD, CHILD, "NS", 60, "ns"),
        (CHILD, f"ns.{CHILD[:-1]}", "A", 60, "11.0.0.1"),
        ("Child1.parent.test.", "Child1.parent.test.", "NS", 60, "ns.test."),
        (CHILD, f"ns.{CHILD}", "a", 60, "11.0.0.1"),
        (CHILD, f"ns.{CHILD}", "A", 60, "11.0.0.1.1"),
        (CHILD, f"ns.{CHILD}", "A", 60, "11.0.0.01"),
        (CHILD, f"ns.{CHILD}", "AAAA", 60, "2001:DB8::1"),
        (CHILD, CHILD, "DS", 60, "1 13 2 abcd"),
        (CHILD, CHILD, "DS", 60, "1 13 2"),
        (CHILD, CHILD, "NS", -1, "ns.test."),
        (CHILD, CHILD, "TXT", 60, "hello"),
        (PARENT, CHILD, "NS", 60, "ns.test."),
        (PARENT, CHILD, "TYPE2", 60, "\\# 1 00"),
        (PARENT, CHILD, "TXT", 60, '"a\nb"'),
        (PARENT, CHILD, "TXT", 60, ""),
        (PARENT, "elsewhere.test.", "A", 60, "11.0.0.1"),
        (CHILD, f"other.{PARENT}", "A", 60, "11.0.0.1"),
        (CHILD, CHILD, "NS", 60, f"ns1.{CHILD}"),
        (CHILD, CHILD, "NS", 60, "bücher.test."),
    ):
        with pytest.raises(NOT_TAKEN):
            registry.insert([(PARENT, child, owner, rtype, ttl, rdata)])
    if isinstance(registry, SqliteRegistry):
        unfit: Sequence[tuple[Any, Any]] = ((60, b"ns.test."), ("60 s", "ns.test."), (2**31, "ns.test."))
        for seconds, data in unfit:
            with pytest.raises(sqlite3.IntegrityError):
                registry.insert([(PARENT, CHILD, CHILD, "NS", seconds, data)])
    assert replayed(registry) == set(registry.records(PARENT))


# The tables themselves


async def test_the_tables_are_made_once_by_whoever_comes_first(registry: Registry, tmp_path: Path) -> None:
    empty = empty_database(registry, tmp_path)
    with pytest.raises(
        BackendMisconfigured, match=r"has no zone parent\.test\.; if it should: INSERT INTO zonecut_zones"
    ):
        await made(empty).open()
    results = await asyncio.gather(*(made(empty).open() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(each, BackendMisconfigured) for each in results)
    with execute_in(empty, registry) as execute:
        execute("INSERT INTO zonecut_zones (zone) VALUES ('parent.test.')")
    async with opened(empty) as backend:
        await backend.write([Change(Delegation(name("new")), delegation("new", 1))])
        assert (await backend.read(name("new"))).delegation == delegation("new", 1)


async def test_five_who_come_at_once_make_the_tables_once(registry: Registry, tmp_path: Path) -> None:
    empty = empty_database(registry, tmp_path)
    results = await asyncio.gather(*(made(empty).open() for _ in range(5)), return_exceptions=True)
    assert [str(each) for each in results if "has no zone" not in str(each)] == []


async def test_tables_of_a_newer_version_are_refused(registry: Registry) -> None:
    registry.execute(("UPDATE zonecut_schema SET version = 2", ()))
    with pytest.raises(BackendMisconfigured, match="the tables have version 2, and this zonecut knows version 1"):
        await made(registry).open()


async def test_tables_of_another_program_are_no_place_for_ours(registry: Registry, tmp_path: Path) -> None:
    empty = empty_database(registry, tmp_path)
    with execute_in(empty, registry) as execute:
        execute("CREATE TABLE zonecut_records (something TEXT)")
    with pytest.raises(BackendMisconfigured, match="its tables are not those of zonecut"):
        await made(empty).open()
    with execute_in(empty, registry) as execute:
        execute("DROP TABLE zonecut_records")
    with pytest.raises(BackendMisconfigured, match="has no zone"):
        await made(empty).open()


async def test_tables_of_an_earlier_zonecut_get_a_table_of_consumers(registry: Registry) -> None:
    registry.execute(("DROP TABLE zonecut_consumers", ()))
    async with opened(registry) as backend:
        assert list(backend.remarks()) == []
        registry.consume(PARENT, "east", 1)
        told = await backend.progress()
        assert told.number == registry.serial(PARENT)
        assert [(each.name, each.number, each.failed) for each in told.consumers] == [("east", 1, False)]
    registry.execute(("DROP TABLE zonecut_consumers", ()))
    # not now, since somebody is at it: that keeps nobody from going on
    with registry.transaction() as execute:
        execute("UPDATE zonecut_records SET ttl = 17")
        async with opened(registry, timeout=1.0) as backend:
            assert (await backend.progress()).consumers == ()
            assert isinstance(registry, MariaDbRegistry) or "CREATE TABLE" in backend.remarks()[0]
    backends = [made(registry) for _ in range(5)]
    try:
        await asyncio.gather(*(backend.open() for backend in backends))
        assert [remark for backend in backends for remark in backend.remarks()] == []
    finally:
        await asyncio.gather(*(backend.close() for backend in backends))
    registry.consume(PARENT, "east", 1)
    # nobody can say anything that is neither well nor failed, or be two
    for statement in (
        "UPDATE zonecut_consumers SET status = 'fine'",
        "UPDATE zonecut_consumers SET consumer = ''",
        "INSERT INTO zonecut_consumers (consumer, zone, serial) SELECT consumer, zone, 2 FROM zonecut_consumers",
    ):
        with pytest.raises(NOT_TAKEN):
            registry.execute((statement, ()))


def empty_database(registry: Registry, directory: Path) -> dict[str, Any]:
    """`backend` with a database that has no tables, and belongs to the same role."""
    if isinstance(registry, SqliteRegistry):
        return {"url": f"sqlite:///{directory}/empty.db"}
    assert isinstance(registry, PostgreSqlRegistry | MariaDbRegistry)
    registry.drop_tables()
    return registry.backend()


@contextmanager
def execute_in(backend: dict[str, Any], registry: Registry) -> Iterator[Callable[[str], object]]:
    """Somebody executes statements in the database of a `backend`."""
    if not isinstance(registry, SqliteRegistry):
        yield lambda statement: registry.execute((statement, ()))
    else:
        with closing(sqlite3.connect(backend["url"].removeprefix("sqlite:///"))) as database, database:
            yield database.execute


# What goes wrong


async def test_what_a_role_may_not_do_is_told_as_the_grant_that_is_missing(
    on_postgresql: PostgreSqlRegistry, tmp_path: Path
) -> None:
    server = on_postgresql.server
    password_file = tmp_path / "guest.password"
    server.create_role("guest", password_file)
    guest = {"url": server.url("registry", "guest"), "password_file": password_file}
    grants = [
        "SELECT ON zonecut_schema",
        "SELECT, INSERT, UPDATE, DELETE ON zonecut_records",
        "SELECT, UPDATE ON zonecut_zones",
        "INSERT ON zonecut_history",
    ]
    told = [f"GRANT {grant} TO guest" for grant in grants]
    try:
        while told:
            with pytest.raises(BackendMisconfigured) as missing:
                await made(guest).open()
            assert missing.value.reason == f"permissions are missing: {'; '.join(told)}"
            server.execute(told.pop(0), database="registry")
        async with opened(guest) as backend:
            await backend.write([Change(Delegation(name("new")), delegation("new", 1))])
            await follows_when_allowed(backend, server, guest)
            server.execute("REVOKE INSERT ON zonecut_records FROM guest", database="registry")
            with pytest.raises(BackendMisconfigured, match="a permission is missing"):
                await backend.write([Change(Delegation(name("newer")), delegation("newer", 1))])
        assert ("guest",) in server.execute("SELECT DISTINCT author FROM zonecut_history", database="registry")
    finally:
        server.execute("DROP OWNED BY guest", "DROP ROLE guest", database="registry")


async def follows_when_allowed(backend: DatabaseBackend, server: PostgreSql, guest: dict[str, Any]) -> None:
    """Without a right on the table of consumers, or without the table, all works but for what it tells."""
    assert (await backend.progress()).consumers == ()
    assert "GRANT SELECT ON zonecut_consumers, SELECT ON zonecut_history to" in backend.remarks()[0]
    server.execute("ALTER TABLE zonecut_consumers RENAME TO gone", database="registry")
    async with opened(guest) as without:
        assert "have the tables' owner do this: CREATE TABLE IF NOT EXISTS zonecut_consumers (" in without.remarks()[0]
        assert (await without.progress()).number == (await backend.progress()).number
    server.execute("ALTER TABLE gone RENAME TO zonecut_consumers", database="registry")
    server.execute("GRANT SELECT ON zonecut_consumers, zonecut_history TO guest", database="registry")
    async with opened(guest) as allowed:
        assert list(allowed.remarks()) == []


async def test_a_read_only_file_is_told() -> None:
    with home() as directory:
        registry = SqliteRegistry(directory / "registry").add(ParentZone(PARENT, delegations=3))
        registry.file.chmod(0o444)
        with unprivileged(), pytest.raises(BackendMisconfigured, match="permissions of the file forbid it"):
            await made(registry).open()


async def test_a_read_only_server_is_told(on_postgresql: PostgreSqlRegistry) -> None:
    change = Change(Delegation(name("new")), delegation("new", 1))
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'registry'"
    async with opened(on_postgresql) as backend:
        on_postgresql.execute(("ALTER DATABASE registry SET default_transaction_read_only = on", ()))
        with pytest.raises(BackendMisconfigured, match="is read-only"):
            await made(on_postgresql).open()
        with pytest.raises(BackendMisconfigured, match="is read-only"):
            await backend.write([change])
        on_postgresql.server.execute("ALTER DATABASE registry RESET default_transaction_read_only", end)
        await backend.write([change])


async def test_connections_that_turn_out_to_be_read_only_are_not_kept(on_postgresql: PostgreSqlRegistry) -> None:
    """As those are that a pooler or a moved address leads to a standby; they stay so when there is a primary again."""
    url = f"{on_postgresql.backend()['url']}?target_session_attrs=any"
    change = Change(Delegation(name("new")), delegation("new", 1))
    async with opened(on_postgresql, url=url) as backend:
        await backend.write([Change(Delegation(name("first")), delegation("first", 1))])
        on_postgresql.server.execute(
            "ALTER DATABASE registry SET default_transaction_read_only = on",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'registry'",
        )
        assert (await backend.read(name("first"))).delegation.is_delegated
        with pytest.raises(BackendMisconfigured, match="it is read-only"):
            await backend.write([change])
        on_postgresql.server.execute("ALTER DATABASE registry RESET default_transaction_read_only")
        await backend.write([change])
        assert (await backend.read(name("new"))).delegation == delegation("new", 1)
        assert await settings_of(backend) == {"off"}


def content_of(file: str | Path) -> str:
    return Path(file).read_text().strip()


async def settings_of(backend: DatabaseBackend) -> set[str]:
    """What the sessions of a backend say about whether they are read-only."""
    threads = backend._threads
    assert threads is not None
    return {
        str(await thread.run(lambda connection: connection.execute(text("SHOW transaction_read_only")).scalar()))
        for thread in threads
    }


async def test_a_full_disk_is_told_and_survived(registry: Registry) -> None:
    change = Change(Delegation(name("new")), delegation("new", 1))
    async with opened(registry) as backend:
        many = [Change(Delegation(name(f"x{number}")), delegation(f"x{number}", number)) for number in range(200)]
        reason = r"the disk is full|writing the file failed"
        with full_disk(registry), pytest.raises(BackendUnavailable, match=reason) as told:
            await backend.write(many)
        assert type(told.value) is BackendUnavailable
        await backend.write([change])
        assert await backend.verify([change]) == ()
    assert replayed(registry) == set(registry.records(PARENT))


@contextmanager
def full_disk(registry: Registry) -> Iterator[None]:
    """No room: for SQLite none beyond little more than what its files have, for servers as their own errors say."""
    if isinstance(registry, SqliteRegistry):
        room = max(file.stat().st_size for file in registry.file.parent.iterdir()) + 32 * 1024
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        return
    if isinstance(registry, MariaDbRegistry):
        signal = "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'The table is full'"
        registry.execute((f"CREATE TRIGGER full_disk BEFORE INSERT ON zonecut_records FOR EACH ROW {signal}", ()))
        try:
            yield
        finally:
            registry.execute(("DROP TRIGGER full_disk", ()))
        return
    assert isinstance(registry, PostgreSqlRegistry)
    function = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
    body = "$$BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END$$"
    trigger = "CREATE TRIGGER full_disk BEFORE INSERT ON zonecut_records FOR EACH ROW EXECUTE FUNCTION full_disk()"
    registry.execute((f"{function} {body}", ()), (trigger, ()))
    try:
        yield
    finally:
        registry.execute(("DROP FUNCTION full_disk CASCADE", ()))


async def test_another_file_in_the_place_of_the_first_is_noticed(tmp_path: Path) -> None:
    registry = SqliteRegistry(tmp_path / "registry").add(ParentZone(PARENT, delegations=3))
    other = SqliteRegistry(tmp_path / "other").add(ParentZone(PARENT, delegations=1))
    async with opened(registry) as backend:
        change = Change(Delegation(name("new")), delegation("new", 1))
        await backend.write([change])
        # as who restores a copy does
        for file in (*registry.file.parent.glob("*-wal"), *registry.file.parent.glob("*-shm")):
            file.unlink()
        other.file.rename(registry.file)
        assert await backend.verify([change]) == (change.child,)
        await backend.write([change])
        assert replayed(registry) == set(registry.records(PARENT))
        registry.file.unlink()
        for operation in (backend.read(change.child), backend.write([change])):
            with pytest.raises(BackendUnavailable, match="is gone: there is no such file"):
                await operation
        assert not registry.file.exists()


async def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    file = tmp_path / "text.db"
    file.write_text("not a database, but a text that is long enough to look like one\n" * 20)
    with pytest.raises(BackendMisconfigured, match="the file is no SQLite database"):
        await made({"url": f"sqlite:///{file}"}).open()
    with pytest.raises(BackendMisconfigured, match="cannot be opened or made: No such file or directory"):
        await made({"url": f"sqlite:///{tmp_path}/none/file.db"}).open()
    with pytest.raises(BackendMisconfigured):
        await made({"url": f"sqlite:///{tmp_path}"}).open()


async def test_a_new_file_is_for_the_owner_of_its_directory_and_their_group(tmp_path: Path) -> None:
    with pytest.raises(BackendMisconfigured, match="has no zone"):
        await made({"url": f"sqlite:///{tmp_path}/new.db"}).open()
    assert (tmp_path / "new.db").stat().st_mode & 0o777 == 0o660


async def test_a_password_is_read_anew_for_each_connection_and_never_told(
    on_postgresql: PostgreSqlRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    server, file = on_postgresql.server, on_postgresql.password_file
    secret, another = file.read_text().strip(), secrets.token_hex(16)
    async with opened(on_postgresql) as backend:
        server.execute(f"ALTER ROLE registry PASSWORD '{another}'")
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'registry'")
        with pytest.raises(BackendMisconfigured, match="does not let us in") as refused:
            await backend.read(name("child1"))
        file.write_text(f"{another}\n")
        assert (await backend.read(name("child1"))).delegation.is_delegated
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'registry'")
        file.chmod(0o640)
        with pytest.raises(BackendMisconfigured, match="can be read by others") as open_to_all:
            await backend.read(name("child1"))
    told = f"{refused.getrepr(style='long')} {open_to_all.getrepr(style='long')} {caplog.text}"
    assert secret not in told
    assert another not in told


async def test_a_database_that_does_not_exist_and_one_where_nobody_listens(
    on_postgresql: PostgreSqlRegistry, tmp_path: Path
) -> None:
    url = on_postgresql.server.url("none", "registry")
    with pytest.raises(BackendMisconfigured, match='database "none" does not exist'):
        await made({"url": url, "password_file": on_postgresql.password_file}).open()
    with pytest.raises(BackendUnavailable, match="Connection refused") as refused:
        await made({"url": f"postgresql://registry@127.0.0.1:{free_port()}/registry"}).open()
    assert type(refused.value) is BackendUnavailable


async def test_tls_is_what_the_url_says(tmp_path: Path, on_postgresql: PostgreSqlRegistry) -> None:
    with pytest.raises(BackendMisconfigured, match="server does not support SSL"):
        await made(on_postgresql, url=f"{on_postgresql.backend()['url']}?sslmode=require").open()
    key, certificate = self_signed(tmp_path)
    (other := tmp_path / "other").mkdir()
    _, unknown = self_signed(other)
    with home() as directory:
        inside = directory / "tls.key"
        shutil.copy(key, inside)
        inside.chmod(0o600)
        hand_over(inside)
        shutil.copy(certificate, directory / "tls.pem")
        hand_over(directory / "tls.pem")
        settings = {"ssl": "on", "ssl_key_file": str(inside), "ssl_cert_file": str(directory / "tls.pem")}
        with (
            PostgreSql(directory, settings=settings) as server,
            PostgreSqlRegistry(server, tmp_path, "tls") as registry,
        ):
            registry.add(ParentZone(PARENT, delegations=1))
            url = registry.backend()["url"]
            async with opened(registry, url=f"{url}?sslmode=verify-full&sslrootcert={certificate}") as backend:
                assert (await backend.read(name("child0"))).delegation.is_delegated
                ((ssl,),) = server.execute(
                    "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'tls'"
                )
                assert ssl
            with pytest.raises(BackendMisconfigured, match="certificate verify failed"):
                await made(registry, url=f"{url}?sslmode=verify-full&sslrootcert={unknown}").open()


async def test_a_connection_that_dies_before_the_commit_is_replaced(on_postgresql: PostgreSqlRegistry) -> None:
    async with opened(on_postgresql) as backend:
        await backend.write([Change(Delegation(name("first")), delegation("first", 1))])
        body = "IF nextval('attempts') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NEW;"
        trigger = "CREATE TRIGGER deadly BEFORE INSERT ON zonecut_records FOR EACH ROW EXECUTE FUNCTION deadly()"
        on_postgresql.execute(
            ("CREATE SEQUENCE attempts", ()),
            (f"CREATE FUNCTION deadly() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN {body} END$$", ()),
            (trigger, ()),
        )
        await backend.write([Change(Delegation(name("new")), delegation("new", 1))])
        assert on_postgresql.execute(("SELECT last_value > 1 FROM attempts", ())) == [(True,)]
        assert (await backend.read(name("new"))).delegation == delegation("new", 1)
    assert replayed(on_postgresql) == set(on_postgresql.records(PARENT))


async def test_the_tables_may_stand_in_a_schema_of_their_own(on_postgresql: PostgreSqlRegistry) -> None:
    """Also for others, who may look for them elsewhere first."""
    on_postgresql.drop_tables()
    on_postgresql.execute(("CREATE SCHEMA delegations AUTHORIZATION registry", ()))
    backend = {
        **on_postgresql.backend(),
        "url": f"{on_postgresql.backend()['url']}?options=-csearch_path%3Ddelegations",
    }
    with pytest.raises(BackendMisconfigured, match="has no zone"):
        await made(backend).open()
    row = f"('{PARENT}', 'child1.{PARENT}', 'child1.{PARENT}', 'NS', 60, 'ns.test.')"
    on_postgresql.execute(
        ("CREATE TABLE zonecut_history (zone text)", ()),
        (f"INSERT INTO delegations.zonecut_zones (zone) VALUES ('{PARENT}')", ()),
        (f"INSERT INTO delegations.zonecut_records (zone, child, owner, type, ttl, rdata) VALUES {row}", ()),
    )
    async with opened(backend) as opening:
        assert (await opening.read(name("child1"))).delegation.ns == (names.from_text("ns.test."),)
    assert on_postgresql.execute(("SELECT serial, child FROM delegations.zonecut_history", ())) == [(1, CHILD)]


async def test_of_several_hosts_one_that_answers_is_used(on_postgresql: PostgreSqlRegistry) -> None:
    url = on_postgresql.backend()["url"]
    given = {"url": url.replace(f"127.0.0.1:{on_postgresql.server.port}", "")}
    hosts = f"?host=127.0.0.1:{free_port()}&host=127.0.0.1:{on_postgresql.server.port}&target_session_attrs=read-write"
    async with opened(on_postgresql, url=given["url"] + hosts) as backend:
        assert (await backend.read(name("child1"))).delegation.is_delegated


async def test_of_several_hosts_the_one_that_takes_changes_is_used(on_postgresql: PostgreSqlRegistry) -> None:
    """Nobody has to say so in the URL: a standby shows what was, and refuses what is written."""
    given = on_postgresql.backend()
    password = content_of(given["password_file"])
    with home() as directory, PostgreSql(directory, settings={"default_transaction_read_only": "on"}) as standby:
        writable = "SET default_transaction_read_only = off"
        standby.execute(writable, f"CREATE ROLE registry LOGIN PASSWORD '{password}'", "CREATE DATABASE registry")
        ports = (standby.port, on_postgresql.server.port)
        base = given["url"].replace(f"127.0.0.1:{on_postgresql.server.port}", "")
        change = Change(Delegation(name("new")), delegation("new", 1))
        async with opened(
            on_postgresql, url=f"{base}?" + "&".join(f"host=127.0.0.1:{port}" for port in ports)
        ) as backend:
            await backend.write([change])
            assert await backend.verify([change]) == ()
            assert await settings_of(backend) == {"off"}
        with pytest.raises(BackendMisconfigured, match="is read-only, a standby or"):
            await made(on_postgresql, url=f"{base}?host=127.0.0.1:{standby.port}").open()


async def test_a_trigger_of_the_registry_may_refuse_a_change_with_a_reason(registry: Registry) -> None:
    if isinstance(registry, SqliteRegistry):
        body = "BEGIN SELECT RAISE(ABORT, 'locked by the registrar'); END"
        statements = [f"CREATE TRIGGER locked BEFORE INSERT ON zonecut_records WHEN NEW.child = '{CHILD}' {body}"]
    elif isinstance(registry, MariaDbRegistry):
        body = "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'locked by the registrar'"
        trigger = "CREATE TRIGGER locked BEFORE INSERT ON zonecut_records FOR EACH ROW"
        statements = [f"{trigger} IF NEW.child = '{CHILD}' THEN {body}; END IF"]
    else:
        body = f"IF NEW.child = '{CHILD}' THEN RAISE 'locked by the registrar'; END IF; RETURN NEW;"
        statements = [
            f"CREATE FUNCTION locked() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body} END$$",
            "CREATE TRIGGER locked BEFORE INSERT ON zonecut_records FOR EACH ROW EXECUTE FUNCTION locked()",
        ]
    registry.execute(*((statement, ()) for statement in statements))
    async with opened(registry) as backend:
        before = (await backend.read(names.from_text(CHILD))).delegation
        good = Change(Delegation(name("new")), delegation("new", 1))
        with pytest.raises(BackendRejected, match="locked by the registrar"):
            await backend.write([good, Change(before, delegation("child1", 5))])
        await backend.write([good])
        assert (await backend.read(names.from_text(CHILD))).delegation == before
    assert replayed(registry) == set(registry.records(PARENT))


async def test_a_role_that_may_not_make_tables_is_told(on_postgresql: PostgreSqlRegistry) -> None:
    on_postgresql.server.execute("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", database="registry")
    on_postgresql.server.execute("GRANT USAGE ON SCHEMA public TO registry", database="registry")
    with pytest.raises(BackendMisconfigured, match=r"a permission is missing \(permission denied for schema public\)"):
        await made(on_postgresql).open()


async def test_a_password_file_without_a_password_is_told(on_postgresql: PostgreSqlRegistry) -> None:
    for content in (b"\n", b"\xff\xfe\n"):
        on_postgresql.password_file.write_bytes(content)
        with pytest.raises(BackendMisconfigured, match="is no line of text"):
            await made(on_postgresql).open()
