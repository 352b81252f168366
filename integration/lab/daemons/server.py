"""What the lab's authoritative servers have in common: a parent's operator has one of them, and tests take any."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.xfr
import dns.zone

from lab.ports import LOOPBACK, free_port
from lab.process import LabError, Process, find_command, run, unconfined
from lab.zones import ParentZone, Signing

_TRANSFER_SECONDS = 120.0
_FILES = dns.zone.ZoneStyle(relativize=False, want_generic=True, omit_rdclass=True)
"""Types by their numbers: not every server's tool knows all names."""


@dataclass(frozen=True)
class Add:
    """A record that somebody adds by hand: absolute name, TTL in seconds, type and data as text."""

    owner: str
    ttl: int
    rtype: str
    data: str


@dataclass(frozen=True)
class Delete:
    """What somebody deletes by hand: a record; without `data` an RRset; without `rtype` all that is at the name."""

    owner: str
    rtype: str | None = None
    data: str | None = None


Edit = Add | Delete


class Server(Process, ABC):
    """A server on loopback, in the foreground, primary for parent zones, with all that it keeps in `directory`.

    It looks nothing up and tells nobody anything. Killed and started again, it comes back on the same ports with the
    same zones. Ready means: every zone answers, and is signed if it should be.
    """

    def __init__(
        self,
        directory: Path,
        zones: Sequence[ParentZone],
        *arguments: str | Path,
        program: str,
        name: str | None = None,
        port: int | None = None,
        start_timeout: float = 60.0,
        cpus: Collection[int] | None = None,
    ) -> None:
        """`arguments` are those of the program. The configuration has to be written before the start."""
        if not zones:
            raise ValueError(f"{program} needs a zone")
        directory.mkdir(parents=True, exist_ok=True)
        self.zones = tuple(zones)
        self._lacks_zones = False
        self.port = free_port() if port is None else port
        super().__init__(
            [unconfined(program, directory), *arguments],
            name=name or program,
            directory=directory,
            ready=self._answers,
            start_timeout=start_timeout,
            cpus=cpus,
        )

    @property
    def server(self) -> str:
        """Address and port of the DNS service as zonecut's configuration wants it."""
        return f"{LOOPBACK}:{self.port}"

    def start_lacking_zones(self) -> Self:
        """Start it although it cannot load a zone: it is ready when it answers at all."""
        self._lacks_zones = True
        try:
            return self.start()
        finally:
            self._lacks_zones = False

    @abstractmethod
    def backend(self) -> dict[str, Any]:
        """`backend` of zonecut's configuration for a zone of this server."""

    @abstractmethod
    def edit(self, *edits: Edit, zone: str | None = None) -> None:
        """Somebody edits a zone by hand (default: the first) with the server's ordinary tools, in one go.

        LabError when the server refuses.
        """

    @abstractmethod
    def roll_ksk(self, zone: str | None = None) -> None:
        """Begin to roll a zone's KSK (default: of the first) with the server's ordinary tools."""

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
        content = dns.zone.Zone(self.name_of(zone), relativize=False)
        question, _ = dns.xfr.make_query(content, keyring=self._transfer_key)
        dns.query.inbound_xfr(LOOPBACK, content, question, port=self.port, lifetime=_TRANSFER_SECONDS)
        return content

    def serial(self, zone: str | None = None) -> int:
        """The serial number that is served (default: of the first zone)."""
        return int(self.query(self.name_of(zone), "SOA", tcp=True).answer[0][0].serial)

    def verify(self, zone: str | None = None) -> None:
        """LabError unless a zone (default: the first) is whole: other servers would load it, and it is signed all over.

        As named-checkzone, dnssec-verify and the server's own tool say.
        """
        content = self.axfr(zone)
        file = self.directory / f"{content.origin}transferred"
        content.to_file(str(file), style=_FILES)
        said = run([find_command("named-checkzone"), "-i", "local", str(content.origin), file])
        # It says "OK" of a zone without necessary glue, after it has named what is missing.
        if "has no" in said:
            raise LabError(said)
        self._check(str(content.origin), file)
        if self.is_signed(zone):
            verify_zone(content, self.directory)

    def name_of(self, zone: str | None) -> str:
        """The name of a zone, by default of the first."""
        return zone or self.zones[0].name

    def zone_file(self, zone: str) -> Path:
        """The file from which a zone is loaded first."""
        return self.directory / f"{zone.replace('/', '_')}zone"

    def write_zone_files(self) -> None:
        """What the zones hold in the beginning."""
        for zone in self.zones:
            self.zone_file(zone.name).write_text(zone.master_file)

    def is_signed(self, zone: str | None) -> bool:
        """True if a zone (default: the first) should be signed."""
        name = self.name_of(zone)
        return any(each.name == name and each.signing is not Signing.NONE for each in self.zones)

    def _check(self, zone: str, file: Path) -> None:
        """Let the server's own tool look at a zone, which was just transferred to this file; LabError for an error."""

    @property
    def _transfer_key(self) -> dns.tsig.Key | None:
        """The key that a transfer needs."""
        return None

    def _answers(self) -> bool:
        try:
            return all(self._serves(zone) for zone in self.zones)
        except (dns.exception.DNSException, OSError, EOFError):
            return False

    def _serves(self, zone: ParentZone) -> bool:
        """True if a zone is served as it should be; any error of a query is a no."""
        # Over TCP: a port where nobody listens yet refuses at once, while a datagram to it waits for its timeout.
        answer = self.query(zone.name, "SOA", dnssec=True, tcp=True)
        if self._lacks_zones:
            return True
        if answer.rcode() != dns.rcode.NOERROR or not answer.answer:
            return False
        signed = any(rrset.rdtype == dns.rdatatype.RRSIG for rrset in answer.answer)
        return signed or zone.signing is Signing.NONE


def verify_zone(content: dns.zone.Zone, directory: Path) -> str:
    """What dnssec-verify says about a transferred zone; LabError when it is not signed all over."""
    file = directory / "to-verify.zone"
    content.to_file(str(file), style=_FILES)
    # -z: BIND's default policy has one key for everything, with the SEP flag.
    return run([find_command("dnssec-verify"), "-z", "-o", str(content.origin), str(file)])
