"""The keys of a child zone on disk: made once, for their owner's eyes only, and never deleted."""

import os
import re
from pathlib import Path
from threading import Thread

import pytest

from zonecut.agent.keys.child_keys import ChildKeys, OwnKey
from zonecut.files import keyfiles
from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT
from zonecut.protocol.keys import KeyPair, UnusableKey

ZONE = names.from_text("child.parent.example.")


def child_keys(directory: Path, zone: bytes = ZONE) -> ChildKeys:
    return ChildKeys(directory / "keys", zone, DEFAULT)


def test_a_new_key_is_in_bind_files_that_only_their_owner_can_read(tmp_path: Path) -> None:
    keys = child_keys(tmp_path)
    assert keys.all() == ()
    own = keys.make("ED25519", 3600)
    assert own.file.parent == tmp_path / "keys" / "children" / "child.parent.example"
    assert own.file.read_text().startswith("child.parent.example. 3600 IN KEY 512 3 15 ")
    assert keyfiles.read_pair(own.file, DEFAULT) == own.pair
    assert own.file.with_suffix(".private").stat().st_mode & 0o777 == 0o600
    for directory in (own.file.parent, own.file.parent.parent, tmp_path / "keys"):
        assert directory.stat().st_mode & 0o777 == 0o700
    assert keys.all() == (own,)


def test_whoever_only_looks_leaves_nothing_behind(tmp_path: Path) -> None:
    keys = child_keys(tmp_path)
    assert keys.all() == ()
    assert keys.retired() == ()
    assert keys.find("9F86 D081") is None
    assert list(tmp_path.iterdir()) == []


def test_keys_are_listed_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    keys = child_keys(tmp_path)
    made = [keys.make("ED25519") for _ in range(4)]
    for age, own in enumerate(reversed(made)):
        os.utime(own.file, (1_700_000_000 - age, 1_700_000_000 - age))
    assert list(keys.all()) == made


def test_a_key_is_found_by_its_fingerprint_in_any_writing(tmp_path: Path) -> None:
    keys = child_keys(tmp_path)
    first, second = keys.make("ED25519"), keys.make("ED25519")
    assert keys.find(second.fingerprint) == second
    assert keys.find(first.fingerprint.lower().replace(" ", ":")) == first
    assert keys.find(first.fingerprint[:-1] + "?") is None


def test_a_retired_key_is_moved_and_its_public_half_still_known(tmp_path: Path) -> None:
    keys = child_keys(tmp_path)
    old, new = keys.make("ED25519"), keys.make("ED25519")
    for _ in range(2):
        keys.retire(old)
    assert keys.all() == (new,)
    assert keys.retired() == (old.key,)
    moved = old.file.parent / "retired" / old.file.name
    assert keyfiles.read_pair(moved, DEFAULT) == old.pair


def test_a_key_whose_retiring_was_cut_off_counts_as_retired(tmp_path: Path) -> None:
    keys = child_keys(tmp_path)
    old = keys.make("ED25519")
    keys.retire(old)
    private = f"{old.file.stem}.private"
    (old.file.parent / "retired" / private).rename(old.file.parent / private)
    assert keys.all() == ()
    assert keys.retired() == (old.key,)


def test_the_first_key_is_made_once_however_many_ask_for_it(tmp_path: Path) -> None:
    found: list[tuple[OwnKey, ...]] = []
    threads = [Thread(target=lambda: found.append(child_keys(tmp_path).ensure("ED25519"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(child_keys(tmp_path).all()) == 1


def test_processes_that_roll_at_once_make_one_new_key(tmp_path: Path) -> None:
    (own,) = child_keys(tmp_path).ensure("ED25519")
    found: list[OwnKey] = []
    threads = [Thread(target=lambda: found.append(child_keys(tmp_path).beside(own, "ED25519"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({each.fingerprint for each in found}) == 1
    assert {each.fingerprint for each in child_keys(tmp_path).all()} == {own.fingerprint, found[0].fingerprint}


def test_the_keys_of_one_zone_are_none_of_anothers(tmp_path: Path) -> None:
    child_keys(tmp_path).make("ED25519")
    assert child_keys(tmp_path, names.from_text("example.")).all() == ()
    assert child_keys(tmp_path, names.from_text("sub.child.parent.example.")).all() == ()


@pytest.mark.parametrize("text", [r"\.\..example.", r"a\/b.example.", r"\000.example.", r"with\032space.example."])
def test_no_name_of_a_zone_leads_out_of_its_directory(tmp_path: Path, text: str) -> None:
    keys = child_keys(tmp_path, names.from_text(text))
    own = keys.make("ED25519")
    assert own.file.parent.parent == tmp_path / "keys" / "children"
    assert keys.all() == (own,)


def test_an_algorithm_that_is_not_supported_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'RSASHA1' is no supported algorithm; there is .*ED25519 \(15\)"):
        child_keys(tmp_path).make("RSASHA1")
    assert child_keys(tmp_path).all() == ()


def test_a_key_that_others_may_read_is_refused_with_its_file_named(tmp_path: Path) -> None:
    own = child_keys(tmp_path).make("ED25519")
    own.file.with_suffix(".private").chmod(0o640)
    with pytest.raises(UnusableKey, match=re.escape(f"{own.file.stem}.private: group or others may touch")):
        child_keys(tmp_path).all()


def test_a_key_file_without_its_other_half_is_named(tmp_path: Path) -> None:
    own = child_keys(tmp_path).make("ED25519")
    own.file.with_suffix(".private").unlink()
    with pytest.raises(UnusableKey, match=re.escape(f"{own.file.stem}.key: the other file of the key is missing")):
        child_keys(tmp_path).all()


def test_a_key_of_another_zone_under_a_name_of_ours_is_refused(tmp_path: Path) -> None:
    keys = child_keys(tmp_path)
    own = keys.make("ED25519")
    other = KeyPair.generate(names.from_text("other.example."), 15, DEFAULT)
    stranger = keyfiles.write_pair(tmp_path, other, DEFAULT)
    for ending in (".key", ".private"):
        stranger.with_suffix(ending).rename(own.file.with_suffix(ending))
    with pytest.raises(UnusableKey, match=r"the key is of other\.example\."):
        keys.all()


def test_a_key_is_remarked_on_once_a_time_in_its_files_has_passed(tmp_path: Path) -> None:
    keys = child_keys(tmp_path)
    own = keys.make("ED25519")
    assert keys.remark(own, 1e10) is None
    with own.file.with_suffix(".private").open("a") as file:
        file.write("Inactive: 20250101000000\nDelete: 20250201000000\n")
    assert keys.all() == (own,)
    assert keys.remark(own, 1735689599) is None
    for now in (1735689600, 1e10):
        assert keys.remark(own, now) == (
            f"key {own.key.tag}: the Inactive time in its file, 2025-01-01 00:00:00 UTC, is past ({own.file}): "
            "zonecut child roll child.parent.example. makes a new one"
        )
    own.file.write_text(f"; Delete: 20241231235959 (Tue)\n; Inactive: 2025\n{own.file.read_text()}")
    assert "the Delete time in its file, 2024-12-31 23:59:59" in (keys.remark(own, 1735689600) or "")
    own.file.write_text(f"; Inactive: 20251399999999\n{own.key.to_text()}\n")
    assert keys.remark(own, 1735689599) is None
