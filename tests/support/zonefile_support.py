"""A parent zone in files, for the tests of the adapter `zonefile`. No tests of its own."""

from dataclasses import dataclass
from pathlib import Path

import dns.name
import dns.rdatatype
import dns.zone

from zonecut.plugin import BackendContext, Change
from zonecut.protocol import names
from zonecut.protocol.delegation import RR, Delegation, Ttls
from zonecut_zonefile import ZonefileBackend, ZonefileOptions
from zonecut_zonefile.master.rdata import read, rrtype

PARENT = names.from_text("parent.example.")
APEX = """\
$ORIGIN parent.example.
$TTL 3600
@ IN SOA ns1 hostmaster ( 2024010100 ; serial
      3600 900 604800 300 )
@ NS ns1
ns1 A 192.0.2.1
"""


def delegation(child: str, *records: str) -> Delegation:
    """A delegation from lines such as "NS ns.x." (of the child) or "ns1.a.parent.example. A 192.0.2.1"."""
    owner = names.from_text(child)
    found = []
    for line in records:
        words = line.split()
        if words[0] in ("NS", "DS"):
            words = [child, *words]
        kind = rrtype(words[1].encode())
        rdata = read(kind, [word.encode() for word in words[2:]], PARENT)
        found.append(RR(names.from_text(words[0]), kind, rdata))
    return Delegation.of(owner, found)


def change(before: Delegation, after: Delegation) -> Change:
    return Change(before, after)


@dataclass
class Parent:
    """The files in one directory."""

    directory: Path
    reload: list[str] | None = None
    reload_timeout: float = 30

    @property
    def zone_file(self) -> Path:
        return self.directory / "parent.zone"

    @property
    def include(self) -> Path:
        return self.directory / "parent.example.delegations"

    @property
    def include_line(self) -> str:
        return f"$INCLUDE {self.include} parent.example."

    def hold(self, text: str | bytes, *, include: bool = True) -> "Parent":
        """Write the zone's file: what is given, and the $INCLUDE line before it."""
        data = text.encode() if isinstance(text, str) else text
        self.zone_file.write_bytes((self.include_line.encode() + b"\n" if include else b"") + data)
        return self

    def backend(self) -> ZonefileBackend:
        options = ZonefileOptions.model_validate(
            {
                "zone_file": self.zone_file,
                "directory": self.directory,
                "reload": self.reload,
                "reload_timeout": self.reload_timeout,
            }
        )
        return ZonefileBackend(BackendContext(PARENT, Ttls()), options)

    async def opened(self) -> ZonefileBackend:
        backend = self.backend()
        await backend.open()
        return backend

    def text(self) -> str:
        return self.zone_file.read_bytes().decode()

    def loaded(self) -> dns.zone.Zone:
        """The zone as dnspython, another reader than ours, finds it."""
        with self.zone_file.open() as file:
            return dns.zone.from_file(file, origin="parent.example.", relativize=False, allow_include=True)

    def served(self) -> set[tuple[str, str, str]]:
        """Owner, type and RDATA of everything but the SOA."""
        return {
            (owner.to_text().lower(), dns.rdatatype.to_text(rdata.rdtype), rdata.to_text().lower())
            for owner, _, rdata in self.loaded().iterate_rdatas()
            if rdata.rdtype != dns.rdatatype.SOA
        }

    def serial(self) -> int:
        soa = self.loaded().get_rdataset(dns.name.from_text("parent.example."), "SOA")
        assert soa is not None
        return int(soa[0].serial)


def served(*delegations: Delegation) -> set[tuple[str, str, str]]:
    """What `Parent.served` gives for these delegations alone."""
    found = set()
    for each in delegations:
        for rr in each.records:
            owner, kind, rdata = rr.to_text().split(" ", 2)
            found.add((owner, kind, rdata.lower()))
    return found


async def listed(backend: ZonefileBackend) -> dict[bytes, Delegation]:
    return {each.delegation.child: each.delegation async for each in backend.children()}
