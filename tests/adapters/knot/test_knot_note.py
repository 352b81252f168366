"""The note of what we are about to do to a transaction: what it proves, and to whom."""

from pathlib import Path

import pytest

from zonecut_knot.control import Command, Item
from zonecut_knot.note import Note

ZONE = "parent.test."
SOCKET = Path("/run/knot/knot.sock")
OURS = [
    Command("unset", "kid.parent.test.", rtype="TYPE43"),
    Command("set", "kid.parent.test.", "60", "TYPE2", r"\# 4 026e7300"),
]
DIFF = (
    Item("Kid.parent.test.", "60", "DS", "1 13 2 00", "-"),
    Item("kid.parent.test.", "60", "NS", "ns.", "+"),
)


@pytest.fixture
def note(tmp_path: Path) -> Note:
    found = Note(tmp_path, ZONE, SOCKET)
    assert found.take()
    return found


def successor(tmp_path: Path, note: Note) -> Note:
    """The note as the next process finds it."""
    note.leave()
    found = Note(tmp_path, ZONE, SOCKET)
    assert found.take()
    return found


def test_a_transaction_that_was_just_begun_is_ours_while_it_is_empty(tmp_path: Path, note: Note) -> None:
    note.begins()
    found = successor(tmp_path, note)
    assert found.proves((), "7")
    assert not found.proves(DIFF, "7")


def test_a_transaction_that_was_about_to_be_committed_is_ours_on_the_same_serial(tmp_path: Path, note: Note) -> None:
    note.commits("7", OURS)
    found = successor(tmp_path, note)
    assert found.proves(DIFF, "7")
    assert not found.proves(DIFF, "8")
    assert not found.proves((), "7")


@pytest.mark.parametrize(
    "other",
    [
        Item("other.parent.test.", "60", "NS", "ns.", "+"),
        Item("kid.parent.test.", "60", "A", "11.0.0.1", "+"),
        Item("kid.parent.test.", "60", "NOSUCHTYPE", "x", "+"),
    ],
)
def test_a_transaction_with_anything_else_is_not_ours(note: Note, other: Item) -> None:
    note.commits("7", OURS)
    assert not note.proves((*DIFF, other), "7")


def test_what_is_done_proves_nothing_any_more(tmp_path: Path, note: Note) -> None:
    note.commits("7", OURS)
    note.restore()
    found = successor(tmp_path, note)
    assert not found.proves(DIFF, "7")
    assert not found.proves((), "7")


def test_an_attempt_that_was_refused_leaves_what_was_noted_before(tmp_path: Path, note: Note) -> None:
    note.commits("7", OURS)
    found = successor(tmp_path, note)
    found.restore(found.begins())
    assert found.proves(DIFF, "7")


def test_one_process_at_a_time(tmp_path: Path, note: Note) -> None:
    other = Note(tmp_path, ZONE, SOCKET)
    assert not other.take()
    assert Note(tmp_path, "other.test.", SOCKET).take()
    note.leave()
    assert other.take()


def test_without_a_directory_the_note_lasts_as_long_as_the_process(tmp_path: Path) -> None:
    for directory in (None, tmp_path / "missing"):
        note = Note(directory, ZONE, SOCKET)
        assert note.take()
        note.commits("7", OURS)
        note.leave()
        assert note.take()
        assert note.proves(DIFF, "7")
        assert not Note(directory, ZONE, SOCKET).proves(DIFF, "7")


def test_a_note_proves_nothing_to_the_next_knotd(tmp_path: Path) -> None:
    """A transaction ends with the knotd that has it: what is open in the next one is somebody else's."""
    socket = tmp_path / "knot.sock"
    socket.touch()
    note = Note(tmp_path, ZONE, socket)
    assert note.take()
    for noted, diff in ((note.begins, ()), (lambda: note.commits("7", OURS), DIFF)):
        noted()
        assert note.proves(diff, "7")
        socket.rename(tmp_path / "former")
        socket.touch()
        assert not note.proves(diff, "7")
