"""The limit: what the crypto library itself does in a second on the receiver's core."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bench.cores import RECEIVER_CORE, on_core
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.envelope import walk
from zonecut.protocol.keys import Key
from zonecut.protocol.sig0 import signatures, signed_data

_SECONDS = 0.7
_CHUNK = 200


@dataclass(frozen=True)
class Raw:
    """Verifications that fail, one after the other: how many a second, and the CPU seconds of one."""

    per_second: float
    cpu: float


def verify(key: Key, requests: Sequence[bytes]) -> Raw:
    """Verify Ed25519 signatures of these requests, which are all wrong, while the receiver idles."""
    check = Ed25519PublicKey.from_public_bytes(key.public_key).verify
    work = []
    for wire in requests[:_CHUNK]:
        (signature,) = signatures(walk(wire), RRType.SIG)
        work.append((signature.signature, signed_data(wire, signature)))
    count = 0
    with on_core(RECEIVER_CORE):
        cpu, start = time.thread_time(), time.perf_counter()
        while time.perf_counter() - start < _SECONDS:
            for signature_octets, data in work:
                try:
                    check(signature_octets, data)
                except InvalidSignature:
                    count += 1
        seconds, used = time.perf_counter() - start, time.thread_time() - cpu
    return Raw(count / seconds, used / count)
