"""Lines, entries and records of a large file are kept in few octets, and are what they were all the same."""

import gc
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zonecut.protocol import names
from zonecut_zonefile import edit
from zonecut_zonefile.edit import MARKER
from zonecut_zonefile.files import Source, Stamp
from zonecut_zonefile.master.lines import Lines
from zonecut_zonefile.master.placed import Placed
from zonecut_zonefile.master.reader import MasterFile, read_master_file
from zonefile_support import PARENT, Parent, delegation

text = st.lists(st.sampled_from((b"a", b"bc ;", b"\n", b"\r\n", b"\r", b"")), max_size=30).map(b"".join)


@given(text)
@example(b"")
@example(b"\r")
@example(b"a\r\n\r")
def test_lines_are_those_that_python_sees(data: bytes) -> None:
    lines = Lines(data)
    assert list(lines) == lines[:] == data.splitlines(keepends=True)
    assert lines.content() == data
    if lines:
        assert lines[-1] == data.splitlines(keepends=True)[-1]
    with pytest.raises(IndexError):
        lines[len(lines)]


@given(text, st.data())
def test_replaced_lines_stand_in_the_content_and_are_lines_of_the_saved_file(data: bytes, draw: st.DataObject) -> None:
    expected = data.splitlines(keepends=True)
    lines = Lines(data)
    for _ in range(2):
        at = draw.draw(st.lists(st.integers(0, max(len(expected) - 1, 0)), unique=True)) if expected else []
        new = {place: draw.draw(st.sampled_from((b"x", b"; y "))) + expected[place] for place in at}
        before = list(lines)
        changed = lines.replacing(new)
        assert list(lines) == before
        lines = changed
        expected = [new.get(place, line) for place, line in enumerate(expected)]
        assert list(lines) == expected
    assert lines.content() == b"".join(expected)
    saved = lines.saved(lines.content())
    assert list(saved) == list(Lines(lines.content())) == expected


def read(data: bytes) -> MasterFile:
    source = Source(Path("/nowhere/parent.zone"), data, Stamp(0, 0, 0, 0, 0), True)
    return read_master_file(source, PARENT, generated=None)


def records(file: MasterFile) -> list[Placed]:
    return sorted((*file.index, *file.kept), key=lambda record: record.line)


entry = st.tuples(
    st.sampled_from(("a", "b", "c", "")),
    st.sampled_from(("60 ", "300 IN ", "")),
    st.sampled_from(("NS ns.x.", 'TXT ( "t"\n "u" )', "A 192.0.2.1", "DS 1 13 2 " + "ab" * 32)),
).map(lambda words: f"{words[0]} {words[1]}{words[2]}\n")
"""Records that state their owner and TTL, or take them from those before."""


@given(st.lists(entry, min_size=1, max_size=12), st.booleans(), st.data())
def test_what_stays_of_a_file_means_the_same_whatever_goes(
    entries: list[str], has_default: bool, draw: st.DataObject
) -> None:
    head = f"$ORIGIN parent.example.\n{'$TTL 3600' if has_default else ''}\n@ 900 SOA ns host 1 2 3 4 5\n"
    file = read((head + "".join(entries)).encode())
    movable = [record for record in records(file) if record.rr.owner != PARENT]
    gone = draw.draw(st.lists(st.sampled_from(movable), unique=True)) if movable else []
    lines = {record.line for record in gone}
    edited = edit.without(file, lines)
    again = read(edit.content(edited))
    assert records(again) == [record for record in records(file) if record.line not in lines]
    assert edit.content(edited).count(MARKER) == sum(each.height for each in file.entries if each.at + 1 in lines)
    # and once more, on what the first edit has left in memory
    rest = [record for record in movable if record.line not in lines]
    more = {record.line for record in (draw.draw(st.lists(st.sampled_from(rest), unique=True)) if rest else [])}
    twice = read(edit.content(edit.without(edit.saved(edited, again.source), more)))
    assert records(twice) == [record for record in records(file) if record.line not in lines | more]


def many(count: int) -> str:
    return "".join(
        f"child{n} NS ns1.child{n}\nchild{n} NS ns2.child{n}\nchild{n} DS {n} 13 2 {n:064x}\n"
        f"ns1.child{n} A 192.0.2.1\nns2.child{n} AAAA 2001:db8::{n:x}\n"
        for n in range(count)
    )


@pytest.mark.parametrize(("generated", "octets"), [(False, 1700), (True, 2300)])
async def test_a_delegation_takes_little_memory(tmp_path: Path, generated: bool, octets: int) -> None:
    """Its five records and their text, in an include file also as it is to be written. 50,000 of them took 230 MB, and
    with each change more."""
    count = 2000
    parent = Parent(tmp_path).hold(
        "$ORIGIN parent.example.\n$TTL 3600\n@ SOA ns1 host 1 3600 900 604800 300\n"
        + ("" if generated else many(count))
    )
    if generated:
        parent.include.write_text("$ORIGIN parent.example.\n$TTL 3600\n" + many(count))
    backend = parent.backend()
    tracemalloc.start()
    try:
        await backend.open()
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / count < octets
    child = names.from_text("child7.parent.example.")
    assert (await backend.read(child)).delegation == delegation(
        "child7.parent.example.",
        "NS ns1.child7.parent.example.",
        "NS ns2.child7.parent.example.",
        f"DS 7 13 2 {7:064x}",
        "ns1.child7.parent.example. A 192.0.2.1",
        "ns2.child7.parent.example. AAAA 2001:db8::7",
    )
