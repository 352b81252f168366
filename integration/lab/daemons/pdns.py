"""A real PowerDNS Authoritative Server on loopback, with its zones in SQLite, written to over its HTTP API."""

import json
import re
import secrets
import sqlite3
import time
from base64 import b64encode
from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from lab.daemons.server import Add, Edit, Server
from lab.ports import LOOPBACK, free_port
from lab.process import LabError, find_command, run
from lab.tsig import generate_key
from lab.zones import ParentZone, Signing

_SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
_LOAD_SECONDS = 300.0
_LOCKED_SECONDS = 10.0
_OPENER = build_opener(ProxyHandler({}))


class PowerDns(Server):
    """pdns_server. `settings` are added to its configuration.

    A zone with any signing is signed in the one way that PowerDNS knows. Ready means also: the API answers.
    `notified` is a port of loopback where somebody is told of each change. With `rolls`, signed zones publish CDS.
    With `ddns`, whoever has the key in `tsig_file` may update and transfer the zones.
    """

    def __init__(
        self,
        directory: Path,
        *zones: ParentZone,
        port: int | None = None,
        settings: str = "",
        notified: int | None = None,
        rolls: bool = False,
        ddns: bool = False,
        start_timeout: float = 30.0,
        cpus: Collection[int] | None = None,
    ) -> None:
        super().__init__(
            directory,
            zones,
            f"--config-dir={directory}",
            program="pdns_server",
            name="pdns",
            port=port,
            start_timeout=start_timeout,
            cpus=cpus,
        )
        self.api_port = free_port()
        self.database = directory / "pdns.sqlite3"
        self.api_key_file = directory / "api.key"
        self._rolls = rolls
        if rolls:
            settings += "\ndnssec-key-cache-ttl=0\ndomain-metadata-cache-ttl=0"
        if notified is not None:
            settings += f"\nprimary=yes\nonly-notify=\nalso-notify={LOOPBACK}:{notified}\nxfr-cycle-interval=1\n"
        self.tsig_file = directory / "tsig.key"
        self.tsig_key = generate_key(self.tsig_file) if ddns else None
        if ddns:
            settings += (
                f"\ndnsupdate=yes\nallow-dnsupdate-from={LOOPBACK}\ndisable-axfr=no\nallow-axfr-ips={LOOPBACK}\n"
            )
        self._kind = None if notified is None else "primary"
        self._key = secrets.token_urlsafe(24)
        _write_private(self.api_key_file, f"{self._key}\n")
        _write_private(directory / "pdns.conf", self._configuration(settings))
        with closing(sqlite3.connect(self.database)) as database:
            if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
                database.executescript(_SCHEMA.read_text())
        self.write_zone_files()
        for each in zones:
            self._load(each)

    def backend(self) -> dict[str, Any]:
        """Signed zones are read by DNS and others by the API, so that tests take both ways."""
        by_dns = {"dns": self.server} if self.is_signed(None) else {}
        return {"adapter": "powerdns", "url": self.url, "api_key": str(self.api_key_file), **by_dns}

    def edit(self, *edits: Edit, zone: str | None = None) -> None:
        """Over the API. It replaces whole RRsets, so what else is in them is looked up first."""
        held: dict[str, dict[str, Any]] = {}
        for edit in edits:
            if edit.owner not in held:
                found = self.api("GET", f"?rrset_name={edit.owner}", zone=zone)["rrsets"]
                held[edit.owner] = {rrset["type"]: rrset for rrset in found if rrset["name"] == edit.owner}
            _carry_out(edit, held[edit.owner])
        rrsets = [rrset for at_owner in held.values() for rrset in at_owner.values() if "changetype" in rrset]
        deadline = time.monotonic() + _LOCKED_SECONDS
        while True:
            try:
                self.api("PATCH", body={"rrsets": rrsets}, zone=zone)
            except LabError as error:
                # SQLite takes one writer at a time, and zonecut may be the other.
                if ": 500 " not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    @property
    def url(self) -> str:
        """Where the API is, as zonecut's configuration wants it."""
        return f"http://{LOOPBACK}:{self.api_port}"

    def api(self, method: str, path: str = "", body: Any = None, zone: str | None = None) -> Any:
        """Somebody uses the API: a request below a zone's address (default: the first). LabError when it is refused."""
        return self._request(method, f"/zones/{self.name_of(zone)}{path}", body)

    def settings(self) -> dict[str, str]:
        """The settings with which it runs, by name."""
        return {each["name"]: each["value"] for each in self._request("GET", "/config")}

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        request = Request(
            f"{self.url}/api/v1/servers/localhost{path}",
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

    def roll_ksk(self, zone: str | None = None) -> None:
        """A new key beside the old one; whoever rolls by hand removes the old one when the parent has the new DS."""
        name = self.name_of(zone)
        self.pdnsutil("add-zone-key", name, "ksk", "active", "ecdsa256")
        self.pdnsutil("rectify-zone", name)

    def check_zone(self, zone: str | None = None) -> str:
        """What `pdnsutil check-zone` says (default: about the first); LabError when it finds errors.

        It takes seconds for a thousand delegations, and minutes for more than ten thousand.
        """
        return self.pdnsutil("check-zone", self.name_of(zone))

    def _load(self, zone: ParentZone) -> None:
        known = run([find_command("pdnsutil"), f"--config-dir={self.directory}", "list-all-zones"])
        if zone.name.rstrip(".") in re.split(r"[\s.]*\n", known):
            return
        self.pdnsutil("load-zone", zone.name, self.zone_file(zone.name))
        if zone.signing is not Signing.NONE:
            self.pdnsutil("secure-zone", zone.name)
            if self._rolls:
                self.pdnsutil("set-publish-cds", zone.name)
        if self.tsig_key is not None:
            name = str(self.tsig_key.name)
            self.pdnsutil("import-tsig-key", name, "hmac-sha256", b64encode(self.tsig_key.secret).decode())
            self.pdnsutil("set-meta", zone.name, "TSIG-ALLOW-AXFR", name)
            self.pdnsutil("set-meta", zone.name, "TSIG-ALLOW-DNSUPDATE", name)
        if self._kind is not None:
            self.pdnsutil("set-kind", zone.name, self._kind)

    def _configuration(self, settings: str) -> str:
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
                "socket-dir=.",
                "security-poll-suffix=",
                # What it read just before a change it may put into a cache just after, and answer for 20 s.
                "cache-ttl=0",
                "query-cache-ttl=0",
                "negquery-cache-ttl=0",
                "daemon=no",
                "guardian=no",
                "loglevel=4",
                settings,
                "",
            ]
        )

    def _check(self, zone: str, file: Path) -> None:
        if not self.is_signed(zone):
            # Only in a signed zone is it kept up to date which records have authority.
            self.pdnsutil("rectify-zone", zone)
        self.check_zone(zone)

    def _serves(self, zone: ParentZone) -> bool:
        try:
            return super()._serves(zone) and bool(self.api("GET", "?rrsets=false", zone=zone.name))
        except LabError:
            return self._lacks_zones


StartPowerDns = Callable[..., PowerDns]


def _carry_out(edit: Edit, rrsets: dict[str, dict[str, Any]]) -> None:
    """Change the RRsets of an owner, by type, as the API holds and takes them."""
    if isinstance(edit, Add):
        kinds = [edit.rtype]
        rrsets.setdefault(edit.rtype, {"name": edit.owner, "type": edit.rtype, "records": []})["ttl"] = edit.ttl
    else:
        kinds = [kind for kind in rrsets if edit.rtype in (None, kind)]
    for kind in kinds:
        rrset = rrsets[kind]
        if isinstance(edit, Add):
            kept = [each for each in rrset["records"] if each["content"] != edit.data]
            kept.append({"content": edit.data, "disabled": False})
        else:
            kept = [each for each in rrset["records"] if edit.data not in (None, each["content"])]
        rrset.update(records=kept, changetype="REPLACE" if kept else "DELETE")


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)
