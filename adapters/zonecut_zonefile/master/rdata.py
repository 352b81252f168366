"""Words of a master file as wire-form names and RDATA (RFC 1035 section 5.1, RFC 3597 section 5, RFC 4034 section 5.3).

A, AAAA, NS and DS are read here; dnspython reads every other type and every other way of writing these four.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.ttl

from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync, from_generic_text
from zonecut.protocol.announced.svcb import Svcb
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import aaaa_from_text

_IN = dns.rdataclass.IN
_TYPES = {rtype.text.encode(): int(rtype) for rtype in RRType if rtype < RRType.TSIG and rtype != RRType.OPT}
_WITH_PARAMETERS = (64, 65)
"""SVCB and HTTPS (RFC 9460 section 2.1)."""
_CLASSES = {b"IN": 1, b"CLASS1": 1, b"CH": 3, b"CLASS3": 3, b"HS": 4, b"CLASS4": 4, b"CS": 2}


@lru_cache(maxsize=1024)  # those of a delegation stand together
def name(word: bytes, origin: bytes) -> bytes:
    """The lower-case wire form of a name; one without its final dot is relative to `origin`. Raises ValueError."""
    if word == b"@":
        return origin
    if word[:1] == b'"':
        raise ValueError(f"{word.decode('ascii', 'replace')}: a name is not quoted")
    text = word.decode("ascii", "replace")
    if text.endswith(".") and (len(text) - len(text[:-1].rstrip("\\"))) % 2 == 1:
        return names.from_text(text)
    wire = names.from_text(text)[:-1] + origin
    if len(wire) > names.MAX_NAME:
        raise ValueError(f"{text!r}: longer than {names.MAX_NAME} octets")
    return wire


def ttl(word: bytes) -> int | None:
    """Seconds, from a number or BIND's units (1h30m); None if the word is no TTL."""
    if not word[:1].isdigit():
        return None
    try:
        return int(dns.ttl.from_text(word.decode("ascii", "replace")))
    except dns.ttl.BadTTL:
        return None


def rrclass(word: bytes) -> int | None:
    """The number of a class; None if the word is no class."""
    return _CLASSES.get(word.upper())


def rrtype(word: bytes) -> int:
    """The number of an RR type. Raises ValueError for an unknown mnemonic."""
    known = _TYPES.get(word.upper())
    if known is not None:
        return known
    text = word.decode("ascii", "replace")
    try:
        return int(dns.rdatatype.from_text(text))
    except (dns.exception.DNSException, ValueError):
        raise ValueError(f"{text!r} is no RR type") from None


def read(rtype: int, words: Sequence[bytes], origin: bytes) -> bytes:
    """The RDATA that the words stand for; names in it relative to `origin`, lower-case for NS. Raises ValueError."""
    generic = bool(words) and words[0] == b"\\#"
    if not generic and len(words) == 1:
        if rtype == RRType.NS:
            return name(words[0], origin)
        if rtype == RRType.A:
            return IPv4Address(words[0].decode("ascii", "replace")).packed
        if rtype == RRType.AAAA:
            return aaaa_from_text(words[0].decode("ascii", "replace"))
    if not generic and rtype == RRType.DS and len(words) >= 4 and b"".join(words[:3]).isdigit():
        tag, algorithm, digest_type = (int(word) for word in words[:3])
        if tag > 0xFFFF or algorithm > 0xFF or digest_type > 0xFF:
            raise ValueError("a number of this DS record is too large")
        # dnspython refuses a digest of a length that it does not expect; what stands there is to be seen all the same.
        return bytes((tag >> 8, tag & 0xFF, algorithm, digest_type)) + bytes.fromhex(b"".join(words[3:]).decode())
    if rtype in (RRType.DSYNC, RRType.SVCB):
        return _read_announcement(rtype, words, origin)
    wire = _read_any(rtype, words, origin)
    return wire.lower() if rtype == RRType.NS else wire


def _read_announcement(rtype: int, words: Sequence[bytes], origin: bytes) -> bytes:
    """DSYNC and SVCB, also those that dnspython refuses: the scheme UPDATE, parameters with priority 0."""
    texts = b" ".join(words).replace(b'= "', b'="').decode("latin-1").split()
    if texts[:1] == ["\\#"]:
        return from_generic_text(" ".join(texts))
    if rtype == RRType.DSYNC and len(texts) == 4:
        texts[3] = names.to_text(name(words[3], origin))
        return Dsync.from_text(" ".join(texts)).to_wire()
    if rtype == RRType.SVCB and texts[:1] == ["0"] and len(texts) > 2:
        texts[1] = names.to_text(name(words[1], origin))
        return Svcb.from_text(" ".join(texts)).to_wire()
    return _read_any(rtype, words, origin)


def _read_any(rtype: int, words: Sequence[bytes], origin: bytes) -> bytes:
    text = b" ".join(words)
    if rtype in _WITH_PARAMETERS:
        text = text.replace(b'= "', b'="')  # key="value" is two words to the lexer
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        decoded = text.decode("latin-1")
    known = dns.rdatatype.RdataType.make(rtype)
    try:
        found = dns.rdata.from_text(_IN, known, decoded, origin=dns.name.from_wire(origin, 0)[0], relativize=False)
        wire = found.to_wire()
    except (dns.exception.DNSException, ValueError, IndexError) as error:
        raise ValueError(f"this is no {dns.rdatatype.to_text(known)} record: {error or type(error).__name__}") from None
    assert wire is not None
    return wire
