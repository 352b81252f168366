"""Trust anchors: where chains of signatures begin. The root's are built in; others come from a file.

A DNSKEY is held as its SHA-256 digest, so that every anchor is a DS (RFC 4034 section 5).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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

from zonecut.protocol import names
from zonecut.protocol.regularfile import read_regular
from zonecut.resolve.failures import ResolveError
from zonecut.resolve.reply import wire_name
from zonecut.resolve.signatures import ALGORITHMS, is_usable

DIGESTS = {2: 32, 4: 48}
"""Digest types in use, SHA-256 and SHA-384, with their lengths in octets. SHA-1 counts as unknown (RFC 9905)."""

# KSK-2017 and KSK-2024, as https://data.iana.org/root-anchors/root-anchors.xml publishes them (RFC 9718).
_ROOT = """
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
"""


@dataclass(frozen=True, slots=True)
class TrustAnchors:
    """The DS records that are trusted for each zone; names in lower-case wire form."""

    zones: Mapping[bytes, tuple[DS, ...]]

    @classmethod
    def from_text(cls, text: str, source: str = "trust anchors") -> Self:
        """The anchors in zone-file text: DS or DNSKEY records with absolute owners, comments, parentheses.

        Raises ResolveError with `source` and the line for anything else, or when there is no record at all.
        """
        zones: dict[bytes, list[DS]] = {}
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
            except (dns.exception.DNSException, ValueError) as error:
                raise ResolveError(f"{source}, line {line}: {error or type(error).__name__}") from None
            anchors = zones.setdefault(zone, [])
            if ds not in anchors:
                anchors.append(ds)
        if not zones:
            raise ResolveError(f"{source}: no DS or DNSKEY record in it")
        return cls({zone: tuple(anchors) for zone, anchors in zones.items()})

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
        and record.algorithm in ALGORITHMS
        and DIGESTS.get(record.digest_type) == len(record.digest)
    )


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
    ds = _digest(owner, cast(DNSKEY, rdata)) if rdata.rdtype == RdataType.DNSKEY else cast(DS, rdata)
    if not supported([ds]):
        raise ValueError(
            f"DS {ds.key_tag} {int(ds.algorithm)} {int(ds.digest_type)}: not supported; algorithms are"
            f" {', '.join(map(str, sorted(ALGORITHMS)))}, digests are 2 (SHA-256) and 4 (SHA-384)"
        )
    return wire_name(owner), ds


def _digest(owner: dns.name.Name, key: DNSKEY) -> DS:
    if not is_usable(key):
        raise ValueError(
            f"the DNSKEY with tag {key.key_id()} is no anchor: it needs flags 256 or 257, protocol 3 and one of the"
            f" algorithms {', '.join(map(str, sorted(ALGORITHMS)))}"
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
