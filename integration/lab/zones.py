"""Parent zones as text."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

# What most tests call their parent zone.
PARENT = "parent.test."


class Signing(StrEnum):
    NONE = "none"
    IN_PLACE = "in-place"
    INLINE = "inline"


@dataclass(frozen=True)
class ParentZone:
    """A zone for the lab to serve.

    name is absolute. `text` is the whole zone; without it there is a small apex and `delegations` generated children,
    named child0, child1, ...
    """

    name: str
    text: str | None = None
    delegations: int = 0
    signing: Signing = Signing.NONE

    def __post_init__(self) -> None:
        if not self.name.endswith("."):
            raise ValueError(f"zone name {self.name!r} is not absolute")

    @property
    def master_file(self) -> str:
        if self.text is not None:
            return self.text
        return "\n".join([*_apex(self.name), *_delegations(self.delegations), ""])


def _apex(name: str) -> Iterator[str]:
    yield f"$ORIGIN {name}"
    yield "$TTL 3600"
    yield "@ SOA ns1 hostmaster 1 3600 900 604800 300"
    yield "@ NS ns1"
    yield "ns1 A 127.0.0.1"


def _delegations(count: int) -> Iterator[str]:
    for number in range(count):
        child = f"child{number}"
        # Addresses that a policy for the public internet accepts. They are data only: nothing sends a packet to them.
        ipv4 = IPv4Address("11.0.0.0") + 2 * number
        ipv6 = IPv6Address("2610::") + 2 * number
        digest = hashlib.sha256(child.encode()).hexdigest()
        yield f"{child} 86400 NS ns1.{child}"
        yield f"{child} 86400 NS ns2.{child}"
        yield f"{child} DS {number % 65536} 13 2 {digest}"
        yield f"ns1.{child} 86400 A {ipv4}"
        yield f"ns1.{child} 86400 AAAA {ipv6}"
        yield f"ns2.{child} 86400 A {ipv4 + 1}"
