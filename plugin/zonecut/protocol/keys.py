"""SIG(0) keys as values: KEY records, key tags, fingerprints, and what signs and verifies with them.

RFC 2535 section 3. What an algorithm does is told by `algorithms`, what stands in a file by `keyfiles`.
"""

import struct
from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm

from zonecut.protocol import names
from zonecut.protocol.algorithms import (
    PrivateKey,
    Verifier,
    algorithm_number,
    algorithm_text,
    public_octets,
    sign,
    suites,
)
from zonecut.protocol.codepoints import CodePoints
from zonecut.protocol.foreigntext import clip
from zonecut.protocol.keytext import read_key

__all__ = [
    "HOST_KEY",
    "Key",
    "KeyPair",
    "UnusableKey",
    "Verifier",
    "algorithm_number",
    "algorithm_text",
    "check_usable",
    "verifier",
]

HOST_KEY = 512
"""The flags that `dnssec-keygen -T KEY -n HOST` writes."""

_NO_KEY = 0x8000  # RFC 2535 section 3.1.2: "use of the key is prohibited for authentication", alone or as "no key"
_EXTENDED = 0x1000
_PROTOCOLS = (3, 255)  # DNSSEC, all


class UnusableKey(Exception):
    """A key that cannot be used; `reason` says which property broke which rule, and names the owner and the key tag
    where they are known."""

    def __init__(self, reason: str) -> None:
        self.reason = clip(reason)
        super().__init__(self.reason)


@dataclass(frozen=True, slots=True)
class Key:
    """A KEY record without its TTL (RFC 2535 section 3). `owner` is in lower-case wire form."""

    owner: bytes
    flags: int
    protocol: int
    algorithm: int
    public_key: bytes
    rdata: bytes = field(init=False, repr=False, compare=False)
    """The RDATA in wire form."""
    tag: int = field(init=False, repr=False, compare=False)
    """RFC 4034 appendix B over the whole RDATA, whatever the algorithm. A hint, not an identity: tags collide."""

    def __post_init__(self) -> None:
        rdata = struct.pack("!HBB", self.flags, self.protocol, self.algorithm) + self.public_key
        total = (sum(rdata[::2]) << 8) + sum(rdata[1::2])
        object.__setattr__(self, "rdata", rdata)
        object.__setattr__(self, "tag", (total + (total >> 16 & 0xFFFF)) & 0xFFFF)

    @classmethod
    def from_rdata(cls, owner: bytes, rdata: bytes) -> Self:
        """The key in RDATA. Raises UnusableKey when that is too short to hold one."""
        if len(rdata) < 5:
            raise UnusableKey(f"KEY of {names.to_text(owner)}: RDATA of {len(rdata)} octets holds no public key")
        flags, protocol, algorithm = struct.unpack_from("!HBB", rdata)
        return cls(owner, flags, protocol, algorithm, rdata[4:])

    def fingerprint(self) -> str:
        """The first 128 bits of SHA-256 over owner and RDATA, for comparing over a telephone: `9F86 D081 ...`."""
        digest = sha256(self.owner + self.rdata).digest()[:16]
        return digest.hex(" ", 2).upper()

    def to_text(self, ttl: int | None = None) -> str:
        """The record in presentation form, on one line without a line end. `ttl` in seconds."""
        start = names.to_text(self.owner) if ttl is None else f"{names.to_text(self.owner)} {ttl}"
        return f"{start} IN KEY {self.flags} {self.protocol} {self.algorithm} {b64encode(self.public_key).decode()}"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The key in the one KEY record of a zone or `.key` file, see `keytext`. Raises UnusableKey for anything else,
        a DNSKEY included."""
        try:
            return cls(*read_key(text))
        except ValueError as error:
            raise UnusableKey(str(error)) from None


def check_usable(key: Key, codepoints: CodePoints) -> None:
    """Raises UnusableKey unless messages may be signed with this key, for one that is taken in (RFC 2535 section 3.1).

    Stricter and slower than `verifier`, which loads keys that have passed this.
    """
    verifier(key, codepoints)
    try:
        suites(codepoints)[key.algorithm].check(key.public_key)
    except ValueError as error:
        raise _unusable(key, str(error)) from None


def verifier(key: Key, codepoints: CodePoints) -> Verifier:
    """The verifier of a usable key, for keeping: it has loaded the public key. Raises UnusableKey."""
    if key.flags & _NO_KEY:
        raise _unusable(key, f"flags {key.flags:#06x} prohibit authentication (0x8000)")
    if key.flags & _EXTENDED:
        raise _unusable(key, f"flags {key.flags:#06x} announce extended flags (0x1000), which nobody defined")
    if key.protocol not in _PROTOCOLS:
        raise _unusable(key, f"protocol {key.protocol} is neither 3 (DNSSEC) nor 255 (all)")
    suite = suites(codepoints).get(key.algorithm)
    if suite is None:
        raise _unusable(key, f"algorithm {key.algorithm} is not supported")
    try:
        return suite.load(key.public_key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unusable(key, str(error)) from None


def _unusable(key: Key, reason: str) -> UnusableKey:
    return UnusableKey(f"KEY of {names.to_text(key.owner)} with key tag {key.tag}: {reason}")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key with its private part, which stays out of its representation and of comparisons.

    Raises UnusableKey when the two do not belong together.
    """

    key: Key
    private: PrivateKey = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if public_octets(self.private) != self.key.public_key:
            raise UnusableKey(
                f"KEY of {names.to_text(self.key.owner)} with key tag {self.key.tag}:"
                f" the private part belongs to another public key"
            )

    def sign(self, data: bytes) -> bytes:
        """The signature over `data` in DNS form."""
        return sign(self.private, self.key.algorithm, data)

    @classmethod
    def generate(
        cls, owner: bytes, algorithm: int, codepoints: CodePoints, flags: int = HOST_KEY, rsa_bits: int = 2048
    ) -> Self:
        """A new pair; `owner` in lower-case wire form. Raises ValueError for an algorithm or a size that is not
        supported, UnusableKey for flags that forbid what the key is for."""
        suite = suites(codepoints).get(algorithm)
        if suite is None:
            algorithm_number(str(algorithm), codepoints)  # raises, with the list of what there is
            raise AssertionError
        private = suite.generate(rsa_bits)
        key = Key(owner, flags, 3, algorithm, public_octets(private))
        check_usable(key, codepoints)
        return cls(key, private)
