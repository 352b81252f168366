"""The database behind a URL: how a connection is made, how a transaction begins, how one that hangs is cut off."""

import os
import sqlite3
from contextlib import suppress
from math import ceil
from pathlib import Path
from socket import SHUT_RDWR, socket
from typing import Any, Protocol
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from zonecut.plugin import BackendMisconfigured, BackendUnavailable
from zonecut_database.mariadb import MariaDb
from zonecut_database.options import DatabaseOptions, shown
from zonecut_database.password import read_password
from zonecut_database.shares import LOCK_SHARE, STATEMENT_SHARE

_NEEDED = {
    "mariadb": "PyMySQL for MariaDB: pip install 'zonecut[mariadb]'",
    "postgresql": "psycopg for PostgreSQL: pip install 'zonecut[postgresql]'",
}


class Database(Protocol):
    """What differs from one database to another. All but `cut_off` is called in the thread of a connection."""

    where: str
    """The URL for messages."""

    def prepare(self) -> None:
        """Do what comes before the first connection. Raises BackendError."""
        ...

    def connect(self, *, write: bool) -> Connection:
        """A new connection, for transactions or for statements that only read. Raises BackendError, SQLAlchemyError."""
        ...

    def is_current(self, connection: Connection) -> bool:
        """False if a new connection would lead elsewhere. Raises BackendUnavailable."""
        ...

    def distrust(self) -> None:
        """A server has turned out to be none that can be written to: what is connected is not current any more."""
        ...

    def begin(self, connection: Connection) -> None:
        """Begin a transaction that writes."""
        ...

    def cut_off(self, raw: Any) -> None:
        """Make what is under way on a connection of the driver, in another thread, fail soon. Never raises."""
        ...


def database_of(options: DatabaseOptions) -> Database:
    """The database that the options name. Raises BackendMisconfigured when the library for it is missing."""
    url = options.parsed_url
    if url.get_backend_name() == "sqlite":
        return Sqlite(url, options.timeout)
    try:
        if url.get_backend_name() == "mariadb":
            return MariaDb(url, options.password_file, options.timeout)
        return PostgreSql(url, options.password_file, options.timeout)
    except ImportError as error:  # also where psycopg is there and libpq is not
        needed = _NEEDED[url.get_backend_name()]
        raise BackendMisconfigured(f"the adapter database needs {needed} ({error})") from error


class Sqlite:
    """A file in WAL mode, so that nobody waits for readers; a commit is on the disk when it returns."""

    def __init__(self, url: URL, timeout: float) -> None:
        self.where = shown(url)
        self._path = Path(url.database or "")
        self._timeout = timeout
        self._engine = create_engine(url, poolclass=NullPool, creator=self._open)

    def prepare(self) -> None:
        """Make an empty file where there is none, for the owner and the group of the directory if we are root."""
        try:
            descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        except FileExistsError:
            if not os.access(self._path, os.R_OK | os.W_OK, effective_ids=True):
                raise BackendMisconfigured(
                    f"{self.where} is read-only: the permissions of the file forbid it"
                ) from None
            return
        except OSError as error:
            raise BackendMisconfigured(f"{self.where} cannot be opened or made: {error.strerror}") from error
        try:
            if os.geteuid() == 0:
                owner = self._path.parent.stat()
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            # for the group, too: the provisioning system is somebody else
            os.fchmod(descriptor, 0o660)
        finally:
            os.close(descriptor)

    def connect(self, *, write: bool) -> Connection:
        file = self._file()
        connection = self._engine.connect()
        connection.info["file"] = file
        return connection

    def is_current(self, connection: Connection) -> bool:
        """False if another file has taken the place of the one that is open: nobody would read what we write there."""
        return bool(connection.info.get("file") == self._file())

    def distrust(self) -> None:
        """There is no other file."""

    def begin(self, connection: Connection) -> None:
        # At once with the lock: taking it later can fail half-way.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def cut_off(self, raw: Any) -> None:
        with suppress(sqlite3.Error):
            raw.interrupt()

    def _open(self) -> sqlite3.Connection:
        # Never made by the way: a file that is gone is somebody's mistake. Transactions begin where `begin` says.
        raw = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=rw",
            uri=True,
            timeout=LOCK_SHARE * self._timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "journal_size_limit=67108864"):
                raw.execute(f"PRAGMA {pragma}").close()
        except BaseException:
            raw.close()
            raise
        return raw

    def _file(self) -> tuple[int, int]:
        try:
            status = self._path.stat()
        except FileNotFoundError as error:
            raise BackendUnavailable(f"{self.where} is gone: there is no such file") from error
        except OSError as error:
            raise BackendMisconfigured(f"{self.where}: {error.strerror}") from error
        return status.st_dev, status.st_ino


class PostgreSql:
    """A server, by psycopg."""

    def __init__(self, url: URL, password_file: Path | None, timeout: float) -> None:
        self.where = shown(url)
        self._password_file = password_file
        self._times_distrusted = 0
        self._engine = _engine(url, timeout)
        event.listen(self._engine, "do_connect", self._supply_password)

    def prepare(self) -> None:
        """There is nothing to be done."""

    def connect(self, *, write: bool) -> Connection:
        distrusted = self._times_distrusted
        connection = self._engine.connect()
        connection.info["distrusted"] = distrusted
        return connection if write else connection.execution_options(isolation_level="AUTOCOMMIT")

    def is_current(self, connection: Connection) -> bool:
        return bool(connection.info.get("distrusted") == self._times_distrusted)

    def distrust(self) -> None:
        # by the one thread that writes
        self._times_distrusted += 1

    def begin(self, connection: Connection) -> None:
        """The first statement does."""

    def cut_off(self, raw: Any) -> None:
        with suppress(Exception), socket(fileno=os.dup(raw.fileno())) as connection:
            connection.shutdown(SHUT_RDWR)

    def _supply_password(self, _dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        """Each time anew: a password that changed is used without a restart."""
        if self._password_file is not None:
            parameters["password"] = read_password(self._password_file)


def _engine(url: URL, timeout: float) -> Engine:
    hosts = url.query.get("host", ())
    tried = max(1, 1 if isinstance(hosts, str) else len(hosts))
    defaults = {
        "connect_timeout": ceil(timeout / tried),
        "application_name": "zonecut",
        # Of several servers one is the primary, and after a failover another; a standby shows what was.
        "target_session_attrs": "read-write",
    }
    parameters = {name: value for name, value in defaults.items() if name not in url.query}
    # The snapshot of a writing transaction must not be older than its lock: each statement has its own.
    engine = create_engine(
        url,
        poolclass=NullPool,
        connect_args={**parameters, "client_encoding": "utf8"},
        isolation_level="READ COMMITTED",
    )

    @event.listens_for(engine, "connect")
    def configure(raw: Any, _record: Any) -> None:
        # Should we hang in the middle of a transaction, it must not keep the zone's lock.
        limits = {
            "statement_timeout": STATEMENT_SHARE * timeout,
            "lock_timeout": LOCK_SHARE * timeout,
            "idle_in_transaction_session_timeout": 2 * timeout + 10,
        }
        with raw.cursor() as cursor:
            for name, seconds in limits.items():
                cursor.execute(f"SET {name} = {ceil(1000 * seconds)}")
        raw.commit()

    return engine
