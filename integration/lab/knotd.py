"""A real knotd on loopback, primary for parent zones that whoever reaches its control socket may edit."""

import shutil
import subprocess
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.xfr
import dns.zone

from lab.ports import LOOPBACK, free_port
from lab.process import LabError, Process, find_command
from lab.zones import ParentZone, Signing

_TRANSFER_SECONDS = 120.0


class Knotd(Process):
    """knotd in the foreground, with everything that it keeps in `directory`.

    Killed and started again, it comes back on the same port with the same zones and journals. `options` is added to
    what each zone has (lines such as `semantic-checks: on`). Ready means: every zone answers, signed if it should be,
    and the control socket is served.
    """

    def __init__(
        self,
        directory: Path,
        *zones: ParentZone,
        port: int | None = None,
        options: Sequence[str] = (),
        start_timeout: float = 60.0,
        cpus: Collection[int] | None = None,
    ) -> None:
        if not zones:
            raise ValueError("knotd needs a zone")
        self.zones = zones
        self.port = free_port() if port is None else port
        self.socket = directory / "knot.sock"
        directory.mkdir(parents=True, exist_ok=True)
        if len(str(self.socket)) > 100:
            # sun_path has 108 octets
            raise LabError(f"{self.socket} is too long for the path of a socket")
        for zone in zones:
            _zone_file(directory, zone.name).write_text(zone.master_file)
        configuration = directory / "knot.conf"
        configuration.write_text(self._configuration(directory, options))
        super().__init__(
            [_unconfined(directory), "-c", configuration],
            name="knotd",
            directory=directory,
            ready=self._answers,
            start_timeout=start_timeout,
            cpus=cpus,
        )

    @property
    def server(self) -> str:
        """Address and port of its DNS service."""
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

    def knotc(self, *commands: Sequence[str]) -> str:
        """Run these commands, words each, in one knotc; LabError when one of them fails."""
        lines = "".join(" ".join(map(_quoted, words)) + "\n" for words in commands)
        argv = [find_command("knotc"), "-x", "-s", str(self.socket), "-t", "10"]
        done = subprocess.run(argv, input=lines, capture_output=True, text=True, timeout=60)
        output = done.stdout + done.stderr
        if done.returncode != 0 or "error:" in output:
            raise LabError(f"knotc: {lines}{output}")
        return output

    def edit(self, *commands: Sequence[str], zone: str | None = None) -> None:
        """Somebody edits a zone by hand (default: the first): `("set", owner, ttl, type, rdata)`, `("unset", ...)`."""
        name = zone or self.zones[0].name
        inner = ((f"zone-{command}", name, *words) for command, *words in commands)
        self.knotc(("zone-begin", name), *inner, ("zone-commit", name))

    def _configuration(self, directory: Path, options: Sequence[str]) -> str:
        zone_options = "".join(f"    {line}\n" for line in options)
        return f"""\
server:
  listen: {LOOPBACK}@{self.port}
  rundir: "{directory}"
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
control:
  listen: "{self.socket}"
database:
  storage: "{directory}"
log:
  - target: stderr
    any: info
acl:
  - id: transfer
    address: {LOOPBACK}
    action: transfer
template:
  - id: default
    acl: transfer
    zonefile-sync: -1
    zonefile-load: difference
    journal-content: changes
{zone_options}zone:
{"".join(_zone_clause(directory, zone) for zone in self.zones)}"""

    def _answers(self) -> bool:
        return self.socket.exists() and all(self._serves(zone) for zone in self.zones)

    def _serves(self, zone: ParentZone) -> bool:
        try:
            # Over TCP: a port where nobody listens yet refuses at once, while a datagram to it waits for its timeout.
            answer = self.query(zone.name, "SOA", dnssec=True, tcp=True)
        except (dns.exception.DNSException, OSError, EOFError):
            return False
        if answer.rcode() != dns.rcode.NOERROR or not answer.answer:
            return False
        signed = any(rrset.rdtype == dns.rdatatype.RRSIG for rrset in answer.answer)
        return signed or zone.signing is Signing.NONE


StartKnotd = Callable[..., Knotd]


def _zone_file(directory: Path, zone: str) -> Path:
    return directory / f"{zone}zone"


def _zone_clause(directory: Path, zone: ParentZone) -> str:
    # There is one way of signing in Knot.
    signing = "off" if zone.signing is Signing.NONE else "on"
    return f'  - domain: "{zone.name}"\n    file: "{_zone_file(directory, zone.name)}"\n    dnssec-signing: {signing}\n'


def _quoted(word: str) -> str:
    """A word as knotc's line reader takes it: between single quotes nothing is special."""
    if "'" in word:
        return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"'{word}'"


def _unconfined(directory: Path) -> Path:
    """The knotd to run: a copy where AppArmor would keep the installed one, by its path, out of our directory."""
    installed = Path(find_command("knotd"))
    switch = Path("/sys/module/apparmor/parameters/enabled")
    if not (switch.exists() and switch.read_text().startswith("Y")):
        return installed
    copy = directory / "knotd"
    if not copy.exists():
        shutil.copy(installed, copy)
    return copy
