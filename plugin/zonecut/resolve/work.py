"""How much one look-up may cost. What a stranger's zone makes us do is bounded (CVE-2023-50387, CVE-2023-50868)."""

from dataclasses import dataclass

from zonecut.resolve.failures import Undecided


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one look-up. `seconds` is for all of it, `patience` for one server before the next is asked."""

    seconds: float = 5.0
    patience: float = 1.5
    queries: int = 48
    validations: int = 64
    """Signature verifications, about 0.1 ms each with the usual algorithms."""
    failures: int = 64
    """Those among them that may fail: an honest zone has none."""
    keys: int = 64
    """DNSKEYs of a zone that is looked at: each costs its key tag, and what its DS would be."""
    hashes: int = 12_800
    """Rounds of NSEC3 hashing, a microsecond each."""
    signatures: int = 8
    """RRSIGs tried for one RRset."""
    keys_with_tag: int = 4
    """DNSKEYs with the same key tag and algorithm tried for one RRSIG."""
    denials: int = 8
    """NSEC and NSEC3 records read from one reply."""
    iterations: int = 100
    """NSEC3 iterations above which no proof is accepted (RFC 9276 section 3.2)."""
    cache_names: int = 2000
    cache_seconds: float = 300.0
    cache_absence_seconds: float = 30.0
    """How long it is remembered that a name is no zone cut, or an insecure one."""


class Work:
    """What one look-up, or one look at all servers of a zone, has used up. Each method raises Undecided when there is
    nothing left."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.queries = 0
        self.validations = 0
        self.failures = 0
        self.hashes = 0

    def query(self) -> None:
        self.queries += 1
        if self.queries > self.limits.queries:
            raise Undecided(f"takes more than {self.limits.queries} queries")

    def validate(self) -> None:
        self.validations += 1
        if self.validations > self.limits.validations:
            raise Undecided(f"takes more than {self.limits.validations} signature verifications")

    def fail(self) -> None:
        self.failures += 1
        if self.failures > self.limits.failures:
            raise Undecided(f"takes more than {self.limits.failures} signature verifications that fail")

    def hash(self, rounds: int) -> None:
        self.hashes += rounds
        if self.hashes > self.limits.hashes:
            raise Undecided(f"takes more than {self.limits.hashes} rounds of NSEC3 hashing")
