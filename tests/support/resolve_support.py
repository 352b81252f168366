"""Signed zones made in the process, for the tests of validation. No tests of its own, no network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rrset
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG

from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode
from zonecut.resolve.reply import Reply, RRset
from zonecut.resolve.work import Limits, Work
from zonecut.resolve.zone import Zone

NOW = 1_800_000_000
HOUR = 3600
KEY = "512 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="


@cache
def private_key(label: str) -> Ed25519PrivateKey:
    """The same key for the same label, so that failures can be repeated."""
    return Ed25519PrivateKey.from_private_bytes(label.encode().ljust(32, b"\0")[:32])


@dataclass(frozen=True)
class Signer:
    """A zone with one key that signs."""

    apex: str
    label: str = ""
    flags: int = 257
    key: DNSKEY = field(init=False)

    def __post_init__(self) -> None:
        public = private_key(self.label or self.apex).public_key()
        object.__setattr__(self, "key", dns.dnssec.make_dnskey(public, 15, self.flags))

    @property
    def wire(self) -> bytes:
        return names.from_text(self.apex)

    @property
    def zone(self) -> Zone:
        """The zone as it is known after its keys were verified."""
        return Zone(self.wire, (self.key,), (names.ROOT, self.wire), HOUR)

    def ds(self, digest: str = "SHA256") -> DS:
        return dns.dnssec.make_ds(dns.name.from_text(self.apex), self.key, digest)

    def signature(
        self,
        owner: str,
        rtype: str,
        *rdatas: str,
        ttl: int = HOUR,
        inception: int = NOW - HOUR,
        expiration: int = NOW + HOUR,
        **changes: Any,
    ) -> RRSIG:
        """The RRSIG over these records, with fields changed after signing."""
        made = dns.rrset.from_text_list(owner, ttl, "IN", rtype, rdatas)
        signer = dns.name.from_text(self.apex)
        signature = dns.dnssec.sign(
            made, private_key(self.label or self.apex), signer, self.key, inception=inception, expiration=expiration
        )
        return cast(RRSIG, signature.replace(**changes)) if changes else signature

    def sign(self, owner: str, rtype: str, *rdatas: str, **options: Any) -> RRset:
        """An RRset of this zone with its signature; options as for `signature`."""
        signature = self.signature(owner, rtype, *rdatas, **options)
        return rrset(owner, rtype, *rdatas, signatures=[signature], ttl=options.get("ttl", HOUR))

    def expand(self, wildcard: str, owner: str, rtype: str, *rdatas: str) -> RRset:
        """An RRset at `owner` that was made from a signed one at `wildcard`."""
        return rrset(owner, rtype, *rdatas, signatures=[self.signature(wildcard, rtype, *rdatas)])

    def dnskeys(self, *others: DNSKEY, **options: Any) -> RRset:
        """The DNSKEY RRset, signed by this key."""
        return self.sign(self.apex, "DNSKEY", *(key.to_text() for key in (self.key, *others)), **options)


def rrset(owner: str, rtype: str, *rdatas: str, signatures: Sequence[RRSIG] = (), ttl: int = HOUR) -> RRset:
    """An RRset as a reply has it."""
    parsed = tuple(dns.rdata.from_text(dns.rdataclass.IN, RdataType[rtype], text) for text in rdatas)
    return RRset(names.from_text(owner), RdataType[rtype], ttl, parsed, tuple(signatures))


def reply(answer: Sequence[RRset] = (), authority: Sequence[RRset] = (), rcode: int = Rcode.NOERROR) -> Reply:
    return Reply(rcode, False, False, False, tuple(answer), tuple(authority))


def work(**limits: Any) -> Work:
    return Work(Limits(**limits))


class Authority:
    """What there is to be asked for, instead of a network; counts the questions."""

    def __init__(self, replies: Mapping[tuple[str, str], Reply]) -> None:
        self._replies = {
            (names.from_text(name), int(RdataType[rtype])): content for (name, rtype), content in replies.items()
        }
        self.asked: list[str] = []

    async def fetch(self, name: bytes, rtype: int) -> Reply:
        self.asked.append(f"{names.to_text(name)} {RdataType(rtype).name}")
        return self._replies[name, rtype]
