"""A child that signs messages which no stock tool would make."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from lab.zones import PARENT
from zonecut.files.keyfiles import write_pair
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, Algorithm, RRType
from zonecut.protocol.keys import HOST_KEY, Key, KeyPair
from zonecut.protocol.sig0 import sign_request

ZONE = names.from_text(PARENT)
NS, DS, A, AAAA = RRType.NS, RRType.DS, RRType.A, RRType.AAAA


def name(text: str) -> bytes:
    """The wire form of a name: absolute with a final dot, else below the parent zone."""
    return names.from_text(text if text.endswith(".") else f"{text}.{PARENT}")


def address(text: str) -> bytes:
    """RDATA of an A or AAAA record."""
    return ip_address(text).packed


def ds(tag: int = 4711, algorithm: int = 13, digest_type: int = 2, digest: bytes | None = None) -> bytes:
    """RDATA of a DS record, by default one of SHA-256 that nobody has used before."""
    return tag.to_bytes(2) + bytes((algorithm, digest_type)) + (secrets.token_bytes(32) if digest is None else digest)


def another_ds(child: bytes) -> list[bytes]:
    """Updates that every child may make: the DS RRset becomes one that nobody has used before."""
    return [message.delete_rrset(child, DS), message.add(child, DS, 60, ds())]


@dataclass(frozen=True)
class Signer:
    """The holder of a key, who signs in its name."""

    pair: KeyPair

    @classmethod
    def generate(cls, owner: str, algorithm: int = Algorithm.ED25519) -> "Signer":
        """A new key for a name, which is taken as in `name`."""
        return cls(KeyPair.generate(name(owner), algorithm, DEFAULT))

    @property
    def owner(self) -> bytes:
        return self.pair.key.owner

    @property
    def text(self) -> str:
        return names.to_text(self.owner)

    @property
    def tag(self) -> int:
        return self.pair.key.tag

    def with_tag(self, tag: int) -> "Signer | None":
        """The same octets as another key with that tag, by other flags; None if forbidden flags would be needed."""
        key = self.pair.key
        for flags in ((HOST_KEY + (tag - key.tag)) % 65535, (HOST_KEY + (tag - key.tag)) % 65535 + 1):
            other = Key(key.owner, flags & 0xFFFF, key.protocol, key.algorithm, key.public_key)
            if other.tag == tag and not other.flags & 0x9000:
                return Signer(KeyPair(other, self.pair.private))
        return None

    def write_public(self, directory: Path) -> Path:
        """The `.key` file that the parent's operator imports."""
        directory.mkdir(exist_ok=True)
        return write_pair(directory, self.pair, DEFAULT)

    def update(
        self,
        *updates: bytes,
        prerequisites: Sequence[bytes] = (),
        zone: bytes = ZONE,
        edns: bool = True,
        **signing: int,
    ) -> bytes:
        """A signed UPDATE; `signing` as for `sign`."""
        return self.sign(unsigned(*updates, prerequisites=prerequisites, zone=zone, edns=edns), **signing)

    def sign(self, wire: bytes, *, age: int = 0, validity: int = 300, rclass: int = 255) -> bytes:
        """The message with a SIG at its end, made `age` seconds ago and valid for `validity` seconds from then."""
        inception = int(time.time()) - age
        signature_type = DEFAULT.signature_type
        return sign_request(
            wire, self.pair, inception, inception + validity, signature_type=signature_type, rclass=rclass
        )

    def fresh(self, *, edns: bool = True, **signing: int) -> bytes:
        """A signed change that is allowed, and unlike any before."""
        return self.sign(unsigned(*another_ds(self.owner), edns=edns), **signing)


def unsigned(*updates: bytes, prerequisites: Sequence[bytes] = (), zone: bytes = ZONE, edns: bool = True) -> bytes:
    """An UPDATE without a signature."""
    additional = [message.opt_record()] if edns else []
    return message.update(secrets.randbits(16), zone, prerequisites, updates, additional)
