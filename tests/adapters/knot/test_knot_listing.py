"""A whole zone of knotd's, which goes through a temporary file where it is large."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest

from zonecut.plugin import BackendUnavailable
from zonecut.protocol import names
from zonecut.protocol.delegation import Ttls
from zonecut_knot.control import Command, Item, Reply
from zonecut_knot.note import Note
from zonecut_knot.zone import Zone

ZONE = names.from_text("parent.test.")


class Played:
    """A session with a knotd that has a zone of more than a mebioctet."""

    is_lost = False
    closed = 0

    def run(self, commands: Sequence[Command]) -> list[Reply]:
        return [Reply() for _ in commands]

    def stream(self, command: Command, rtypes: Collection[str]) -> Iterator[Item]:
        yield Item("parent.test.", "60", "SOA", "ns. h. 7 1 1 1 1")
        for number in range(40_000):
            yield Item(f"child{number}.parent.test.", "60", "NS", "ns.elsewhere.test.")

    def status(self) -> dict[str, str]:
        return {"serial": "7"}

    def setting(self, section: str, identifier: str, item: str) -> str:
        return ""

    def close(self) -> None:
        Played.closed += 1


def test_a_listing_without_room_is_for_later_and_no_defect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = Zone(Played, ZONE, Ttls(), 1.0, Note(tmp_path, "parent.test.", tmp_path / "knot.sock"))

    def refused(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    before = Played.closed
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.TemporaryFile", refused)
        with pytest.raises(BackendUnavailable, match=r"parent\.test\. is larger .*TMPDIR.* No space left on device"):
            zone.spool()
    assert Played.closed == before + 1
    listing, serial = zone.spool()
    with listing:
        assert (serial, listing.readline()) == ("7", b"child0.parent.test. 60 NS ns.elsewhere.test.\n")
