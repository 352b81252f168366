"""What knotd's words mean for the caller, and what a socket without a knotd means."""

import socket
from pathlib import Path

import pytest

from zonecut.plugin import BackendConflict, BackendMisconfigured, BackendRejected, BackendUnavailable
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.rrset import RRset
from zonecut_knot import published
from zonecut_knot.answers import failure, unreachable
from zonecut_knot.control import Command, Item

TARGET = names.from_text("updater.parent.test.")
ADDRESS = RRset(TARGET, RRType.A, 60, (b"\x0b\0\0\1",))


@pytest.mark.parametrize(
    ("command", "words", "kind"),
    [
        ("begin", "no such zone found", BackendMisconfigured),
        ("set", "no active transaction", BackendUnavailable),
        ("set", "parser failed", BackendRejected),
        ("set", "name does not belong to the zone", BackendRejected),
        ("commit", "semantic check", BackendRejected),
        ("commit", "not enough memory", BackendUnavailable),
        ("read", "not enough space provided", BackendUnavailable),
        ("set", "not enough space provided", BackendRejected),
    ],
)
def test_a_failure_has_its_kind_and_names_the_zone(command: str, words: str, kind: type[Exception]) -> None:
    error = failure("parent.test.", command, words)
    assert type(error) is kind
    assert f"zone-{command} for parent.test. with '{words}'" in error.reason


def test_a_socket_without_a_server_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "knot.sock"
    assert type(unreachable(path, "")) is BackendUnavailable
    assert "there is no such socket" in unreachable(path, "").reason
    path.touch()
    assert type(unreachable(path, "")) is BackendMisconfigured
    path.unlink()
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(path))
    assert type(unreachable(path, "")) is BackendUnavailable
    assert "refused" in unreachable(path, "").reason


def test_rrsets_of_any_type_are_read_without_what_a_signer_makes() -> None:
    items = [Item("", "60", "A", "11.0.0.1"), Item("", "60", "RRSIG", "A 13 4 60 ..."), Item("", "5", "TXT", '"a b"')]
    assert published.rrsets(TARGET, items) == (ADDRESS, RRset(TARGET, 16, 5, (b"\3a b",)))
    with pytest.raises(BackendUnavailable, match="makes no sense"):
        published.rrsets(TARGET, [Item("", "60", "KEY", "what")])


def test_a_change_of_the_ttl_alone_replaces_the_rrset() -> None:
    longer = RRset(TARGET, RRType.A, 61, ADDRESS.rdatas)
    assert published.commands([ADDRESS], [longer], [longer]) == [
        Command("unset", "updater.parent.test.", rtype="TYPE1"),
        Command("set", "updater.parent.test.", "61", "TYPE1", r"\# 4 0B000001"),
    ]
    assert published.commands([ADDRESS], [longer], [ADDRESS]) == []


def test_an_unexpected_rrset_is_a_conflict_and_an_alias_a_rejection() -> None:
    with pytest.raises(BackendConflict, match=r"updater\.parent\.test\."):
        published.commands([ADDRESS], [], [ADDRESS])
    alias = RRset(TARGET, RRType.CNAME, 60, (names.ROOT,))
    with pytest.raises(BackendRejected, match="is a CNAME"):
        published.commands([alias], [], [ADDRESS])
