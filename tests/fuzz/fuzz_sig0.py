"""Fuzz signatures: nothing but the message that was signed verifies under the key, up to octets that are not signed."""

from pathlib import Path

from zonecut.files.keyfiles import read_public
from zonecut.protocol.codepoints import DEFAULT
from zonecut.protocol.envelope import walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.keys import verifier
from zonecut.protocol.sig0 import signatures, signed_data

VECTORS = Path(__file__).parent.parent / "vectors"
VERIFIERS = [verifier(read_public(path), DEFAULT) for path in sorted(VECTORS.glob("K*.key"))]
GENUINE = set()
for path in VECTORS.glob("*.bin"):
    wire = path.read_bytes()
    (signature,) = signatures(walk(wire), DEFAULT.signature_type)
    GENUINE.add(signed_data(wire, signature))


def one_input(data: bytes) -> None:
    try:
        found = signatures(walk(data), DEFAULT.signature_type)
    except MalformedMessage:
        return
    for each in found:
        octets = signed_data(data, each)
        for verify in VERIFIERS:
            assert not verify(each.signature, octets) or octets in GENUINE
