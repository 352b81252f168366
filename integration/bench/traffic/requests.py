"""What the children send: UPDATEs that replace a delegation, signed with Ed25519.

A request replaces two NS, a DS, two A and one AAAA and drops the old glue.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lab.zones import PARENT
from zonecut.plugin import Change
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, Algorithm, RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls
from zonecut.protocol.keys import HOST_KEY, Key, KeyPair
from zonecut.protocol.sig0 import sign_request

ZONE = names.from_text(PARENT)
TTLS = Ttls()
VALIDITY = 3000
"""Seconds for which requests are signed."""
PAIRS = 16
"""Key pairs that all the children share: each has a KEY record of its own, and a verification costs the same."""


def owner(number: int) -> bytes:
    """The name of a child, as in the lab's generated zones."""
    return names.from_text(f"child{number}.{PARENT}")


def make_pairs() -> list[KeyPair]:
    return [KeyPair.generate(owner(number), Algorithm.ED25519, DEFAULT) for number in range(PAIRS)]


def kept_pairs(file: Path) -> list[KeyPair]:
    """The pairs that a kept store belongs to: those in a file, which is made when it is not there."""
    if not file.exists():
        privates = [pair.private for pair in make_pairs()]
        file.write_bytes(b"".join(private.private_bytes_raw() for private in privates))  # type: ignore[union-attr]
    octets = file.read_bytes()
    found = []
    for number in range(PAIRS):
        private = Ed25519PrivateKey.from_private_bytes(octets[32 * number : 32 * number + 32])
        public = private.public_key().public_bytes_raw()
        found.append(KeyPair(Key(owner(number), HOST_KEY, 3, int(Algorithm.ED25519), public), private))
    return found


def key_of(number: int, pairs: Sequence[KeyPair]) -> Key:
    """The key of a child."""
    return Key(owner(number), HOST_KEY, 3, int(Algorithm.ED25519), pairs[number % PAIRS].key.public_key)


def pair_of(number: int, pairs: Sequence[KeyPair]) -> KeyPair:
    return KeyPair(key_of(number, pairs), pairs[number % PAIRS].private)


def state(number: int, which: int) -> Delegation:
    """One of the two delegations between which a child goes back and forth; 0 is that of the lab's generated zone."""
    child = owner(number)
    first, second = (b"\3ns" + str(2 * which + place).encode() + child for place in (1, 2))
    ipv4 = (0x0B000000 + 0x100000 * which + 2 * number).to_bytes(4)
    next_ipv4 = (0x0B000000 + 0x100000 * which + 2 * number + 1).to_bytes(4)
    ipv6 = ((0x2610 << 112) + (which << 64) + 2 * number).to_bytes(16)
    digest = hashlib.sha256(f"child{number}".encode() + b"!" * which).digest()
    return Delegation.of(
        child,
        [
            RR(child, RRType.NS, first),
            RR(child, RRType.NS, second),
            RR(child, RRType.DS, (number % 65536).to_bytes(2) + b"\x0d\x02" + digest),
            RR(first, RRType.A, ipv4),
            RR(first, RRType.AAAA, ipv6),
            RR(second, RRType.A, next_ipv4),
        ],
    )


def update(number: int, which: int, identity: int) -> bytes:
    """The unsigned request of a child that is to go from its other delegation to this one."""
    before, after = state(number, 1 - which), state(number, which)
    records = [message.delete_rrset(after.child, RRType.NS), message.delete_rrset(after.child, RRType.DS)]
    records += [message.delete_name(name) for name in before.ns]
    records += [message.add(name, rtype, TTLS.of(rtype), rdata) for name, rtype, rdata in after.records]
    return message.update(identity, ZONE, (), records)


def forged(numbers: Sequence[int], pairs: Sequence[KeyPair]) -> list[bytes]:
    """A request of each of these children whose signature is genuine and covers another message ID.

    The IDs count up from 0, so that answers can be told apart; ID 65535 is that which was signed.
    """
    now = int(time.time())
    found = []
    for place, number in enumerate(numbers):
        wire = sign_request(
            update(number, 1, 0xFFFF), pair_of(number, pairs), now - 10, now + VALIDITY, signature_type=RRType.SIG
        )
        found.append((place % 0xFFFF).to_bytes(2) + wire[2:])
    return found


@dataclass
class Child:
    number: int
    which: int = 0


class Children:
    """Children that take turns; each one's request is a real change, from what it was to its other delegation."""

    def __init__(self, numbers: range, pairs: Sequence[KeyPair]) -> None:
        self._pairs = pairs
        self._children = [Child(number) for number in numbers]
        self._at = 0

    def __len__(self) -> int:
        return len(self._children)

    def signed(self, count: int) -> list[bytes]:
        """The next requests to zonecut, for sending at once; all of them have to be sent."""
        now = int(time.time())
        return [
            sign_request(
                update(child.number, child.which, place),
                pair_of(child.number, self._pairs),
                now,
                now + VALIDITY,
                signature_type=RRType.SIG,
            )
            for place, child in enumerate(self._turns(count))
        ]

    def changes(self, count: int) -> list[Change]:
        """The next changes, for telling named directly; all of them have to be made."""
        return [
            Change(state(child.number, 1 - child.which), state(child.number, child.which))
            for child in self._turns(count)
        ]

    def _turns(self, count: int) -> Iterator[Child]:
        if count > 0xFFFF:
            raise ValueError(f"{count} requests at once: message IDs would repeat")
        for _ in range(count):
            child = self._children[self._at]
            self._at = (self._at + 1) % len(self._children)
            child.which = 1 - child.which
            yield child
