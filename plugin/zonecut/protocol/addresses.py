"""What a globally reachable unicast address is (RFC 6890): as glue, and where somebody else's word may send us.

One definition for both: what no resolver could reach is no glue, and where glue may not lead, we do not go. It is read
off the registries of IANA, as they were in 2025, and not off Python's `ipaddress`, which knows more of them with each
release.
"""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

_IPV4_OCTETS, _IPV6_OCTETS = 4, 16
_GLOBAL_UNICAST = 0b001
"""How the first octet of all that is global unicast begins: 2000::/3."""

SPECIAL_PURPOSE: Mapping[IPv4Network | IPv6Network, bool] = {
    ip_network(block): reachable
    for block, reachable in {
        # iana-ipv4-special-registry
        "0.0.0.0/8": False,  # this network (RFC 791)
        "10.0.0.0/8": False,  # private use (RFC 1918)
        "100.64.0.0/10": False,  # shared address space (RFC 6598)
        "127.0.0.0/8": False,  # loopback (RFC 1122)
        "169.254.0.0/16": False,  # link-local (RFC 3927)
        "172.16.0.0/12": False,  # private use (RFC 1918)
        "192.0.0.0/24": False,  # IETF protocol assignments (RFC 6890), DS-Lite (RFC 7335), NAT64 discovery (RFC 8880)
        "192.0.0.9/32": True,  # PCP anycast (RFC 7723)
        "192.0.0.10/32": True,  # TURN anycast (RFC 8155)
        "192.0.2.0/24": False,  # documentation (RFC 5737)
        "192.31.196.0/24": True,  # AS112 (RFC 7535)
        "192.52.193.0/24": True,  # AMT (RFC 7450)
        "192.88.99.0/24": False,  # 6to4 relay anycast, deprecated (RFC 7526), and 6a44 (RFC 6751)
        "192.168.0.0/16": False,  # private use (RFC 1918)
        "192.175.48.0/24": True,  # AS112 (RFC 7534)
        "198.18.0.0/15": False,  # benchmarking (RFC 2544)
        "198.51.100.0/24": False,  # documentation (RFC 5737)
        "203.0.113.0/24": False,  # documentation (RFC 5737)
        "224.0.0.0/4": False,  # multicast (RFC 5771); it has a registry of its own
        "240.0.0.0/4": False,  # reserved (RFC 1112), limited broadcast (RFC 919)
        # iana-ipv6-special-registry, in 2000::/3: nothing else is global unicast (RFC 4291 section 2.4)
        "2001::/23": False,  # IETF protocol assignments (RFC 2928), of them Teredo (RFC 4380), benchmarking (RFC 5180)
        "2001:1::1/128": True,  # PCP anycast (RFC 7723)
        "2001:1::2/128": True,  # TURN anycast (RFC 8155)
        "2001:1::3/128": True,  # DNS-SD service registration anycast (RFC 9665)
        "2001:3::/32": True,  # AMT (RFC 7450)
        "2001:4:112::/48": True,  # AS112 (RFC 7535)
        "2001:20::/28": True,  # ORCHIDv2 (RFC 7343)
        "2001:30::/28": True,  # drone remote identification (RFC 9374)
        "2001:db8::/32": False,  # documentation (RFC 3849)
        "2002::/16": False,  # 6to4 (RFC 3056)
        "2620:4f:8000::/48": True,  # AS112 (RFC 7534)
        "3fff::/20": False,  # documentation (RFC 9637)
    }.items()
}
"""Special-purpose blocks, and whether the world can reach what is in them. The longest that holds an address counts.

False also where the registry does not say, since an address carries another one: it leads to a host that nobody here
can judge. Entries that say no more than the block around them are left out, as are those outside 2000::/3 (NAT64, too,
whose prefix 64:ff9b::/96 the registry calls reachable).
"""

# What does not begin like this needs no closer look; most addresses do not.
_SPECIAL_FIRST_OCTETS = frozenset(
    octet
    for block in SPECIAL_PURPOSE
    if block.version == 4
    for octet in range(block.network_address.packed[0], block.broadcast_address.packed[0] + 1)
)
_SPECIAL_FIRST_OCTET_PAIRS = frozenset(
    block.network_address.packed[:2] for block in SPECIAL_PURPOSE if block.version == 6
)
_LONGEST_FIRST = sorted(SPECIAL_PURPOSE.items(), key=lambda entry: entry[0].prefixlen, reverse=True)


def is_global(octets: bytes) -> bool:
    """True for the octets of an IPv4 or IPv6 address that is reachable from anywhere and stands for itself.

    Not loopback, private, documentation, multicast, nor one that carries another address, such as IPv4-mapped, 6to4,
    Teredo or NAT64 ones: they lead to hosts that this cannot judge.
    """
    if len(octets) == _IPV4_OCTETS:
        if octets[0] not in _SPECIAL_FIRST_OCTETS:
            return True
    elif len(octets) != _IPV6_OCTETS or octets[0] >> 5 != _GLOBAL_UNICAST:
        return False
    elif octets[:2] not in _SPECIAL_FIRST_OCTET_PAIRS:
        return True
    address = ip_address(octets)
    return next((reachable for block, reachable in _LONGEST_FIRST if address in block), True)


def is_global_unicast(address: str) -> bool:
    """As `is_global`, for an address in text; False for one with a scope, and for what is no address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return getattr(parsed, "scope_id", None) is None and is_global(parsed.packed)
