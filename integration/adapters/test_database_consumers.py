"""The adapter `database` and those who make the zone of its tables: what they write, lock or take away informs only."""

import asyncio
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from database_world import KINDS, delegation, name, opened, registry_of
from lab.daemons.postgresql import PostgreSql
from lab.registry import DsStatement, MariaDbRegistry, PostgreSqlRegistry, Registry, SqliteRegistry
from lab.zones import PARENT, ParentZone
from zonecut.plugin import MAX_CONSUMERS, MAX_NAMED_BY, BackendMisconfigured, BackendUnavailable, Change
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut_database.backend import DatabaseBackend

_ROW = f"INSERT INTO zonecut_consumers (consumer, zone, serial, {{}}) VALUES ('odd', '{PARENT}', {{}})"
_NAMED = f"INSERT INTO zonecut_consumers (zone, serial, consumer) VALUES ('{PARENT}', 1, {{}})"
FOREIGN = {
    SqliteRegistry: [
        _ROW.format("reason", "1, x'fffe'"),
        _ROW.format("reason", "1, CAST(x'ff' AS TEXT)"),
        _NAMED.format("x'ff00'"),
        _NAMED.format("CAST(x'ff' AS TEXT)"),
        _ROW.format("at", "1, 1e999"),
        _ROW.format("at", "1, x'00'"),
        _ROW.format("at", "1, 'some time'"),
        _ROW.format("at", "-9223372036854775808, '9999-12-31'"),
    ],
    PostgreSqlRegistry: [
        _ROW.format("at", "1, 'infinity'"),
        _ROW.format("at", "1, '-infinity'"),
        _ROW.format("at", "1, '4713-01-01 BC'"),
        _ROW.format("at", "1, '294276-12-31'"),
        _ROW.format("status", "9223372036854775807, 'failed'"),
        _ROW.format("reason", "-9223372036854775808, repeat(E'\\\\\\u2028\\n', 5000)"),
    ],
    MariaDbRegistry: [
        _ROW.format("at", "1, '0001-01-01'"),
        _ROW.format("at", "1, '9999-12-31'"),
        _ROW.format("status", "9223372036854775807, 'failed'"),
        _ROW.format("reason", "-9223372036854775808, repeat('\\n', 60000)"),
    ],
}
"""What somebody may write who makes the zone."""


@pytest.fixture(params=KINDS)
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    with registry_of(request, tmp_path) as made:
        yield made.add(ParentZone(PARENT, delegations=3))


@pytest.fixture
def on_postgresql(postgresql: PostgreSql, tmp_path: Path) -> Iterator[PostgreSqlRegistry]:
    with PostgreSqlRegistry(postgresql, tmp_path, "registry") as made:
        yield made.add(ParentZone(PARENT, delegations=3))


async def write(backend: DatabaseBackend, child: str) -> None:
    """Write a delegation, and know its number."""
    change = Change(Delegation(name(child)), delegation(child, 1))
    await backend.write([change])
    assert await backend.verify([change]) == ()
    assert await backend.history_number() > 0


async def test_whatever_a_consumer_writes_the_others_are_seen_and_the_zone_opens(registry: Registry) -> None:
    registry.consume(PARENT, "well", 3)
    for place, statement in enumerate(FOREIGN[type(registry)]):
        registry.execute(("DELETE FROM zonecut_consumers WHERE consumer <> 'well'", ()), (statement, ()))
        async with opened(registry) as backend:
            assert list(backend.remarks()) == [], statement
            told = await backend.progress()
            assert "well" in {each.name for each in told.consumers}
            (odd,) = (each for each in told.consumers if each.name != "well")
            assert odd.name.isprintable()
            assert len(odd.reason) <= 1000
            assert odd.idle is None or odd.idle >= 0
            await write(backend, f"new{place}")


async def test_a_number_that_is_none_is_the_failure_of_whoever_wrote_it(tmp_path: Path) -> None:
    registry = SqliteRegistry(tmp_path / "registry").add(ParentZone(PARENT, delegations=3))
    unchecked: DsStatement = ("PRAGMA ignore_check_constraints = ON", ())
    registry.execute(unchecked, (_ROW.format("status", "'many', 'ok'"), ()))
    # which is not what it looks like: two names that are written alike are two
    registry.execute((_NAMED.format("CAST('odd' AS BLOB)"), ()))
    async with opened(registry) as backend:
        first, second = (await backend.progress()).consumers
        assert [first.name, second.name] == ["odd", "odd (2)"]
        assert (first.number, first.failed) == (0, True)
        assert first.reason == ("its serial in zonecut_consumers is no number (many); have it write its row anew")
        assert not second.failed


@pytest.mark.parametrize("registry", ["sqlite", "postgresql"], indirect=True)
async def test_a_reason_of_any_length_is_cut_by_the_database(registry: Registry) -> None:
    registry.consume(PARENT, "wordy", 1, "x" * 20_000_000)
    async with opened(registry) as backend:
        tracemalloc.start()
        try:
            (wordy,) = (await backend.progress()).consumers
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert wordy.reason == "x" * 997 + "..."
        assert peak < 5_000_000


async def test_those_beyond_the_most_are_told_of_as_one_who_is_as_far_as_the_last(registry: Registry) -> None:
    async with opened(registry) as backend:
        number = await backend.history_number()
        for place in range(MAX_CONSUMERS):
            registry.consume(PARENT, f"c{place:02}", number)
        assert len((await backend.progress()).consumers) == MAX_CONSUMERS
        registry.consume(PARENT, "x", number)
        registry.consume(PARENT, "y", 1)
        *shown, rest = (await backend.progress()).consumers
        assert [each.name for each in shown] == [f"c{place:02}" for place in range(MAX_CONSUMERS)]
        assert (rest.name, rest.number, rest.failed) == ("(2 more)", 1, False)
        assert rest.owing is not None
        registry.consume(PARENT, "x", number + 1)
        assert (await backend.progress()).consumers[-1].reason == "one of them is above what is in the tables"
        registry.consume(PARENT, "x", number, "no room")
        rest = (await backend.progress()).consumers[-1]
        assert (rest.failed, rest.reason) == (True, "1 of them")


async def test_a_lock_on_their_table_costs_nobody_else_anything(on_postgresql: PostgreSqlRegistry) -> None:
    """A consumer may take it with the right to update a row."""
    registry = on_postgresql
    registry.consume(PARENT, "maker", 1)
    async with opened(registry, timeout=1.0) as backend:
        await backend.progress()
        with registry.transaction() as execute:
            execute("LOCK TABLE zonecut_consumers")
            looking = asyncio.create_task(backend.progress())
            await asyncio.sleep(0.1)
            started = time.monotonic()
            await write(backend, "new")
            await backend.read(name("new"))
            assert time.monotonic() - started < 0.4
            with pytest.raises(BackendUnavailable, match=r"from zonecut_consumers .*holds a lock.*tried again"):
                await looking
            async with opened(registry, timeout=1.0) as another:
                (remark,) = another.remarks()
                assert "it is tried again; zonecut_consumers may be locked" in remark
                await write(another, "newer")
                execute("COMMIT")
                assert [each.name for each in (await another.progress()).consumers] == ["maker"]
                assert list(another.remarks()) == []


async def test_a_table_that_goes_is_told_by_its_name_and_missed_by_nobody(registry: Registry) -> None:
    async with opened(registry) as backend:
        registry.execute(("DROP TABLE zonecut_consumers", ()))
        with pytest.raises(BackendMisconfigured, match=r"cannot be read from zonecut_consumers .*GRANT SELECT ON"):
            await backend.progress()
        await write(backend, "new")


async def test_an_owner_that_makes_no_sense_keeps_nobody_from_knowing_who_names_a_host(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """However many there are of them: whoever names it is found among them."""
    host, child = f"ns1.child1.{PARENT}", f"zz.{PARENT}"
    owners = [f"a{number}..{PARENT}" for number in range(2 * MAX_NAMED_BY)]
    registry.insert([(PARENT, owner, owner, "NS", 60, host) for owner in (*owners, child)])
    async with opened(registry) as backend:
        for _ in range(2):
            found = (await backend.hosts([names.from_text(host)]))[names.from_text(host)]
        assert set(found.named_by) == {names.from_text(f"child1.{PARENT}"), names.from_text(child)}
        told = [record.getMessage() for record in caplog.records]
        assert sum(f"the row {owners[0]} NS {host} makes no sense" in each for each in told) == 1
        more = [f"b{number}..{PARENT}" for number in range(200)]
        registry.insert([(PARENT, owner, owner, "NS", 60, host) for owner in more])
        with pytest.raises(
            BackendMisconfigured, match=r"rows that name ns1\.child1\..* make no sense, such as that of"
        ):
            await backend.hosts([names.from_text(host)])


async def test_truncate_is_in_the_history_as_what_it_took_away(on_postgresql: PostgreSqlRegistry) -> None:
    registry = on_postgresql
    registry.add(ParentZone("other.test.", delegations=1))
    for _ in range(2):
        rows, serial = registry.records(PARENT), registry.serial(PARENT)
        registry.execute(("TRUNCATE zonecut_records", ()))
        gone = registry.history(PARENT, serial)
        assert sorted(record for _, action, record in gone if action == "removed") == sorted(rows)
        assert registry.serial(PARENT) == serial + len(rows) > serial
        assert registry.serial("other.test.") == len(registry.history("other.test."))
        # tables of an earlier zonecut come to have it
        registry.execute(("DROP FUNCTION zonecut_note_truncate CASCADE", ()))
        async with opened(registry) as backend:
            assert list(backend.remarks()) == []
            await write(backend, "new")


async def test_who_may_not_add_what_is_new_is_told_what_the_owner_is_to_do(
    on_postgresql: PostgreSqlRegistry, tmp_path: Path
) -> None:
    server, file = on_postgresql.server, tmp_path / "guest.password"
    server.create_role("guest", file)
    try:
        server.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO guest", database="registry")
        server.execute("REVOKE TRIGGER ON zonecut_records FROM guest", database="registry")
        server.execute("DROP FUNCTION zonecut_note_truncate CASCADE", database="registry")
        async with opened({"url": server.url("registry", "guest"), "password_file": file}) as backend:
            (remark,) = backend.remarks()
            assert remark.startswith("a trigger that notes TRUNCATE is missing (")
            making = remark.partition("have the tables' owner do this: ")[2]
        on_postgresql.execute((making, ()))
        async with opened({"url": server.url("registry", "guest"), "password_file": file}) as backend:
            assert list(backend.remarks()) == []
    finally:
        server.execute("DROP OWNED BY guest", "DROP ROLE guest", database="registry")
