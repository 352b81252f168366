"""Edits of the operator's master file by whole lines: everything but what has to change stays byte for byte."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from zonecut.protocol import names
from zonecut_zonefile.files import Source
from zonecut_zonefile.master import rdata
from zonecut_zonefile.master.entries import Entries, Entry
from zonecut_zonefile.master.lexer import locate
from zonecut_zonefile.master.lines import Lines
from zonecut_zonefile.master.placed import Placed
from zonecut_zonefile.master.reader import MasterFile

MARKER = b"; zonecut moved: "
"""What a line begins with that was a record of a delegation, before zonecut took over its child."""
_SERIAL_WORD = 2
"""Place of the serial among the words of an SOA's RDATA (RFC 1035 section 3.3.13)."""
_MODULUS = 1 << 32


class CannotEdit(Exception):
    """An edit that would change what another file means; the message names file and line."""


def next_serial(serial: int) -> int:
    """The serial after this one (RFC 1982 section 3.1), without 0, to which some servers give a meaning of its own."""
    return (serial + 1) % _MODULUS or 1


def with_serial(file: MasterFile, serial: int) -> MasterFile:
    """The file with another SOA serial: only the number's digits change."""
    assert file.soa_at is not None
    words, _ = locate(file.lines, file.soa_at)
    at = 0 if file.lines[file.soa_at][:1] in (b" ", b"\t") else 1
    while rdata.ttl(words[at].text) is not None or rdata.rrclass(words[at].text) is not None:
        at += 1
    word = words[at + 1 + _SERIAL_WORD]
    if words[at + 1].text == b"\\#" or not word.text.isdigit():
        raise CannotEdit(f"{file.source.path}, line {word.at + 1}: the serial of the SOA is not written as a number")
    line = file.lines[word.at]
    line = line[: word.start] + str(serial).encode() + line[word.end :]
    return replace(file, lines=file.lines.replacing({word.at: line}), serial=serial)


def without(file: MasterFile, removed: Collection[int]) -> MasterFile:
    """The file with the records that begin at these lines (from 1) made comments.

    A record after them that inherits its owner, or its TTL where no $TTL is in force, is given its own. Raises
    CannotEdit where that record stands in another file.
    """
    if not removed:
        return file
    gone = file.entries.beginning_at(removed)
    lines: dict[int, bytes] = {}
    for place in gone:
        entry = file.entries[place]
        for at in range(entry.at, entry.at + entry.height):
            lines[at] = MARKER + file.lines[at]
    changed: dict[int, Entry] = {}
    for place, entry, owner, ttl in _followers(file.entries, gone, changed):
        lost_owner = not entry.states_owner and entry.owner != owner
        lost_ttl = entry.leans_on_ttl and entry.ttl != ttl
        if not (lost_owner or lost_ttl):
            continue
        if not entry.is_record:
            raise CannotEdit(
                f"{file.source.path}, line {entry.at + 1}: the first record of the included file inherits from a "
                f"record that would have to move; give it an owner and a TTL of its own"
            )
        if lost_ttl:
            at, line = _stating_ttl(file.lines, entry)
            lines[at] = line
        if lost_owner:
            lines[entry.at] = names.to_text(entry.owner).encode() + lines.get(entry.at, file.lines[entry.at])
        changed[place] = entry._replace(
            states_owner=entry.states_owner or lost_owner,
            states_ttl=entry.states_ttl or lost_ttl,
            leans_on_ttl=entry.leans_on_ttl and not lost_ttl,
        )
    return replace(
        file,
        lines=file.lines.replacing(lines),
        entries=file.entries.edited(changed, gone),
        kept=_left(file.kept, removed),
    )


def _followers(
    entries: Entries, gone: Sequence[int], changed: Mapping[int, Entry]
) -> Iterator[tuple[int, Entry, bytes | None, int | None]]:
    """The entries after those that go which may have taken something from them, with the owner and the TTL that the
    records which stay have stated last. What becomes of one is found in `changed` before the next is asked for."""
    going = frozenset(gone)
    place = 0
    for first in gone:
        if first < place:
            continue
        owner, ttl = _stated_before(entries, first, going, changed)
        place, settled_owner, settled_ttl = first, False, not entries.any_leans
        while place < len(entries) and not (settled_owner and settled_ttl):
            if place in going:
                settled_owner, settled_ttl = False, not entries.any_leans
            else:
                yield place, entries[place], owner, ttl
                entry = changed.get(place, entries[place])
                if entry.is_record:
                    owner, settled_owner = entry.owner, True
                    if entry.states_ttl:
                        ttl, settled_ttl = entry.ttl, True
            place += 1


def _stated_before(
    entries: Entries, place: int, going: Collection[int], changed: Mapping[int, Entry]
) -> tuple[bytes | None, int | None]:
    """The owner, and the TTL (if it matters to anybody), that was stated last before a place."""
    owner: bytes | None = None
    for before in range(place - 1, -1, -1):
        if before in going:
            continue
        entry = changed.get(before, entries[before])
        if entry.is_record and owner is None:
            owner = entry.owner
        if owner is not None and not entries.any_leans:
            break
        if entry.states_ttl:
            return owner, entry.ttl
    return owner, None


def _left(records: Sequence[Placed], removed: Collection[int]) -> list[Placed]:
    return [record for record in records if record.fixed is not None or record.line not in removed]


def content(file: MasterFile) -> bytes:
    """The file's octets; with the newline at its end that is missing there."""
    return file.lines.content() + (b"\n" if ends_within_include(file) else b"")


def ends_within_include(file: MasterFile) -> bool:
    """True for a file whose last line includes the generated one and has no newline: named takes such a line for a
    longer one, and refuses the zone."""
    last = len(file.lines)
    return not file.lines[-1].endswith(b"\n") and any(line.line == last for line in file.ours)


def saved(file: MasterFile, source: Source) -> MasterFile:
    """The file after its octets were written to disk."""
    return replace(file, source=source, lines=file.lines.saved(source.data))


def _stating_ttl(lines: Lines, entry: Entry) -> tuple[int, bytes]:
    """The line of a record in which its TTL comes to stand, and what it is then."""
    words, _ = locate(lines, entry.at)
    word = words[0 if lines[entry.at][:1] in (b" ", b"\t") else 1]
    line = lines[word.at]
    return word.at, line[: word.start] + f"{entry.ttl} ".encode() + line[word.start :]
