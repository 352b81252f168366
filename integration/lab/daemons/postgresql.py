"""A real PostgreSQL on loopback, for whoever keeps something in a database of it."""

import os
import re
import secrets
import shutil
import signal
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import psycopg

from lab.ports import LOOPBACK, free_port
from lab.process import LabError, Process, find_command, run, until
from lab.unprivileged import NOBODY

_VERSIONS = Path("/usr/lib/postgresql")
_SUPERUSER = "postgres"
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    # its processes are killed, the machine is not: what they gave to the kernel is there
    "fsync": "off",
    "max_connections": "50",
    "shared_buffers": "16MB",
    "max_wal_size": "256MB",
    "password_encryption": "scram-sha-256",
}


def find_server_command(name: str) -> Path:
    """The path of a program of the newest PostgreSQL server that is installed: Debian has them outside of PATH."""
    found = sorted(_VERSIONS.glob(f"*/bin/{name}"), key=lambda path: [int(n) for n in re.findall(r"\d+", str(path))])
    if not found:
        raise LabError(f"{name} is not installed; integration/install-servers installs what the tests need")
    return found[-1]


def hand_over(path: Path) -> None:
    """Make a file that of the user whose processes the server's are."""
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)


@contextmanager
def home(name: str = "postgresql") -> Iterator[Path]:
    """A directory for a database server, which is nobody, and whose socket's path may not be long."""
    directory = Path(tempfile.mkdtemp(prefix=f"zonecut-{name}-"))
    try:
        hand_over(directory)
        yield directory
    finally:
        shutil.rmtree(directory)


class PostgreSql(Process):
    """The server with everything that it keeps in `directory`, which comes from `home`.

    Killed and started again, it comes back on the same port with the same databases. Everybody needs a password.
    `settings` are added to its configuration. Ready means: a superuser can ask it something.
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
        self._password = secrets.token_urlsafe(24)
        self._data = directory / "data"
        self._make(directory)
        given = {**_SETTINGS, "port": str(self.port), "unix_socket_directories": str(directory), **(settings or {})}
        options = [word for name, value in given.items() for word in ("-c", f"{name}={value}")]
        super().__init__(
            [*as_nobody(), find_server_command("postgres"), "-D", self._data, *options],
            name="postgresql",
            directory=directory,
            ready=self._answers,
            start_timeout=start_timeout,
            cpus=cpus,
        )

    def url(self, database: str, user: str, **query: str) -> str:
        """The URL of one of its databases, without a password."""
        parameters = "&".join(f"{name}={value}" for name, value in query.items())
        return f"postgresql+psycopg://{user}@{LOOPBACK}:{self.port}/{database}{'?' if query else ''}{parameters}"

    def connect(self, database: str = "postgres", **parameters: Any) -> "psycopg.Connection[tuple[Any, ...]]":
        """A connection of the superuser, or of another `user` with a `password`; each statement is a transaction."""
        given: dict[str, Any] = {"user": _SUPERUSER, "password": self._password, "connect_timeout": 10, **parameters}
        return psycopg.connect(host=LOOPBACK, port=self.port, dbname=database, autocommit=True, **given)

    def execute(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Have the superuser execute statements; what the last one returns."""
        rows: list[tuple[Any, ...]] = []
        with self.connect(database) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def create_role(self, name: str, password_file: Path) -> None:
        """Make a role that may log in, and put its password into a file that nobody else can read."""
        password = secrets.token_urlsafe(24)
        password_file.touch(mode=0o600)
        password_file.write_text(f"{password}\n")
        self.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")

    def stop(self) -> int:
        """End it without waiting for its clients to go."""
        self.send_signal(signal.SIGINT)
        return super().stop()

    def kill(self) -> None:
        """SIGKILL, to it and to every process that serves a client; each of those leads a session of its own."""
        if not self.running:
            return
        family = self._family()
        super().kill()
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not any(_runs(pid) for pid in family), timeout=10, what="the processes of PostgreSQL have ended")

    def signal_all(self, number: signal.Signals) -> None:
        """A signal to it and to all its processes."""
        for pid in (self.pid, *self._family()):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def _family(self) -> list[int]:
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                # the name of the program stands in brackets, and may hold anything
                fields = status.read_text().rpartition(")")[2].split()
                if int(fields[1]) == self.pid:
                    found.append(int(status.parent.name))
        return found

    def _make(self, directory: Path) -> None:
        if self._data.exists():
            raise LabError(f"{directory} holds a PostgreSQL already")
        password_file = directory / "superuser.password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        hand_over(password_file)
        initdb = find_server_command("initdb")
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        run(
            [*as_nobody(), initdb, "-D", self._data, "-U", _SUPERUSER, f"--pwfile={password_file}", *options],
            cwd=directory,
        )

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def as_nobody() -> Sequence[str]:
    """What makes a program that of a user without privileges, where we are root: it refuses to be that."""
    if os.geteuid() != 0:
        return ()
    return (find_command("setpriv"), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def _runs(pid: int) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] != "Z"
