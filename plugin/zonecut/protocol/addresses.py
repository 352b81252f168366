"""What a globally reachable unicast address is (RFC 6890): as glue, and where somebody else's word may send us.

One definition for both: what no resolver could reach is no glue, and where glue may not lead, we do not go.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_DOCUMENTATION = IPv6Network("3fff::/20")  # RFC 9637; Python learns of it in later releases
_IPV4_OCTETS, _IPV6_OCTETS = 4, 16

# What does not begin like this needs no closer look; most addresses do not.
_SPECIAL_FIRST_OCTETS = frozenset((0, 10, 100, 127, 169, 172, 192, 198, 203, *range(224, 256)))
_SPECIAL_IN_2000_3 = frozenset((b"\x20\x01", b"\x20\x02", b"\x3f\xff", b"\x3f\xfe"))


def is_global(octets: bytes) -> bool:
    """True for the octets of an IPv4 or IPv6 address that is reachable from anywhere and stands for itself.

    Not loopback, private, documentation, multicast, nor one that carries another address, such as IPv4-mapped, 6to4,
    Teredo or NAT64 ones: they lead to hosts that this cannot judge.
    """
    if len(octets) == _IPV4_OCTETS:
        if octets[0] not in _SPECIAL_FIRST_OCTETS:
            return True
        ipv4 = IPv4Address(octets)
        return ipv4.is_global and not ipv4.is_multicast and not ipv4.is_reserved
    if len(octets) != _IPV6_OCTETS:
        return False
    if octets[0] & 0xE0 == 0x20 and octets[:2] not in _SPECIAL_IN_2000_3:
        return True
    ipv6 = IPv6Address(octets)
    if ipv6.sixtofour or ipv6.teredo or ipv6 in _DOCUMENTATION:
        return False
    # all that is not 2000::/3 is special-purpose, reserved or a translator's own (RFC 4291 section 2.4)
    return ipv6 in _GLOBAL_UNICAST and ipv6.is_global


def is_global_unicast(address: str) -> bool:
    """As `is_global`, for an address in text; False for one with a scope, and for what is no address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return getattr(parsed, "scope_id", None) is None and is_global(parsed.packed)
