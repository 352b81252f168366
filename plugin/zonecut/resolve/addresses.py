"""Which addresses a server that somebody else named may have, so that we are not sent to places of his choice."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


def is_global_unicast(address: str) -> bool:
    """True for a globally reachable unicast address (RFC 6890) that stands for itself.

    Addresses that carry another one, such as IPv4-mapped, 6to4 or NAT64 ones, lead to hosts that this cannot judge.
    """
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        if parsed.scope_id or parsed.ipv4_mapped or parsed.sixtofour or parsed.teredo:
            return False
        if any(parsed in network for network in _NAT64):
            return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved
