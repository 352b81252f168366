"""The adapter `powerdns` on a server of a test."""

from hashlib import sha256
from typing import Any

from lab.daemons.pdns import PowerDns
from lab.zones import PARENT
from zonecut.plugin import (
    BackendContext,
)
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls
from zonecut_powerdns import PowerDnsOptions
from zonecut_powerdns.backend import PowerDnsBackend

TTLS = Ttls(ns=7200, ds=1800, glue=900)


def make_backend(pdns: PowerDns, zone: str = PARENT, **options: Any) -> PowerDnsBackend:
    model = PowerDnsOptions(**{"url": pdns.url, "api_key": pdns.api_key_file, **options})
    return PowerDnsBackend(BackendContext(names.from_text(zone), TTLS), model)


def child(label: str) -> bytes:
    return names.from_text(f"{label}.{PARENT}")


def ds(tag: int) -> bytes:
    """DS RDATA with this key tag and a digest that is none."""
    return tag.to_bytes(2) + b"\x0d\2" + sha256(b"%d" % tag).digest()


def plain(label: str, *targets: str, tags: tuple[int, ...] = ()) -> Delegation:
    """A delegation to name servers elsewhere, with DS of these key tags."""
    name = child(label)
    records = [RR(name, RRType.NS, names.from_text(target)) for target in targets]
    return Delegation.of(name, [*records, *(RR(name, RRType.DS, ds(tag)) for tag in tags)])


def inside(label: str) -> Delegation:
    """A delegation with glue, which a rectified zone does not sign."""
    server = child(f"ns1.{label}")
    records = [RR(child(label), RRType.NS, server), RR(server, RRType.A, b"\x0b\1\1\1"), RR(child(label), 43, ds(7))]
    return Delegation.of(child(label), records)


async def held(backend: PowerDnsBackend, label: str) -> Delegation:
    return (await backend.read(child(label))).delegation


def switched_off(pdns: PowerDns) -> set[tuple[str, str, str]]:
    """The records that are switched off, of all the zone."""
    return {
        (rrset["name"], rrset["type"], record["content"])
        for rrset in pdns.api("GET")["rrsets"]
        for record in rrset["records"]
        if record["disabled"]
    }
