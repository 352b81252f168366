"""Fixtures of the tests against real servers.

Each test has its own servers and zones: a named is up in less than a tenth of a second. A PostgreSQL or MariaDB takes
longer to make: there is one for all, and each test makes databases of its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab.daemons.mariadb import MariaDb
from lab.daemons.named import Named, StartNamed
from lab.daemons.postgresql import PostgreSql, home
from lab.daemons.servers import SERVERS
from lab.fixed_addresses import fixed_addresses
from lab.log_report import pytest_runtest_makereport
from lab.ports import LOOPBACK, free_port
from lab.skips import pytest_sessionfinish, pytest_terminal_summary
from lab.zonecut import StartZonecut, ZonecutProcess
from lab.zones import PARENT, ParentZone

__all__ = ["fixed_addresses", "pytest_runtest_makereport", "pytest_sessionfinish", "pytest_terminal_summary"]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    """Each of the servers that a parent may have, for `World(server=...)`."""
    name: str = request.param
    return name


@pytest.fixture
def start_named(tmp_path: Path) -> Iterator[StartNamed]:
    """`start_named(zone, ..., **options of Named)`: a running named, ended after the test."""
    with ExitStack() as running:

        def start(*zones: ParentZone, **options: Any) -> Named:
            return running.enter_context(Named(_new_directory(tmp_path, "named"), *zones, **options))

        yield start


@pytest.fixture
def named(start_named: StartNamed) -> Named:
    """A running named with an unsigned parent zone of three delegations."""
    return start_named(ParentZone(PARENT, delegations=3))


@pytest.fixture
def start_zonecut(tmp_path: Path) -> Iterator[StartZonecut]:
    """`start_zonecut(configuration, **options of ZonecutProcess)`: a running zonecut, ended after the test.

    A store, a free port to listen on and the version are added to `configuration` where they are missing.
    """
    with ExitStack() as running:

        def start(configuration: Mapping[str, Any], **options: Any) -> ZonecutProcess:
            directory = _new_directory(tmp_path, "zonecut")
            complete = {
                "version": 1,
                "store": {"url": f"sqlite:///{directory}/zonecut.db"},
                "receiver": {"listen": [f"{LOOPBACK}:{free_port()}"]},
                **configuration,
            }
            return running.enter_context(ZonecutProcess(directory, complete, **options))

        yield start


@pytest.fixture(scope="session")
def _shared_postgresql() -> Iterator[PostgreSql]:
    with home() as directory, PostgreSql(directory) as server:
        yield server


@pytest.fixture
def postgresql(_shared_postgresql: PostgreSql) -> PostgreSql:
    """A running PostgreSQL, also if an earlier test left it dead."""
    return _shared_postgresql if _shared_postgresql.running else _shared_postgresql.start()


@pytest.fixture(scope="session")
def _shared_mariadb() -> Iterator[MariaDb]:
    with home("mariadb") as directory, MariaDb(directory) as server:
        yield server


@pytest.fixture
def mariadb(_shared_mariadb: MariaDb) -> MariaDb:
    """A running MariaDB, also if an earlier test left it dead."""
    return _shared_mariadb if _shared_mariadb.running else _shared_mariadb.start()


def _new_directory(parent: Path, name: str) -> Path:
    number = len(list(parent.glob(f"{name}-*")))
    directory = parent / f"{name}-{number}"
    directory.mkdir()
    return directory
