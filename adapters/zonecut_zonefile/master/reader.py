"""A master file read as far as delegations need it: who owns each entry, what it inherits, and what it says.

Records of every type are checked and kept, but for those that a signer makes: NS, DS, A and AAAA below the apex by
themselves.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import dns.exception
import dns.name
import dns.zone

from zonecut.plugin.wholezone import MADE_BY_SIGNER, MADE_OF_ZONE
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, TYPES
from zonecut_zonefile import files
from zonecut_zonefile.files import Source
from zonecut_zonefile.master import rdata
from zonecut_zonefile.master.entries import Entries, Entry
from zonecut_zonefile.master.index import Index
from zonecut_zonefile.master.lexer import (
    LineError,
    LogicalLine,
    MasterFileError,
    OtherZone,
    OtherZoneError,
    logical_lines,
)
from zonecut_zonefile.master.lines import Lines
from zonecut_zonefile.master.placed import Placed

_MAX_DEPTH = 16
_ALIASES = (RRType.CNAME, RRType.DNAME)


class IncludeLine(NamedTuple):
    """An $INCLUDE of the generated file, its line counted from 1, and the origin that it sets or leaves."""

    line: int
    origin: bytes
    states_origin: bool


@dataclass(frozen=True, slots=True)
class MasterFile:
    """What a file and those that it includes say; `entries` are those of the file itself."""

    source: Source
    lines: Lines
    entries: Entries
    index: Index
    """Records that may be part of a delegation, as they stand on disk: it follows what is written."""
    kept: Sequence[Placed]
    """Records that can be no part of a delegation."""
    made: Placed | None
    """The first record of those that somebody made of the whole zone; None where there are none."""
    aliases: frozenset[bytes]
    others: Sequence[tuple[int, str]]
    """Lines (from 1) that hold anything but records of delegations, with what it is; for the generated file."""
    soa_at: int | None
    serial: int | None
    ours: Sequence[IncludeLine]
    dependencies: Sequence[Source]


@dataclass(slots=True)
class _State:
    origin: bytes
    owner: bytes | None = None
    last_ttl: int | None = None
    has_default: bool = False
    default_ttl: int | None = None
    owner_from_outside: bool = False
    ttl_from_outside: bool = False
    leans_on_owner: bool = False
    leans_on_ttl: bool = False


@dataclass(slots=True)
class _Reader:
    apex: bytes
    base: Path
    generated: str | None
    index: Index
    entries: Entries = field(default_factory=Entries)
    kept: list[Placed] = field(default_factory=list)
    made: Placed | None = None
    aliases: set[bytes] = field(default_factory=set)
    others: list[tuple[int, str]] = field(default_factory=list)
    soa: tuple[int, int] | None = None
    ours: list[IncludeLine] = field(default_factory=list)
    dependencies: list[Source] = field(default_factory=list)

    def read(self, source: Source, lines: Sequence[bytes], state: _State, depth: int) -> None:
        file = str(source.path)
        try:
            for logical in logical_lines(lines):
                try:
                    if logical.words[0].startswith(b"$") and not logical.indented:
                        self._directive(file, lines, logical, state, depth)
                    else:
                        self._record(file, lines, logical, state, depth)
                except OtherZone as error:
                    raise OtherZoneError(file, logical.at + 1, str(error)) from error
                except ValueError as error:
                    raise LineError(logical.at, str(error)) from error
        except LineError as error:
            raise MasterFileError(file, error.at + 1, error.reason) from error

    def _record(self, file: str, lines: Sequence[bytes], logical: LogicalLine, state: _State, depth: int) -> None:
        words = logical.words
        if logical.indented:
            if state.owner is None:
                raise ValueError("there is no record before it from which it could inherit its owner")
            state.leans_on_owner |= state.owner_from_outside
            at = 0
        else:
            state.owner = rdata.name(words[0], state.origin)
            state.owner_from_outside = False
            at = 1
        owner = state.owner
        ttl, at = self._ttl_and_class(words, at, state)
        if at == len(words):
            raise ValueError("has no type")
        rtype = rdata.rrtype(words[at])
        wire = rdata.read(rtype, words[at + 1 :], state.origin)
        leans = ttl is None and not state.has_default and state.last_ttl is not None and rtype != RRType.SOA
        if ttl is not None:
            state.last_ttl, state.ttl_from_outside = ttl, False
        elif leans:
            state.leans_on_ttl |= state.ttl_from_outside
        effective = ttl if ttl is not None else state.default_ttl if state.has_default else state.last_ttl
        if depth == 0:
            self.entries.append(
                Entry(logical.at, logical.height, True, owner, not logical.indented, effective, ttl is not None, leans)
            )
        if rtype == RRType.SOA:
            self._soa(lines, logical, state, owner, wire, ttl, depth)
        fixed = None if depth == 0 else "in a file that is included"
        if self._keep(Placed(RR(owner, rtype, wire), effective, file, logical.at + 1, fixed)):
            return
        self.others.append((logical.at + 1, f"the {words[at].decode('ascii', 'replace')} of {names.to_text(owner)}"))

    def _keep(self, record: Placed) -> bool:
        """Put a record where it belongs; True if it may be part of a delegation."""
        owner, rtype, _ = record.rr
        if rtype in TYPES and names.is_below(owner, self.apex):
            self.index.add((record,))
            return True
        if rtype in _ALIASES:
            self.aliases.add(owner)
        if rtype in MADE_OF_ZONE and self.made is None:
            self.made = record
        if rtype not in MADE_BY_SIGNER:
            self.kept.append(record)
        return False

    @staticmethod
    def _ttl_and_class(words: Sequence[bytes], at: int, state: _State) -> tuple[int | None, int]:
        """TTL and class in either order, both optional (RFC 1035 section 5.1)."""
        ttl: int | None = None
        rrclass: int | None = None
        while at < len(words):
            if ttl is None and (seconds := rdata.ttl(words[at])) is not None:
                ttl = seconds
            elif rrclass is None and (number := rdata.rrclass(words[at])) is not None:
                rrclass = number
            else:
                break
            at += 1
        if rrclass not in (None, 1):
            raise ValueError("a zone of class IN holds no record of another class")
        return ttl, at

    def _soa(
        self,
        lines: Sequence[bytes],
        logical: LogicalLine,
        state: _State,
        owner: bytes,
        wire: bytes,
        ttl: int | None,
        depth: int,
    ) -> None:
        if owner != self.apex:
            raise OtherZone(f"an SOA at {names.to_text(owner)} in the zone {names.to_text(self.apex)}")
        if self.soa is not None:
            raise ValueError("the zone has an SOA already")
        if depth == 0:
            self.soa = logical.at, int.from_bytes(wire[-20:-16])
        if ttl is None and not state.has_default and state.last_ttl is None:
            # As named does: with no TTL at all, MINIMUM serves as $TTL from here on.
            state.has_default, state.default_ttl = True, int.from_bytes(wire[-4:])

    def _directive(self, file: str, lines: Sequence[bytes], logical: LogicalLine, state: _State, depth: int) -> None:
        directive, words = logical.words[0].upper(), logical.words[1:]
        if directive == b"$ORIGIN" and len(words) == 1:
            state.origin = rdata.name(words[0], state.origin)
        elif directive == b"$TTL" and len(words) == 1 and (seconds := rdata.ttl(words[0])) is not None:
            state.has_default, state.default_ttl = True, seconds
        elif directive == b"$INCLUDE" and len(words) in (1, 2):
            self._include(logical, words, state, depth)
            self.others.append((logical.at + 1, "an $INCLUDE"))
        elif directive == b"$GENERATE":
            self._generate(file, lines, logical, state)
            self.others.append((logical.at + 1, "a $GENERATE"))
        else:
            raise ValueError(f"{directive.decode('ascii', 'replace')} is not known, or not with these arguments")

    def _include(self, logical: LogicalLine, words: Sequence[bytes], state: _State, depth: int) -> None:
        path = self.base / os.fsdecode(words[0].strip(b'"'))
        origin = rdata.name(words[1], state.origin) if len(words) == 2 else state.origin
        if self.generated is not None and os.path.realpath(path) == self.generated:
            if depth == 0:
                self.ours.append(IncludeLine(logical.at + 1, origin, len(words) == 2))
            return
        if depth == _MAX_DEPTH:
            raise ValueError(f"includes are nested more than {_MAX_DEPTH} deep")
        try:
            source = files.read(path)
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
        self.dependencies.append(source)
        inner = _State(
            origin, state.owner, state.last_ttl, state.has_default, state.default_ttl, owner_from_outside=True,
            ttl_from_outside=True,
        )  # fmt: skip
        self.read(source, Lines(source.data), inner, depth + 1)
        # Whatever the file leans on, this one does if it is included itself.
        state.leans_on_owner |= inner.leans_on_owner and state.owner_from_outside
        state.leans_on_ttl |= inner.leans_on_ttl and state.ttl_from_outside
        if depth == 0:
            self.entries.append(
                Entry(logical.at, logical.height, False, state.owner or self.apex, not inner.leans_on_owner,
                      state.last_ttl, False, inner.leans_on_ttl)
            )  # fmt: skip

    def _generate(self, file: str, lines: Sequence[bytes], logical: LogicalLine, state: _State) -> None:
        """The records of a $GENERATE, as far as dnspython understands it; it has no influence on what follows it."""
        ttl = state.default_ttl if state.has_default else state.last_ttl
        text = "".join(
            (
                f"$ORIGIN {names.to_text(state.origin)}\n",
                f"$TTL {ttl or 0}\n",
                b" ".join(logical.words).decode("ascii", "replace"),
                "\n",
            )
        )
        origin = dns.name.from_wire(self.apex, 0)[0]
        try:
            zone = dns.zone.from_text(text, origin=origin, relativize=False, check_origin=False)
        except (dns.exception.DNSException, ValueError) as error:
            raise ValueError(f"cannot make sense of this $GENERATE: {error}") from error
        for owner_name, seconds, record in zone.iterate_rdatas():
            owner, rtype = names.from_text(owner_name.to_text()), int(record.rdtype)
            wire = record.to_wire()
            assert wire is not None
            rr = RR(owner, rtype, wire.lower() if rtype == RRType.NS else wire)
            self._keep(Placed(rr, seconds, file, logical.at + 1, "from a $GENERATE"))


def read_master_file(source: Source, apex: bytes, *, origin: bytes | None = None, generated: Path | None) -> MasterFile:
    """Read a master file; relative names and $INCLUDEs refer to `origin` (the apex by default) and its directory.

    An $INCLUDE of the file `generated` is noted, not followed. Raises MasterFileError.
    """
    base, own = source.path.parent, None if generated is None else os.path.realpath(generated)
    reader = _Reader(apex, base, own, Index(apex))
    lines = Lines(source.data)
    reader.read(source, lines, _State(apex if origin is None else origin), 0)
    reader.index.compact()
    soa_at, serial = reader.soa if reader.soa is not None else (None, None)
    return MasterFile(
        source,
        lines,
        reader.entries,
        reader.index,
        reader.kept,
        reader.made,
        frozenset(reader.aliases),
        reader.others,
        soa_at,
        serial,
        reader.ours,
        reader.dependencies,
    )
