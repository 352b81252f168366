"""The version of the tables: made where there are none, refused where a newer zonecut made them."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files

from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from zonecut.plugin import BackendMisconfigured, BackendUnavailable
from zonecut_database.failures import is_forbidden
from zonecut_database.tables import RECORDS, SCHEMA, ZONES

VERSION = 1
_SERVERS = "zonecut_records_servers"
_MAKING_INDEX = f"CREATE INDEX IF NOT EXISTS {_SERVERS} ON zonecut_records (zone, rdata) WHERE type = 'NS'"
_NOTING_TRUNCATE = re.compile(r"^CREATE OR REPLACE FUNCTION zonecut_note_truncate.*", re.DOTALL | re.MULTILINE)
_NOTES_TRUNCATE = (
    "SELECT EXISTS (SELECT FROM pg_trigger"
    " WHERE tgrelid = CAST('zonecut_records' AS regclass) AND tgname = 'zonecut_truncate')"
)
_MAKING = 0x7A6F6E65637574
"""PostgreSQL's advisory lock under which the tables are made."""
_MAKING_ON_MARIADB = "concat('zonecut.', sha1(database()))"
"""The same on MariaDB, whose locks of that kind are the whole server's."""
_LOOKED_AT = (
    "SELECT version FROM zonecut_schema LIMIT 0",
    "SELECT zone, serial FROM zonecut_zones LIMIT 0",
    "SELECT id, zone, child, owner, type, ttl, rdata, rdata_hash, deep FROM zonecut_records LIMIT 0",
    "SELECT zone, serial, at, author, action, child, owner, type, ttl, rdata FROM zonecut_history LIMIT 0",
)
"""What fails on MariaDB where a table of one of these names is another program's, which was left as it is."""
_TRIED = {
    SCHEMA.name: {"SELECT": "SELECT version FROM zonecut_schema LIMIT 0"},
    RECORDS.name: {
        "SELECT": "SELECT rdata FROM zonecut_records LIMIT 0",
        "INSERT": "INSERT INTO zonecut_records (zone, child, owner, type, ttl, rdata)"
        " SELECT '', '', '', '', 0, '' FROM DUAL WHERE false",
        "UPDATE": "UPDATE zonecut_records SET ttl = 0 WHERE false",
        "DELETE": "DELETE FROM zonecut_records WHERE false",
    },
    ZONES.name: {
        "SELECT": "SELECT serial FROM zonecut_zones LIMIT 0",
        "UPDATE": "UPDATE zonecut_zones SET serial = 0 WHERE false",
    },
}
"""Statements that change nothing and need a right; MariaDB's tables of rights tell of roles what only it can read."""
_RIGHTS = {
    SCHEMA.name: ("SELECT",),
    RECORDS.name: ("SELECT", "INSERT", "UPDATE", "DELETE"),
    ZONES.name: ("SELECT", "UPDATE"),
    "zonecut_history": ("INSERT",),
}
"""What a role needs that does not own the tables."""


def exists(connection: Connection) -> bool:
    """True if there are tables of any version, all of them."""
    if not inspect(connection).has_table(SCHEMA.name):
        return False
    # where each statement is a transaction of its own, the version is what is written last
    return connection.dialect.name != "mariadb" or connection.execute(select(SCHEMA.c.version)).first() is not None


def make(connection: Connection) -> None:
    """Make the tables if there are none, in a writing transaction that is not over yet."""
    with _alone(connection):
        if exists(connection):
            return
        for statement in statements(connection.dialect.name):
            # to the driver as it is: a percent sign is one
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Two may come at once to make the tables; SQLite's transaction has the lock already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MAKING})
    if connection.dialect.name != "mariadb":
        yield
        return
    # no longer than a statement may take anyway
    if connection.execute(text(f"SELECT get_lock({_MAKING_ON_MARIADB}, 60)")).scalar() != 1:
        raise BackendUnavailable("somebody else is making the tables")
    try:
        yield
        for looking in _LOOKED_AT:
            connection.exec_driver_sql(looking)
    finally:
        with suppress(SQLAlchemyError):
            connection.execute(text(f"SELECT release_lock({_MAKING_ON_MARIADB})"))


@dataclass(frozen=True, slots=True)
class Addition:
    """What is new in the tables, and which an earlier zonecut did not make."""

    what: str
    making: str
    """The statements for it."""

    def make(self, connection: Connection) -> None:
        """Make it, in a writing transaction that is not over yet."""
        connection.exec_driver_sql(self.making, execution_options={"no_parameters": True})


def lacking(connection: Connection) -> list[Addition]:
    """What these tables lack. On MariaDB nothing: zonecut has known it since there was all of it."""
    if connection.dialect.name == "mariadb":
        return []
    found = []
    if _SERVERS not in {index["name"] for index in inspect(connection).get_indexes(RECORDS.name)}:
        # without it, each look for those who name a host takes the longer the larger the zone is
        found.append(Addition("an index", _MAKING_INDEX))
    if connection.dialect.name == "postgresql" and not connection.execute(text(_NOTES_TRUNCATE)).scalar():
        noting = _NOTING_TRUNCATE.search(script("postgresql"))
        assert noting is not None
        found.append(Addition("a trigger that notes TRUNCATE", noting[0].strip()))
    return found


def check(connection: Connection) -> None:
    """Raises BackendMisconfigured for tables of another version, and for those that we may not write to."""
    if connection.dialect.name == "postgresql":
        _check_rights(connection)
    elif connection.dialect.name == "mariadb":
        _check_rights_on_mariadb(connection)
    versions = list(connection.execute(select(SCHEMA.c.version)).scalars())
    if versions != [VERSION]:
        found = ", ".join(map(str, versions)) or "none"
        raise BackendMisconfigured(
            f"the tables have version {found}, and this zonecut knows version {VERSION}: a newer zonecut made them"
        )


def _check_rights(connection: Connection) -> None:
    asked = text("SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean")
    if connection.execute(asked).scalar():
        raise BackendMisconfigured("the database is read-only: a standby, or default_transaction_read_only is on")
    missing = []
    for table, rights in _RIGHTS.items():
        asked = text(
            "SELECT current_user, bool_and(has_table_privilege(:table, r)) FROM unnest(CAST(:rights AS text[])) AS r"
        )
        role, allowed = connection.execute(asked, {"table": table, "rights": list(rights)}).one()
        if not allowed:
            missing.append(f"GRANT {', '.join(rights)} ON {table} TO {role}")
    if missing:
        raise BackendMisconfigured(f"permissions are missing: {'; '.join(missing)}")


def _check_rights_on_mariadb(connection: Connection) -> None:
    read_only = connection.execute(text("SELECT @@global.read_only")).scalar()
    if str(read_only).upper() not in ("0", "OFF"):
        raise BackendMisconfigured("the database is read-only: a replica, or read_only is on")
    role = connection.execute(text("SELECT current_user()")).scalar_one()
    user, _, host = role.rpartition("@")
    missing = []
    for table, tried in _TRIED.items():
        lacking = [right for right, statement in tried.items() if not _is_allowed(connection, statement)]
        if lacking:
            missing.append(f"GRANT {', '.join(lacking)} ON {table} TO '{user}'@'{host}'")
    if missing:
        raise BackendMisconfigured(f"permissions are missing: {'; '.join(missing)}")


def _is_allowed(connection: Connection, statement: str) -> bool:
    try:
        connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if not is_forbidden(error):
            raise
        return False
    return True


def statements(dialect: str) -> Iterator[str]:
    """The statements that make the tables."""
    if dialect == "postgresql":
        yield script(dialect)
    elif dialect == "mariadb":
        yield from _delimited(script(dialect))
    else:
        yield from _complete(script(dialect))


def script(dialect: str) -> str:
    """What makes the tables, for the database's own client."""
    return files(__package__).joinpath("sql", f"{dialect}.sql").read_text()


def _complete(lines: str) -> Iterator[str]:
    statement = ""
    for line in lines.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _delimited(lines: str) -> Iterator[str]:
    """Statements that end with a line's end; what that is, lines say that are for MariaDB's client only."""
    delimiter, statement = ";", ""
    for line in lines.splitlines(keepends=True):
        if line.startswith("DELIMITER "):
            delimiter = line.split()[1]
            continue
        statement += line
        if not line.startswith("--") and line.rstrip().endswith(delimiter):
            yield statement.rstrip().removesuffix(delimiter)
            statement = ""
