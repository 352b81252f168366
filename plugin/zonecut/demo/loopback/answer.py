"""What an authoritative server answers from one zone (RFC 1034 section 4.3.2, RFC 4035 section 3.1, RFC 4592)."""

from dataclasses import dataclass, field

import dns.name
import dns.rcode
import dns.rdata
import dns.rrset
from dns.name import NameTooLong
from dns.rcode import NOERROR, NXDOMAIN, YXDOMAIN, Rcode
from dns.rdataclass import IN
from dns.rdatatype import AAAA, CNAME, DS, NS, SOA, A, RdataType

from zonecut.demo.loopback.zone import LoopbackZone


@dataclass(slots=True)
class Answer:
    """The sections of a response as they come together."""

    dnssec: bool
    """The client wants DNSSEC records."""
    rcode: Rcode = NOERROR
    authoritative: bool = True
    answer: list[dns.rrset.RRset] = field(default_factory=list)
    authority: list[dns.rrset.RRset] = field(default_factory=list)
    additional: list[dns.rrset.RRset] = field(default_factory=list)

    def add(
        self,
        section: list[dns.rrset.RRset],
        zone: LoopbackZone,
        rrset: dns.rrset.RRset,
        *,
        at: dns.name.Name | None = None,
    ) -> None:
        """Add an RRset and its signatures, `at` another owner if a wildcard is expanded; nothing is added twice."""
        found = [rrset]
        if self.dnssec and (signatures := zone.signatures(rrset.name, rrset.rdtype)) is not None:
            found.append(signatures)
        for each in found:
            named = each if at is None else _renamed(each, at)
            if named not in section:
                section.append(named)

    def prove(self, zone: LoopbackZone, name: dns.name.Name) -> None:
        """Add the NSEC record that matches or covers a name."""
        if self.dnssec and (denial := zone.denial(name)) is not None:
            self.add(self.authority, zone, denial)


def _renamed(rrset: dns.rrset.RRset, owner: dns.name.Name) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(owner, rrset.ttl, list(rrset))


def find(zone: LoopbackZone, qname: dns.name.Name, qtype: RdataType, *, dnssec: bool) -> Answer:
    """The answer of a zone at or above `qname`; aliases are followed as far as this zone goes."""
    answer = Answer(dnssec)
    seen = set()
    name: dns.name.Name | None = qname
    while name is not None and name not in seen and name.is_subdomain(zone.origin):
        seen.add(name)
        name = _step(zone, name, qtype, answer)
    return answer


def _step(zone: LoopbackZone, name: dns.name.Name, qtype: RdataType, answer: Answer) -> dns.name.Name | None:
    """One name's part of the answer; returned is the target of an alias that has to be followed."""
    cut = zone.cut(name)
    if cut is not None and not (cut == name and qtype == DS):
        _refer(zone, cut, answer)
        return None
    redirection = zone.redirection(name)
    if redirection is not None:
        return _redirect(zone, redirection, name, answer)
    owner, expanded = name, None
    if not zone.exists(name):
        encloser = _closest_encloser(zone, name)
        owner, expanded = dns.name.from_text("*", encloser), name
        answer.prove(zone, name)
        if not zone.has(owner):
            answer.rcode = NXDOMAIN
            answer.prove(zone, owner)
            _deny(zone, answer)
            return None
    rrset = zone.get(owner, qtype)
    alias = zone.get(owner, CNAME)
    if rrset is not None:
        answer.add(answer.answer, zone, rrset, at=expanded)
    elif alias is not None:
        answer.add(answer.answer, zone, alias, at=expanded)
        target = alias[0].target
        assert isinstance(target, dns.name.Name)
        return target
    else:
        answer.prove(zone, owner)
        _deny(zone, answer)
    return None


def _closest_encloser(zone: LoopbackZone, name: dns.name.Name) -> dns.name.Name:
    return max((owner for owner in (zone.origin, *zone.ancestors(name)) if zone.exists(owner)), key=len)


def _deny(zone: LoopbackZone, answer: Answer) -> None:
    """A negative answer has the SOA, with the TTL for which it may be kept (RFC 2308 section 3)."""
    soa = zone.get(zone.origin, SOA)
    assert soa is not None
    kept = _renamed(soa, zone.origin)
    kept.update_ttl(min(soa.ttl, soa[0].minimum))
    answer.add(answer.authority, zone, kept)


def _refer(zone: LoopbackZone, cut: dns.name.Name, answer: Answer) -> None:
    """A referral: NS, DS or the proof that there is none, and the addresses that we have (RFC 4035 section 3.1.4)."""
    # after an alias the answer section is our own, and so is the AA bit (RFC 1034 section 6.2.7)
    answer.authoritative = bool(answer.answer)
    servers = zone.get(cut, NS)
    assert servers is not None
    answer.authority.append(servers)
    signer = zone.get(cut, DS)
    if signer is None:
        answer.prove(zone, cut)
    elif answer.dnssec:
        answer.add(answer.authority, zone, signer)
    for server in servers:
        for rdtype in (A, AAAA):
            addresses = zone.get(server.target, rdtype)
            if addresses is not None:
                answer.additional.append(addresses)


def _redirect(
    zone: LoopbackZone, redirection: dns.rrset.RRset, name: dns.name.Name, answer: Answer
) -> dns.name.Name | None:
    """A DNAME record and the CNAME made from it, which is not signed (RFC 6672 section 3.2)."""
    answer.add(answer.answer, zone, redirection)
    try:
        target = name.relativize(redirection.name).concatenate(redirection[0].target)
    except NameTooLong:
        answer.rcode = YXDOMAIN
        return None
    made = dns.rdata.from_text(IN, CNAME, target.to_text())
    answer.answer.append(dns.rrset.from_rdata(name, redirection.ttl, made))
    return target
