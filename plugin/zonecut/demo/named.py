"""A real named on loopback, primary for the parent zone, which one TSIG key may update."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.xfr
import dns.zone

from zonecut.demo.authority import PARENT, Authority, records
from zonecut.demo.processes import LOOPBACK, Process, environment, free_port
from zonecut.demo.report import DemoFailure, Exhibit

PLACES = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where servers are that shells which are not login shells do not find."""
SECONDS = 5.0

_CONFIGURATION = """\
include "{tsig}";
options {{
    directory "{directory}";
    pid-file "{directory}/named.pid";
    session-keyfile "{directory}/session.key";
    managed-keys-directory "{directory}";
    listen-on port {port} {{ {loopback}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
    empty-zones-enable no;
    notify no;
    automatic-interface-scan no;
}};
controls {{ }};
zone "{zone}" {{
    type primary;
    file "{file}";
    allow-update {{ key zonecut; }};
    allow-transfer {{ {loopback}; }};
}};
"""


class Named(Authority):
    """named in the foreground, with all that it keeps in its directory."""

    def __init__(self, directory: Path, content: str) -> None:
        """`content` is the zone to begin with, as a master file."""
        self._content = content
        self._program = _find("named")
        self._keygen = _find("tsig-keygen")
        self._directory = directory / "named"
        self._tsig = self._directory / "tsig.key"
        self._port = free_port()

    @property
    def description(self) -> str:
        return f"{_version(self._program)} ({self._program}) with a dynamic zone"

    @property
    def backend(self) -> Mapping[str, Any]:
        return {"adapter": "bind", "server": f"{LOOPBACK}:{self._port}", "tsig": str(self._tsig)}

    @property
    def command(self) -> str:
        return f"dig @{LOOPBACK} -p {self._port} {PARENT} AXFR +noall +answer +onesoa"

    def start(self) -> None:
        directory = self._directory
        directory.mkdir(mode=0o700)
        _generate_key(self._keygen, self._tsig)
        file = directory / "parent.example.zone"
        file.write_text(self._content)
        configuration = directory / "named.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                tsig=self._tsig, directory=directory, port=self._port, loopback=LOOPBACK, zone=PARENT, file=file
            )
        )
        program = _unconfined(self._program, directory)
        process = Process("named", [program, "-g", "-c", str(configuration)], directory)
        self.processes = (process,)
        process.start(self._answers)

    def zone(self) -> dns.zone.Zone:
        content = dns.zone.Zone(PARENT, relativize=False)
        question, _ = dns.xfr.make_query(content)
        try:
            dns.query.inbound_xfr(LOOPBACK, content, question, port=self._port, timeout=SECONDS, lifetime=SECONDS)
        except (dns.exception.DNSException, OSError) as error:
            raise DemoFailure(f"the zone could not be transferred from named: {error}") from error
        return content

    def listing(self) -> str:
        return "\n".join(records(self.zone()))

    def asked(self, child: str) -> list[Exhibit]:
        # a referral from an unsigned zone has no DS in it (RFC 4035 section 3.1.4), so that is asked for by itself
        return [
            self._ask("The referral that named gives to whoever asks", f"www.{child}", "A", "authority"),
            self._ask("The DS", child, "DS", "answer"),
        ]

    def _ask(self, title: str, name: str, kind: str, section: str) -> Exhibit:
        question = dns.message.make_query(name, kind)
        question.flags &= ~dns.flags.RD
        try:
            answer = dns.query.tcp(question, LOOPBACK, port=self._port, timeout=SECONDS)
        except (dns.exception.DNSException, OSError) as error:
            raise DemoFailure(f"named does not answer: {error}") from error
        lines = "\n".join(str(rrset) for rrset in (*answer.answer, *answer.authority, *answer.additional))
        command = f"dig @{LOOPBACK} -p {self._port} {name} {kind} +norecurse +noall +{section} +additional"
        return Exhibit(title, command, lines)

    def _answers(self) -> bool:
        try:
            self.zone()
        except DemoFailure:
            return False
        return True


def _find(program: str) -> str:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *PLACES))
    found = shutil.which(program, path=path)
    if found is None:
        raise DemoFailure(
            f"the tour with BIND needs {program}, which is neither in PATH nor in {', '.join(PLACES)}: install BIND 9"
            " (Debian: apt-get install bind9), or take the tour that needs no server: zonecut demo --adapter zonefile"
        )
    return found


def _version(program: str) -> str:
    return " ".join(_output(program, "-v").split()[:2])


def _generate_key(keygen: str, file: Path) -> None:
    """Write a TSIG key where only we may read it; the secret goes from one program's output straight into the file."""
    file.touch(mode=0o600)
    file.write_text(_output(keygen, "-a", "hmac-sha256", "zonecut"))


def _output(*argv: str) -> str:
    done = subprocess.run(  # noqa: S603 (BIND's own programs)
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment(), timeout=30, check=False
    )
    if done.returncode:
        raise DemoFailure(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _unconfined(program: str, directory: Path) -> str:
    """The named to run.

    Debian's AppArmor profile goes by the program's path and allows no directory but the service's own; a copy is free.
    """
    switch = Path("/sys/module/apparmor/parameters/enabled")
    if not (switch.exists() and switch.read_text().startswith("Y")):
        return program
    copy = directory / "named"
    shutil.copy(program, copy)
    return str(copy)
