"""A real PowerDNS Authoritative Server on loopback, with the parent zone in SQLite, which its HTTP API may edit."""

import http.client
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from zonecut.demo.processes import LOOPBACK, free_port
from zonecut.demo.servers.authority import PARENT, SECONDS
from zonecut.demo.servers.server import Server, output, write_private

SCHEMAS = (
    "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql",
    "/usr/share/doc/pdns/schema.sqlite3.sql",
    "/usr/local/share/doc/pdns/schema.sqlite3.sql",
)
"""Where packages keep the tables of the SQLite backend."""

# It runs in its directory, whose whole path may be too long for that of a socket.
_CONFIGURATION = """\
launch=gsqlite3
gsqlite3-database={database}
gsqlite3-dnssec=yes
local-address={loopback}
local-port={port}
allow-axfr-ips={loopback}
api=yes
api-key={key}
webserver=yes
webserver-address={loopback}
webserver-port={api_port}
webserver-allow-from={loopback}
socket-dir=.
security-poll-suffix=
daemon=no
guardian=no
"""


class PowerDns(Server):
    """pdns_server with a zone in a database."""

    program = "pdns_server"
    product = "PowerDNS"
    packages = "pdns-server pdns-backend-sqlite3"

    def __init__(self, directory: Path, content: str) -> None:
        super().__init__(directory, content)
        self._pdnsutil = self.find("pdnsutil")
        schema = next((path for path in map(Path, SCHEMAS) if path.exists()), None)
        if schema is None:
            raise self.missing(f"the tables of its SQLite backend, which are not at {', '.join(SCHEMAS)}")
        self._schema = schema
        self._api_port = free_port()
        self._key_file = self.directory / "api.key"

    @property
    def description(self) -> str:
        version = output(self._pdnsutil, "--version").split()[-1]
        return f"PowerDNS {version} ({self._path}) with SQLite, written to over its HTTP API"

    @property
    def backend(self) -> Mapping[str, Any]:
        url = f"http://{LOOPBACK}:{self._api_port}"
        return {"adapter": "powerdns", "url": url, "api_key": str(self._key_file)}

    def prepare(self, file: Path) -> Sequence[str]:
        database = self.directory / "pdns.sqlite3"
        with closing(sqlite3.connect(database)) as connection:
            connection.executescript(self._schema.read_text())
        key = secrets.token_urlsafe(24)
        write_private(self._key_file, f"{key}\n")
        write_private(
            self.directory / "pdns.conf",
            _CONFIGURATION.format(
                database=database,
                loopback=LOOPBACK,
                port=self.port,
                key=key,
                api_port=self._api_port,
            ),
        )
        output(self._pdnsutil, self._configured, "load-zone", PARENT, str(file))
        return [self._configured]

    def answers(self) -> bool:
        return super().answers() and self._api_answers()

    @property
    def _configured(self) -> str:
        return f"--config-dir={self.directory}"

    def _api_answers(self) -> bool:
        with closing(http.client.HTTPConnection(LOOPBACK, self._api_port, timeout=SECONDS)) as connection:
            try:
                connection.request("GET", "/")
                connection.getresponse()
            except (OSError, http.client.HTTPException):
                return False
        return True
