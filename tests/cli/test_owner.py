"""Whose directories these are: as whom root acts in them."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from zonecut.cli.failures import UsageFailure
from zonecut.cli.owner import as_writer, owner_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has anything to lose")

DAEMON, OTHER = 12345, 12346


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory of root's that all may enter, which pytest's is not."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The directory of the daemon's user."""
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, DAEMON, DAEMON)
    return home


def test_nobody_but_root_decides_where_root_s_paths_lead(tmp_path: Path) -> None:
    assert owner_of(tmp_path / "not" / "yet" / "zonecut.db", is_file=True) is None
    assert owner_of(tmp_path) is None


def test_the_first_owner_on_the_way_decides(home: Path) -> None:
    inside = home / "inside"
    inside.mkdir()
    for path in (home, inside, inside / "not-yet", home / ".." / "home" / "inside"):
        found = owner_of(path)
        assert found is not None
        assert (found.uid, found.place) == (DAEMON, home)


def test_links_are_followed_and_count_as_whose_they_are(home: Path, tmp_path: Path) -> None:
    (tmp_path / "root-s").symlink_to("home")
    found = owner_of(tmp_path / "root-s" / "zonecut.db", is_file=True)
    assert found is not None
    assert found.uid == DAEMON
    link = tmp_path / "his"
    link.symlink_to("/etc")
    os.lchown(link, OTHER, OTHER)
    found = owner_of(link / "zonecut.db", is_file=True)
    assert found is not None
    assert found.uid == OTHER
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(UsageFailure, match="too many links"):
        owner_of(tmp_path / "round" / "zonecut.db")


@pytest.mark.parametrize(("mode", "group", "refused"), [(0o777, 0, True), (0o775, 54321, True), (0o775, 0, False)])
def test_a_directory_that_others_may_write_to_leads_root_nowhere(
    tmp_path: Path, mode: int, group: int, refused: bool
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, 0, group)
    shared.chmod(mode)
    for path, is_file in ((shared / "zonecut.db", True), (shared, False), (shared / "a" / "b", False)):
        if refused:
            with pytest.raises(UsageFailure, match="can be written by others"):
                owner_of(path, is_file=is_file)
        else:
            assert owner_of(path, is_file=is_file) is None


def test_below_a_directory_like_tmp_what_is_root_s_is_root_s(tmp_path: Path) -> None:
    shared = tmp_path / "tmp"
    (shared / "mine").mkdir(parents=True)
    shared.chmod(0o1777)
    assert owner_of(shared / "mine" / "zonecut.db", is_file=True) is None
    with pytest.raises(UsageFailure):
        owner_of(shared / "zonecut.db", is_file=True)


def test_an_access_list_lets_others_in_as_well(tmp_path: Path) -> None:
    listed = tmp_path / "listed"
    listed.mkdir()
    entry = struct.pack("<HHI", 0x01, 7, 2**32 - 1) + struct.pack("<HHI", 0x02, 7, OTHER)
    rest = b"".join(struct.pack("<HHI", tag, 7 if tag != 0x20 else 0, 2**32 - 1) for tag in (0x04, 0x10, 0x20))
    os.setxattr(listed, "system.posix_acl_access", struct.pack("<I", 2) + entry + rest)
    assert listed.stat().st_mode & 0o070 == 0o070
    with pytest.raises(UsageFailure, match="can be written by others"):
        owner_of(listed / "zonecut.db", is_file=True)


def test_what_root_writes_in_somebody_s_directory_is_written_by_that_one(home: Path) -> None:
    with as_writer(home / "all.zone"):
        assert os.geteuid() == DAEMON
        (home / "all.zone").touch()
    assert (os.geteuid(), os.getegid(), (home / "all.zone").stat().st_uid) == (0, 0, DAEMON)


def test_a_link_of_somebody_else_s_is_not_followed(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    link = tmp_path / "all.zone"
    link.symlink_to("/etc/passwd")
    os.lchown(link, OTHER, OTHER)
    with pytest.raises(UsageFailure, match="not followed"), as_writer(link):
        pass
