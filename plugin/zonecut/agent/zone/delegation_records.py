"""What is kept of a zone that passes by record by record: the few that are about its delegation. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

import dns.exception
import dns.rdata
import dns.rdataclass
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.RRSIG import RRSIG

from zonecut.agent.zone.zone_content import (
    APEX_TYPES,
    IS_ALIAS,
    UnusableServer,
    ZoneContent,
    below_a_cut,
    in_zone,
    names_between,
)
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR
from zonecut.resolve.reply import RRset

_RRSIG = int(RdataType.RRSIG)
_SIGNED = tuple(rtype for rtype in APEX_TYPES if rtype != RRType.SOA)
"""Whose signatures are kept: the SOA record is where a transfer begins and ends, and no more than that here."""
_COVERED = frozenset(rtype.to_bytes(2) for rtype in _SIGNED)
_AT_APEX = frozenset((*_SIGNED, RRType.KEY, RRType.DNAME))
_AT_SERVER = frozenset((RRType.A, RRType.AAAA, RRType.CNAME, RRType.NS))
_ABOVE_SERVER = frozenset((RRType.NS, RRType.DNAME))

TYPES = frozenset((*_AT_APEX, *_AT_SERVER, _RRSIG))
"""Records of other types are never kept."""


class ZoneRecord(NamedTuple):
    """A record of the zone: lower-case wire-form owner, and RDATA with names uncompressed and lower-case."""

    owner: bytes
    rtype: int
    ttl: int
    rdata: bytes


class Kept:
    """The records of one zone that matter.

    Those of a name server are kept from when it is known: from `servers`, or from its NS record on. Where that comes
    too late, `missed` tells, and the zone has to pass by once more.
    """

    def __init__(self, zone: bytes, servers: Iterable[bytes] = ()) -> None:
        self._zone = zone
        self._records: dict[tuple[bytes, int], dict[bytes, int]] = {}
        self._servers: set[bytes] = set()
        self._above: set[bytes] = set()
        self._known_in_time: frozenset[bytes] | None = None
        for server in in_zone(zone, tuple(servers)):
            self._watch(server)

    def __len__(self) -> int:
        """How many records are kept."""
        return sum(map(len, self._records.values()))

    def add(self, record: ZoneRecord) -> None:
        """Take a record of the zone, or leave it."""
        if not self._matters(record):
            return
        self._records.setdefault((record.owner, record.rtype), {})[record.rdata] = record.ttl
        if record.rtype == RRType.NS and record.owner == self._zone:
            for server in in_zone(self._zone, (record.rdata,)):
                self._watch(server)

    def remove(self, record: ZoneRecord) -> bool:
        """Forget a record; False if it matters and was not there: then this is not the version that it goes from."""
        if not self._matters(record):
            return True
        return self._records.get((record.owner, record.rtype), {}).pop(record.rdata, None) is not None

    @property
    def servers(self) -> tuple[bytes, ...]:
        """The name servers in the zone."""
        return in_zone(self._zone, self._rdatas(self._zone, RRType.NS))

    @property
    def missed(self) -> bool:
        """True if there may have been records of a name server before it was known to be one."""
        return self._known_in_time is not None and not self._known_in_time.issuperset(self.servers)

    def content(self, serial: int) -> ZoneContent:
        """What the zone of this serial is about."""
        apex = self._zone
        addresses: list[RR] = []
        unusable: list[UnusableServer] = []
        for server in self.servers:
            if reason := self._trouble(server):
                unusable.append(UnusableServer(server, reason))
            else:
                addresses += [
                    RR(server, t, rdata) for t in (RRType.A, RRType.AAAA) for rdata in self._rdatas(server, t)
                ]
        key = self._records.get((apex, RRType.KEY), {})
        return ZoneContent(
            apex,
            serial,
            self._rdatas(apex, RRType.NS),
            tuple(addresses),
            self._rdatas(apex, RRType.CDS),
            self._rdatas(apex, RRType.DNSKEY),
            self._rdatas(apex, RRType.KEY),
            min(key.values(), default=0),
            tuple(unusable),
            self._rdatas(apex, RRType.CDNSKEY),
            tuple(self._signed()),
        )

    def _watch(self, server: bytes) -> None:
        self._servers.add(server)
        self._above.update(names_between(server, self._zone))

    def _matters(self, record: ZoneRecord) -> bool:
        owner, rtype = record.owner, record.rtype
        if owner == self._zone and (rtype in _AT_APEX or _signs_apex(record)):
            return True
        if owner in self._servers and rtype in _AT_SERVER:
            return True
        if owner in self._above and rtype in _ABOVE_SERVER:
            return True
        if self._known_in_time is None and (rtype in _AT_SERVER or rtype in _ABOVE_SERVER):
            self._known_in_time = frozenset(self._servers)
        return False

    def _trouble(self, server: bytes) -> str | None:
        """Why the zone has no address for a name server."""
        above = tuple(names_between(server, self._zone))
        for name in (server, *above):
            if name != self._zone and self._rdatas(name, RRType.NS):
                return below_a_cut(name)
        if self._rdatas(server, RRType.CNAME) or any(self._rdatas(name, RRType.DNAME) for name in above):
            return IS_ALIAS
        return None

    def _rdatas(self, owner: bytes, rtype: int) -> tuple[bytes, ...]:
        return tuple(sorted(self._records.get((owner, rtype), ())))

    def _signed(self) -> Iterable[RRset]:
        """The RRsets of the apex with their signatures."""
        found = [_parsed(RdataType.RRSIG, rdata) for rdata in self._rdatas(self._zone, _RRSIG)]
        signatures = [each for each in found if isinstance(each, RRSIG)]
        for rtype in _SIGNED:
            records = self._records.get((self._zone, rtype))
            if records:
                yield RRset(
                    self._zone,
                    rtype,
                    min(records.values()),
                    tuple(_parsed(RdataType.make(rtype), rdata) for rdata in sorted(records)),
                    tuple(each for each in signatures if int(each.type_covered) == rtype),
                )


def _signs_apex(record: ZoneRecord) -> bool:
    return record.rtype == _RRSIG and record.rdata[:2] in _COVERED


def _parsed(rtype: RdataType, rdata: bytes) -> dns.rdata.Rdata:
    try:
        return dns.rdata.from_wire(dns.rdataclass.IN, rtype, rdata, 0, len(rdata))
    except (dns.exception.DNSException, ValueError):
        return dns.rdata.GenericRdata(dns.rdataclass.IN, rtype, rdata)
