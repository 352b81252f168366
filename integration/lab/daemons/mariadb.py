"""A real MariaDB on loopback, for whoever keeps something in a database of it."""

import secrets
import signal
import socket
from collections.abc import Collection
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self

import pymysql

from lab.daemons.postgresql import as_nobody
from lab.ports import LOOPBACK, free_port
from lab.process import Process, find_command, run

_SUPERUSER = "root"
_SETTINGS = {
    "bind-address": LOOPBACK,
    # its process is killed, the machine is not: what it gave to the kernel is there
    "innodb-flush-log-at-trx-commit": "2",
    "innodb-buffer-pool-size": "32M",
    "innodb-log-file-size": "32M",
    "innodb-use-native-aio": "0",
    "max-connections": "50",
    "skip-name-resolve": "ON",
}


class MariaDb(Process):
    """The server with everything that it keeps in `directory`, which comes from `home`.

    Killed and started again, it comes back on the same port with the same databases. Everybody needs a password, but
    for its superuser, who comes by the socket. `settings` are added to its configuration. Ready means: the superuser
    can ask it something.
    """

    def __init__(
        self,
        directory: Path,
        *,
        settings: dict[str, str] | None = None,
        start_timeout: float = 60.0,
        cpus: Collection[int] | None = None,
    ) -> None:
        self.port = free_port()
        self.socket = directory / "socket"
        self.data = directory / "data"
        if not self.data.exists():
            self._make(directory)
        given = {**_SETTINGS, "port": str(self.port), "socket": str(self.socket), **(settings or {})}
        super().__init__(
            [
                *as_nobody(),
                find_command("mariadbd"),
                "--no-defaults",
                f"--datadir={self.data}",
                *(f"--{name}={value}" for name, value in given.items()),
            ],
            name="mariadb",
            directory=directory,
            ready=self._answers,
            start_timeout=start_timeout,
            cpus=cpus,
        )

    def url(self, database: str, user: str, **query: str) -> str:
        """The URL of one of its databases, without a password."""
        parameters = "&".join(f"{name}={value}" for name, value in query.items())
        return f"mariadb+pymysql://{user}@{LOOPBACK}:{self.port}/{database}{'?' if query else ''}{parameters}"

    def connect(self, database: str | None = None, **parameters: Any) -> Any:
        """A connection of the superuser, or of another `user` with a `password`; each statement is a transaction."""
        given: dict[str, Any] = {"user": _SUPERUSER, **parameters}
        connection = pymysql.connect(
            database=database, autocommit=True, read_timeout=60, charset="utf8mb4", defer_connect=True, **given
        )
        # PyMySQL leaves a socket of this kind open to which nobody listens
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.connect(str(self.socket))
            connection.connect(listener)
        except BaseException:
            listener.close()
            raise
        return connection

    def execute(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Have the superuser execute statements; what the last one returns."""
        rows: list[tuple[Any, ...]] = []
        with closing(self.connect(database)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = list(cursor.fetchall())
        return rows

    def create_user(self, name: str, password_file: Path) -> None:
        """Make a user who may log in, and put the password into a file that nobody else can read."""
        password = secrets.token_urlsafe(24)
        password_file.touch(mode=0o600)
        password_file.write_text(f"{password}\n")
        self.execute(f"CREATE USER '{name}'@'%' IDENTIFIED BY '{password}'")

    def end_connections(self, user: str) -> None:
        """Have the server end all connections of a user."""
        with suppress(pymysql.MySQLError):
            self.execute(f"KILL CONNECTION USER '{user}'")

    def signal_all(self, number: signal.Signals) -> None:
        """A signal to it: it is one process."""
        self.send_signal(number)

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def _make(self, directory: Path) -> None:
        options = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        run(
            [*as_nobody(), find_command("mariadb-install-db"), "--no-defaults", f"--datadir={self.data}", *options],
            cwd=directory,
        )

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except (OSError, pymysql.MySQLError):
            return False
        return True
