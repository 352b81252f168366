"""The database behind a URL: how it is opened, how a transaction begins, what its errors mean."""

import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from zonecut.store.errors import StoreUnusable

BUSY_TIMEOUT = 0.25
"""Seconds that SQLite waits for a lock of another process. The store thread tries again and serves reads between."""

_ACCEPTED = "sqlite:////absolute/path/to/zonecut.db"
_MEANINGS = {
    "SQLITE_FULL": "the disk is full",
    "SQLITE_READONLY": "the file is read-only",
    "SQLITE_BUSY": "another process holds its lock",
    "SQLITE_LOCKED": "another connection holds its lock",
    "SQLITE_CORRUPT": "the file is damaged",
    "SQLITE_NOTADB": "the file is no SQLite database",
    "SQLITE_CANTOPEN": "the file cannot be opened",
    "SQLITE_PERM": "the file's permissions forbid it",
    "SQLITE_IOERR": "reading or writing the file failed",
}


def parse_url(text: str) -> URL:
    """The URL of a database that zonecut can use. Raises StoreUnusable, saying what would be right."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise StoreUnusable(f"store url {text!r} is no database URL; it looks like {_ACCEPTED}") from None
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        if not url.database or url.database == ":memory:" or url.database.startswith("file:") or url.query:
            raise StoreUnusable(
                f"store url {text!r}: a store outlives the process, so it needs the path of a file: {_ACCEPTED}"
            )
        if not Path(url.database).is_absolute():
            raise StoreUnusable(
                f"store url {text!r}: {url.database} is another file wherever zonecut is started from, so it has to be "
                f"an absolute path, with four slashes: {_ACCEPTED}"
            )
        return url
    raise StoreUnusable(f"store url {display(url)!r}: {url.drivername!r} is not supported; there is {_ACCEPTED}")


def display(url: URL) -> str:
    """The URL without its password, for messages."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"  # as people write it; SQLAlchemy would escape it
    return url.render_as_string(hide_password=True)


def make_engine(url: URL) -> Engine:
    """An engine that opens a new connection whenever it is asked for one: the store thread keeps its own."""
    if url.get_backend_name() != "sqlite":
        return create_engine(url, poolclass=NullPool)
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where `begin` says, not where sqlite3 guesses
        try:
            for pragma in (
                "journal_mode=WAL",  # readers and the writer do not wait for each other
                "synchronous=FULL",  # a commit is on the disk when it returns
                "foreign_keys=ON",
                "journal_size_limit=67108864",
            ):
                connection.execute(f"PRAGMA {pragma}").close()
        except BaseException:
            connection.close()  # nobody else knows it yet
            raise

    return engine


def create_file(url: URL) -> None:
    """Make an empty SQLite file that only its owner can read, unless the file is there.

    SQLite gives `-wal` and `-shm` the mode of the file itself. Raises StoreUnusable.
    """
    if url.get_backend_name() != "sqlite":
        return
    path = Path(url.database or "")
    if path.exists():
        return
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if path.is_symlink() and not path.exists():
            raise StoreUnusable(
                f"store url {display(url)!r}: {path} is a link to nothing; make an empty file where it points, or take "
                "it away"
            ) from None
    except FileNotFoundError:
        raise StoreUnusable(
            f"store url {display(url)!r}: there is no directory {str(path.parent)!r}; create it first"
        ) from None
    except OSError as error:
        raise StoreUnusable(f"store url {display(url)!r}: {path} cannot be created: {error.strerror}") from None


def check_only_name(url: str, path: Path) -> None:
    """Raises StoreUnusable for a SQLite file with several names: each has a `-wal` of its own."""
    names = path.stat().st_nlink
    if path.is_file() and names > 1:
        raise StoreUnusable(
            f"store url {url!r}: {path} has {names} names (hard links), and what is recorded by one name is not seen "
            "by another and damages it: remove the others, or put a copy in place of the link"
        )


def check_writable(engine: Engine) -> None:
    """Raises StoreUnusable for a SQLite file that this user may read and not write: the first change would fail.

    A full disk is another matter: it may be better soon.
    """
    if engine.url.get_backend_name() != "sqlite":
        return
    try:
        with engine.connect() as connection:
            begin(connection, write=True)
            # SQLite lets a writing transaction begin in a file that is read-only
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")
            connection.rollback()
    except SQLAlchemyError as error:
        if _is_forbidden(error):
            raise StoreUnusable(unusable(engine.url, error)) from error


def unusable(url: URL, error: BaseException) -> str:
    """A sentence for an error that keeps a store from being used, and what has to be so where that is known."""
    sentence = f"store url {display(url)!r}: {explain(error)}"
    if url.get_backend_name() != "sqlite" or not _is_forbidden(error):
        return sentence
    path = Path(url.database or "")
    return (
        f"{sentence}; what is accepted is recorded in {path} before it is answered: the user of zonecut must be able "
        f"to write that file, and new ones in {path.parent}"
    )


def _is_forbidden(error: BaseException) -> bool:
    return _error_name(error).startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"))


def begin(connection: Connection, *, write: bool) -> None:
    """Begin a transaction. A writing one takes SQLite's lock at once: taking it later can fail half-way."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def is_locked(error: BaseException) -> bool:
    """True if another process holds the lock of a SQLite file."""
    return _error_name(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def explain(error: BaseException) -> str:
    """What an error of the database means, in words; the database's own in brackets."""
    name = _error_name(error)
    original = error.orig if isinstance(error, SQLAlchemyError) and hasattr(error, "orig") else error
    for prefix, meaning in _MEANINGS.items():
        if name.startswith(prefix):
            return f"{meaning} ({original})"
    return str(original).strip() or type(original).__name__


def _error_name(error: BaseException) -> str:
    original = getattr(error, "orig", error)
    return getattr(original, "sqlite_errorname", "") if isinstance(original, sqlite3.Error) else ""
