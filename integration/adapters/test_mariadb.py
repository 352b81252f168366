"""The adapter `database` on MariaDB, and what is peculiar to that server: locks, rights, tables made by halves."""

import asyncio
import os
import pwd
import secrets
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pymysql
import pytest

from database_world import CHILD, delegation, made, name, opened, replayed
from lab.daemons.mariadb import MariaDb
from lab.daemons.postgresql import hand_over, home
from lab.ports import free_port
from lab.registry import MariaDbRegistry
from lab.tls import self_signed
from lab.zones import PARENT, ParentZone
from zonecut.plugin import BackendConflict, BackendMisconfigured, BackendUnavailable, Change, Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut_database import schema

NEW = Change(Delegation(name("new")), delegation("new", 1))


@pytest.fixture
def registry(mariadb: MariaDb, tmp_path: Path) -> Iterator[MariaDbRegistry]:
    """The tables with three delegations."""
    with MariaDbRegistry(mariadb, tmp_path, "registry") as made_there:
        yield made_there.add(ParentZone(PARENT, delegations=3))


# The tables themselves


async def test_tables_that_were_made_by_halves_are_finished_at_the_next_start(registry: MariaDbRegistry) -> None:
    """No statement that makes something can be taken back: whoever is killed in between leaves what he has made."""
    statements = list(schema.statements("mariadb"))
    for count in range(1, len(statements), 2):
        registry.drop_tables()
        registry.execute(*((statement, ()) for statement in statements[:count]))
        with pytest.raises(BackendMisconfigured, match=r"has no zone parent\.test\."):
            await made(registry).open()
        registry.execute(("INSERT INTO zonecut_zones (zone) VALUES (?)", (PARENT,)))
        async with opened(registry) as backend:
            await backend.write([NEW])
            assert await backend.verify([NEW]) == ()
        assert len(registry.history(PARENT)) == 4
        assert replayed(registry) == set(registry.records(PARENT))


async def test_the_longest_names_and_the_strangest_ones_are_held(registry: MariaDbRegistry) -> None:
    room = 255 - len(name("x")) + 2
    longest = bytes([63]) + b"\0" * 63
    child = longest * (room // 64) + bytes([room % 64 - 1]) + b"'" * (room % 64 - 1) + name("x")[2:]
    strange = names.from_text(f'\\%\\\\\\_\\"?\\;\\200.{PARENT}')
    assert len(child) == 255
    async with opened(registry) as backend:
        changes = []
        for owner in (child, strange):
            server = b"\3ns1" + owner if owner == strange else owner
            rrs = [RR(owner, RRType.NS, server), RR(owner, RRType.NS, child), RR(server, RRType.A, b"\x0b\0\0\1")]
            changes.append(Change(Delegation(owner), Delegation.of(owner, rrs)))
        await backend.write(changes)
        assert await backend.verify(changes) == ()
        for change in changes:
            assert (await backend.read(change.child)).delegation == change.after
        found = {each.delegation.child async for each in backend.children() if isinstance(each, Reading)}
        assert found == {child, strange, *(name(f"child{n}") for n in range(3))}
        assert (await backend.hosts([child]))[child].named_by == tuple(sorted((child, strange)))


async def test_what_differs_in_case_or_by_a_space_is_different(registry: MariaDbRegistry) -> None:
    for number, text in enumerate(("a", "A", "a ", "a  ")):
        registry.insert([(PARENT, PARENT, f"text.{PARENT}", "TXT", 60 + number, text)])
    with pytest.raises(pymysql.err.IntegrityError, match="Duplicate entry"):
        registry.insert([(PARENT, PARENT, f"text.{PARENT}", "TXT", 60, "a ")])
    for text in ("A", "a "):
        registry.execute(("DELETE FROM zonecut_records WHERE owner = ? AND rdata = ?", (f"text.{PARENT}", text)))
    left = {(record[2], record[3]) for record in registry.records(PARENT) if record[1] == "TXT"}
    assert left == {(60, "a"), (63, "a  ")}
    assert replayed(registry) == set(registry.records(PARENT))


async def test_a_zone_file_is_made_as_the_documentation_says(registry: MariaDbRegistry) -> None:
    lines = registry.execute(
        ("SELECT concat_ws(' ', owner, ttl, 'IN', type, rdata) FROM zonecut_records WHERE zone = ?", (PARENT,))
    )
    assert (f"{CHILD} 86400 IN NS ns1.{CHILD}",) in lines


# Others who hold a lock


async def test_somebody_who_locked_rows_before_the_zone_gets_through(registry: MariaDbRegistry) -> None:
    """zonecut has the zone and wants the row, the other has the row and wants the zone: zonecut gives way."""
    async with opened(registry) as backend:
        before = (await backend.read(names.from_text(CHILD))).delegation
        with registry.connection() as other, other.cursor() as cursor:
            cursor.execute(f"SELECT id FROM zonecut_records WHERE owner = '{CHILD}' FOR UPDATE")
            writing = asyncio.create_task(backend.write([Change(before, delegation("child1", 9))]))
            await asyncio.sleep(0.2)
            deleting = f"DELETE FROM zonecut_records WHERE owner = '{CHILD}' AND type = 'DS'"
            assert await asyncio.to_thread(cursor.execute, deleting) == 1
        with pytest.raises(BackendConflict):
            await writing


async def test_two_who_insert_at_once_wait_for_each_other(registry: MariaDbRegistry) -> None:
    """The foreign key of a row locks the zone; two who had such a lock could never get the one that counts."""
    row = "INSERT INTO zonecut_records (zone, child, owner, type, ttl, rdata) VALUES"
    with registry.connection() as one, one.cursor() as first:
        first.execute(f"{row} ('{PARENT}', '{PARENT}', 'a.{PARENT}', 'A', 60, '11.0.0.1')")

        def other() -> None:
            with registry.connection() as two, two.cursor() as second:
                for number in (1, 2):
                    second.execute(f"{row} ('{PARENT}', '{PARENT}', 'b.{PARENT}', 'A', 60, '11.0.0.{number}')")

        waiting = asyncio.create_task(asyncio.to_thread(other))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        first.execute(f"{row} ('{PARENT}', '{PARENT}', 'a.{PARENT}', 'A', 60, '11.0.0.2')")
    await waiting
    assert replayed(registry) == set(registry.records(PARENT))


async def test_somebody_who_changes_the_tables_themselves_is_waited_for_in_time(registry: MariaDbRegistry) -> None:
    async with opened(registry, timeout=1.5) as backend:
        with registry.connection() as other, other.cursor() as cursor:
            cursor.execute("LOCK TABLES zonecut_records WRITE, zonecut_zones WRITE")
            for operation in (backend.write([NEW]), backend.read(NEW.child)):
                with pytest.raises(BackendUnavailable, match=r"holds a lock|took too long") as told:
                    await operation
                assert type(told.value) is BackendUnavailable
            cursor.execute("UNLOCK TABLES")
        await backend.write([NEW])


# What goes wrong


async def test_a_permission_that_is_missing_is_told_as_the_grant(registry: MariaDbRegistry, tmp_path: Path) -> None:
    server, file = registry.server, tmp_path / "guest.password"
    server.create_user("guest", file)
    guest = {"url": server.url("registry", "guest"), "password_file": file}
    told = [
        "SELECT ON zonecut_schema",
        "SELECT, INSERT, UPDATE, DELETE ON zonecut_records",
        "SELECT, UPDATE ON zonecut_zones",
    ]
    try:
        with pytest.raises(BackendMisconfigured, match="it does not let us in"):
            await made(guest).open()
        server.execute(f"GRANT {told.pop(0)} TO guest", database="registry")
        while told:
            with pytest.raises(BackendMisconfigured) as missing:
                await made(guest).open()
            assert missing.value.reason == "permissions are missing: " + "; ".join(
                f"GRANT {grant} TO 'guest'@'%'" for grant in told
            )
            server.execute(f"GRANT {told.pop(0)} TO guest", database="registry")
        async with opened(guest) as backend:
            await backend.write([NEW])
            assert "GRANT SELECT ON zonecut_consumers, SELECT ON zonecut_history to" in backend.remarks()[0]
            server.execute("GRANT SELECT ON zonecut_consumers TO guest", database="registry")
            server.execute("GRANT SELECT ON zonecut_history TO guest", database="registry")
            async with opened(guest) as allowed:
                assert list(allowed.remarks()) == []
            registry.execute(("DROP TABLE zonecut_consumers", ()))
            async with opened(guest) as without:
                assert "have the tables' owner do this: CREATE TABLE" in without.remarks()[0]
                assert (await without.progress()).number == registry.serial(PARENT)
            server.execute("REVOKE INSERT ON zonecut_records FROM guest", database="registry")
            with pytest.raises(BackendMisconfigured, match="a permission is missing"):
                await backend.write([Change(Delegation(name("newer")), delegation("newer", 1))])
        authors = {author for (author,) in registry.execute(("SELECT DISTINCT author FROM zonecut_history", ()))}
        assert {author.partition("@")[0] for author in authors} == {"registry", "guest"}
        registry.drop_tables()
        with pytest.raises(BackendMisconfigured, match=r"it does not let us in|a permission is missing"):
            await made(guest).open()
    finally:
        server.execute("DROP USER guest")


async def test_triggers_of_an_account_that_is_gone_are_told(registry: MariaDbRegistry) -> None:
    server = registry.server
    server.execute("CREATE USER maker", "GRANT ALL ON registry.* TO maker")
    registry.drop_tables()
    with closing(server.connect("registry", user="maker")) as connection, connection.cursor() as cursor:
        for statement in schema.statements("mariadb"):
            cursor.execute(statement)
    registry.execute(("INSERT INTO zonecut_zones (zone) VALUES (?)", (PARENT,)))
    server.execute("DROP USER maker")
    async with opened(registry) as backend:
        with pytest.raises(BackendMisconfigured, match="the account is gone that made the tables"):
            await backend.write([NEW])
        registry.make_tables()
        await backend.write([NEW])


async def test_a_read_only_server_is_told_and_its_connections_are_not_kept(registry: MariaDbRegistry) -> None:
    async with opened(registry) as backend:
        await backend.write([Change(Delegation(name("first")), delegation("first", 1))])
        registry.server.execute("SET GLOBAL read_only = ON")
        assert (await backend.read(name("first"))).delegation.is_delegated
        with pytest.raises(BackendMisconfigured, match="it is read-only"):
            await backend.write([NEW])
        with pytest.raises(BackendMisconfigured, match="is read-only"):
            await made(registry).open()
        before = connections(registry)
        registry.server.execute("SET GLOBAL read_only = OFF")
        await backend.write([NEW])
        await backend.read(NEW.child)
        await backend.progress()
        assert not before & connections(registry)


def connections(registry: MariaDbRegistry) -> set[int]:
    """The ids of the connections of zonecut."""
    rows = registry.server.execute("SELECT id FROM information_schema.processlist WHERE user = 'registry'")
    return {number for (number,) in rows}


async def test_connections_that_are_ended_are_replaced(registry: MariaDbRegistry) -> None:
    async with opened(registry) as backend:
        await backend.write([Change(Delegation(name("first")), delegation("first", 1))])
        registry.server.end_connections("registry")
        await backend.write([NEW])
        registry.server.end_connections("registry")
        assert (await backend.read(NEW.child)).delegation == NEW.after
        # and in the middle of a transaction, which leaves nothing
        await backend.write([Change(Delegation(name("second")), delegation("second", 2))])
        other = Change(Delegation(name("other")), delegation("other", 3))
        with closing(registry.server.connect("registry")) as holder, holder.cursor() as cursor:
            holder.begin()
            cursor.execute(f"SELECT serial FROM zonecut_zones WHERE zone = '{PARENT}' FOR UPDATE")
            writing = asyncio.create_task(backend.write([other]))
            await asyncio.sleep(0.2)
            registry.server.end_connections("registry")
            holder.rollback()
        await writing
        await backend.write([other])
        assert await backend.verify([other]) == ()
    assert replayed(registry) == set(registry.records(PARENT))


async def test_a_password_is_read_anew_for_each_connection_and_never_told(
    registry: MariaDbRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    server, file = registry.server, registry.password_file
    secret, another = file.read_text().strip(), f"{secrets.token_hex(8)}\N{SNOWMAN}'"
    async with opened(registry) as backend:
        server.execute(f"ALTER USER registry IDENTIFIED BY '{another.replace(chr(39), chr(39) * 2)}'")
        server.end_connections("registry")
        with pytest.raises(BackendMisconfigured, match="does not let us in") as refused:
            await backend.read(name("child1"))
        file.write_text(f"{another}\n")
        assert (await backend.read(name("child1"))).delegation.is_delegated
    told = f"{refused.getrepr(style='long')} {caplog.text}"
    assert secret not in told
    assert another not in told


async def test_a_database_that_does_not_exist_and_one_where_nobody_listens(registry: MariaDbRegistry) -> None:
    registry.server.execute("GRANT ALL ON none.* TO registry")
    with pytest.raises(BackendMisconfigured, match=r"there is no such database .*Unknown database 'none'"):
        await made(registry, url=registry.server.url("none", "registry")).open()
    with pytest.raises(BackendUnavailable, match="Connection refused") as refused:
        await made({"url": f"mariadb://registry@127.0.0.1:{free_port()}/registry"}).open()
    assert type(refused.value) is BackendUnavailable


async def test_a_batch_is_more_than_one_statement_where_the_server_takes_little(registry: MariaDbRegistry) -> None:
    server = registry.server
    ((before,),) = server.execute("SELECT @@global.max_allowed_packet")
    label = "\\000" * 60
    changes = []
    for number in range(60):
        owner = names.from_text(f"c{number}.{label}.{PARENT}")
        targets = [names.from_text(f"n{n}.{label}.{label}.test.") for n in range(12)]
        changes.append(
            Change(Delegation(owner), Delegation.of(owner, [RR(owner, RRType.NS, each) for each in targets]))
        )
    try:
        server.execute(f"SET GLOBAL max_allowed_packet = {1 << 20}")
        async with opened(registry, timeout=10.0) as backend:
            await backend.write(changes)
            assert await backend.verify(changes) == ()
            await backend.write([Change(change.after, Delegation(change.child)) for change in changes])
        server.execute(f"SET GLOBAL max_allowed_packet = {1 << 19}")
        with pytest.raises(BackendMisconfigured, match="set max_allowed_packet to 1048576 or more there"):
            await made(registry).open()
    finally:
        server.execute(f"SET GLOBAL max_allowed_packet = {before}")
    assert replayed(registry) == set(registry.records(PARENT))


# Other servers


async def test_tls_is_what_the_url_says_and_an_account_may_be_that_of_the_system(tmp_path: Path) -> None:
    key, certificate = self_signed(tmp_path)
    (other := tmp_path / "other").mkdir()
    _, unknown = self_signed(other)
    with home("mariadb") as directory:
        for file in (key, certificate):
            shutil.copy(file, directory / file.name)
            (directory / file.name).chmod(0o600)
            hand_over(directory / file.name)
        settings = {"ssl-key": str(directory / key.name), "ssl-cert": str(directory / certificate.name)}
        with MariaDb(directory, settings=settings) as server, MariaDbRegistry(server, tmp_path, "tls") as registry:
            registry.add(ParentZone(PARENT, delegations=1))
            server.execute("ALTER USER tls REQUIRE SSL")
            url = registry.backend()["url"]
            async with opened(registry, url=f"{url}?ssl_ca={certificate}") as backend:
                assert (await backend.read(name("child0"))).delegation.is_delegated
            with pytest.raises(BackendMisconfigured, match="certificate verify failed"):
                await made(registry, url=f"{url}?ssl_ca={unknown}").open()
            with pytest.raises(BackendMisconfigured, match=r"TLS cannot be made from .*none"):
                await made(registry, url=f"{url}?ssl_ca={tmp_path}/none").open()
            owner = pwd.getpwuid(os.geteuid()).pw_name
            server.execute(f"ALTER USER IF EXISTS {owner}@localhost IDENTIFIED VIA unix_socket")
            server.execute(f"CREATE USER IF NOT EXISTS {owner}@localhost IDENTIFIED VIA unix_socket")
            server.execute(f"GRANT ALL ON tls.* TO {owner}@localhost")
            local = {"url": f"mariadb://{owner}@/tls?unix_socket={server.socket}"}
            async with opened(local) as backend:
                await backend.write([NEW])
        with serving(directory, tmp_path, **{"skip-ssl": "ON"}) as registry:
            url = f"{registry.backend()['url']}?ssl_ca={certificate}"
            with pytest.raises(BackendMisconfigured, match="SSL"):
                await made(registry, url=url).open()


async def test_servers_that_are_no_place_for_the_tables_are_told(tmp_path: Path) -> None:
    with home("mariadb") as directory:
        for version, told in (
            ("10.4.34-MariaDB-1:10.4.34", "is MariaDB 10.4.34-MariaDB.*, and 10.6 or later is needed"),
            ("8.0.36", "is no MariaDB: its version is 8.0.36|not a MariaDB variant"),
        ):
            with (
                serving(directory, tmp_path, version=version) as registry,
                pytest.raises(BackendMisconfigured, match=told),
            ):
                await made(registry).open()
        with serving(directory, tmp_path, **{"log-bin": "log", "binlog-format": "STATEMENT"}) as registry:
            with pytest.raises(BackendMisconfigured, match="binlog_format = STATEMENT cannot log"):
                await made(registry).open()
            registry.drop_tables()
            with pytest.raises(BackendMisconfigured, match="only an administrator makes triggers"):
                await made(registry).open()


@contextmanager
def serving(directory: Path, beside: Path, **settings: str) -> Iterator[MariaDbRegistry]:
    """A server with these settings, and the tables in it."""
    with MariaDb(directory, settings=settings) as server, MariaDbRegistry(server, beside, "registry") as registry:
        yield registry
