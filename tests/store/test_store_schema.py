"""Opening a store: URLs, files and their modes, the version of the tables."""

import asyncio
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from zonecut.store import Store, StoreUnusable
from zonecut.store.audit import AuditEntry
from zonecut.store.engine import make_engine, parse_url
from zonecut.store.schema import REVISIONS
from zonecut.store.tables import metadata


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory&uri=true",
        "sqlite:////tmp/x.db?mode=ro",
        "sqlite:///zonecut.db",
        "sqlite:///./zonecut.db",
        "mysql://localhost/x",
        "postgresql://localhost/x",
        "postgresql+psycopg://localhost/x",
        "/var/lib/zonecut.db",
        "",
    ],
)
def test_a_url_that_leads_to_no_lasting_store_is_refused_with_what_would_be_right(url: str) -> None:
    with pytest.raises(StoreUnusable, match="sqlite:////absolute/path") as refused:
        Store.open(url)
    assert url in refused.value.reason


def test_a_password_stays_out_of_the_message() -> None:
    with pytest.raises(StoreUnusable) as refused:
        Store.open("mysql://someone:secret@localhost/x")
    assert "secret" not in refused.value.reason


def _modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


async def test_the_first_use_makes_a_store_that_only_its_owner_reads(tmp_path: Path) -> None:
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        await store.audit.record(AuditEntry("test", "nobody"))
        await store.audit.list()  # what comes after a write comes after the mark of it, too
        modes = _modes(tmp_path)
    assert modes == dict.fromkeys(("zonecut.db", "zonecut.db-wal", "zonecut.db-shm", ".zonecut.db.mark"), 0o600)
    assert _modes(tmp_path) == {"zonecut.db": 0o600, ".zonecut.db.mark": 0o600}


async def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/zonecut.db"
    async with Store.open(url) as store:
        await store.audit.record(AuditEntry("test", "nobody"))
    async with Store.open(url) as store:
        assert [record.entry.event for record in await store.audit.list()] == ["test"]


def test_the_migrations_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    url = f"sqlite:///{tmp_path}/zonecut.db"
    Store.open(url)
    with make_engine(parse_url(url)).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    versions = Path(sys.modules[Store.__module__].__file__ or "").parent / "migrations" / "versions"
    assert sorted(path.name.split("_")[0] for path in versions.glob("0*.py")) == list(REVISIONS)


def test_a_store_that_is_up_to_date_opens_without_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/zonecut.db"
    Store.open(url)
    program = f"import sys; from zonecut.store import Store; Store.open({url!r}); sys.exit('alembic' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_older_store_is_upgraded_and_a_newer_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "zonecut.db"
    url = f"sqlite:///{path}"
    Store.open(url)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreUnusable, match=rf"version 9999.*up to {REVISIONS[-1]}.*a newer zonecut wrote it"):
        Store.open(url)


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    with pytest.raises(StoreUnusable, match="another program"):
        Store.open(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)
    connection.close()


def test_files_that_cannot_be_a_store_are_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match=r"no directory .*missing.*create it first"):
        Store.open(f"sqlite:///{tmp_path}/missing/zonecut.db")
    (tmp_path / "text.db").write_text("this is no database\n" * 100)
    with pytest.raises(StoreUnusable, match="no SQLite database"):
        Store.open(f"sqlite:///{tmp_path}/text.db")
    (tmp_path / "directory.db").mkdir()
    with pytest.raises(StoreUnusable, match="cannot be opened"):
        Store.open(f"sqlite:///{tmp_path}/directory.db")


async def test_processes_that_open_an_empty_store_at_once_all_succeed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/zonecut.db"
    await asyncio.gather(*(asyncio.to_thread(Store.open, url) for _ in range(4)))
    async with Store.open(url) as store:
        assert await store.audit.list() == []
