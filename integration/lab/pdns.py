"""A real PowerDNS Authoritative Server on loopback, with its zones in SQLite, written to over its HTTP API."""

import json
import re
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.xfr
import dns.zone

from lab.ports import LOOPBACK, free_port
from lab.process import LabError, Process, find_command, run
from lab.zones import ParentZone, Signing

_SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
_TRANSFER_SECONDS = 120.0
_LOAD_SECONDS = 300.0
_OPENER = build_opener(ProxyHandler({}))


class PowerDns(Process):
    """pdns_server in the foreground, with everything that it keeps in `directory`.

    It looks nothing up and tells nobody anything. Killed and started again, it comes back on the same ports with the
    same database. `settings` are added to its configuration. A zone with any signing is signed by PowerDNS itself,
    which knows one way only. Ready means: every zone answers, and so does the API.
    """

    def __init__(
        self,
        directory: Path,
        *zones: ParentZone,
        settings: str = "",
        start_timeout: float = 30.0,
        cpus: Collection[int] | None = None,
    ) -> None:
        if not zones:
            raise ValueError("PowerDNS needs a zone")
        self.zones = zones
        self.port = free_port()
        self.api_port = free_port()
        self.database = directory / "pdns.sqlite3"
        self.api_key_file = directory / "api.key"
        directory.mkdir(parents=True, exist_ok=True)
        self._key = secrets.token_urlsafe(24)
        _write_private(self.api_key_file, f"{self._key}\n")
        _write_private(directory / "pdns.conf", self._configuration(directory, settings))
        with closing(sqlite3.connect(self.database)) as database:
            if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
                database.executescript(_SCHEMA.read_text())
        super().__init__(
            [find_command("pdns_server"), f"--config-dir={directory}"],
            name="pdns",
            directory=directory,
            ready=self._answers,
            start_timeout=start_timeout,
            cpus=cpus,
        )
        for zone in zones:
            self._load(zone)

    @property
    def url(self) -> str:
        """Where the API is, as zonecut's configuration wants it."""
        return f"http://{LOOPBACK}:{self.api_port}"

    @property
    def server(self) -> str:
        """Address and port of the DNS service as zonecut's configuration wants it."""
        return f"{LOOPBACK}:{self.port}"

    def query(
        self, name: str, rdtype: str, *, dnssec: bool = False, tcp: bool = False, timeout: float = 5.0
    ) -> dns.message.Message:
        """The answer to a non-recursive query. With `dnssec`, RRSIGs come along."""
        question = dns.message.make_query(name, rdtype, want_dnssec=dnssec)
        question.flags &= ~dns.flags.RD
        if tcp:
            return dns.query.tcp(question, LOOPBACK, port=self.port, timeout=timeout)
        answer, _ = dns.query.udp_with_fallback(question, LOOPBACK, port=self.port, timeout=timeout)
        return answer

    def axfr(self, zone: str | None = None) -> dns.zone.Zone:
        """The whole zone (default: the first), with absolute names."""
        content = dns.zone.Zone(zone or self.zones[0].name, relativize=False)
        question, _ = dns.xfr.make_query(content)
        dns.query.inbound_xfr(LOOPBACK, content, question, port=self.port, lifetime=_TRANSFER_SECONDS)
        return content

    def serial(self, zone: str | None = None) -> int:
        """The serial number that is served (default: of the first zone)."""
        return int(self.query(zone or self.zones[0].name, "SOA", tcp=True).answer[0][0].serial)

    def api(self, method: str, path: str = "", body: Any = None, zone: str | None = None) -> Any:
        """Somebody uses the API: a request below a zone's address (default: the first). LabError when it is refused."""
        name = zone or self.zones[0].name
        request = Request(
            f"{self.url}/api/v1/servers/localhost/zones/{name}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-API-Key": self._key, "Content-Type": "application/json"},
        )
        try:
            with _OPENER.open(request, timeout=30) as answer:
                text = answer.read()
        except HTTPError as error:
            raise LabError(f"PowerDNS refused {method} {path}: {error.code} {error.read()!r}") from error
        return json.loads(text) if text else None

    def set_rrset(
        self, name: str, rdtype: str, contents: Iterable[str], *, ttl: int = 3600, disabled: Collection[str] = ()
    ) -> None:
        """Somebody replaces an RRset over the API; without contents it is deleted. `disabled`: those switched off."""
        records = [{"content": content, "disabled": content in disabled} for content in contents]
        change = {"changetype": "REPLACE" if records else "DELETE", "ttl": ttl, "records": records}
        self.api("PATCH", body={"rrsets": [{"name": name, "type": rdtype, **change}]})

    def pdnsutil(self, *arguments: str | Path) -> str:
        """Somebody edits the database behind the server's back. Owners of records are given relative to the zone."""
        config = f"--config-dir={self.directory}"
        return run([find_command("pdnsutil"), config, *arguments], timeout=_LOAD_SECONDS)

    def check_zone(self, zone: str | None = None) -> str:
        """What `pdnsutil check-zone` says (default: about the first); LabError when it finds errors.

        It takes seconds for a thousand delegations, and minutes for more than ten thousand.
        """
        return self.pdnsutil("check-zone", zone or self.zones[0].name)

    def _load(self, zone: ParentZone) -> None:
        known = run([find_command("pdnsutil"), f"--config-dir={self.directory}", "list-all-zones"])
        if zone.name.rstrip(".") in re.split(r"[\s.]*\n", known):
            return
        file = self.directory / f"{zone.name}zone"
        file.write_text(zone.master_file)
        self.pdnsutil("load-zone", zone.name, file)
        if zone.signing is not Signing.NONE:
            self.pdnsutil("secure-zone", zone.name)

    def _configuration(self, directory: Path, settings: str) -> str:
        return "\n".join(
            [
                "launch=gsqlite3",
                f"gsqlite3-database={self.database}",
                "gsqlite3-dnssec=yes",
                f"local-address={LOOPBACK}",
                f"local-port={self.port}",
                "api=yes",
                f"api-key={self._key}",
                "webserver=yes",
                f"webserver-address={LOOPBACK}",
                f"webserver-port={self.api_port}",
                f"webserver-allow-from={LOOPBACK}",
                f"socket-dir={directory}",
                "security-poll-suffix=",
                "daemon=no",
                "guardian=no",
                "loglevel=4",
                settings,
                "",
            ]
        )

    def _answers(self) -> bool:
        try:
            for zone in self.zones:
                answer = self.query(zone.name, "SOA", tcp=True)
                if answer.rcode() != dns.rcode.NOERROR or not answer.answer:
                    return False
                self.api("GET", "?rrsets=false", zone=zone.name)
        except (dns.exception.DNSException, OSError, LabError):
            return False
        return True


StartPowerDns = Callable[..., PowerDns]


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)
