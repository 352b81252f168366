"""A zone that is served: its records, its keys, and its signed form, made anew after every change."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.DNSKEY
import dns.rdtypes.ANY.DS
import dns.rrset
import dns.zone
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from dns.rdataclass import IN
from dns.rdatatype import CDNSKEY, CDS, DNAME, DNSKEY, NS, NSEC, RRSIG, SOA, RdataType

TTL = 3600
"""Seconds; of records for which nothing else is said."""

VALIDITY = 14 * 86400
"""Seconds for which signatures are valid. They begin an hour ago, for clocks that are behind."""

_HOUR = 3600
_KSK, _ZSK = 257, 256


class _Key(NamedTuple):
    private: EllipticCurvePrivateKey
    public: dns.rdtypes.ANY.DNSKEY.DNSKEY


def _new_key(flags: int) -> _Key:
    private = generate_private_key(SECP256R1())
    return _Key(private, dns.dnssec.make_dnskey(private.public_key(), "ECDSAP256SHA256", flags))


class LoopbackZone:
    """One zone; `signed` with a KSK and a ZSK of its own, ECDSA P-256, and NSEC.

    `content` is text in master file form, relative to the zone's name, or a dnspython zone. A SOA is added where there
    is none. Changes are safe while servers run: they see the zone before or after, never between.
    """

    def __init__(self, origin: str, content: str | dns.zone.Zone = "", *, signed: bool = True) -> None:
        self.origin = dns.name.from_text(origin)
        if isinstance(content, str):
            content = dns.zone.from_text(f"$TTL {TTL}\n{content}\n", self.origin, relativize=False, check_origin=False)
        self._plain = _copy(content, self.origin)
        if self._plain.get_rdataset(self.origin, SOA) is None:
            soa = _rdataset(SOA, TTL, "ns hostmaster 1 7200 3600 1209600 300", origin=self.origin)
            self._plain.replace_rdataset(self.origin, soa)
        self._keys = [_new_key(_KSK), _new_key(_ZSK)] if signed else []
        self._validity: tuple[int, int] | None = None
        self._served = self._sign()

    # what a test or the demo changes

    @property
    def signed(self) -> bool:
        return bool(self._keys)

    @property
    def ds(self) -> tuple[dns.rdtypes.ANY.DS.DS, ...]:
        """What belongs at the parent: one SHA-256 digest of the KSK, or nothing for a zone that is not signed."""
        return tuple(dns.dnssec.make_ds(self.origin, key.public, "SHA256") for key in self._keys[:1])

    @property
    def trust_anchor(self) -> str:
        """The DS records as lines of a zone file, each with its final newline: a file of trust anchors."""
        return "".join(f"{self.origin} {TTL} IN DS {rdata}\n" for rdata in self.ds)

    def put(self, owner: str, rdtype: str, *rdata: str | dns.rdata.Rdata, ttl: int = TTL) -> None:
        """Replace an RRset. Names without a final dot are relative to the zone; `@` is its apex.

        What dnspython refuses to read (SVCB with priority 0 and parameters) comes as a `dns.rdata.GenericRdata`.
        """
        rdataset = _rdataset(dns.rdatatype.from_text(rdtype), ttl, *rdata, origin=self.origin)
        self._change(lambda zone: zone.replace_rdataset(self._name(owner), rdataset))

    def delete(self, owner: str, rdtype: str | None = None) -> None:
        """Delete an RRset, or all of a name; nothing happens where there is none."""
        name = self._name(owner)
        if rdtype is None:
            self._change(lambda zone: zone.delete_node(name))
        else:
            self._change(lambda zone: zone.delete_rdataset(name, rdtype))

    def load(self, content: dns.zone.Zone) -> None:
        """Replace all records, as a signer does with a new version of the zone; the keys stay."""
        self._plain = _copy(content, self.origin)
        self._served = self._sign()

    def delegate(self, child: "LoopbackZone") -> None:
        """Put the child's apex NS RRset and its DS RRset here, as its parent; glue is for `put`."""
        owner = child.origin.to_text()
        servers = child.get(child.origin, NS)
        if servers is not None:
            self.put(owner, "NS", *servers)
        if child.ds:
            self.put(owner, "DS", *child.ds)
        else:
            self.delete(owner, "DS")

    def replace_keys(self, *, signed: bool = True) -> None:
        """Sign with new keys from now on, or no more; the DS at the parent stays as it is."""
        self._keys = [_new_key(_KSK), _new_key(_ZSK)] if signed else []
        self._served = self._sign()

    def sign_for(self, inception: int, expiration: int) -> None:
        """Sign the whole zone with these times, in seconds since the epoch, and after every change to come."""
        self._validity = (inception, expiration)
        self._served = self._sign()

    def _change(self, edit: Callable[[dns.zone.Zone], None]) -> None:
        plain = _copy(self._plain, self.origin)
        edit(plain)
        soa = plain.find_rdataset(self.origin, SOA)
        plain.replace_rdataset(self.origin, dns.rdataset.from_rdata(soa.ttl, soa[0].replace(serial=soa[0].serial + 1)))
        self._plain = plain
        self._served = self._sign()

    def _name(self, owner: str) -> dns.name.Name:
        return dns.name.from_text(owner, self.origin)

    # signing

    def _times(self) -> tuple[int, int]:
        now = int(time.time())
        return self._validity or (now - _HOUR, now + VALIDITY)

    def _sign(self) -> dns.zone.Zone:
        served = _copy(self._plain, self.origin)
        if self._keys:
            inception, expiration = self._times()
            keys = [(key.private, key.public) for key in self._keys]
            dns.dnssec.sign_zone(served, keys=keys, inception=inception, expiration=expiration)  # type: ignore[arg-type]
        return served

    def signature(
        self, rrset: dns.rrset.RRset, inception: int | None = None, expiration: int | None = None
    ) -> dns.rrset.RRset | None:
        """A signature for any RRset, also one that is not in the zone. Times are seconds since the epoch."""
        if not self._keys:
            return None
        usual = self._times()
        key = self._keys[0] if rrset.rdtype in (DNSKEY, CDS, CDNSKEY) else self._keys[1]
        rrsig = dns.dnssec.sign(
            rrset,
            key.private,
            self.origin,
            key.public,
            inception=usual[0] if inception is None else inception,
            expiration=usual[1] if expiration is None else expiration,
        )
        return dns.rrset.from_rdata(rrset.name, rrset.ttl, rrsig)

    # what an answer is made of

    def get(self, owner: dns.name.Name, rdtype: RdataType) -> dns.rrset.RRset | None:
        """An RRset of the zone as it is served."""
        return self._served.get_rrset(owner, rdtype)

    def signatures(self, owner: dns.name.Name, covered: RdataType) -> dns.rrset.RRset | None:
        """The RRSIG records that cover an RRset."""
        return self._served.get_rrset(owner, RRSIG, covered)

    def has(self, owner: dns.name.Name) -> bool:
        """True if the name has records."""
        return self._served.get_node(owner) is not None

    def exists(self, owner: dns.name.Name) -> bool:
        """True if the name has records or a name below it has (RFC 4592 section 2.2.2)."""
        return any(name.is_subdomain(owner) for name in self._served.nodes)

    def ancestors(self, name: dns.name.Name) -> Iterator[dns.name.Name]:
        """The names from just below the apex to `name` itself, in that order."""
        for depth in range(len(self.origin) + 1, len(name) + 1):
            yield name.split(depth)[1]

    def cut(self, name: dns.name.Name) -> dns.name.Name | None:
        """The delegation at or above `name`, if there is one."""
        return next((owner for owner in self.ancestors(name) if self.get(owner, NS) is not None), None)

    def redirection(self, name: dns.name.Name) -> dns.rrset.RRset | None:
        """The DNAME record above `name`, if there is one."""
        above = (self.origin, *self.ancestors(name))[:-1]
        return next((rrset for owner in above if (rrset := self.get(owner, DNAME)) is not None), None)

    def denial(self, name: dns.name.Name) -> dns.rrset.RRset | None:
        """The NSEC record that matches or covers `name` (RFC 4034 section 4)."""
        owners = [owner for owner in self._served.nodes if owner <= name and self.get(owner, NSEC) is not None]
        return self.get(max(owners), NSEC) if owners else None


def _copy(zone: dns.zone.Zone, origin: dns.name.Name) -> dns.zone.Zone:
    """The same records in a zone with absolute names."""
    copy = dns.zone.Zone(origin, relativize=False)
    for name, rdataset in zone.iterate_rdatasets():
        copy.replace_rdataset(name.derelativize(origin), rdataset)
    return copy


def _rdataset(
    rdtype: RdataType, ttl: int, *rdata: str | dns.rdata.Rdata, origin: dns.name.Name | None = None
) -> dns.rdataset.Rdataset:
    return dns.rdataset.from_rdata_list(
        ttl,
        [
            dns.rdata.from_text(IN, rdtype, each, origin, relativize=False) if isinstance(each, str) else each
            for each in rdata
        ],
    )
