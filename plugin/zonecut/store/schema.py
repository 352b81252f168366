"""The version of a store: makes the tables of an empty one, upgrades an older one, refuses a newer one."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from zonecut.store.engine import begin, display, is_locked, unusable
from zonecut.store.errors import StoreUnusable

REVISIONS = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
    "0011",
    "0012",
    "0013",
    "0014",
    "0015",
    "0016",
    "0017",
    "0018",
    "0019",
    "0020",
    "0021",
    "0022",
)
"""Every revision in `migrations/versions`, oldest first; the last one is what `tables` describes."""
PATIENCE = 10.0
"""Seconds for which an upgrade waits for another process, which may be doing the same."""

_Result = TypeVar("_Result")


def upgrade(engine: Engine) -> None:
    """Bring the store behind `engine` to the current version, in one transaction.

    Raises StoreUnusable when it was written by a newer version, belongs to another program, or does not work.
    """
    at_first(engine, _upgrade)


def at_first(engine: Engine, work: Callable[[Connection], _Result]) -> _Result:
    """What `work` returns, with a connection of its own; again while another process holds the lock.

    Raises StoreUnusable for an error of the database.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with engine.connect() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            if not is_locked(error) or time.monotonic() > deadline:
                raise StoreUnusable(unusable(engine.url, error)) from error
        time.sleep(0.05)


def _upgrade(connection: Connection) -> None:
    # Unlocked at first: the usual case only reads.
    if _version(connection) != REVISIONS[-1]:
        connection.rollback()
        _upgrade_locked(connection)


def _upgrade_locked(connection: Connection) -> None:
    begin(connection, write=True)
    version = _version(connection)  # again: another process may have been faster
    if version == REVISIONS[-1]:
        return
    shown = display(connection.engine.url)
    if version is not None and version not in REVISIONS:
        raise StoreUnusable(
            f"store url {shown!r}: its tables have version {version}, and this zonecut knows versions up to"
            f" {REVISIONS[-1]}; a newer zonecut wrote it, so run that one or restore an older copy"
        )
    if version is None and connection.dialect.name == "sqlite" and inspect(connection).get_table_names():
        raise StoreUnusable(f"store url {shown!r}: is a database of another program; give the path of a new file")
    # Imported here: it takes time and memory, and most starts find nothing to do.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.commit()


def _version(connection: Connection) -> str | None:
    """The version of the tables, or None where there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)
