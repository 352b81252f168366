"""What a globally reachable address is: one definition, for glue and for where look-ups may lead."""

from ipaddress import ip_address

import pytest

from zonecut.protocol.addresses import is_global, is_global_unicast

SPECIAL = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.1.1",
    "172.16.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:9.9.9.9",
    "64:ff9b::7f00:1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:909:909::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fe80::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", SPECIAL)
def test_an_address_that_the_world_cannot_reach_is_neither_glue_nor_asked(address: str) -> None:
    assert not is_global(ip_address(address).packed)
    assert not is_global_unicast(address)


@pytest.mark.parametrize("address", ["fe80::1%eth0", "2620:fe::fe%eth0", "9.9.9.9.", "dns.example", ""])
def test_what_is_no_address_by_itself_is_not_asked(address: str) -> None:
    assert not is_global_unicast(address)


@pytest.mark.parametrize("address", ["9.9.9.9", "192.1.0.1", "172.32.0.1", "2001:4860::8888", "2620:fe::fe"])
def test_public_addresses_are_glue_and_are_asked(address: str) -> None:
    assert is_global(ip_address(address).packed)
    assert is_global_unicast(address)


@pytest.mark.parametrize("octets", [b"", b"\x09\x09\x09", b"\x20" * 15])
def test_octets_of_no_address_are_none(octets: bytes) -> None:
    assert not is_global(octets)
