"""The adapter `database` under the adapter contract: on a SQLite file, on a real PostgreSQL and on a real MariaDB."""

import re
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from lab.daemons.mariadb import MariaDb
from lab.daemons.postgresql import PostgreSql
from lab.daemons.server import Add, Delete
from lab.registry import MariaDbRegistry, PostgreSqlRegistry, Record, Registry, ServedRegistry, SqliteRegistry
from lab.unprivileged import unprivileged
from zonecut.plugin import Backend, BackendContext
from zonecut.plugin.contract import BackendContract, ContractServer, Serve
from zonecut.protocol import names
from zonecut.protocol.codepoints import type_text
from zonecut.protocol.rrset import ResourceRecord, rdata_text
from zonecut_database import DatabaseOptions
from zonecut_database.backend import DatabaseBackend

_PATIENCE = 5.0
_LINE = re.compile(r"(\S+)\s+(?:([0-9]+)\s+)?(?:IN\s+)?([A-Z][A-Z0-9]*)\s+(.*)")


class ContractDatabase(ContractServer):
    """A registry's database with the contract's zone."""

    patience = _PATIENCE
    zone_name = BackendContract.zone_name

    def __init__(self, registry: Registry, master_file: str) -> None:
        self._registry = registry
        registry.load(self.zone_name, map(_record, master_file.splitlines()))

    def backend(self) -> Backend:
        return self._backend()

    def misplaced(self) -> Backend:
        return self._backend(zone="elsewhere.test.")

    def edit(self, remove: Sequence[tuple[bytes, int]] = (), add: Sequence[ResourceRecord] = ()) -> None:
        self._registry.edit(
            self.zone_name,
            *(Delete(names.to_text(owner), type_text(rtype)) for owner, rtype in remove),
            *(
                Add(names.to_text(owner), ttl, type_text(rtype), rdata_text(rtype, rdata))
                for owner, rtype, ttl, rdata in add
            ),
        )

    def lose_zone(self) -> None:
        self._registry.lose(self.zone_name)

    def find_zone(self) -> None:
        self._registry.find(self.zone_name)

    def spoil(self, child: bytes) -> bool:
        text = names.to_text(child)
        self._registry.insert([(self.zone_name, text, text, "NS", 60, "n..x.")])
        return True

    def consume(self, consumer: str, number: int, failure: str = "") -> bool:
        self._registry.consume(self.zone_name, consumer, number, failure)
        return True

    def _backend(self, zone: str = zone_name, **options: object) -> Backend:
        given = {**self._registry.backend(), "timeout": _PATIENCE, **options}
        del given["adapter"]
        return DatabaseBackend(BackendContext(names.from_text(zone), self.ttls), DatabaseOptions.model_validate(given))


class OnSqlite(ContractDatabase):
    """There is no server: what can be away is the directory with the file, and what can hang is somebody's lock."""

    def __init__(self, directory: Path, master_file: str) -> None:
        self._directory = directory
        self._away = directory.with_name("away")
        self._others: sqlite3.Connection | None = None
        super().__init__(SqliteRegistry(directory), master_file)

    @contextmanager
    def stranger(self) -> Iterator[Backend]:
        with unprivileged_without(self._directory):
            yield self._backend()

    def stop(self) -> None:
        self._directory.rename(self._away)

    def start(self) -> None:
        self._away.rename(self._directory)

    def hold(self) -> None:
        self._others = sqlite3.connect(self._directory / "registry.db", isolation_level=None)
        self._others.execute("BEGIN EXCLUSIVE")

    def release(self) -> None:
        assert self._others is not None
        with closing(self._others):
            self._others.execute("ROLLBACK")


@contextmanager
def unprivileged_without(directory: Path) -> Iterator[None]:
    """As somebody who may not enter a directory."""
    mode = directory.stat().st_mode
    directory.chmod(0)
    try:
        with unprivileged():
            yield
    finally:
        directory.chmod(mode)


class OnServer(ContractDatabase):
    def __init__(self, registry: ServedRegistry, directory: Path, master_file: str) -> None:
        self._server = registry.server
        self._wrong = directory / "wrong.password"
        super().__init__(registry, master_file)

    @contextmanager
    def stranger(self) -> Iterator[Backend]:
        self._wrong.touch(mode=0o600)
        self._wrong.write_text("wrong\n")
        yield self._backend(password_file=self._wrong)

    def stop(self) -> None:
        self._server.kill()

    def start(self) -> None:
        self._server.start()

    def hold(self) -> None:
        self._server.signal_all(signal.SIGSTOP)

    def release(self) -> None:
        self._server.signal_all(signal.SIGCONT)


def _record(line: str) -> Record:
    """A line of the contract's zone: twenty thousand delegations would take dnspython a long time."""
    found = _LINE.fullmatch(line)
    assert found is not None, line
    owner, ttl, rtype, rdata = found.groups()
    return owner, rtype, int(ttl or 3600), rdata


class TestSqlite(BackendContract):
    @pytest.fixture
    def serve(self, tmp_path: Path) -> Serve:
        return lambda master_file: OnSqlite(tmp_path / "registry", master_file)


class TestPostgreSql(BackendContract):
    @pytest.fixture
    def serve(self, postgresql: PostgreSql, tmp_path: Path) -> Iterator[Serve]:
        with PostgreSqlRegistry(postgresql, tmp_path, "contract") as registry:
            yield lambda master_file: OnServer(registry, tmp_path, master_file)


class TestMariaDb(BackendContract):
    @pytest.fixture
    def serve(self, mariadb: MariaDb, tmp_path: Path) -> Iterator[Serve]:
        with MariaDbRegistry(mariadb, tmp_path, "contract") as registry:
            yield lambda master_file: OnServer(registry, tmp_path, master_file)
