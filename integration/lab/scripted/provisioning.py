"""The lab's provisioning system as a process, with its zone in `directory`."""

import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dns.zone

from lab.ports import LOOPBACK, free_port
from lab.process import Process
from lab.scripted.provisioning_system import BASE
from lab.scripted.provisioning_zone import AAAA, DS, NS, A, Zone, ds_wire, normal, wire
from lab.zones import ParentZone

_HERE = Path(__file__).parent


class Provisioning(Process):
    """A provisioning system on loopback that serves one zone. Killed and started again, it comes back as it was.

    `key_file` holds the secret that signs requests; with `public_key` (PEM), that key's private half does instead.
    `certificate` and its key, both files, make it speak TLS.
    """

    def __init__(
        self,
        directory: Path,
        zone: ParentZone,
        *,
        public_key: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.key_file = directory / "webhook.key"
        self.key_file.touch(mode=0o600)
        self.key_file.write_text(f"{secrets.token_urlsafe(32)}\n")
        self.scheme = "http" if certificate is None else "https"
        file = directory / "provisioning.sqlite"
        known = file.exists()
        self.zones = (zone,)
        self.zone = Zone(file, normal(zone.name))
        if not known:
            self._load(zone)
        argv: list[str | Path] = [
            sys.executable,
            "-m",
            "lab.scripted.provisioning_system",
            "--port",
            str(self.port),
            "--database",
            file,
        ]
        argv += ["--zone", zone.name, "--key", public_key or self.key_file]
        if certificate is not None:
            argv += ["--certificate", *certificate]
        super().__init__(
            ["env", f"PYTHONPATH={_HERE.parent.parent}", *argv],
            name="provisioning",
            directory=directory,
            ready=self._answers,
        )

    @property
    def url(self) -> str:
        """Where the zone is served, as zonecut's configuration wants it."""
        return f"{self.scheme}://{LOOPBACK}:{self.port}{BASE}"

    def backend(self) -> dict[str, Any]:
        """`backend` of zonecut's configuration for the zone."""
        return {"adapter": "webhook", "url": self.url, "key": str(self.key_file)}

    def statuses(self, child: str) -> Sequence[int]:
        """How each request to change a child was answered, in order."""
        return [status for _, _, asked, status in self.zone.asked() if asked == normal(child)]

    def _load(self, zone: ParentZone) -> None:
        lines = zone.master_file.splitlines(keepends=True)
        quick = [record for record in map(_record, lines) if record is not None]
        rest = "".join(line for line in lines if _record(line) is None)
        content = dns.zone.from_text(rest, zone.name, relativize=False, check_origin=False)
        self.zone.load(quick)
        self.zone.load(
            (owner.to_text(), int(rdataset.rdtype), rdataset.ttl, rdata.to_wire() or b"")
            for owner, rdataset in content.iterate_rdatasets()
            for rdata in rdataset
        )

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=1.0):
            return True
        return False


_READ: dict[str, tuple[int, Callable[[str], bytes]]] = {
    "NS": (NS, wire),
    "DS": (DS, ds_wire),
    "A": (A, lambda text: ip_address(text).packed),
    "AAAA": (AAAA, lambda text: ip_address(text).packed),
}


def _record(line: str) -> tuple[str, int, int, bytes] | None:
    """A record of a delegation that is written out; None for all else. dnspython takes 20 s for a large zone."""
    words = line.split()
    if len(words) < 5 or words[2] != "IN" or words[3] not in _READ or not words[0].endswith("."):
        return None
    rtype, read = _READ[words[3]]
    return words[0], rtype, int(words[1]), read(" ".join(words[4:]))
