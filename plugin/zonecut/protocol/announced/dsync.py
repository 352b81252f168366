"""DSYNC records, which announce a receiver, and the names at which a child looks for them (RFC 9859).

Targets are lower-case, uncompressed wire form. The generic form of RDATA of RFC 3597 is here, too: it is how a DSYNC
record is written for servers that do not know the type.
"""

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT, OTHER_TYPES, CodePoints, DsyncScheme, RRType, type_text
from zonecut.protocol.envelope import read_name
from zonecut.protocol.errors import MalformedMessage

LABEL = b"\x06_dsync"
"""The label below which a parent publishes DSYNC records (RFC 9859 section 3)."""

_FIXED = struct.Struct("!HBH")
_DIGITS = re.compile(r"[0-9]{1,5}", re.ASCII)
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Dsync:
    """DSYNC RDATA (RFC 9859 section 2.1): for changes of `rrtype`, by `scheme`, talk to `port` of `target`."""

    rrtype: int
    scheme: int
    port: int
    target: bytes

    def to_wire(self) -> bytes:
        """The RDATA. Raises ValueError for a number out of its range."""
        try:
            return _FIXED.pack(self.rrtype, self.scheme, self.port) + self.target
        except struct.error as error:
            raise ValueError(f"{self!r}: {error}") from None

    @classmethod
    def from_wire(cls, rdata: bytes) -> "Dsync":
        """The value of RDATA. Raises MalformedMessage unless that is three numbers and one uncompressed name."""
        if len(rdata) <= _FIXED.size:
            raise MalformedMessage(f"{len(rdata)} octets are no DSYNC data")
        target, end = read_name(rdata, _FIXED.size)
        # a pointer within the RDATA leads to a name longer than the octets it stands in
        if end - _FIXED.size != len(target) or end != len(rdata):
            raise MalformedMessage("DSYNC data does not end with one uncompressed name")
        rrtype, scheme, port = _FIXED.unpack_from(rdata)
        return cls(rrtype, scheme, port, target.lower())

    def to_text(self, codepoints: CodePoints = DEFAULT) -> str:
        """The presentation form, such as `ANY UPDATE 5354 updater.parent.example.` (RFC 9859 section 2.1.1)."""
        scheme = _schemes(codepoints).get(self.scheme, str(self.scheme))
        return f"{type_text(self.rrtype)} {scheme} {self.port} {names.to_text(self.target)}"

    def to_generic_text(self) -> str:
        """The form for a server that does not know the type: `\\# 30 00FF02...` (RFC 3597 section 5)."""
        return generic_text(self.to_wire())

    @classmethod
    def from_text(cls, text: str, codepoints: CodePoints = DEFAULT) -> "Dsync":
        """The value of RDATA in presentation or in generic form; the target is taken as absolute.

        Type and scheme are mnemonics in any case, or numbers. Raises ValueError that says which field is wrong.
        """
        words = text.split()
        if words[:1] == [GENERIC]:
            try:
                return cls.from_wire(from_generic_text(text))
            except MalformedMessage as error:
                raise ValueError(f"{text!r}: {error.reason}") from None
        if len(words) != 4:
            raise ValueError(f"{text!r}: DSYNC data is a type, a scheme, a port and a target")
        rrtype, scheme, port, target = words
        return cls(
            _type(rrtype),
            _number(scheme, "scheme", 0xFF, {text: number for number, text in _schemes(codepoints).items()}),
            _number(port, "port", 0xFFFF),
            names.from_text(target),
        )


def _schemes(codepoints: CodePoints) -> dict[int, str]:
    return {
        DsyncScheme.NOTIFY: DsyncScheme.NOTIFY.name,
        codepoints.dsync_update: "UPDATE",
        codepoints.dsync_scanner: "SCANNER",
    }


def _type(word: str) -> int:
    mnemonics = {text: number for number, text in OTHER_TYPES.items()} | {rtype.text: int(rtype) for rtype in RRType}
    upper = word.upper()
    return _number(upper.removeprefix("TYPE") or word, "type", 0xFFFF, mnemonics)


def _number(word: str, what: str, limit: int, mnemonics: dict[str, int] | None = None) -> int:
    known = mnemonics or {}
    if word.upper() in known:
        return known[word.upper()]
    if not _DIGITS.fullmatch(word) or int(word) > limit:
        raise ValueError(f"{word!r} is no {what}: {', '.join([*known, f'0 to {limit}'])}")
    return int(word)


def usable(records: Iterable[Dsync], codepoints: CodePoints = DEFAULT) -> tuple[Dsync, ...]:
    """The records that mean anything: not those with scheme 0, nor those with port 0 unless the scheme is SCANNER."""
    return tuple(
        record
        for record in records
        if record.scheme != DsyncScheme.NULL and (record.port or record.scheme == codepoints.dsync_scanner)
    )


def for_update(records: Iterable[Dsync], codepoints: CodePoints = DEFAULT) -> tuple[Dsync, ...]:
    """The receivers of UPDATEs (scheme UPDATE, RRtype ANY) in an RRset, in an order that does not depend on its."""
    return tuple(
        sorted(
            {
                record
                for record in usable(records, codepoints)
                if record.scheme == codepoints.dsync_update
                and record.rrtype == RRType.ANY
                and record.target != names.ROOT  # which has no address
            },
            key=lambda record: (names.sort_key(record.target), record.port),
        )
    )


def for_notify(records: Iterable[Dsync], rrtype: int) -> tuple[Dsync, ...]:
    """Where NOTIFY messages about `rrtype` go, in an order that does not depend on the RRset's."""
    return tuple(
        sorted(
            {
                record
                for record in usable(records)
                if record.scheme == DsyncScheme.NOTIFY and record.rrtype == rrtype and record.target != names.ROOT
            },
            key=lambda record: (names.sort_key(record.target), record.port),
        )
    )


# RFC 9859 section 4.1: where a child looks


def first_name(child: bytes) -> bytes:
    """`child._dsync.parent.example.`: where to ask first (section 4.1, step 1).

    Raises ValueError for the root, and where the name would be too long.
    """
    return _insert(child, names.parent(child))


def per_child_name(child: bytes, parent: bytes) -> bytes:
    """The child's labels below the parent, `_dsync`, the parent: the name of records for this child alone.

    Raises ValueError unless the child is below the parent, and where the name would be too long.
    """
    if not names.is_below(child, parent):
        raise ValueError(f"{names.to_text(child)} is not below {names.to_text(parent)}")
    return _insert(child, parent)


def parent_name(parent: bytes) -> bytes:
    """`_dsync.parent.example.`: the name of records for all children. Raises ValueError where it would be too long."""
    return _insert(parent, parent)


def next_name(child: bytes, asked: bytes, soa: bytes | None) -> bytes | None:
    """Where to ask after a negative answer for `asked` (section 4.1, step 3), or None: there is no receiver.

    `soa` is the owner of the SOA record in that answer. One at a proper ancestor of the child names the parent; one at
    or below `_dsync`, where a parent made a zone of its own for these records, says where the parent is, too. Any
    other ends the search. Whatever the answers say, it ends after three names.
    """
    before, found, parent = _split(asked)
    if soa is None or not found or not before:
        return None  # `_dsync.parent.example.` was the last
    if names.is_at_or_below(soa, LABEL + parent) or soa == parent:
        return parent_name(parent)
    if names.is_below(child, soa):
        if names.is_below(soa, parent):
            return parent_name(parent)
        # the parent is further up; nobody honest says so twice
        return per_child_name(child, soa) if asked == first_name(child) else None
    return None


def parent_in(asked: bytes) -> bytes:
    """What stands after `_dsync` in a name made by these functions: the parent that is supposed."""
    return _split(asked)[2]


def candidate_names(child: bytes, parent: bytes) -> tuple[bytes, ...]:
    """All names at which records for a child of a known parent may stand, in the order in which it asks.

    Raises ValueError unless the child is below the parent, and where a name would be too long.
    """
    found = (first_name(child), per_child_name(child, parent), parent_name(parent))
    return tuple(dict.fromkeys(name for name in found if names.is_below(name, parent)))


def _insert(name: bytes, ancestor: bytes) -> bytes:
    """`name` with `_dsync` before the labels of `ancestor`."""
    longer = name.removesuffix(ancestor) + LABEL + ancestor
    if len(longer) > names.MAX_NAME:
        raise ValueError(f"{names.to_text(longer)} is longer than {names.MAX_NAME} octets")
    return longer


def _split(name: bytes) -> tuple[bytes, bool, bytes]:
    """What stands before the first `_dsync` label, whether there is one, and what stands after it."""
    at = 0
    while name[at]:
        if name.startswith(LABEL, at):
            return name[:at], True, name[at + len(LABEL) :]
        at += name[at] + 1
    return name, False, b""


# RFC 3597 section 5: RDATA of any type as text

GENERIC = "\\#"


def generic_text(rdata: bytes) -> str:
    """RDATA as `\\# LENGTH HEX`."""
    return f"{GENERIC} {len(rdata)} {rdata.hex().upper()}".rstrip()


def from_generic_text(text: str) -> bytes:
    """The RDATA in `\\# LENGTH HEX`, the hex in one or more words. Raises ValueError for anything else."""
    words = text.split()
    if len(words) < 2 or words[0] != GENERIC or not _DIGITS.fullmatch(words[1]):
        raise ValueError(f"{text!r}: not of the form \\# LENGTH HEX")
    digits = "".join(words[2:])
    if not _HEX.fullmatch(digits):
        raise ValueError(f"{text!r}: an odd number of hexadecimal digits, or something else")
    rdata = bytes.fromhex(digits)
    if len(rdata) != int(words[1]):
        raise ValueError(f"{text!r}: {len(rdata)} octets where {words[1]} are announced")
    return rdata
