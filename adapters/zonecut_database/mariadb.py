"""A MariaDB server, by PyMySQL."""

import os
import ssl
from contextlib import suppress
from math import ceil
from pathlib import Path
from socket import SHUT_RDWR, socket
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.pool import NullPool

from zonecut.plugin import BackendMisconfigured
from zonecut_database.options import shown
from zonecut_database.password import read_password
from zonecut_database.shares import LOCK_SHARE, STATEMENT_SHARE

_OLDEST = (10, 6)
"""What the tables are made of is in versions from this one on; older ones are not looked after any more."""
_LEAST_PACKET = 1 << 20
"""Octets that the server has to take in one statement: PyMySQL makes them up to a million long."""
_SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
"""Whatever the server's own may be: nothing is cut off or replaced in silence."""


class MariaDb:
    """A server, by PyMySQL."""

    def __init__(self, url: URL, password_file: Path | None, timeout: float) -> None:
        self.where = shown(url)
        self._password_file = password_file
        self._tls = {name: str(value) for name, value in url.query.items() if name.startswith("ssl_")}
        self._lock_seconds = max(1, int(LOCK_SHARE * timeout))
        self._times_distrusted = 0
        self._engine = self._made(url, timeout)

    def prepare(self) -> None:
        """There is nothing to be done."""

    def connect(self, *, write: bool) -> Connection:
        distrusted = self._times_distrusted
        try:
            connection = self._engine.connect()
        except (InvalidRequestError, RuntimeError, UnicodeError) as error:
            # SQLAlchemy: a server that is MySQL; PyMySQL: a way to authenticate that it does not know
            raise BackendMisconfigured(f"{self.where}: {error}") from error
        connection.info["distrusted"] = distrusted
        return connection if write else connection.execution_options(isolation_level="AUTOCOMMIT")

    def is_current(self, connection: Connection) -> bool:
        return bool(connection.info.get("distrusted") == self._times_distrusted)

    def distrust(self) -> None:
        # by the one thread that writes
        self._times_distrusted += 1

    def begin(self, connection: Connection) -> None:
        """The first statement does; how long it waits for a lock, a transaction before may have changed."""
        connection.exec_driver_sql(f"SET innodb_lock_wait_timeout = {self._lock_seconds}")

    def cut_off(self, raw: Any) -> None:
        with suppress(Exception), socket(fileno=os.dup(raw._sock.fileno())) as connection:
            connection.shutdown(SHUT_RDWR)

    def _made(self, url: URL, timeout: float) -> Engine:
        # Each statement of a transaction that writes has to see what was committed before its lock.
        engine = create_engine(
            url.set(query={}),
            poolclass=NullPool,
            # a connection is closed when it is given back: the server takes back what was not committed
            pool_reset_on_return=None,
            connect_args={
                **({"unix_socket": url.query["unix_socket"]} if "unix_socket" in url.query else {}),
                "connect_timeout": ceil(timeout),
                "read_timeout": timeout,
                "write_timeout": timeout,
                "charset": "utf8mb4",
                "sql_mode": _SQL_MODE,
                "program_name": "zonecut",
            },
            isolation_level="READ COMMITTED",
        )
        event.listen(engine, "do_connect", self._supply_secrets)
        # Should we hang in the middle of a transaction, it must not keep the zone's lock.
        limits = {
            "max_statement_time": STATEMENT_SHARE * timeout,
            "lock_wait_timeout": self._lock_seconds,
            "innodb_lock_wait_timeout": self._lock_seconds,
            "idle_transaction_timeout": ceil(2 * timeout + 10),
        }

        @event.listens_for(engine, "connect")
        def configure(raw: Any, _record: Any) -> None:
            with raw.cursor() as cursor:
                self._check_server(cursor)
                cursor.execute("SET " + ", ".join(f"{name} = {value}" for name, value in limits.items()))
            raw.commit()

        return engine

    def _check_server(self, cursor: Any) -> None:
        """Raises BackendMisconfigured for a server that cannot hold the tables, or take a batch of changes."""
        cursor.execute("SELECT version(), @@max_allowed_packet")
        version, packet = cursor.fetchone()
        if "mariadb" not in version.lower():
            raise BackendMisconfigured(f"{self.where} is no MariaDB: its version is {version}")
        # an older one may call itself 5.5.5-10.4.1-MariaDB
        words = version.lower().partition("-mariadb")[0].rpartition("-")[2].split(".")
        if tuple(int(word) if word.isdigit() else 0 for word in words[:2]) < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise BackendMisconfigured(f"{self.where} is MariaDB {version}, and {oldest} or later is needed")
        if packet < _LEAST_PACKET:
            raise BackendMisconfigured(
                f"{self.where} takes {packet} octets at once: set max_allowed_packet to {_LEAST_PACKET} or more there"
            )

    def _supply_secrets(self, _dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        """Each time anew: what changed is used without a restart."""
        if self._password_file is not None:
            # as octets: PyMySQL knows Latin-1 only
            parameters["password"] = read_password(self._password_file).encode()
        if self._tls:
            parameters["ssl"] = self._context()

    def _context(self) -> ssl.SSLContext:
        """What TLS has to be like: a certificate that an authority vouches for, with the name of the host."""
        try:
            context = ssl.create_default_context(cafile=self._tls.get("ssl_ca"))
            if "ssl_cert" in self._tls:
                context.load_cert_chain(self._tls["ssl_cert"], self._tls.get("ssl_key"), password="")
        except OSError as error:  # what cannot be read, and what is no certificate
            files = ", ".join(self._tls.values())
            raise BackendMisconfigured(f"{self.where}: TLS cannot be made from {files}: {error}") from error
        return context
