"""Zones of a chain of trust: from a DS to the keys of its zone (RFC 4035 section 5.2)."""

from collections.abc import Iterable
from dataclasses import dataclass

import dns.dnssec
import dns.exception
import dns.name
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS

from zonecut.protocol import names
from zonecut.resolve.anchors import supported
from zonecut.resolve.failures import Bogus, Undecided
from zonecut.resolve.reply import RRset
from zonecut.resolve.signatures import RSA_BITS, is_usable, verify
from zonecut.resolve.work import Work

_MAX_DS = 16


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone with verified keys. `chain` are the zones from the trust anchor's down to this one; `ttl` in seconds."""

    apex: bytes
    keys: tuple[DNSKEY, ...]
    chain: tuple[bytes, ...]
    ttl: int

    @property
    def path(self) -> str:
        return " > ".join(names.to_text(apex) for apex in self.chain)


@dataclass(frozen=True, slots=True)
class Unsigned:
    """It is proven that no chain of signatures leads below this cut, or into it."""

    cut: bytes
    reason: str
    ttl: int


def verify_keys(
    apex: bytes, found: RRset | None, ds: Iterable[DS], above: tuple[bytes, ...], now: float, work: Work
) -> Zone:
    """The zone whose DNSKEY RRset is signed by a key that one of these DS records, all of supported kinds, names.

    `above` are the zones of the chain so far. Raises Bogus, Undecided when the work is used up.
    """
    zone = names.to_text(apex)
    wanted = list(supported(ds))[:_MAX_DS]
    tags = ", ".join(str(tag) for tag in sorted({record.key_tag for record in wanted}))
    if found is None:
        raise Bogus(f"{zone} has a DS (key tag {tags}) but no DNSKEY")
    if len(found.rdatas) > work.limits.keys:
        raise Undecided(f"{zone} has {len(found.rdatas)} DNSKEY, and no more than {work.limits.keys} are looked at")
    entries = entry_keys(apex, found, wanted, work)
    if not entries:
        others = (key for key in found.rdatas if isinstance(key, DNSKEY) and key not in _usable(found))
        if any(_is_named(apex, key, wanted, work) for key in others):
            raise Bogus(
                f"the DNSKEY of {zone} that its DS names (key tag {tags}) cannot be used: flags 256 or 257, protocol 3,"
                f" and RSA with {RSA_BITS.start} to {RSA_BITS.stop - 1} bits and an exponent below 2^32"
            )
        raise Bogus(f"no DNSKEY of {zone} matches its DS (key tag {tags})")
    verified = verify(found, apex, entries, now, work)
    if verified.expanded:
        raise Bogus(f"the DNSKEY of {zone} was made from a wildcard")
    return Zone(apex, _usable(found), (*above, apex), verified.ttl)


def entry_keys(apex: bytes, found: RRset, ds: Iterable[DS], work: Work) -> tuple[DNSKEY, ...]:
    """The keys of a DNSKEY RRset that these DS records, all of supported kinds, name: where a chain enters the zone."""
    wanted = list(supported(ds))[:_MAX_DS]
    return tuple(key for key in _usable(found) if _is_named(apex, key, wanted, work))


def _usable(found: RRset) -> tuple[DNSKEY, ...]:
    return tuple(key for key in found.rdatas if isinstance(key, DNSKEY) and is_usable(key))


def _is_named(apex: bytes, key: DNSKEY, wanted: Iterable[DS], work: Work) -> bool:
    tag = key.key_id()
    same = [record for record in wanted if record.key_tag == tag and record.algorithm == key.algorithm]
    owner = dns.name.from_wire(apex, 0)[0]
    for record in same[: work.limits.keys_with_tag]:
        work.hash(1)
        try:
            made = dns.dnssec.make_ds(owner, key, record.digest_type, validating=True)
        except (dns.exception.DNSException, ValueError):
            continue
        if made.digest == record.digest:
            return True
    return False
