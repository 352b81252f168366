"""The parent's server, as the tour sees it, and the simplest of them: one that loads a zone file."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rdatatype
import dns.zone
from dns.rdatatype import SOA

from zonecut.demo.processes import LOOPBACK, Process
from zonecut.demo.report import DemoFailure, Exhibit
from zonecut.demo.servers.filed import FileAuthority, FiledZone

PARENT = "parent.example."
ALPHA = f"alpha.{PARENT}"
BETA = f"beta.{PARENT}"
FIRST_SERIAL = 2026010101
SECONDS = 5.0
"""How long a server may take to answer."""

_APEX = f"""\
$ORIGIN {PARENT}
$TTL 3600
@         SOA   ns1 hostmaster {FIRST_SERIAL} 7200 3600 1209600 300
@         NS    ns1
ns1       A     127.0.0.1
"""
_DELEGATIONS = """\
; the delegations, as somebody typed them in once
alpha     86400 NS    ns1.alpha
alpha     86400 NS    ns2.alpha
alpha     3600  DS    {alpha_ds}
ns1.alpha 86400 A     127.0.0.11
ns2.alpha 86400 A     127.0.0.12
beta      86400 NS    ns1.beta
beta      86400 NS    dns.provider.example.
ns1.beta  86400 A     192.0.2.21
"""
"""Documentation names (RFC 2606). Whoever is asked has an address on loopback; beta's servers are data only."""


def master_file(alpha_ds: str) -> str:
    """The parent zone before; `alpha_ds` is the data of the DS record that alpha has."""
    return _APEX + _DELEGATIONS.format(alpha_ds=alpha_ds)


class Authority(ABC):
    """Serves the parent zone, in a directory of its own."""

    processes: tuple[Process, ...] = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """What the tour calls it."""

    @property
    @abstractmethod
    def port(self) -> int:
        """Where it answers, once it is started."""

    @property
    @abstractmethod
    def description(self) -> str:
        """What it is, for the title."""

    @property
    @abstractmethod
    def backend(self) -> Mapping[str, Any]:
        """`backend` of zonecut's configuration."""

    @property
    @abstractmethod
    def command(self) -> str:
        """What a person types to see the zone."""

    @abstractmethod
    def start(self) -> None:
        """Serve. Raises DemoFailure."""

    @abstractmethod
    def zone(self) -> dns.zone.Zone:
        """The zone as it is served now. Raises DemoFailure."""

    @abstractmethod
    def listing(self) -> str:
        """What `command` prints."""

    def asked(self, child: str) -> list[Exhibit]:
        """What the server answers to a resolver that comes for a child. Raises DemoFailure."""
        # a referral from an unsigned zone has no DS in it (RFC 4035 section 3.1.4), so that is asked for by itself
        title = f"The referral that {self.name} gives to whoever asks"
        return [self._ask(title, f"www.{child}", "A", "authority"), self._ask("The DS", child, "DS", "answer")]

    def _ask(self, title: str, name: str, kind: str, section: str) -> Exhibit:
        question = dns.message.make_query(name, kind)
        question.flags &= ~dns.flags.RD
        try:
            answer = dns.query.tcp(question, LOOPBACK, port=self.port, timeout=SECONDS)
        except (dns.exception.DNSException, OSError, EOFError) as error:
            raise DemoFailure(f"{self.name} does not answer: {error}") from error
        lines = "\n".join(str(rrset) for rrset in (*answer.answer, *answer.authority, *answer.additional))
        command = f"dig @{LOOPBACK} -p {self.port} {name} {kind} +norecurse +noall +{section} +additional"
        return Exhibit(title, command, lines)

    def stop(self) -> None:
        """End what `start` started."""
        for process in self.processes:
            process.stop()


class ZoneFile(Authority):
    """A master file, which is all that an authoritative server needs from us, and a small server of the tour's own."""

    def __init__(self, directory: Path, content: str) -> None:
        """`content` is the zone to begin with, as a master file."""
        self._filed = FiledZone(PARENT, directory, content, signed=False)
        self._server = FileAuthority(self._filed)
        self._running = ExitStack()

    @property
    def name(self) -> str:
        return "the tour's name server"

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def description(self) -> str:
        return "a zone file, which any server can load, with a small one of the tour's own"

    @property
    def backend(self) -> Mapping[str, Any]:
        return self._filed.backend

    @property
    def command(self) -> str:
        return f"cat {self._filed.file.name} {self._filed.generated.name}"

    def start(self) -> None:
        self._filed.write()
        self._running.enter_context(self._server)

    def zone(self) -> dns.zone.Zone:
        return self._filed.read()

    def listing(self) -> str:
        return self._filed.text()

    def stop(self) -> None:
        self._running.close()


def serial(zone: dns.zone.Zone) -> int:
    """The serial of the SOA."""
    soa = zone.get_soa()
    return int(soa.serial)


def records(zone: dns.zone.Zone) -> list[str]:
    """All records as lines of a zone file, the names in canonical order."""
    found = []
    for name in sorted(zone.nodes):
        for rdataset in sorted(zone.nodes[name], key=lambda each: (each.rdtype != SOA, int(each.rdtype))):
            kind = dns.rdatatype.to_text(rdataset.rdtype)
            found += sorted(f"{name!s:<26} {rdataset.ttl:>6} IN {kind:<5} {rdata}" for rdata in rdataset)
    return found


def of_child(lines: Sequence[str], child: str) -> list[str]:
    """Those lines whose owner is at or below a child."""
    return [line for line in lines if f".{line.split()[0]}".endswith(f".{child}")]


def without_ttls(lines: Sequence[str]) -> list[str]:
    """Owner, type and data of each line, with single blanks."""
    return [" ".join((words[0], *words[3:])) for line in lines if (words := line.split())]
