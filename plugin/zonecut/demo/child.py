"""A child's side by hand: its key, and the UPDATEs and inquiries that it signs."""

import secrets
import struct
import time
from collections.abc import Sequence
from pathlib import Path

from zonecut.files.keyfiles import write_pair
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, Algorithm, RRType
from zonecut.protocol.dnssec import SEP, ZONE_KEY, ds_digest
from zonecut.protocol.keys import Key, KeyPair
from zonecut.protocol.keystate import inquire
from zonecut.protocol.sig0 import sign_request
from zonecut.protocol.update import Action, Operation

VALIDITY = 300
"""Seconds for which a signature counts."""


class Child:
    """A child zone whose operator holds a SIG(0) key; `name` is in lower-case wire form."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.pair = KeyPair.generate(name, Algorithm.ED25519, DEFAULT)

    @property
    def key(self) -> Key:
        """The public SIG(0) key."""
        return self.pair.key

    def save(self, directory: Path) -> Path:
        """Write both key files as dnssec-keygen does; the path of the public one."""
        directory.mkdir(mode=0o700, exist_ok=True)
        return write_pair(directory, self.pair, DEFAULT)

    def update(self, zone: bytes, operations: Sequence[Operation]) -> bytes:
        """A signed UPDATE with EDNS, without which neither BADSIG nor an extended error could be told."""
        updates = [operation.to_wire(ttl=3600) for operation in operations]
        wire = message.update(secrets.randbits(16), zone, (), updates, (message.opt_record(),))
        return self._signed(wire)

    def inquire(self) -> bytes:
        """A signed KeyState inquiry about the key."""
        options = inquire(self.key.tag).to_option(DEFAULT)
        opt = message.opt_record(options)
        return self._signed(message.query(secrets.randbits(16), self.name, RRType.KEY, additional=(opt,)))

    def _signed(self, wire: bytes) -> bytes:
        now = int(time.time())
        return sign_request(wire, self.pair, now, now + VALIDITY, signature_type=DEFAULT.signature_type)


def next_ds(name: bytes, digest_type: int = 2) -> bytes:
    """DS RDATA of a key with which a zone might be signed next (RFC 4034 section 5.1.4)."""
    key = KeyPair.generate(name, Algorithm.ECDSAP256SHA256, DEFAULT, ZONE_KEY | SEP).key
    digest = ds_digest(digest_type, name, key.rdata)
    assert digest is not None
    return struct.pack("!HBB", key.tag, key.algorithm, digest_type) + digest


def replace(owner: bytes, rtype: RRType, *rdatas: bytes) -> list[Operation]:
    """The operations after which an RRset holds these records and no others."""
    return [
        Operation(Action.DELETE_RRSET, owner, rtype),
        *(Operation(Action.ADD, owner, rtype, rdata) for rdata in rdatas),
    ]


def below(label: str, name: bytes) -> bytes:
    """A name one label below another."""
    return names.from_text(f"{label}.{names.to_text(name)}")
