"""The messages of a real client in `vectors/`, and the keys that made them."""

from dataclasses import dataclass
from pathlib import Path

from zonecut.files.keyfiles import read_public
from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT
from zonecut.protocol.envelope import Envelope, walk
from zonecut.protocol.keys import Key
from zonecut.protocol.sig0 import Signature, signatures

DIRECTORY = Path(__file__).parents[1] / "vectors"
ZONE = names.from_text("sig0.test.")
CHILD = names.from_text("child.sig0.test.")


@dataclass(frozen=True)
class Vector:
    name: str
    wire: bytes

    @property
    def envelope(self) -> Envelope:
        return walk(self.wire)

    @property
    def signature(self) -> Signature:
        (signature,) = signatures(self.envelope, DEFAULT.signature_type)
        return signature

    @property
    def key(self) -> Key:
        return KEYS[self.signature.key_tag]

    @property
    def time(self) -> int:
        """A time, in seconds since the epoch, at which the signature is valid."""
        return self.signature.inception + 300


KEYS = {key.tag: key for key in map(read_public, DIRECTORY.glob("K*.key"))}
VECTORS = [Vector(path.stem, path.read_bytes()) for path in sorted(DIRECTORY.glob("*.bin"))]
assert len(VECTORS) == 10
