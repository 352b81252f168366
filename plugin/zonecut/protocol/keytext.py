"""The one KEY record in a zone or key file, in any form in which DNS software writes it.

RFC 1035 section 5.1 for the file, RFC 2535 section 7.1 for the record, RFC 3597 section 5 for one of an unknown type.
"""

import re
from binascii import a2b_base64
from typing import NamedTuple

from zonecut.protocol import names

_TOKEN = re.compile(
    r'(?P<blank>[ \t\r]+)|(?P<comment>;[^\n]*)|(?P<end>\n)|(?P<bracket>[()])|(?P<word>(?:\\[0-9]{3}|\\.|[^\s;()"\\])+)'
)
_TTL = re.compile(r"[0-9]{1,10}|(?:[0-9]{1,10}[wdhms])+", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,5}")
_ABSOLUTE = re.compile(r"(?<!\\)(?:\\\\)*\.$")
_CLASSES = ("IN", "CLASS1")
_TYPES = {"TYPE25": "KEY", "TYPE48": "DNSKEY", "TYPE60": "CDNSKEY"}
_UNKNOWN = r"\#"
_MAX_PUBLIC_KEY = 0xFFFF - 4
_ALGORITHMS = {
    "RSAMD5": 1,
    "DH": 2,
    "DSA": 3,
    "RSASHA1": 5,
    "NSEC3DSA": 6,
    "DSA-NSEC3-SHA1": 6,
    "NSEC3RSASHA1": 7,
    "RSASHA1-NSEC3-SHA1": 7,
    "RSASHA256": 8,
    "RSASHA512": 10,
    "ECC-GOST": 12,
    "ECDSAP256SHA256": 13,
    "ECDSAP384SHA384": 14,
    "ED25519": 15,
    "ED448": 16,
}
"""Mnemonics of the registry "DNS Security Algorithm Numbers", usable ones or not: what is refused is named rightly."""


class KeyFields(NamedTuple):
    """What a KEY record says, its owner in lower-case wire form."""

    owner: bytes
    flags: int
    protocol: int
    algorithm: int
    public_key: bytes


def read_key(text: str) -> KeyFields:
    """The one KEY record of a file that may have $ORIGIN and $TTL. Raises ValueError with the rule that is broken.

    TTL and class may be missing; comments, parentheses and white space inside the key are understood. Without $ORIGIN
    the owner is taken as absolute.
    """
    records: list[tuple[list[str], bytes | None]] = []
    origin: bytes | None = None
    for words in _records(text):
        if not words[0].startswith("$"):
            records.append((words, origin))
        elif words[0].upper() == "$ORIGIN" and len(words) == 2:
            origin = _name(words[1], origin, "the $ORIGIN")
        elif words[0].upper() != "$TTL" or len(words) != 2 or not _TTL.fullmatch(words[1]):
            raise ValueError(
                f"{' '.join(words[:3])!r} has no place in a key file: only $ORIGIN NAME and $TTL TIME have"
            )
    if len(records) != 1:
        raise ValueError(f"{len(records)} records where one KEY record belongs")
    ((owner_text, *rest), origin) = records[0]
    if not owner_text or (owner_text == "@" and origin is None):
        raise ValueError(f"a KEY record starts with its full owner name, not with {owner_text or 'white space'!r}")
    owner = _name(owner_text, origin, "the owner of the KEY record")
    for _ in range(2):  # TTL and class, either first
        if rest and (rest[0].upper() in _CLASSES or _TTL.fullmatch(rest[0])):
            del rest[0]
    _check_type(owner, rest[0].upper() if rest else "record without a type")
    return _fields(owner, rest[1:])


def _name(text: str, origin: bytes | None, what: str) -> bytes:
    if text == "@" and origin is not None:
        return origin
    try:
        name = names.from_text(text)
    except ValueError as error:
        raise ValueError(f"{what} is no domain name: {error}") from None
    if origin is None or _ABSOLUTE.search(text):
        return name
    if len(name) - 1 + len(origin) > names.MAX_NAME:
        raise ValueError(f"{what} is no domain name: {text} below {names.to_text(origin)} is longer than 255 octets")
    return name[:-1] + origin


def _check_type(owner: bytes, written: str) -> None:
    kind = _TYPES.get(written, written)
    if kind in ("DNSKEY", "CDNSKEY"):
        raise ValueError(
            f"{names.to_text(owner)}: a {kind} is not a KEY: it signs a zone, not messages;"
            f" make one with dnssec-keygen -T KEY -n HOST"
        )
    if kind != "KEY":
        raise ValueError(f"{names.to_text(owner)}: a {kind} is not a KEY")


def _fields(owner: bytes, words: list[str]) -> KeyFields:
    subject = f"KEY of {names.to_text(owner)}"
    if words[:1] == [_UNKNOWN]:
        rdata = _unknown(words[1:], subject)
        flags, protocol, algorithm, public_key = int.from_bytes(rdata[:2]), rdata[2], rdata[3], rdata[4:]
    else:
        if len(words) < 4:
            raise ValueError(f"{subject}: four fields belong here: flags, protocol, algorithm, public key")
        flags = _number(words[0], 0xFFFF, f"{subject}: flags")
        protocol = _number(words[1], 0xFF, f"{subject}: protocol")
        algorithm = _ALGORITHMS.get(words[2].upper(), -1)
        if algorithm < 0:
            algorithm = _number(words[2], 0xFF, f"{subject}: algorithm", " or a mnemonic such as ED25519")
        try:
            public_key = a2b_base64("".join(words[3:]), strict_mode=True)
        except ValueError as error:
            raise ValueError(f"{subject}: the public key is no base64: {error}") from None
    if not 0 < len(public_key) <= _MAX_PUBLIC_KEY:
        raise ValueError(f"{subject}: a public key of {len(public_key)} octets does not fit a KEY record")
    return KeyFields(owner, flags, protocol, algorithm, public_key)


def _unknown(words: list[str], subject: str) -> bytes:
    r"""The RDATA of `\# LENGTH HEXADECIMAL...` (RFC 3597 section 5)."""
    length = _number(words[0] if words else "", 0xFFFF, rf"{subject}: the length after \#")
    try:
        rdata = bytes.fromhex("".join(words[1:]))
    except ValueError:
        raise ValueError(rf"{subject}: what follows \# {length} is not hexadecimal") from None
    if len(rdata) != length or length < 5:
        raise ValueError(rf"{subject}: \# {length} is followed by {len(rdata)} octets; a KEY has five or more")
    return rdata


def _number(text: str, largest: int, what: str, other: str = "") -> int:
    if not _NUMBER.fullmatch(text) or int(text) > largest:
        raise ValueError(f"{what} is a number up to {largest}{other}, not {text!r}")
    return int(text)


def _records(text: str) -> list[list[str]]:
    """The words of each entry of a zone file. The first is empty where white space stands for the owner."""
    records: list[list[str]] = []
    record: list[str] = []
    depth = at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"no KEY record can be read from {text[at : at + 20]!r}")
        at_line_start = at == 0 or text[at - 1] == "\n"
        at = found.end()
        if found.lastgroup == "word":
            record.append(found.group())
        elif found.lastgroup == "bracket":
            depth += 1 if found.group() == "(" else -1
            if depth not in (0, 1):
                raise ValueError("the parentheses of the KEY record do not match")
        elif found.lastgroup == "blank" and at_line_start and not record:
            record.append("")
        elif found.lastgroup == "end" and not depth:
            records.append(record)
            record = []
    if depth:
        raise ValueError("the parentheses of the KEY record do not match")
    return [words for words in [*records, record] if any(words)]
