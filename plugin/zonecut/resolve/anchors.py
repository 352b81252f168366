"""Trust anchors: where chains of signatures begin. The root's are built in; others come from a file.

A DNSKEY is held as its SHA-256 digest, so that every anchor is a DS (RFC 4034 section 5). The file may be the one in
which unbound keeps the state of its anchors (`auto-trust-anchor-file`, RFC 5011): the state stands in a comment.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast

import dns.dnssec
import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.ttl
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS

from zonecut.files.regularfile import read_regular
from zonecut.protocol import names
from zonecut.protocol.dnssec import DIGEST_LENGTH, DIGESTS, REVOKED, ZONE_ALGORITHMS
from zonecut.resolve.failures import ResolveError
from zonecut.resolve.reply import wire_name
from zonecut.resolve.signatures import RSA_BITS, is_usable

# KSK-2017 and KSK-2024, as https://data.iana.org/root-anchors/root-anchors.xml publishes them (RFC 9718).
_ROOT = """
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
"""


_STATE = re.compile(r";state=(\d+)(?:\s*\[\s*(\w+)\s*\])?", re.ASCII)
_TRUSTED_STATES = frozenset(("2", "3"))
"""VALID and MISSING: RFC 5011 section 4.2 has a key that was not seen lately remain an anchor. ADDPEND is none yet."""


@dataclass(frozen=True, slots=True)
class TrustAnchors:
    """The DS records that are trusted for each zone; names in lower-case wire form.

    `skipped` tells, a sentence each, which keys of the file are no anchors, or not yet.
    """

    zones: Mapping[bytes, tuple[DS, ...]]
    skipped: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_text(cls, text: str, source: str = "trust anchors") -> Self:
        """The anchors in zone-file text: DS or DNSKEY records with absolute owners, comments, parentheses.

        Keys that are revoked, or that a comment says to be in another state of RFC 5011 than VALID or MISSING, are
        left out. Raises ResolveError with `source` and the line for anything else, or when no record is left.
        """
        zones: dict[bytes, list[DS]] = {}
        skipped: list[str] = []
        tokenizer = dns.tokenizer.Tokenizer(text, filename=source)
        while True:
            token = tokenizer.get(want_leading=True)
            line = tokenizer.where()[1]
            if token.is_eof():
                break
            if token.is_eol():
                continue
            try:
                zone, ds = _record(tokenizer, token)
            except _NoAnchor as state:
                skipped.append(f"{source}, line {line}: {state}")
                continue
            except (dns.exception.DNSException, ValueError) as error:
                raise ResolveError(f"{source}, line {line}: {error or type(error).__name__}") from None
            anchors = zones.setdefault(zone, [])
            if ds not in anchors:
                anchors.append(ds)
        if not zones:
            raise ResolveError("; ".join(skipped) or f"{source}: no DS or DNSKEY record in it")
        return cls({zone: tuple(anchors) for zone, anchors in zones.items()}, tuple(skipped))

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """The anchors in a file. Raises ResolveError, with file and line."""
        try:
            text = read_regular(path).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise ResolveError(f"{path}: trust anchors cannot be read: {error}") from None
        return cls.from_text(text, str(path))

    def enclosing(self, name: bytes) -> bytes | None:
        """The deepest zone with an anchor that is at or above `name`; None if there is none."""
        found = [zone for zone in self.zones if names.is_at_or_below(name, zone)]
        return max(found, key=len, default=None)


def supported(records: Iterable[dns.rdata.Rdata]) -> tuple[DS, ...]:
    """The DS records whose algorithm and digest we know (RFC 4035 section 5.2, RFC 6840 section 5.2)."""
    return tuple(
        record
        for record in records
        if isinstance(record, DS)
        and record.algorithm in ZONE_ALGORITHMS
        and record.digest_type in DIGESTS
        and DIGEST_LENGTH[record.digest_type] == len(record.digest)
    )


class _NoAnchor(Exception):
    """The key is known, and no anchor: why."""


def _record(tokenizer: dns.tokenizer.Tokenizer, first: dns.tokenizer.Token) -> tuple[bytes, DS]:
    if first.is_whitespace():
        raise ValueError("a record begins with the name of its zone")
    owner = tokenizer.as_name(first, dns.name.root)
    if first.value.startswith("$"):
        raise ValueError(f"{first.value} is not understood here")
    word = tokenizer.get_string()
    for _ in range(2):  # TTL and class, either first
        if word.upper() == "IN" or _is_ttl(word):
            word = tokenizer.get_string()
    kind = word.upper()
    if kind not in ("DS", "DNSKEY"):
        raise ValueError(f"a trust anchor is a DS or a DNSKEY, not {word}")
    rdata = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), tokenizer, relativize=False)
    _check_state(rdata)
    ds = _digest(owner, cast(DNSKEY, rdata)) if rdata.rdtype == RdataType.DNSKEY else cast(DS, rdata)
    if not supported([ds]):
        raise ValueError(
            f"DS {ds.key_tag} {int(ds.algorithm)} {int(ds.digest_type)}: not supported; algorithms are"
            f" {', '.join(map(str, sorted(ZONE_ALGORITHMS)))}, digests are 2 (SHA-256) and 4 (SHA-384)"
        )
    return wire_name(owner), ds


def _check_state(rdata: dns.rdata.Rdata) -> None:
    """Raises _NoAnchor for a key that is revoked (RFC 5011 section 2.1), or not in a state in which it is trusted."""
    state = _STATE.search(rdata.rdcomment or "")
    name = (state[2] or f"state {state[1]}") if state else ""
    tag = rdata.key_id() if isinstance(rdata, DNSKEY) else getattr(rdata, "key_tag", "")
    kind = dns.rdatatype.to_text(rdata.rdtype)
    if isinstance(rdata, DNSKEY) and rdata.flags & REVOKED:
        raise _NoAnchor(f"{kind} {tag} is revoked (RFC 5011 section 2.1), so it is no trust anchor")
    if state and state[1] not in _TRUSTED_STATES:
        raise _NoAnchor(f"{kind} {tag} is {name}: only keys that are VALID or MISSING are trust anchors (RFC 5011)")


def _digest(owner: dns.name.Name, key: DNSKEY) -> DS:
    if not is_usable(key):
        raise ValueError(
            f"the DNSKEY with tag {key.key_id()} is no anchor: it needs flags 256 or 257, protocol 3 and one of the"
            f" algorithms {', '.join(map(str, sorted(ZONE_ALGORITHMS)))}; RSA with"
            f" {RSA_BITS.start} to {RSA_BITS.stop - 1} bits and an exponent below 2^32"
        )
    return dns.dnssec.make_ds(owner, key, "SHA256")


def _is_ttl(word: str) -> bool:
    try:
        dns.ttl.from_text(word)
    except dns.ttl.BadTTL:
        return False
    return True


ROOT_ANCHORS = TrustAnchors.from_text(_ROOT)
"""The anchors of the root."""
