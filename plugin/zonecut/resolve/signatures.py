"""Does a zone's signature over an RRset verify? (RFC 4035 section 5.3)

dnspython forms the signed data and verifies; which signature and which key are tried, how many of them, and when, is
decided here, with a reason for every no.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import dns.dnssec
import dns.name
import dns.rdataclass
import dns.rdataset
import dns.rrset
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.RRSIG import RRSIG

from zonecut.protocol import names
from zonecut.protocol.codepoints import type_text
from zonecut.protocol.dnssec import REVOKED, ZONE_ALGORITHMS, ZONE_KEY
from zonecut.resolve.failures import Bogus
from zonecut.resolve.reply import RRset, wire_name
from zonecut.resolve.work import Work

_RSA = frozenset((8, 10))
RSA_BITS = range(1024, 4096 + 1)
"""Of a modulus that proves something: RSA of 512 bits is broken in hours, and 768 were broken in 2009. RFC 5702 section
2.1 would take 512 for RSASHA256."""
_MAX_EXPONENT = 1 << 32
"""What verification costs grows with the exponent, and the zone chooses it."""
_MAX_REASONS = 3


@dataclass(frozen=True, slots=True)
class Verified:
    """A signature that verified. `labels` of the owner were signed, fewer than it has if a wildcard made it."""

    key_tag: int
    labels: int
    expanded: bool
    ttl: int
    """Seconds for which the RRset may be kept (RFC 4035 section 5.3.3)."""


def is_usable(key: DNSKEY) -> bool:
    """True if this DNSKEY may sign a zone (RFC 4034 section 2.1, RFC 5011 section 2.1) in a way that we support."""
    if not key.flags & ZONE_KEY or key.flags & REVOKED or key.protocol != 3 or key.algorithm not in ZONE_ALGORITHMS:
        return False
    return key.algorithm not in _RSA or _is_strong_rsa(key.key)


def _is_strong_rsa(octets: bytes) -> bool:
    """RFC 3110 section 2: the exponent's length in one octet or three, the exponent, the modulus."""
    start = 1 if octets[:1] != b"\0" else 3
    length = int.from_bytes(octets[start - 2 : start] if start == 3 else octets[:1])
    exponent = int.from_bytes(octets[start : start + length])
    modulus = octets[start + length :].lstrip(b"\0")
    # measured before it is made a number: it may be as long as a message
    if len(modulus) > RSA_BITS.stop // 8 or length > len(octets) or not 3 <= exponent < _MAX_EXPONENT:
        return False
    return bool(exponent % 2) and int.from_bytes(modulus).bit_length() in RSA_BITS


def verify(rrset: RRset, apex: bytes, keys: tuple[DNSKEY, ...], now: float, work: Work) -> Verified:
    """The first signature by the zone `apex` that verifies with one of its `keys` at the time `now`.

    Raises Bogus with the reason of each failure, Undecided when the work is used up.
    """
    subject = f"{type_text(rrset.rtype)} of {names.to_text(rrset.name)}"
    zone = names.to_text(apex)
    if not rrset.signatures:
        raise Bogus(f"{subject} has no signature, and the zone {zone} is signed")
    own = [signature for signature in rrset.signatures if wire_name(signature.signer) == apex]
    if not own:
        signers = sorted({names.to_text(wire_name(signature.signer)) for signature in rrset.signatures})
        raise Bogus(f"{subject} is signed by {', '.join(signers)}, not by its zone {zone}")
    if not names.is_at_or_below(rrset.name, apex):
        raise Bogus(f"{subject} is signed by {zone}, which does not enclose it")
    reasons: list[str] = []
    tagged = _by_tag(keys)
    for signature in own[: work.limits.signatures]:
        reason = _check(rrset, signature, tagged, now, work)
        if reason is None:
            return _verified(rrset, signature, now)
        if reason not in reasons:
            reasons.append(reason)
    if len(own) > work.limits.signatures:
        reasons.append(f"{len(own) - work.limits.signatures} more signatures were not tried")
    raise Bogus(f"{subject}: {'; '.join(reasons[:_MAX_REASONS])}")


def _by_tag(keys: Iterable[DNSKEY]) -> Mapping[tuple[int, int], list[DNSKEY]]:
    """The keys that may sign, by algorithm and key tag: reckoned once, however many signatures there are."""
    found: dict[tuple[int, int], list[DNSKEY]] = {}
    for key in keys:
        if is_usable(key):
            found.setdefault((int(key.algorithm), key.key_id()), []).append(key)
    return found


def _check(
    rrset: RRset, signature: RRSIG, keys: Mapping[tuple[int, int], list[DNSKEY]], now: float, work: Work
) -> str | None:
    """What is wrong with a signature; None if nothing is."""
    what = f"the signature with key tag {signature.key_tag} (algorithm {int(signature.algorithm)})"
    if signature.labels > label_count(rrset.name):
        return f"{what} covers {signature.labels} labels, more than the name has"
    untimely = _untimely(signature, now)
    if untimely:
        return f"{what} {untimely}"
    candidates = keys.get((int(signature.algorithm), signature.key_tag))
    if not candidates:
        return f"{what} is by no key of the zone"
    for key in candidates[: work.limits.keys_with_tag]:
        work.validate()
        if _verifies(rrset, signature, key, now):
            return None
        work.fail()
    return f"{what} does not verify"


def _verifies(rrset: RRset, signature: RRSIG, key: DNSKEY, now: float) -> bool:
    try:
        owner = dns.name.from_wire(rrset.name, 0)[0]
        signed = dns.rrset.RRset(owner, dns.rdataclass.IN, RdataType.make(rrset.rtype))
        for rdata in rrset.rdatas:
            signed.add(rdata)
        key_set = dns.rdataset.Rdataset(dns.rdataclass.IN, RdataType.DNSKEY)
        key_set.add(key)
        dns.dnssec.validate_rrsig(signed, signature, {signature.signer: key_set}, now=now)
    # Keys and signatures are a stranger's octets: whatever they make the library raise, the signature has not verified.
    except Exception:
        return False
    return True


def _untimely(signature: RRSIG, now: float) -> str | None:
    """RFC 4034 section 3.1.5: serial arithmetic."""
    late = _serial_difference(int(now), signature.expiration)
    if late > 0:
        return f"expired {_moment(signature.expiration)}, {_span(late)} ago"
    early = _serial_difference(signature.inception, int(now))
    if early > 0:
        return f"is not valid before {_moment(signature.inception)}, {_span(early)} from now"
    return None


def _serial_difference(one: int, other: int) -> int:
    return (one - other + 0x80000000 & 0xFFFFFFFF) - 0x80000000


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _span(seconds: int) -> str:
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def _verified(rrset: RRset, signature: RRSIG, now: float) -> Verified:
    ttl = min(rrset.ttl, signature.original_ttl, _serial_difference(signature.expiration, int(now)))
    expanded = signature.labels < label_count(rrset.name)
    return Verified(signature.key_tag, signature.labels, expanded, max(ttl, 0))


def label_count(name: bytes) -> int:
    """The labels of a name without the root's and without a leading asterisk (RFC 4034 section 3.1.3)."""
    labels = names.labels(name)
    return len(labels) - (labels[:1] == [b"*"])
