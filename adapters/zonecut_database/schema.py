"""The version of the tables: made where there are none, refused where a newer zonecut made them."""

import sqlite3
from collections.abc import Iterator
from importlib.resources import files

from sqlalchemy import Connection, inspect, select, text

from zonecut.plugin import BackendMisconfigured
from zonecut_database.tables import RECORDS, SCHEMA, ZONES

VERSION = 1
_SERVERS = "zonecut_records_servers"
MAKING_INDEX = f"CREATE INDEX IF NOT EXISTS {_SERVERS} ON zonecut_records (zone, rdata) WHERE type = 'NS'"
"""What makes the index without which each look for those who name a host takes the longer the larger the zone is."""
_MAKING = 0x7A6F6E65637574
"""PostgreSQL's advisory lock under which the tables are made."""
_RIGHTS = {
    SCHEMA.name: ("SELECT",),
    RECORDS.name: ("SELECT", "INSERT", "UPDATE", "DELETE"),
    ZONES.name: ("SELECT", "UPDATE"),
    "zonecut_history": ("INSERT",),
}
"""What a role needs that does not own the tables."""


def exists(connection: Connection) -> bool:
    """True if there are tables of any version."""
    return inspect(connection).has_table(SCHEMA.name)


def make(connection: Connection) -> None:
    """Make the tables if there are none, in a writing transaction that is not over yet."""
    if connection.dialect.name == "postgresql":
        # two may come at once; SQLite's transaction has the lock already
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MAKING})
    if exists(connection):
        return
    for statement in statements(connection.dialect.name):
        # to the driver as it is: a percent sign is one
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def lacks_index(connection: Connection) -> bool:
    """True for tables that were made before there was an index of the hosts that NS records name."""
    return _SERVERS not in {index["name"] for index in inspect(connection).get_indexes(RECORDS.name)}


def make_index(connection: Connection) -> None:
    """Make that index, in a writing transaction that is not over yet."""
    connection.exec_driver_sql(MAKING_INDEX)


def check(connection: Connection) -> None:
    """Raises BackendMisconfigured for tables of another version, and for those that we may not write to."""
    if connection.dialect.name == "postgresql":
        _check_rights(connection)
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


def statements(dialect: str) -> Iterator[str]:
    """The statements that make the tables."""
    script = files(__package__).joinpath("sql", f"{dialect}.sql").read_text()
    if dialect == "postgresql":
        yield script
        return
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
