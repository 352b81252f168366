"""The authority and the resolver over sockets, and what they do wrong when a test wants it."""

import socket
import time
from collections.abc import Iterator

import dns.asyncquery
import dns.dnssec
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rrset
import pytest
from dns.rdatatype import RRSIG

from zonecut.demo.loopback import Fault, LoopbackAuthority, LoopbackResolver, LoopbackZone, Transport, faults

NAME = "ns.child.test."
ADDRESSES = ("127.0.0.1", "127.53.0.99")


@pytest.fixture(scope="module")
def zone() -> LoopbackZone:
    text = "\n".join(f"large TXT {'x' * 200}{number}" for number in range(20))
    return LoopbackZone("child.test.", f"@ NS ns\nns A 127.0.0.4\n{text}")


@pytest.fixture(scope="module")
def server(zone: LoopbackZone) -> Iterator[LoopbackAuthority]:
    with LoopbackAuthority([zone], ADDRESSES) as authority:
        yield authority


def udp(
    server: LoopbackAuthority, name: str = NAME, rdtype: str = "A", address: str = ADDRESSES[0]
) -> dns.message.Message:
    query = dns.message.make_query(name, rdtype, want_dnssec=True)
    return dns.query.udp(query, address, port=server.port, timeout=2)


def tcp(
    server: LoopbackAuthority, name: str = NAME, rdtype: str = "A", address: str = ADDRESSES[0]
) -> dns.message.Message:
    query = dns.message.make_query(name, rdtype, want_dnssec=True)
    return dns.query.tcp(query, address, port=server.port, timeout=2)


def with_fault(zone: LoopbackZone, *found: Fault, transport: Transport = Transport.UDP) -> dns.message.Message | None:
    """The response for NAME without any socket."""
    authority = LoopbackAuthority([zone], ADDRESSES)
    authority.override(NAME, "A", *found)
    return authority.exchange(dns.message.make_query(NAME, "A", want_dnssec=True), ADDRESSES[0], transport).response


def validate(zone: LoopbackZone, response: dns.message.Message | None) -> None:
    assert response is not None
    rrset, signatures = response.answer
    dnskey = zone.get(zone.origin, dns.rdatatype.DNSKEY)
    assert dnskey is not None
    dns.dnssec.validate(rrset, signatures, {zone.origin: dnskey})


def test_udp_and_tcp_at_every_address(zone: LoopbackZone, server: LoopbackAuthority) -> None:
    before = len(server.queries)
    for address in ADDRESSES:
        validate(zone, udp(server, address=address))
        validate(zone, tcp(server, address=address))
    seen = [(asked.address, asked.transport) for asked in server.queries[before:]]
    assert seen == [(address, transport) for address in ADDRESSES for transport in Transport]


def test_what_does_not_fit_is_truncated_over_udp_only(server: LoopbackAuthority) -> None:
    small = dns.message.make_query("large.child.test.", "TXT")
    response = dns.query.udp(small, ADDRESSES[0], port=server.port, timeout=2)
    assert response.flags & dns.flags.TC
    assert len(response.to_wire()) <= 512
    assert len(tcp(server, "large.child.test.", "TXT").answer[0]) == 20


def test_junk_is_a_format_error_or_nothing(server: LoopbackAuthority) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect((ADDRESSES[0], server.port))
        client.send(b"short")
        client.send(bytes.fromhex("1234 8000 0001 0000 0000 0000"))
        client.send(bytes.fromhex("4711 0100 0001 0000 0000 0000"))
        assert client.recv(512) == bytes.fromhex("4711 8101 0000 0000 0000 0000")


def test_a_server_without_tcp_refuses_connections(zone: LoopbackZone) -> None:
    with LoopbackAuthority([zone], tcp=False) as server:
        validate(zone, udp(server))
        with pytest.raises(ConnectionRefusedError):
            tcp(server)


async def test_it_serves_in_the_loop_of_its_caller(zone: LoopbackZone) -> None:
    async with LoopbackAuthority([zone]) as server:
        query = dns.message.make_query(NAME, "A", want_dnssec=True)
        validate(zone, await dns.asyncquery.udp(query, "127.0.0.1", port=server.port, timeout=2))
        validate(zone, await dns.asyncquery.tcp(query, "127.0.0.1", port=server.port, timeout=2))


def test_a_port_that_is_taken_is_an_error(server: LoopbackAuthority, zone: LoopbackZone) -> None:
    with pytest.raises(OSError, match=r"in use"), LoopbackAuthority([zone], port=server.port):
        pass


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "::", "2001:db8::1"])
def test_it_never_leaves_loopback(zone: LoopbackZone, address: str) -> None:
    with pytest.raises(ValueError, match="not on loopback"):
        LoopbackAuthority([zone], [address])


# faults


def test_silence_and_slowness(zone: LoopbackZone, server: LoopbackAuthority) -> None:
    server.override(NAME, None, faults.silent)
    query = dns.message.make_query(NAME, "A")
    with pytest.raises(dns.exception.Timeout):
        dns.query.udp(query, ADDRESSES[0], port=server.port, timeout=0.1)
    server.override(NAME, None, faults.slow(0.1))
    start = time.monotonic()
    validate(zone, udp(server))
    assert time.monotonic() - start >= 0.1
    server.override(NAME, None)
    validate(zone, udp(server))


def test_wrong_id_over_the_wire(server: LoopbackAuthority) -> None:
    server.override(NAME, "A", faults.wrong_id)
    with pytest.raises(dns.query.BadResponse):
        udp(server)
    server.override(NAME, "A")


def test_rcodes_and_missing_bits(zone: LoopbackZone) -> None:
    failed = with_fault(zone, faults.failing())
    assert failed is not None
    assert (failed.rcode(), failed.answer) == (dns.rcode.SERVFAIL, [])
    response = with_fault(zone, faults.not_authoritative)
    assert response is not None
    assert not response.flags & dns.flags.AA
    truncated = with_fault(zone, faults.truncated)
    assert truncated is not None
    assert truncated.flags & dns.flags.TC
    validate(zone, with_fault(zone, faults.truncated, transport=Transport.TCP))


def test_signatures_that_are_missing_expired_or_broken(zone: LoopbackZone) -> None:
    unsigned = with_fault(zone, faults.without_signatures)
    assert unsigned is not None
    assert all(rrset.rdtype != RRSIG for rrset in unsigned.answer)
    for fault in (faults.expired_signatures, faults.broken_signatures):
        with pytest.raises(dns.exception.ValidationFailure):
            validate(zone, with_fault(zone, fault))
    response = with_fault(zone, faults.expired_signatures)
    assert response is not None
    rrset, signatures = response.answer
    dnskey = zone.get(zone.origin, dns.rdatatype.DNSKEY)
    assert dnskey is not None
    dns.dnssec.validate(rrset, signatures, {zone.origin: dnskey}, now=signatures[0].expiration - 1)


def test_other_data_with_good_signatures(zone: LoopbackZone) -> None:
    response = with_fault(zone, faults.answering("127.0.0.9", "127.0.0.8"))
    validate(zone, response)
    assert response is not None
    assert [rdata.address for rdata in response.answer[0]] == ["127.0.0.9", "127.0.0.8"]


def test_different_answers_at_different_addresses_and_times(zone: LoopbackZone) -> None:
    authority = LoopbackAuthority([zone], ADDRESSES)
    query = dns.message.make_query(NAME, "A")

    def answer(address: str, transport: Transport = Transport.UDP) -> str:
        response = authority.exchange(query, address, transport).response
        assert response is not None
        return str(response.answer[0][0])

    authority.override(NAME, "A", faults.at(ADDRESSES[1], faults.answering("127.0.0.9")))
    assert [answer(address) for address in ADDRESSES] == ["127.0.0.4", "127.0.0.9"]
    authority.override(NAME, "A", faults.in_turn(faults.honest, faults.answering("127.0.0.9")))
    assert [answer(ADDRESSES[0]) for _ in range(3)] == ["127.0.0.4", "127.0.0.9", "127.0.0.9"]
    authority.override(NAME, "A", faults.over(Transport.TCP, faults.answering("127.0.0.9")))
    assert [answer(ADDRESSES[0], transport) for transport in Transport] == ["127.0.0.4", "127.0.0.9"]


def test_the_most_particular_override_counts(zone: LoopbackZone) -> None:
    authority = LoopbackAuthority([zone])
    authority.override(None, None, faults.failing(dns.rcode.REFUSED))
    authority.override(None, "A", faults.failing(dns.rcode.NOTAUTH))
    authority.override(NAME, None, faults.failing(dns.rcode.YXDOMAIN))

    def rcode(name: str, rdtype: str) -> dns.rcode.Rcode:
        response = authority.exchange(dns.message.make_query(name, rdtype), "127.0.0.1", Transport.UDP).response
        assert response is not None
        return response.rcode()

    assert rcode("child.test.", "NS") == dns.rcode.REFUSED
    assert rcode("child.test.", "A") == dns.rcode.NOTAUTH
    assert rcode(NAME, "A") == dns.rcode.YXDOMAIN


# the resolver


@pytest.fixture
def tree() -> dict[str, LoopbackAuthority]:
    """A root, a top-level domain, a signed and an unsigned child; an authority each."""
    signed = LoopbackZone("signed.test.", "@ NS ns\nns A 127.0.0.4\nwww CNAME www.unsigned.test.")
    unsigned = LoopbackZone("unsigned.test.", "@ NS ns\nns A 127.0.0.4\nwww A 127.0.0.5", signed=False)
    top = LoopbackZone("test.", "@ NS ns\nns A 127.0.0.2\n*._dsync TYPE66 \\# 8 00FF020035 016100\nlame NS ns.lame")
    top.delegate(signed)
    top.delegate(unsigned)
    root = LoopbackZone(".", "@ NS ns.test.")
    root.delegate(top)
    return {zone.origin.to_text(): LoopbackAuthority([zone]) for zone in (root, top, signed, unsigned)}


def resolve(resolver: LoopbackResolver, name: str, rdtype: str, *, recursive: bool = True) -> dns.message.Message:
    query = dns.message.make_query(name, rdtype, want_dnssec=True)
    query.flags |= dns.flags.CD
    if not recursive:
        query.flags &= ~dns.flags.RD
    response = resolver.exchange(query, "127.0.0.1", Transport.UDP).response
    assert response is not None
    return dns.message.from_wire(response.to_wire())


def test_it_resolves_with_dnssec_records_and_without_ad(tree: dict[str, LoopbackAuthority]) -> None:
    response = resolve(LoopbackResolver([*tree.values()]), "ns.signed.test.", "A")
    assert response.flags & (dns.flags.RA | dns.flags.CD) == dns.flags.RA | dns.flags.CD
    assert not response.flags & (dns.flags.AA | dns.flags.AD)
    validate(tree["signed.test."].zones[0], response)
    assert [len(authority.queries) for authority in tree.values()] == [1, 1, 1, 0]


def test_the_chain_of_trust_can_be_followed(tree: dict[str, LoopbackAuthority]) -> None:
    resolver = LoopbackResolver([*tree.values()])
    for parent, child in ((".", "test."), ("test.", "signed.test.")):
        ds = resolve(resolver, child, "DS")
        validate(tree[parent].zones[0], ds)
        assert list(ds.answer[0]) == list(tree[child].zones[0].ds)
        validate(tree[child].zones[0], resolve(resolver, child, "DNSKEY"))
    assert resolve(resolver, "unsigned.test.", "DS").answer == []


def test_negative_and_wildcard_answers_go_through_with_their_proofs(tree: dict[str, LoopbackAuthority]) -> None:
    resolver = LoopbackResolver([*tree.values()])
    missing = resolve(resolver, "missing.signed.test.", "A")
    assert missing.rcode() == dns.rcode.NXDOMAIN
    assert {dns.rdatatype.to_text(rrset.rdtype) for rrset in missing.authority} == {"SOA", "NSEC", "RRSIG"}
    expanded = resolve(resolver, "signed._dsync.test.", "DSYNC")
    assert expanded.answer[0].name == dns.name.from_text("signed._dsync.test.")
    assert expanded.authority


def test_aliases_are_followed_from_zone_to_zone(tree: dict[str, LoopbackAuthority]) -> None:
    response = resolve(LoopbackResolver([*tree.values()]), "www.signed.test.", "A")
    assert [dns.rdatatype.to_text(rrset.rdtype) for rrset in response.answer] == ["CNAME", "RRSIG", "A"]


def test_what_nobody_serves_or_does_right_is_a_servfail(tree: dict[str, LoopbackAuthority]) -> None:
    resolver = LoopbackResolver([*tree.values()])
    assert resolve(resolver, "www.lame.test.", "A").rcode() == dns.rcode.SERVFAIL
    for fault in (faults.silent, faults.wrong_id, faults.failing()):
        tree["signed.test."].override(None, None, fault)
        assert resolve(resolver, "ns.signed.test.", "A").rcode() == dns.rcode.SERVFAIL
    assert resolve(resolver, "ns.signed.test.", "A", recursive=False).rcode() == dns.rcode.REFUSED


def test_a_second_server_of_a_zone_helps_out(tree: dict[str, LoopbackAuthority]) -> None:
    spare = LoopbackAuthority(tree["signed.test."].zones)
    tree["signed.test."].override(None, None, faults.silent)
    resolver = LoopbackResolver([*tree.values(), spare])
    validate(spare.zones[0], resolve(resolver, "ns.signed.test.", "A"))


def test_an_alias_that_goes_in_circles_is_a_servfail() -> None:
    one = LoopbackZone("one.", "@ NS ns\na CNAME b.two.")
    two = LoopbackZone("two.", "@ NS ns\nb CNAME a.one.")
    resolver = LoopbackResolver([LoopbackAuthority([one]), LoopbackAuthority([two])])
    assert resolve(resolver, "a.one.", "A").rcode() == dns.rcode.SERVFAIL


def test_the_resolver_serves_over_sockets(tree: dict[str, LoopbackAuthority]) -> None:
    with LoopbackResolver([*tree.values()]) as resolver:
        query = dns.message.make_query("ns.signed.test.", "A", want_dnssec=True)
        response = dns.query.udp(query, "127.0.0.1", port=resolver.port, timeout=2)
    validate(tree["signed.test."].zones[0], response)
