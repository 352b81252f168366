"""A registry's database with the tables of the adapter `database`: edited, and made into a zone, by plain SQL."""

import sqlite3
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import dns.name
import dns.rdata
import dns.rdatatype
import dns.zone

from lab.daemons.mariadb import MariaDb
from lab.daemons.postgresql import PostgreSql
from lab.daemons.server import Add, Edit
from lab.process import find_command
from lab.zones import ParentZone

_COLUMNS = "zone, child, owner, type, ttl, rdata"
_ADDRESSES = ("A", "AAAA")

Record = tuple[str, str, int, str]
"""Owner, type, TTL in seconds and RDATA, in presentation form."""
DsStatement = tuple[str, Sequence[Any]]
"""SQL with a question mark for each of the values."""


class Registry(ABC):
    """The tables, and somebody who works with them beside zonecut. Used as a context manager, they go at its end."""

    _unless_there = "ON CONFLICT DO NOTHING"
    """The end of an INSERT of a row that may be there already."""
    _watermark = """
        INSERT INTO zonecut_consumers (consumer, zone, serial, status, reason) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (zone, consumer) DO UPDATE SET serial = excluded.serial, status = excluded.status,
            reason = excluded.reason, at = excluded.at
    """

    def __init__(self) -> None:
        self.zones: tuple[ParentZone, ...] = ()
        self._lost: dict[str, list[tuple[Any, ...]]] = {}

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @abstractmethod
    def backend(self) -> dict[str, Any]:
        """`backend` of zonecut's configuration."""

    @abstractmethod
    def execute(self, *statements: DsStatement) -> list[tuple[Any, ...]]:
        """Execute statements in one transaction; what the last one returns."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Callable[[str], object]]:
        """A transaction of somebody who takes his time; it is committed at the end."""

    @abstractmethod
    def insert(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Insert rows (zone, child, owner, type, TTL, RDATA), however many."""

    @abstractmethod
    def schema(self) -> str:
        """The script that makes the tables."""

    def add(self, zone: ParentZone) -> Self:
        """Take over a zone."""
        content = dns.zone.from_text(zone.master_file, zone.name, relativize=False)
        self.load(zone.name, map(_as_record, content.iterate_rdatas()))
        self.zones = (*self.zones, zone)
        return self

    def load(self, zone: str, records: Iterable[Record]) -> None:
        """Take over the records of a zone."""
        found = list(records)
        cuts = {owner for owner, rtype, _, _ in found if rtype == "NS" and owner != zone}
        self.execute(("INSERT INTO zonecut_zones (zone) VALUES (?)", (zone,)))
        self.insert((zone, _child(record, zone, cuts), *_row(record)) for record in found)

    def lose(self, zone: str) -> None:
        """A zone is taken out of the tables, until it is found again: without its history."""
        self._lost[zone] = self.execute((f"SELECT {_COLUMNS} FROM zonecut_records WHERE zone = ?", (zone,)))
        tables = ("zonecut_records", "zonecut_history", "zonecut_zones")  # whoever follows goes with the zone
        self.execute(*((f"DELETE FROM {table} WHERE zone = ?", (zone,)) for table in tables))

    def find(self, zone: str) -> None:
        self.execute(("INSERT INTO zonecut_zones (zone) VALUES (?)", (zone,)))
        self.insert(self._lost.pop(zone))

    def edit(self, zone: str, *edits: Edit) -> None:
        """Somebody edits a zone, in one transaction."""
        cut = "SELECT DISTINCT owner FROM zonecut_records WHERE zone = ? AND type = 'NS' AND child <> zone"
        cuts = {owner for (owner,) in self.execute((cut, (zone,)))}
        cuts |= {edit.owner for edit in edits if isinstance(edit, Add) and edit.rtype == "NS"}
        self.execute(*(self._statement(edit, zone, cuts) for edit in edits))

    def generated(self, zone: str) -> tuple[str, int]:
        """The master file that a generator makes of the rows as they are, and its serial: that of the tables."""
        tables = "zonecut_records JOIN zonecut_zones USING (zone)"
        rows = self.execute((f"SELECT serial, owner, ttl, type, rdata FROM {tables} WHERE zone = ?", (zone,)))
        lines = []
        serial = 0
        for serial, owner, ttl, rtype, rdata in rows:
            words = rdata.split(" ")
            text = " ".join([*words[:2], str(serial), *words[3:]]) if rtype == "SOA" else rdata
            lines.append(f"{owner} {ttl} IN {rtype} {text}\n")
        # named wants to know at once whose zone it is
        return "".join(sorted(lines, key=lambda line: " IN SOA " not in line)), serial

    def records(self, zone: str) -> list[Record]:
        """The rows of a zone by owner, type and RDATA."""
        rows = self.execute(
            (
                "SELECT owner, type, ttl, rdata FROM zonecut_records WHERE zone = ? ORDER BY owner, type, rdata",
                (zone,),
            )
        )
        return [(owner, rtype, ttl, rdata) for owner, rtype, ttl, rdata in rows]

    def serial(self, zone: str) -> int:
        ((serial,),) = self.execute(("SELECT serial FROM zonecut_zones WHERE zone = ?", (zone,)))
        return int(serial)

    def consume(self, zone: str, consumer: str, number: int, failure: str = "") -> None:
        """A generator says how far it is, or with what it failed there: as the documentation has it."""
        values = (consumer, zone, number, "failed" if failure else "ok", failure)
        self.execute((self._watermark, values))

    def history(self, zone: str, since: int = 0) -> list[tuple[int, str, Record]]:
        """What changed after a serial: the serial of each row, `added` or `removed`, and the record."""
        following = "SELECT * FROM zonecut_history WHERE zone = ? AND serial > ? ORDER BY serial"
        rows = self.execute((f"SELECT serial, action, owner, type, ttl, rdata FROM ({following}) AS h", (zone, since)))
        return [(serial, action, (owner, rtype, ttl, rdata)) for serial, action, owner, rtype, ttl, rdata in rows]

    def _statement(self, edit: Edit, zone: str, cuts: Iterable[str]) -> DsStatement:
        if isinstance(edit, Add):
            record = (edit.owner, edit.rtype, edit.ttl, edit.data)
            # one that is there already is no mistake, as it is none to a DNS server
            insert = f"INSERT INTO zonecut_records ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) {self._unless_there}"
            return insert, (zone, _child(record, zone, cuts), *_row(record))
        delete, values = "DELETE FROM zonecut_records WHERE zone = ? AND owner = ?", [zone, edit.owner]
        if edit.rtype is not None:
            delete, values = f"{delete} AND type = ?", [*values, edit.rtype]
        if edit.rtype is not None and edit.data is not None:
            delete, values = f"{delete} AND rdata = ?", [*values, _rdata(edit.rtype, edit.data)]
        return delete, values


class SqliteRegistry(Registry):
    """The tables in a file, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        directory.mkdir(parents=True)
        self.file = directory / "registry.db"
        with closing(sqlite3.connect(self.file)) as database:
            database.executescript(self.schema())

    def __exit__(self, *_: object) -> None:
        """The directory is somebody else's."""

    def backend(self) -> dict[str, Any]:
        return {"adapter": "database", "url": f"sqlite:///{self.file}"}

    def execute(self, *statements: DsStatement) -> list[tuple[Any, ...]]:
        with self.connection() as database:
            rows: list[tuple[Any, ...]] = []
            for statement, values in statements:
                rows = database.execute(statement, values).fetchall()
            return rows

    @contextmanager
    def transaction(self) -> Iterator[Callable[[str], object]]:
        with closing(sqlite3.connect(self.file, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            yield database.execute
            database.execute("COMMIT")

    def insert(self, rows: Iterable[tuple[Any, ...]]) -> None:
        with self.connection() as database:
            database.executemany(f"INSERT INTO zonecut_records ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", rows)

    def schema(self) -> str:
        return files("zonecut_database").joinpath("sql", "sqlite.sql").read_text()

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection, closed at the end, its transaction committed unless something is raised."""
        with closing(sqlite3.connect(self.file)) as database, database:
            yield database


class PostgreSqlRegistry(Registry):
    """The tables in a database of its own, which belongs to a role of its own."""

    def __init__(self, server: PostgreSql, directory: Path, name: str) -> None:
        super().__init__()
        self.server = server
        self.name = name
        self.password_file = directory / f"{name}.password"
        server.create_role(name, self.password_file)
        server.execute(f"CREATE DATABASE {name} OWNER {name}")
        server.execute(f"SET ROLE {name}", self.schema(), database=name)

    def __exit__(self, *_: object) -> None:
        """Whoever still uses them."""
        if not self.server.running:
            self.server.start()
        self.server.execute(f"DROP DATABASE {self.name} WITH (FORCE)", f"DROP ROLE {self.name}")

    def backend(self) -> dict[str, Any]:
        url = self.server.url(self.name, self.name)
        return {"adapter": "database", "url": url, "password_file": str(self.password_file)}

    def execute(self, *statements: DsStatement) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        with self.server.connect(self.name) as connection, connection.transaction():
            for statement, values in statements:
                cursor = connection.execute(statement.replace("?", "%s").encode(), values)
                rows = cursor.fetchall() if cursor.description else []
        return rows

    @contextmanager
    def transaction(self) -> Iterator[Callable[[str], object]]:
        with self.server.connect(self.name) as connection, connection.transaction():
            yield lambda statement: connection.execute(statement.encode())

    def insert(self, rows: Iterable[tuple[Any, ...]]) -> None:
        statement = f"COPY zonecut_records ({_COLUMNS}) FROM STDIN".encode()
        with self.server.connect(self.name) as connection, connection.cursor().copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
        # as autovacuum does a minute later
        self.server.execute("ANALYZE", database=self.name)

    def schema(self) -> str:
        return files("zonecut_database").joinpath("sql", "postgresql.sql").read_text()

    def drop_tables(self) -> None:
        """Leave nothing in the database."""
        recreate = f"CREATE SCHEMA public AUTHORIZATION {self.name}"
        self.server.execute("DROP SCHEMA public CASCADE", recreate, database=self.name)


class MariaDbRegistry(Registry):
    """The tables in a database of its own, which belongs to a user of its own."""

    _unless_there = "ON DUPLICATE KEY UPDATE id = id"
    _watermark = """
        INSERT INTO zonecut_consumers (consumer, zone, serial, status, reason) VALUES (?, ?, ?, ?, ?)
        ON DUPLICATE KEY UPDATE serial = value(serial), status = value(status), reason = value(reason),
            at = utc_timestamp(6)
    """

    def __init__(self, server: MariaDb, directory: Path, name: str) -> None:
        super().__init__()
        self.server = server
        self.name = name
        self.password_file = directory / f"{name}.password"
        server.create_user(name, self.password_file)
        self.make_database()
        self.make_tables()

    def __exit__(self, *_: object) -> None:
        """Whoever still uses them."""
        if not self.server.running:
            self.server.start()
        self.server.execute("SET GLOBAL read_only = OFF", f"DROP USER {self.name}")
        self.server.end_connections(self.name)
        self.server.execute(f"DROP DATABASE {self.name}")

    def backend(self) -> dict[str, Any]:
        url = self.server.url(self.name, self.name)
        return {"adapter": "database", "url": url, "password_file": str(self.password_file)}

    def execute(self, *statements: DsStatement) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        with self.connection() as connection, connection.cursor() as cursor:
            for statement, values in statements:
                # without values, a percent sign is one
                cursor.execute(statement.replace("?", "%s") if values else statement, values or None)
                rows = list(cursor.fetchall())
        return rows

    @contextmanager
    def transaction(self) -> Iterator[Callable[[str], object]]:
        with self.connection() as connection, connection.cursor() as cursor:
            yield cursor.execute

    def insert(self, rows: Iterable[tuple[Any, ...]]) -> None:
        statement = f"INSERT INTO zonecut_records ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s)"
        with self.connection() as connection, connection.cursor() as cursor:
            cursor.executemany(statement, list(rows))

    def schema(self) -> str:
        return files("zonecut_database").joinpath("sql", "mariadb.sql").read_text()

    def connection(self) -> AbstractContextManager[Any]:
        """A connection of the owner of the tables, closed at the end, its transaction committed unless one raises."""
        password = self.password_file.read_text().strip()
        return _committing(self.server.connect(self.name, user=self.name, password=password))

    def make_database(self) -> None:
        self.server.execute(f"CREATE DATABASE {self.name}", f"GRANT ALL ON {self.name}.* TO {self.name}")

    def make_tables(self) -> None:
        """As somebody does with MariaDB's own client."""
        client = [
            find_command("mariadb"),
            "--no-defaults",
            "--skip-ssl",
            f"--socket={self.server.socket}",
            "--user=root",
            self.name,
        ]
        subprocess.run(client, input=self.schema(), text=True, check=True, timeout=60)

    def drop_tables(self) -> None:
        """Leave nothing in the database."""
        self.server.execute(f"DROP DATABASE {self.name}")
        self.make_database()


ServedRegistry = PostgreSqlRegistry | MariaDbRegistry
"""One in a database of a server."""


@contextmanager
def _committing(connection: Any) -> Iterator[Any]:
    with closing(connection):
        connection.begin()
        yield connection
        connection.commit()


def _as_record(found: tuple[dns.name.Name, int, dns.rdata.Rdata]) -> Record:
    owner, ttl, data = found
    return str(owner), dns.rdatatype.to_text(data.rdtype), ttl, str(data)


def _row(record: Record) -> tuple[str, str, int, str]:
    owner, rtype, ttl, rdata = record
    return owner.lower(), rtype, ttl, _rdata(rtype, rdata)


def _rdata(rtype: str, rdata: str) -> str:
    """As the tables want it."""
    return rdata.lower() if rtype == "NS" else rdata.upper() if rtype == "DS" else rdata


def _child(record: Record, zone: str, cuts: Iterable[str]) -> str:
    """The delegation under which a record is filed: the nearest one above an address."""
    owner, rtype, _, _ = record
    if owner != zone and rtype in ("NS", "DS"):
        return owner.lower()
    if rtype in _ADDRESSES:
        place = owner
        while place != zone:
            if place in cuts:
                return place
            place = place.partition(".")[2]
    return zone
