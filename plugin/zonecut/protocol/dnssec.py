"""The numbers of DNSSEC: with which algorithms a zone may be signed, what a DS may hold, what a DNSKEY's flags mean."""

from hashlib import sha1, sha256, sha384

from zonecut.protocol.codepoints import Algorithm

ZONE_ALGORITHMS = frozenset(map(int, Algorithm))
"""With which a zone may be signed (RFC 8624 section 3.1, RFC 9904): SHA-1 counts as unknown (RFC 9905)."""

DIGEST_LENGTH = {1: 20, 2: 32, 3: 32, 4: 48}
"""Octets of a DS digest by its type (RFC 3658, 4509, 5933, 6605)."""
DIGESTS = frozenset((2, 4))
"""Digest types in use, SHA-256 and SHA-384 (RFC 8624 section 3.3): SHA-1 counts as unknown (RFC 9905)."""

ZONE_KEY = 0x0100
"""The flag of a DNSKEY that may sign a zone (RFC 4034 section 2.1.1)."""
REVOKED = 0x0080
"""RFC 5011 section 2.1."""
SEP = 0x0001
"""The flag of a DNSKEY that a DS is meant to name (RFC 4034 section 2.1.1)."""

_HASHES = {1: sha1, 2: sha256, 4: sha384}
MADE_DIGESTS = frozenset(_HASHES)
"""Digest types that can be made here: by which a DS that is there may name a key."""


def ds_digest(digest_type: int, zone: bytes, dnskey: bytes) -> bytes | None:
    """The digest of a DS (RFC 4034 section 5.1.4); None for a type that cannot be made.

    `zone` in canonical wire form, `dnskey` the RDATA.
    """
    made = _HASHES.get(digest_type)
    return None if made is None else made(zone + dnskey).digest()
