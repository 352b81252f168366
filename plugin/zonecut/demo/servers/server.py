"""A real authoritative server on loopback: found, started, ended."""

import os
import shutil
import subprocess
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import dns.exception
import dns.query
import dns.xfr
import dns.zone

from zonecut.demo.processes import LOOPBACK, Process, environment, free_port
from zonecut.demo.report import DemoFailure
from zonecut.demo.servers.authority import PARENT, SECONDS, Authority, records

PLACES = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where servers are that shells which are not login shells do not find."""


class Server(Authority):
    """A server in the foreground, with all that it keeps in its directory."""

    program: ClassVar[str]
    product: ClassVar[str]
    """How people call it."""
    packages: ClassVar[str]
    """Debian's names for what has to be installed."""

    def __init__(self, directory: Path, content: str) -> None:
        """`content` is the zone to begin with, as a master file. Raises DemoFailure if the server is not there."""
        self._content = content
        self._path = self.find(self.program)
        self.directory = directory / self.program
        self._port = free_port()

    @property
    def name(self) -> str:
        return self.program

    @property
    def port(self) -> int:
        return self._port

    @property
    def command(self) -> str:
        return f"dig @{LOOPBACK} -p {self.port} {PARENT} AXFR +noall +answer +onesoa"

    @abstractmethod
    def prepare(self, file: Path) -> Sequence[str]:
        """Write the configuration for a zone that stands in this file; the arguments of the program."""

    def start(self) -> None:
        self.directory.mkdir(mode=0o700)
        file = self.directory / "parent.example.zone"
        file.write_text(self._content)
        arguments = self.prepare(file)
        process = Process(self.program, [self._unconfined(), *arguments], self.directory)
        self.processes = (process,)
        process.start(self.answers)

    def zone(self) -> dns.zone.Zone:
        content = dns.zone.Zone(PARENT, relativize=False)
        question, _ = dns.xfr.make_query(content)
        try:
            dns.query.inbound_xfr(LOOPBACK, content, question, port=self.port, timeout=SECONDS, lifetime=SECONDS)
        except (dns.exception.DNSException, OSError, EOFError) as error:
            raise DemoFailure(f"the zone could not be transferred from {self.program}: {error}") from error
        return content

    def listing(self) -> str:
        return "\n".join(records(self.zone()))

    def answers(self) -> bool:
        """True once it serves the zone."""
        try:
            self.zone()
        except DemoFailure:
            return False
        return True

    def find(self, program: str) -> str:
        """The path of a program. Raises DemoFailure if it is not installed."""
        path = os.pathsep.join((os.environ.get("PATH", os.defpath), *PLACES))
        found = shutil.which(program, path=path)
        if found is None:
            raise self.missing(f"{program}, which is neither in PATH nor in {', '.join(PLACES)}")
        return found

    def missing(self, what: str) -> DemoFailure:
        """That something is not installed."""
        return DemoFailure(
            f"the tour with {self.product} needs {what}: install {self.product} (Debian: apt-get install"
            f" {self.packages}), or take the tour that needs no server: zonecut demo --adapter zonefile"
        )

    def _unconfined(self) -> str:
        """The program to run.

        Debian's AppArmor profiles go by the program's path and allow no directory but the service's own; a copy is
        free.
        """
        switch = Path("/sys/module/apparmor/parameters/enabled")
        if not (switch.exists() and switch.read_text().startswith("Y")):
            return self._path
        copy = self.directory / self.program
        shutil.copy(self._path, copy)
        return str(copy)


def output(*argv: str) -> str:
    """What a program of the server prints. Raises DemoFailure if it fails."""
    done = subprocess.run(  # noqa: S603 (the server's own programs)
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment(), timeout=30, check=False
    )
    if done.returncode:
        raise DemoFailure(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def write_private(file: Path, text: str) -> None:
    """Write a secret where only we may read it."""
    file.touch(mode=0o600)
    file.write_text(text)
