"""What of a child zone is about its delegation: the part that an agent reads and compares."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR
from zonecut.resolve.reply import RRset

IS_ALIAS = "is an alias, which an NS record must not name (RFC 2181 section 10.3)"
"""Why the name of a name server has no address."""


APEX_TYPES = (RRType.SOA, RRType.NS, RRType.CDS, RRType.CDNSKEY, RRType.DNSKEY)
"""Types at the apex by which a zone proves what it asks for."""


class SourceError(Exception):
    """The zone cannot be read now; `reason` is a sentence that names the server, and what to look at there."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class UnusableServer:
    """A name server in the zone whose addresses the zone cannot give, and why."""

    name: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class ZoneContent:
    """One version of the zone; names are lower-case wire form, RDATA is sorted.

    `addresses` are the A and AAAA records of name servers in the zone. Of `cds`, `cdnskey` and `dnskey`, None means
    that they cannot be seen, and () that there are none.
    """

    zone: bytes
    serial: int | None = None
    ns: tuple[bytes, ...] = ()
    addresses: tuple[RR, ...] = ()
    cds: tuple[bytes, ...] | None = None
    dnskey: tuple[bytes, ...] | None = None
    key: tuple[bytes, ...] = ()
    """The KEY RRset at the apex."""
    key_ttl: int = 0
    """Its TTL in seconds."""
    unusable: tuple[UnusableServer, ...] = ()
    cdnskey: tuple[bytes, ...] | None = None
    rrsets: tuple[RRset, ...] = field(default=(), compare=False)
    """Those of `APEX_TYPES` that can be seen, with their signatures, which change while all else stays the same."""

    def rrset(self, rtype: int) -> RRset | None:
        """The RRset of the apex with its signatures."""
        return next((rrset for rrset in self.rrsets if rrset.rtype == rtype), None)

    @property
    def signed_dnskey(self) -> RRset | None:
        return self.rrset(RRType.DNSKEY)

    def in_zone_servers(self) -> tuple[bytes, ...]:
        """The name servers whose addresses are this zone's to give."""
        return in_zone(self.zone, self.ns)


def in_zone(zone: bytes, servers: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(server for server in servers if names.is_at_or_below(server, zone))


def below_a_cut(cut: bytes) -> str:
    """Why a name below a delegation has no addresses in the zone."""
    return f"has its addresses in another zone: {names.to_text(cut)} is delegated"


def names_between(name: bytes, zone: bytes) -> Iterable[bytes]:
    """The ancestors of a name in a zone, the apex included."""
    while name != zone:
        name = names.parent(name)
        yield name


def soa_serial(rdata: bytes) -> int:
    """The serial in the uncompressed RDATA of an SOA record (RFC 1035 section 3.3.13)."""
    return int.from_bytes(rdata[-20:-16])
