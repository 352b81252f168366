"""The adapter `bind` on a named of a test."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from ipaddress import ip_address

from lab.zones import PARENT
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls

TTLS = Ttls(ns=7200, ds=1800, glue=900)


def child(label: str) -> bytes:
    return names.from_text(f"{label}.{PARENT}")


def delegation(
    label: str, ns: Iterable[str] = (), ds: Iterable[int] = (), glue: Mapping[str, Iterable[str]] | None = None
) -> Delegation:
    """A value: NS names absolute or below the child, DS by key tag, glue addresses by owner."""
    name = child(label)
    full = {text: names.from_text(text if text.endswith(".") else f"{text}.{label}.{PARENT}") for text in ns}
    records = [RR(name, RRType.NS, target) for target in full.values()]
    records += [RR(name, RRType.DS, bytes([tag >> 8, tag & 255, 13, 2]) + sha256(b"%d" % tag).digest()) for tag in ds]
    for owner, addresses in (glue or {}).items():
        for address in map(ip_address, addresses):
            rtype = RRType.A if address.version == 4 else RRType.AAAA
            records.append(RR(names.from_text(f"{owner}.{label}.{PARENT}"), rtype, address.packed))
    return Delegation.of(name, records)


FULL = delegation("new", ["ns1", "ns2.other.test."], [4711, 4712], {"ns1": ["11.1.1.1", "2610::1"]})
