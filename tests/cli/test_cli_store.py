"""`zonecut store`: what is told of a store, and how an operator takes one that was restored for what counts."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cli_support import ED25519, House, delegation, now_held
from vectors_of import DIRECTORY, VECTORS
from zonecut.store import ChangeState
from zonecut.store.place.lock import locked

VECTOR = next(vector for vector in VECTORS if vector.name.endswith("ED25519_tcp"))
LESS = delegation(b"\x03ns1\x05other\x04test\0")


@pytest.fixture
def house(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> House:
    house = House(tmp_path, capsys)
    house.imported()
    return house


def back_up(house: House) -> None:
    with (
        closing(sqlite3.connect(house.directory / "zonecut.db")) as source,
        closing(sqlite3.connect(house.directory / "copy")) as copy,
    ):
        source.backup(copy)


def restore(house: House) -> None:
    for file in house.directory.glob("zonecut.db*"):
        file.unlink()
    shutil.copy(house.directory / "copy", house.directory / "zonecut.db")


@pytest.fixture
def restored(house: House) -> House:
    """What the first change asks for is in the zone; what the second and third ask for is not. A key was revoked."""
    for before, after in ((LESS, now_held()), (now_held(), LESS), (LESS, LESS)):
        house.change(VECTOR, before, after, ChangeState.ACCEPTED)
    back_up(house)
    house.zonecut("key", "revoke", "child.sig0.test.", "--keyid", "46020")
    restore(house)
    return house


def test_a_store_that_is_whole_has_nothing_to_be_told(house: House) -> None:
    ended = house.zonecut("store", "check")
    assert (ended.code, ended.err) == (0, "")
    assert "whole" in ended.out
    assert "no: all that was recorded is there" in ended.out
    document = house.zonecut("store", "check", "--json").document
    assert (document["damage"], document["restored"], document["waiting"]) == ([], None, [])
    assert document["keys"] == {"trusted": 3}


def test_a_check_says_what_a_restore_would_do(restored: House) -> None:
    ended = restored.zonecut("store", "check")
    assert ended.code == 3
    assert "the store was restored from a backup: it was used until" in ended.out
    assert "which of them were revoked, rejected or rolled since is not known" in ended.out
    document = restored.zonecut("store", "check", "--json").document
    assert document["restored"]["entry"] > document["restored"]["newest_entry"]
    assert [(each["server_holds"], each["outcome"]) for each in document["waiting"]] == [
        ("what it asks for", "applied"),
        ("what it started from", "held"),
        ("something else", "failed"),
    ]


def test_what_waited_for_an_operator_may_have_been_decided_since(house: House) -> None:
    house.change(VECTOR, now_held(), LESS, ChangeState.HELD)
    back_up(house)
    house.zonecut("change", "reject", "1")
    restore(house)
    ended = house.zonecut("store", "check")
    assert "may have been decided since, or asked for otherwise: 1; " in ended.out
    assert [each["id"] for each in house.zonecut("store", "check", "--json").document["held"]] == [1]
    assert house.zonecut("store", "accept").code == 0
    (change,) = house.zonecut("change", "list", "--state", "held", "--json").document["changes"]
    assert change["reason"].endswith(
        "the store was restored from a backup, and this may have been decided, or asked for otherwise, since"
    )


def test_what_a_command_would_write_to_a_restored_store_is_refused(restored: House) -> None:
    ended = restored.zonecut("key", "trust", "child.sig0.test.", "--keyid", "46020")
    assert (ended.code, ended.out) == (1, "")
    assert "zonecut store check, and then zonecut store accept" in ended.err
    # what only takes trust away may be done before; where it counts is said
    revoked = restored.zonecut("key", "revoke", "child.sig0.test.", "--keyid", "46020")
    assert revoked.code == 0
    assert "is a copy that no zonecut serve has, and waits for zonecut store accept" in revoked.err
    assert "this counts in it alone" in revoked.err
    # and what it holds is shown, for the operator to decide
    assert len(restored.zonecut("key", "list", "--json").document) == 3
    changes = restored.zonecut("change", "list", "--json").document["changes"]
    assert [each["state"] for each in changes] == ["accepted"] * 3
    (strict, told) = (restored.zonecut("check-config", "--strict"), "store.url: the store was restored from a backup")
    assert strict.code != 0
    assert told in strict.err


def test_an_accepted_store_counts_and_of_what_waited_only_what_is_there(restored: House) -> None:
    ended = restored.zonecut("store", "accept", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert [each["outcome"] for each in ended.document["changes"]] == ["applied", "held", "failed"]
    changes = restored.zonecut("change", "list", "--json").document["changes"]
    assert [change["state"] for change in changes] == ["failed", "held", "applied"]
    assert "send it again if it is still wanted" in changes[0]["reason"]
    checked = restored.zonecut("store", "check", "--json")
    assert checked.code == 0
    assert checked.document["signed_since"] == ended.document["signed_since"]
    assert restored.zonecut("key", "revoke", "child.sig0.test.", "--keyid", "46020").code == 0
    again = restored.zonecut("store", "accept")
    assert again.code == 1
    assert "there is nothing to accept" in again.err


def test_a_restore_that_nothing_shows_is_accepted_when_the_operator_says_so(house: House) -> None:
    """As where the whole machine was put back, the mark with it."""
    house.change(VECTOR, now_held(), LESS, ChangeState.ACCEPTED)
    assert house.zonecut("store", "accept").code == 1
    ended = house.zonecut("store", "accept", "--anyway")
    assert ended.code == 0
    assert "held (the server holds what it started from)" in ended.out


def test_nothing_is_accepted_while_the_server_cannot_be_read(restored: House) -> None:
    restored.zone_file.rename(restored.directory / "elsewhere")
    ended = restored.zonecut("store", "accept")
    assert ended.code == 1
    assert "what the server of sig0.test. holds is not known" in ended.err
    assert restored.zonecut("store", "check").code == 3


def test_a_store_that_is_damaged_or_gone_or_not_there_yet_is_told(house: House) -> None:
    database = house.directory / "zonecut.db"
    content = bytearray(database.read_bytes())
    content[4096 * 3 : 4096 * 20] = b"\xff" * 4096 * 17
    database.write_bytes(content)
    assert house.zonecut("store", "check").code == 1
    database.unlink()
    ended = house.zonecut("store", "check")
    assert ended.code == 1
    assert "the file is gone" in ended.err
    assert "the file is gone" in house.zonecut("key", "list").err
    (house.directory / ".zonecut.db.mark").unlink()
    assert "the first start makes one" in house.zonecut("store", "check").err
    assert house.imported(DIRECTORY / ED25519).code == 0


def test_a_store_is_not_accepted_beside_a_daemon_that_would_not_know_of_it(house: House) -> None:
    with locked(f"sqlite:///{house.directory}/zonecut.db"):
        ended = house.zonecut("store", "accept", "--anyway")
    assert ended.code == 1
    assert "zonecut serve runs on the store" in ended.err
