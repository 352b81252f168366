"""The small authority answers as an authoritative server does, and its signatures validate."""

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset
import pytest
from dns.rdataclass import IN
from dns.rdatatype import CNAME, DNAME, DS, NS, NSEC, RRSIG, SOA, RdataType

from zonecut.demo.loopback import LoopbackAuthority, LoopbackZone, Transport
from zonecut.protocol.announced.dsync import Dsync

PARENT = "parent.test."
RECORDS = """
@ NS ns
ns A 127.0.0.1
*._dsync TYPE66 \\# 26 00FF0214EA 0775706461746572 06706172656E74 047465737400
updater SVCB 1 . key65282="at-apex"
alias CNAME updater
away CNAME elsewhere.example.
old DNAME new
www.new A 127.0.0.2
deep.empty.nonterminal A 127.0.0.3
child NS ns.child
ns.child A 127.0.0.4
child DS 4711 13 2 0101010101010101010101010101010101010101010101010101010101010101
insecure NS ns.child
"""


@pytest.fixture(scope="module")
def zone() -> LoopbackZone:
    return LoopbackZone(PARENT, RECORDS)


@pytest.fixture(scope="module")
def authority(zone: LoopbackZone) -> LoopbackAuthority:
    return LoopbackAuthority([zone])


def ask(
    authority: LoopbackAuthority, name: str, rdtype: str, *, dnssec: bool = True, transport: Transport = Transport.UDP
) -> dns.message.Message:
    query = dns.message.make_query(name, rdtype, want_dnssec=dnssec)
    response = authority.exchange(query, "127.0.0.1", transport).response
    assert response is not None
    # over the wire and back: what a client sees
    return dns.message.from_wire(response.to_wire())


def validate(
    zone: LoopbackZone, section: list[dns.rrset.RRset], *, unsigned: frozenset[RdataType] = frozenset()
) -> None:
    """All RRsets of a section but those of some types have a good signature."""
    dnskey = zone.get(zone.origin, dns.rdatatype.DNSKEY)
    assert dnskey is not None
    signatures = {(each.name, each.covers): each for each in section if each.rdtype == RRSIG}
    for rrset in section:
        if rrset.rdtype != RRSIG and rrset.rdtype not in unsigned:
            dns.dnssec.validate(rrset, signatures[rrset.name, rrset.rdtype], {zone.origin: dnskey})


def covering(section: list[dns.rrset.RRset], name: str) -> bool:
    wanted = dns.name.from_text(name)
    return any(
        rrset.rdtype == NSEC and rrset.name < wanted and (wanted < rrset[0].next or rrset[0].next <= rrset.name)
        for rrset in section
    )


def types_at(section: list[dns.rrset.RRset], name: str) -> str:
    owner = dns.name.from_text(name)
    return next(str(rrset[0]) for rrset in section if rrset.rdtype == NSEC and rrset.name == owner)


def test_data_is_authoritative_and_validates(authority: LoopbackAuthority, zone: LoopbackZone) -> None:
    response = ask(authority, "updater.parent.test.", "SVCB")
    assert response.flags & dns.flags.AA
    assert response.ednsflags & dns.flags.DO
    assert len(response.answer) == 2
    validate(zone, response.answer)


def test_the_keys_are_signed_by_the_key_that_the_trust_anchor_names(
    authority: LoopbackAuthority, zone: LoopbackZone
) -> None:
    response = ask(authority, PARENT, "DNSKEY")
    keys, signatures = response.answer
    dns.dnssec.validate(keys, signatures, {zone.origin: keys})
    (ksk,) = [key for key in keys if key.flags == 257]
    assert zone.trust_anchor == f"{PARENT} 3600 IN DS {dns.dnssec.make_ds(PARENT, ksk, 'SHA256')}\n"
    assert signatures[0].key_tag == dns.dnssec.key_id(ksk)


def test_without_do_there_are_no_dnssec_records(authority: LoopbackAuthority) -> None:
    for name in ("updater.parent.test.", "missing.parent.test.", "x.child.parent.test."):
        response = ask(authority, name, "SVCB", dnssec=False)
        found = {rrset.rdtype for section in (response.answer, response.authority) for rrset in section}
        assert not found & {RRSIG, NSEC, DS}


def test_no_data_is_proved_at_the_name(authority: LoopbackAuthority, zone: LoopbackZone) -> None:
    response = ask(authority, "updater.parent.test.", "KEY")
    assert (response.rcode(), response.answer) == (dns.rcode.NOERROR, [])
    assert types_at(response.authority, "updater.parent.test.").endswith(" RRSIG NSEC SVCB")
    (soa,) = [rrset for rrset in response.authority if rrset.rdtype == SOA]
    assert soa.ttl == 300
    validate(zone, response.authority)


def test_no_such_name_is_proved_with_the_wildcard_that_is_not_there(
    authority: LoopbackAuthority, zone: LoopbackZone
) -> None:
    response = ask(authority, "a.missing.parent.test.", "A")
    assert response.rcode() == dns.rcode.NXDOMAIN
    assert covering(response.authority, "a.missing.parent.test.")
    assert covering(response.authority, "*.parent.test.")
    validate(zone, response.authority)


def test_an_empty_non_terminal_exists(authority: LoopbackAuthority) -> None:
    response = ask(authority, "empty.nonterminal.parent.test.", "A")
    assert response.rcode() == dns.rcode.NOERROR
    assert covering(response.authority, "empty.nonterminal.parent.test.")


def test_a_wildcard_is_expanded_and_the_name_itself_denied(authority: LoopbackAuthority, zone: LoopbackZone) -> None:
    response = ask(authority, "child._dsync.parent.test.", "DSYNC")
    rrset, signatures = response.answer
    assert Dsync.from_wire(rrset[0].to_wire()).to_text() == "ANY UPDATE 5354 updater.parent.test."
    assert signatures[0].labels == len(rrset.name) - 2
    assert covering(response.authority, "child._dsync.parent.test.")
    validate(zone, response.answer)
    validate(zone, response.authority)


def test_a_wildcard_without_the_type_is_no_data(authority: LoopbackAuthority, zone: LoopbackZone) -> None:
    response = ask(authority, "child._dsync.parent.test.", "A")
    assert (response.rcode(), response.answer) == (dns.rcode.NOERROR, [])
    assert types_at(response.authority, "*._dsync.parent.test.").endswith(" RRSIG NSEC DSYNC")
    assert covering(response.authority, "child._dsync.parent.test.")
    validate(zone, response.authority)


def test_aliases_are_followed_as_far_as_the_zone_goes(authority: LoopbackAuthority, zone: LoopbackZone) -> None:
    here = ask(authority, "alias.parent.test.", "SVCB")
    assert [rrset.name.to_text() for rrset in here.answer if rrset.rdtype != RRSIG] == [
        "alias.parent.test.",
        "updater.parent.test.",
    ]
    validate(zone, here.answer)
    away = ask(authority, "away.parent.test.", "SVCB")
    assert [rrset.rdtype for rrset in away.answer] == [CNAME, RRSIG]


def test_a_dname_makes_a_cname_that_is_not_signed(authority: LoopbackAuthority, zone: LoopbackZone) -> None:
    response = ask(authority, "www.old.parent.test.", "A")
    assert [rrset.rdtype for rrset in response.answer if rrset.rdtype != RRSIG][:2] == [DNAME, CNAME]
    assert response.answer[-2].name == dns.name.from_text("www.new.parent.test.")
    validate(zone, response.answer, unsigned=frozenset((CNAME,)))


def test_a_secure_delegation_is_a_referral_with_ds_and_glue(authority: LoopbackAuthority, zone: LoopbackZone) -> None:
    response = ask(authority, "www.child.parent.test.", "A")
    assert not response.flags & dns.flags.AA
    assert response.answer == []
    assert [rrset.rdtype for rrset in response.authority] == [NS, DS, RRSIG]
    assert [rrset.to_text() for rrset in response.additional] == ["ns.child.parent.test. 3600 IN A 127.0.0.4"]
    validate(zone, response.authority, unsigned=frozenset((NS,)))


def test_an_insecure_delegation_proves_that_there_is_no_ds(authority: LoopbackAuthority, zone: LoopbackZone) -> None:
    referral = ask(authority, "www.insecure.parent.test.", "A")
    assert [rrset.rdtype for rrset in referral.authority] == [NS, NSEC, RRSIG]
    assert types_at(referral.authority, "insecure.parent.test.").endswith(" NS RRSIG NSEC")
    asked = ask(authority, "insecure.parent.test.", "DS")
    assert asked.flags & dns.flags.AA
    assert asked.answer == []
    validate(zone, asked.authority)


def test_ds_comes_from_the_parent_and_all_else_from_the_child() -> None:
    parent, child = LoopbackZone(PARENT, RECORDS), LoopbackZone("child.parent.test.", "@ NS ns\nns A 127.0.0.4")
    parent.delegate(child)
    authority = LoopbackAuthority([parent, child])
    ds = ask(authority, "child.parent.test.", "DS")
    assert list(ds.answer[0]) == list(child.ds)
    validate(parent, ds.answer)
    validate(child, ask(authority, "ns.child.parent.test.", "A").answer)
    alone = ask(LoopbackAuthority([child]), "child.parent.test.", "DS")
    assert alone.authority[-2].name == child.origin


def test_changes_are_served_and_signed_at_once() -> None:
    zone = LoopbackZone("child.test.", "@ NS ns")
    authority = LoopbackAuthority([zone])
    serial = ask(authority, "child.test.", "SOA").answer[0][0].serial
    zone.put("@", "KEY", "512 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=", ttl=60)
    added = ask(authority, "child.test.", "KEY").answer
    assert added[0].ttl == 60
    validate(zone, added)
    zone.delete("@", "KEY")
    assert ask(authority, "child.test.", "KEY").answer == []
    assert ask(authority, "child.test.", "SOA").answer[0][0].serial == serial + 2


def test_other_keys_other_times_and_no_keys_are_what_they_say() -> None:
    zone = LoopbackZone("child.test.", "@ NS ns")
    authority = LoopbackAuthority([zone])
    before = zone.ds
    zone.replace_keys()
    assert zone.ds != before
    zone.sign_for(1_000_000, 2_000_000)
    assert ask(authority, "child.test.", "NS").answer[1][0].expiration == 2_000_000
    zone.replace_keys(signed=False)
    assert not zone.signed
    assert zone.ds == ()
    assert [rrset.rdtype for rrset in ask(authority, "child.test.", "NS").answer] == [NS]


def test_records_that_dnspython_refuses_are_served_as_they_are() -> None:
    zone = LoopbackZone("parent.test.", "@ NS ns")
    rdata = bytes.fromhex("0000 00 ff02 0006") + b"manual"
    zone.put("updater", "SVCB", dns.rdata.GenericRdata(IN, dns.rdatatype.SVCB, rdata))
    query = dns.message.make_query("updater.parent.test.", "SVCB", want_dnssec=True)
    response = LoopbackAuthority([zone]).exchange(query, "127.0.0.1", Transport.UDP).response
    assert response is not None
    assert rdata in response.to_wire()
    validate(zone, response.answer)


def test_what_is_not_ours_is_refused(authority: LoopbackAuthority) -> None:
    assert ask(authority, "elsewhere.example.", "A").rcode() == dns.rcode.REFUSED
    update = dns.message.from_wire(dns.message.make_query(PARENT, "SOA").to_wire())
    update.set_opcode(dns.opcode.UPDATE)
    response = authority.exchange(update, "127.0.0.1", Transport.UDP).response
    assert response is not None
    assert response.rcode() == dns.rcode.NOTIMP
