"""`zonecut parent`: what a parent announces, shown, written and withdrawn on a zone file."""

import json
import shutil
from pathlib import Path

import pytest

from cli_support import House

ADDED = """\
    addresses: ["9.9.9.9"]
    publication: {ttl: 60}
"""


@pytest.fixture
def house(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> House:
    made = House(tmp_path, capsys)
    made.config.write_text(made.config.read_text() + ADDED)
    return made


def test_publish_shows_the_difference_and_makes_it(house: House) -> None:
    shown = house.zonecut("parent", "publish", "sig0.test.", "--dry-run")
    assert shown.code == 3
    assert shown.out.splitlines() == [
        "; updater.sig0.test. has no key yet: it would be made",
        "+ _dsync.sig0.test. 60 IN DSYNC ANY UPDATE 5354 updater.sig0.test.",
        "+ updater.sig0.test. 60 IN A 9.9.9.9",
        '+ updater.sig0.test. 60 IN SVCB 1 . key65282="manual"',
    ]
    assert not (house.directory / "keys").exists()
    assert house.zonecut("parent", "status", "sig0.test.").code == 3
    done = house.zonecut("parent", "publish", "sig0.test.")
    assert done.code == 0
    assert "+ updater.sig0.test. 60 IN KEY 512 3 15 " in done.out
    again = house.zonecut("parent", "publish", "sig0.test.", "--dry-run")
    assert (again.code, again.out) == (0, "; sig0.test.: nothing to change\n")
    assert house.zonecut("parent", "status", "sig0.test.").code == 0


def test_publish_and_withdraw_say_in_json_what_they_wrote(house: House) -> None:
    document = house.zonecut("parent", "publish", "sig0.test.", "--json").document
    assert (document["zone"], document["target"], document["written"]) == ("sig0.test.", "updater.sig0.test.", True)
    assert (document["difference"]["removed"], len(document["difference"]["added"])) == ([], 4)
    assert house.zonecut("parent", "publish", "sig0.test.", "--json").document["written"] is False
    dry = house.zonecut("parent", "withdraw", "sig0.test.", "--dry-run", "--json")
    assert (dry.code, dry.document["written"], len(dry.document["difference"]["removed"])) == (3, False, 4)
    assert house.zonecut("parent", "withdraw", "sig0.test.", "--json").document["written"] is True
    assert house.zonecut("parent", "withdraw", "sig0.test.", "--dry-run").code == 0
    trail = [entry["event"] for entry in house.zonecut("audit", "--json").document]
    assert trail == ["parent.withdrawn", "parent.published"]


def test_status_tells_what_somebody_changed(house: House) -> None:
    house.zonecut("parent", "publish", "sig0.test.")
    include = house.directory / "sig0.test.delegations"
    include.write_text(include.read_text().replace("9.9.9.9", "9.9.9.10"))
    status = house.zonecut("parent", "status", "sig0.test.", "--json")
    assert status.code == 3
    assert status.document["difference"] == {
        "removed": ["updater.sig0.test. 60 IN A 9.9.9.10"],
        "added": ["updater.sig0.test. 60 IN A 9.9.9.9"],
    }
    assert status.document["key"]["phase"] == "steady"
    assert "+ updater.sig0.test. 60 IN A 9.9.9.9" in house.zonecut("parent", "status", "sig0.test.").out


def test_a_roll_publishes_both_keys_and_status_says_how_far_it_is(house: House) -> None:
    house.zonecut("parent", "publish", "sig0.test.")
    assert house.zonecut("parent", "roll", "sig0.test.", "--dry-run").code == 3
    begun = house.zonecut("parent", "roll", "sig0.test.", "--json")
    assert (begun.code, len(begun.document["key"]["published"])) == (0, 2)
    (added,) = begun.document["difference"]["added"]
    assert added.startswith("updater.sig0.test. 60 IN KEY 512 3 15 ")
    status = house.zonecut("parent", "status", "sig0.test.", "--json")
    assert status.code == 0
    assert status.document["key"]["phase"] == "introducing"
    assert status.document["key"]["signs_at"] is not None
    refused = house.zonecut("parent", "roll", "sig0.test.")
    assert (refused.code, refused.out) == (1, "")
    assert "a roll is under way (introducing)" in refused.err
    assert "old key goes" in house.zonecut("parent", "status", "sig0.test.").out


def test_a_roll_without_a_daemon_ends_by_publishing_again(house: House) -> None:
    house.config.write_text(house.config.read_text().replace("{ttl: 60}", "{ttl: 1}"))
    house.zonecut("parent", "publish", "sig0.test.")
    new = house.zonecut("parent", "roll", "sig0.test.", "--json").document["key"]["published"][1]["tag"]
    state = house.directory / "keys" / "Kupdater.sig0.test.identity.json"
    document = json.loads(state.read_text())
    assert document["seen_at"] > 1e9
    state.write_text(json.dumps({**document, "seen_at": 1.0}))
    assert house.zonecut("parent", "status", "sig0.test.", "--json").document["key"]["phase"] == "withdrawing"
    document = house.zonecut("parent", "publish", "sig0.test.", "--json").document
    assert (len(document["difference"]["removed"]), document["difference"]["added"]) == (1, [])
    status = house.zonecut("parent", "status", "sig0.test.", "--json").document
    assert (status["key"]["phase"], status["key"]["signer"]["tag"]) == ("steady", new)
    assert len(list((house.directory / "keys" / "retired").iterdir())) == 2


def test_a_target_outside_the_zone_is_not_rolled_here(house: House) -> None:
    house.config.write_text(house.config.read_text() + "    target: updater.example.net.\n")
    refused = house.zonecut("parent", "roll", "sig0.test.")
    assert refused.code == 2
    assert "updater.example.net. lies outside sig0.test." in refused.err
    assert "; updater.example.net. lies outside the zone" in house.zonecut("parent", "publish", "sig0.test.").out


def test_an_unknown_zone_is_a_wrong_usage(house: House) -> None:
    for command in ("publish", "withdraw", "status", "roll"):
        assert house.zonecut("parent", command, "other.test.").code == 2


def test_an_alias_in_the_way_is_named(house: House) -> None:
    house.zone_file.write_text(house.zone_file.read_text() + "updater IN CNAME ns1\n")
    refused = house.zonecut("parent", "publish", "sig0.test.")
    assert (refused.code, refused.out) == (1, "")
    assert "updater.sig0.test. is a CNAME: nothing can be published beside it" in refused.err


def test_a_withdrawal_that_a_daemon_would_undo_says_so(house: House) -> None:
    house.config.write_text(house.config.read_text() + "    publish: true\n")
    house.zonecut("parent", "publish", "sig0.test.")
    ended = house.zonecut("parent", "withdraw", "sig0.test.")
    assert ended.code == 0
    assert "a running zonecut will publish it all again" in ended.err


def test_a_lost_key_directory_is_missed_and_a_new_key_has_to_be_asked_for(house: House) -> None:
    keys = house.directory / "keys"
    first = house.zonecut("parent", "publish", "sig0.test.", "--json").document["difference"]["added"]
    shutil.move(keys, house.directory / "away")
    for command in (("publish",), ("publish", "--dry-run"), ("roll",), ("roll", "--dry-run")):
        refused = house.zonecut("parent", *command, "sig0.test.")
        assert (refused.code, refused.out) == (1, ""), command
        assert f"{keys} holds no key of updater.sig0.test., and by the store it had the key with tag" in refused.err
        assert "put that directory back" in refused.err
        assert "zonecut parent publish ZONE --new-key" in refused.err
        assert not keys.exists()
    shutil.move(house.directory / "away", keys)
    assert house.zonecut("parent", "publish", "sig0.test.", "--dry-run").code == 0
    refused = house.zonecut("parent", "publish", "sig0.test.", "--new-key")
    assert refused.code == 1
    assert "leave out --new-key; `zonecut parent roll sig0.test.` gives it a new one" in refused.err
    shutil.rmtree(keys)
    assert house.zonecut("parent", "publish", "sig0.test.", "--new-key", "--dry-run").code == 3
    done = house.zonecut("parent", "publish", "sig0.test.", "--new-key", "--json").document["difference"]
    assert done["removed"] == [record for record in first if " KEY " in record]
    assert [entry["event"] for entry in house.zonecut("audit", "--json").document] == [
        "parent.published",
        "parent.key_replaced",
        "parent.published",
    ]
    assert house.zonecut("parent", "publish", "sig0.test.").code == 0
