"""The server under test as the contract sees it, and the zone that it is given."""

import os
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address

from zonecut.plugin.backend import Backend
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls
from zonecut.protocol.rrset import ResourceRecord

DELEGATIONS = int(os.environ.get("ZONECUT_CONTRACT_DELEGATIONS", "20000"))
"""How many delegations the large zone has."""


class ContractServer(ABC):
    """A running server with the contract's zone, which everybody on it may edit."""

    ttls = Ttls(ns=7200, ds=1800, glue=900)
    """What the backends of this server are given in their context."""
    patience: float = 5.0
    """Seconds within which an operation of a backend has failed when the server does not answer."""

    @abstractmethod
    def backend(self) -> Backend:
        """A new backend for the zone, not open yet."""

    @abstractmethod
    def stranger(self) -> AbstractContextManager[Backend]:
        """A new backend that the server must refuse while the context lasts: wrong credentials, or no permission."""

    @abstractmethod
    def misplaced(self) -> Backend:
        """A new backend for a zone that the server does not have."""

    @abstractmethod
    def edit(self, remove: Sequence[tuple[bytes, int]] = (), add: Sequence[ResourceRecord] = ()) -> None:
        """Somebody changes the zone by other means: RRsets go, by owner and type, and then records come."""

    @abstractmethod
    def stop(self) -> None:
        """End the server, as with SIGKILL."""

    @abstractmethod
    def start(self) -> None:
        """Start it again, and return when it answers."""

    @abstractmethod
    def lose_zone(self) -> None:
        """Have the server answer without the zone, as after a start with a broken zone file or by a mistake of hand."""

    @abstractmethod
    def find_zone(self) -> None:
        """Undo `lose_zone`."""

    @abstractmethod
    def spoil(self, child: bytes) -> bool:
        """Have the server hold a record of a delegation that makes no sense, by means that nobody checks.

        False where it cannot hold such a thing, or shows nothing at all then.
        """

    def consume(self, consumer: str, number: int, failure: str = "") -> bool:
        """Somebody who makes the zone of what is written says how far he is, or with what he failed there.

        False, as here, where what is written is in the zone.
        """
        return False

    @abstractmethod
    def hold(self) -> None:
        """Make it so slow that no answer comes, as with SIGSTOP."""

    @abstractmethod
    def release(self) -> None:
        """Undo `hold`."""


Serve = Callable[[str], ContractServer]


def ds(tag: int) -> bytes:
    """DS RDATA with this key tag and a digest that is none."""
    return bytes([tag >> 8, tag & 255, 13, 2]) + sha256(b"%d" % tag).digest()


def generated(zone: str, number: int) -> Delegation:
    """The delegation of child NUMBER in `master_file`."""
    child = names.from_text(f"child{number}.{zone}")
    first, second = (names.from_text(f"ns{i}.child{number}.{zone}") for i in (1, 2))
    ipv4, ipv6 = IPv4Address("11.0.0.0") + 2 * number, IPv6Address("2610::") + 2 * number
    return Delegation.of(
        child,
        [
            RR(child, RRType.NS, first),
            RR(child, RRType.NS, second),
            RR(child, RRType.DS, ds(number % 65536)),
            RR(first, RRType.A, ipv4.packed),
            RR(first, RRType.AAAA, ipv6.packed),
            RR(second, RRType.A, (ipv4 + 1).packed),
        ],
    )


def signature(zone: str) -> str:
    """Lines that make the contract's zone one that somebody else has signed. The signature is none."""
    return (
        f"{zone} 3600 IN DNSKEY 257 3 13 {_octets(64)}\n"
        f"{zone} 3600 IN NSEC child0.{zone} NS SOA RRSIG NSEC DNSKEY\n"
        f"{zone} 3600 IN RRSIG SOA 13 2 3600 20370101000000 20250101000000 4711 {zone} {_octets(64)}\n"
    )


def digest(zone: str) -> str:
    """A line that makes the contract's zone one that somebody else has digested. The digest is none."""
    return f"{zone} 3600 IN ZONEMD 1 1 1 {'cd' * 48}\n"


def _octets(count: int) -> str:
    return b64encode(sha256(b"zonecut").digest() * (count // 32)).decode()


def master_file(zone: str, delegations: int) -> str:
    """The contract's zone as text: a small apex, and child0, child1, ... with two NS, a DS and three addresses each."""
    return "".join(_lines(zone, delegations))


def _lines(zone: str, delegations: int) -> Iterator[str]:
    yield f"{zone} 3600 IN SOA ns1.{zone} hostmaster.{zone} 1 3600 900 604800 300\n"
    yield f"{zone} 3600 IN NS ns1.{zone}\n"
    yield f"ns1.{zone} 3600 IN A 127.0.0.1\n"
    for number in range(delegations):
        yield generated(zone, number).to_text(ContractServer.ttls)
