"""What a globally reachable address is: one definition, for glue, for whom look-ups ask, and for where UPDATEs go."""

from ipaddress import ip_address, ip_network

import pytest

from agent_support import Told, found
from zonecut.agent.parent.receiver import NoReceiver, find_addresses
from zonecut.agent.settings import ParentSettings
from zonecut.protocol import names
from zonecut.protocol.addresses import is_global, is_global_unicast
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.errors import Refusal
from zonecut.receiver.change.policy import Policy, Rules, check
from zonecut.resolve import Nameserver, Resolver

REACHABLE, NOT, NOT_SAID = True, False, None
REGISTRY = {
    # iana-ipv4-special-registry, its column "Globally Reachable", as of 2025
    "0.0.0.0/8": NOT,
    "0.0.0.0/32": NOT,
    "10.0.0.0/8": NOT,
    "100.64.0.0/10": NOT,
    "127.0.0.0/8": NOT,
    "169.254.0.0/16": NOT,
    "172.16.0.0/12": NOT,
    "192.0.0.0/24": NOT,
    "192.0.0.0/29": NOT,
    "192.0.0.8/32": NOT,
    "192.0.0.9/32": REACHABLE,
    "192.0.0.10/32": REACHABLE,
    "192.0.0.170/32": NOT,
    "192.0.0.171/32": NOT,
    "192.0.2.0/24": NOT,
    "192.31.196.0/24": REACHABLE,
    "192.52.193.0/24": REACHABLE,
    "192.88.99.0/24": NOT_SAID,
    "192.88.99.2/32": NOT,
    "192.168.0.0/16": NOT,
    "192.175.48.0/24": REACHABLE,
    "198.18.0.0/15": NOT,
    "198.51.100.0/24": NOT,
    "203.0.113.0/24": NOT,
    "240.0.0.0/4": NOT,
    "255.255.255.255/32": NOT,
    # iana-ipv6-special-registry
    "::1/128": NOT,
    "::/128": NOT,
    "::ffff:0:0/96": NOT,
    "64:ff9b:1::/48": NOT,
    "100::/64": NOT,
    "100:0:0:1::/64": NOT,
    "2001::/23": NOT,
    "2001::/32": NOT_SAID,
    "2001:1::1/128": REACHABLE,
    "2001:1::2/128": REACHABLE,
    "2001:1::3/128": REACHABLE,
    "2001:2::/48": NOT,
    "2001:3::/32": REACHABLE,
    "2001:4:112::/48": REACHABLE,
    "2001:10::/28": NOT_SAID,
    "2001:20::/28": REACHABLE,
    "2001:30::/28": REACHABLE,
    "2001:db8::/32": NOT,
    "2002::/16": NOT_SAID,
    "2620:4f:8000::/48": REACHABLE,
    "3fff::/20": NOT,
    "5f00::/16": NOT,
    "fc00::/7": NOT,
    "fe80::/10": NOT,
    # what other registries keep out: multicast, site-local (RFC 3879), and what is not assigned
    "224.0.0.0/4": NOT,
    "::/96": NOT,
    "4000::/3": NOT,
    "fec0::/10": NOT,
    "ff00::/8": NOT,
    # reachable as the registry has it, through a translator to an IPv4 host that nobody here can judge
    "64:ff9b::/96": NOT_SAID,
}


def inside(block: str) -> list[str]:
    """The ends of a block, and what lies in the middle, but for what an entry of its own says otherwise."""
    network = ip_network(block)
    first, last = int(network.network_address), int(network.broadcast_address)
    make = type(network.network_address)
    inner = [ip_network(each) for each in REGISTRY if each != block and ip_network(each).prefixlen > network.prefixlen]
    found = {make(each) for each in (first, last, (first + last) // 2 + 5) if each <= last}
    return [str(each) for each in sorted(found, key=int) if not any(each in other for other in inner)]


SPECIAL = [address for block, reachable in REGISTRY.items() if not reachable for address in inside(block)]
SPECIAL += ["64:ff9b::7f00:1", "::ffff:9.9.9.9", "2002:101:101::1", "2002:7f00:1::1", "0.1.2.3", "192.88.99.1"]
PUBLIC = [address for block, reachable in REGISTRY.items() if reachable for address in inside(block)]
PUBLIC += [
    "9.9.9.9",
    "192.1.0.1",
    "172.32.0.1",
    "100.128.0.1",
    "192.0.1.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.1.1.1",
]
PUBLIC += ["2001:200::1", "2001:4860::8888", "2620:fe::fe", "3fff:1000::1", "2003::1", "2a00::1", "3ffe::1"]


def is_accepted_as_glue(address: str) -> bool:
    child, host = names.from_text("child.example."), names.from_text("ns.child.example.")
    octets = ip_address(address).packed
    rr = RR(host, RRType.A if len(octets) == 4 else RRType.AAAA, octets)
    rules = Rules.of(names.from_text("example."), names.from_text("updater.example."), Policy())
    try:
        check(rules, Delegation(child), Delegation(child, (host,), (), (rr,)))
    except Refusal:
        return False
    return True


def is_asked(address: str) -> bool:
    return Resolver([Nameserver("127.0.0.1", 53)]).may_ask(address)


async def is_sent_updates(address: str) -> bool:
    target, octets = names.from_text("updater.example."), ip_address(address).packed
    answers = {("updater.example.", RRType.A if len(octets) == 4 else RRType.AAAA): found(octets)}
    try:
        (endpoint,) = await find_addresses(Told(answers), target, 53, ParentSettings())
    except NoReceiver:
        return False
    return endpoint.address == address


async def test_glue_look_ups_and_the_agent_have_the_registries_answer() -> None:
    assert len(SPECIAL) > 90
    assert len(PUBLIC) > 30
    for address in SPECIAL + PUBLIC:
        expected = address in PUBLIC
        assert is_global(ip_address(address).packed) is expected, address
        assert is_global_unicast(address) is expected, address
        assert is_accepted_as_glue(address) is expected, address
        assert is_asked(address) is expected, address
        assert await is_sent_updates(address) is expected, address


@pytest.mark.parametrize("address", ["fe80::1%eth0", "2620:fe::fe%eth0", "9.9.9.9.", "dns.example", ""])
def test_what_is_no_address_by_itself_is_not_asked(address: str) -> None:
    assert not is_global_unicast(address)


@pytest.mark.parametrize("octets", [b"", b"\x09\x09\x09", b"\x20" * 15])
def test_octets_of_no_address_are_none(octets: bytes) -> None:
    assert not is_global(octets)
