"""The parent's server, as the tour sees it, and the simplest of them: a zone file."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dns.exception
import dns.rdatatype
import dns.zone
from dns.rdatatype import SOA

from zonecut.demo.processes import Process
from zonecut.demo.report import DemoFailure, Exhibit

PARENT = "parent.example."
ALPHA = f"alpha.{PARENT}"
BETA = f"beta.{PARENT}"
FIRST_SERIAL = 2026010101

_APEX = f"""\
$ORIGIN {PARENT}
$TTL 3600
@         SOA   ns1 hostmaster {FIRST_SERIAL} 7200 3600 1209600 300
@         NS    ns1
ns1       A     192.0.2.1
"""
_DELEGATIONS = """\
; the delegations, as somebody typed them in once
alpha     86400 NS    ns1.alpha
alpha     86400 NS    ns2.alpha
alpha     3600  DS    {alpha_ds}
ns1.alpha 86400 A     192.0.2.11
ns2.alpha 86400 A     192.0.2.12
beta      86400 NS    ns1.beta
beta      86400 NS    dns.provider.example.
ns1.beta  86400 A     192.0.2.21
"""
"""Documentation names and addresses (RFC 2606, RFC 5737): data only, nothing is ever sent there."""


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
        """What the server answers to a resolver that comes for a child; empty where no server runs."""
        return []

    def stop(self) -> None:
        """End what `start` started."""
        for process in self.processes:
            process.stop()


class ZoneFile(Authority):
    """A master file, which is all that an authoritative server needs from us."""

    def __init__(self, directory: Path, content: str) -> None:
        """`content` is the zone to begin with, as a master file."""
        self._content = content
        self._file = directory / "parent.example.zone"
        self._generated = directory / "parent.example.delegations"
        self._directory = directory

    @property
    def name(self) -> str:
        return "the zone file"

    @property
    def description(self) -> str:
        return "a zone file, which any server can load"

    @property
    def backend(self) -> Mapping[str, Any]:
        return {"adapter": "zonefile", "zone_file": str(self._file), "directory": str(self._directory)}

    @property
    def command(self) -> str:
        return f"cat {self._file.name} {self._generated.name}"

    def start(self) -> None:
        # the adapter makes the file that is included
        include = f"\n; what zonecut maintains\n$INCLUDE {self._generated} {PARENT}\n"
        self._file.write_text(self._content + include)

    def zone(self) -> dns.zone.Zone:
        try:
            return dns.zone.from_file(str(self._file), PARENT, relativize=False, allow_include=True)
        except (dns.exception.DNSException, OSError) as error:
            raise DemoFailure(f"no server would load {self._file.name}: {error}") from error

    def listing(self) -> str:
        # the directory is a temporary one with a long name, which teaches nothing
        text = self._file.read_text() + self._generated.read_text()
        return text.replace(f"{self._directory}/", "")


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
