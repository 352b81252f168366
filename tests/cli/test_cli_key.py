"""`zonecut key`: import, list, show, trust, revoke, end."""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from cli_support import ED25519, House
from vectors_of import CHILD, DIRECTORY, KEYS, ZONE
from zonecut.cli import actor
from zonecut.protocol.codepoints import DEFAULT
from zonecut.protocol.keys import Key, UnusableKey, check_usable
from zonecut.receiver.keys import absence
from zonecut.store import Bootstrap, KeyState, Watch

TAGS = [18590, 26831, 46020]
FINGERPRINT = KEYS[46020].fingerprint()


@pytest.fixture
def house(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> House:
    return House(tmp_path, capsys)


def test_a_key_is_imported_as_known(house: House) -> None:
    ended = house.imported(DIRECTORY / ED25519)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[1].split()[:4] == ["child.sig0.test.", "46020", "15", "known"]
    assert FINGERPRINT in ended.out


def test_a_directory_of_keys_is_imported_as_trusted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "joan")
    ended = house.imported(DIRECTORY, "--trust", "--reason", "ticket 4711", "--json")
    assert (ended.code, ended.err) == (0, "")
    keys = ended.document["keys"]
    assert [key["tag"] for key in keys] == TAGS
    assert {key["state"] for key in keys} == {"trusted"}
    assert {key["method"] for key in keys} == {"manual"}
    assert {key["actor"] for key in keys} == {"operator:joan"}
    assert {key["reason"] for key in keys} == {"ticket 4711"}
    assert ended.document["errors"] == []


@pytest.mark.parametrize("ending", ["key", "private"])
def test_a_key_whose_file_says_that_it_is_done_with_is_imported_with_a_warning(house: House, ending: str) -> None:
    """`dnssec-keygen -T KEY -I ... -D ...` writes its times into the private file, dnssec-settime into both."""
    path = house.file("Kchild.sig0.test.+015+46020.key", (DIRECTORY / ED25519).read_bytes())
    with path.with_suffix(f".{ending}").open("a") as file:
        comment = "; " if ending == "key" else ""
        file.write(f"{comment}Created: 20240101000000\n{comment}Inactive: 20250203040506 (Mon Feb  3 2025)\n")
        file.write(f"{comment}Delete: 20990101000000\n")
    ended = house.imported(path, "--json")
    assert ended.code == 0
    assert [key["tag"] for key in ended.document["keys"]] == [46020]
    (warning,) = ended.document["warnings"]
    assert warning == {
        "file": str(path),
        "reason": "taken in, though the Inactive time in its file, 2025-02-03 04:05:06 UTC, is past",
    }
    assert warning["reason"] in house.imported(path).err


def test_importing_a_known_key_again_with_trust_makes_it_trusted(house: House) -> None:
    house.imported(DIRECTORY)
    assert house.imported(DIRECTORY / ED25519, "--trust", "--json").document["keys"][0]["state"] == "trusted"
    assert house.imported(DIRECTORY / ED25519, "--json").document["keys"][0]["state"] == "trusted"


def test_a_revoked_key_cannot_be_trusted_again(house: House) -> None:
    house.imported(DIRECTORY / ED25519)
    assert house.zonecut("key", "revoke", "child.sig0.test.", "--json").document["state"] == "revoked"
    again = house.imported(DIRECTORY / ED25519, "--trust")
    assert again.code == 1
    assert "revocation is final" in again.err
    trusted = house.zonecut("key", "trust", "child.sig0.test.")
    assert (trusted.code, trusted.out) == (1, "")
    assert "revocation is final" in trusted.err


def record(key: Key) -> bytes:
    return key.to_text(3600).encode() + b"\n"


def test_a_file_that_cannot_be_used_does_not_stop_the_rest(house: House) -> None:
    key = KEYS[46020]
    keys = {
        "dnskey.key": record(key).replace(b" KEY ", b" DNSKEY "),
        "nokey.key": record(replace(key, flags=0xC000)),
        "apex.key": record(replace(key, owner=CHILD[6:])),
        "star.key": record(replace(key, owner=b"\x01*" + CHILD[6:])),
        "elsewhere.key": record(replace(key, owner=b"\x05child\x05other\0")),
        "empty.key": b"",
        "K.private": b"Private-key-format: v1.3\n",
    }
    paths = [house.file(name, content) for name, content in keys.items()]
    missing, empty = house.directory / "missing.key", house.directory / "empty"
    empty.mkdir()
    ended = house.imported(*paths, missing, empty, DIRECTORY / ED25519, "--json")
    assert ended.code == 1
    assert [imported["tag"] for imported in ended.document["keys"]] == [46020]
    reasons = {Path(error["file"]).name: error["reason"] for error in ended.document["errors"]}
    assert reasons.keys() == {*keys, "missing.key", "empty"}
    assert "a DNSKEY is not a KEY" in reasons["dnskey.key"]
    assert "prohibit authentication" in reasons["nokey.key"]
    assert "child-below-apex" in reasons["apex.key"] or "not below a configured parent" in reasons["apex.key"]
    assert "wildcard" in reasons["star.key"]
    assert "not below a configured parent zone" in reasons["elsewhere.key"]
    assert "give the .key file" in reasons["K.private"]
    assert reasons["missing.key"] == "No such file or directory"
    assert reasons["empty"] == "holds no file K*.key"
    assert len(ended.err.splitlines()) == len(reasons)


def test_the_list_can_be_narrowed(house: House) -> None:
    assert house.zonecut("key", "list").out == ""
    assert house.zonecut("key", "list", "--json").document == []
    house.imported(DIRECTORY)
    house.imported(DIRECTORY / ED25519, "--trust")
    assert len(house.zonecut("key", "list").out.splitlines()) == 4
    assert [key["tag"] for key in house.zonecut("key", "list", "--json").document] == TAGS
    trusted = house.zonecut("key", "list", "CHILD.sig0.test", "--state", "trusted", "--json").document
    assert [key["tag"] for key in trusted] == [46020]
    assert house.zonecut("key", "list", "second.sig0.test.", "--json").document == []


def test_show_tells_all_about_a_key(house: House) -> None:
    house.imported(DIRECTORY, "--reason", "by letter")
    ended = house.zonecut("key", "show", "child.sig0.test.", "--keyid", 46020)
    assert ended.code == 0
    for part in (FINGERPRINT, "ED25519 (15)", "known", "by letter", actor.operator(), "IN KEY 512 3 15 "):
        assert part in ended.out
    assert [key["tag"] for key in house.zonecut("key", "show", "child.sig0.test.", "--json").document] == TAGS


def test_a_key_that_is_not_there_is_exit_code_1(house: House) -> None:
    for command in ("show", "trust", "revoke"):
        ended = house.zonecut("key", command, "child.sig0.test.", "--keyid", 1)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err == "child.sig0.test. has no key with key tag 1 here\n"


def test_with_several_keys_it_must_be_said_which(house: House) -> None:
    house.imported(DIRECTORY)
    ended = house.zonecut("key", "trust", "child.sig0.test.")
    assert (ended.code, ended.out) == (2, "")
    assert "--keyid" in ended.err
    assert all(str(tag) in ended.err for tag in TAGS)
    trusted = house.zonecut("key", "trust", "child.sig0.test.", "--keyid", 46020, "--reason", "it is hers")
    assert trusted.code == 0
    assert "trusted" in trusted.out
    assert "it is hers" in trusted.out


def test_a_revoked_key_is_not_meant_unless_it_is_named(house: House) -> None:
    house.imported(DIRECTORY)
    for tag in TAGS[:2]:
        assert house.zonecut("key", "revoke", "child.sig0.test.", "--keyid", tag).code == 0
    assert house.zonecut("key", "trust", "child.sig0.test.", "--json").document["tag"] == TAGS[2]
    assert house.zonecut("key", "revoke", "child.sig0.test.", "--json").document["tag"] == TAGS[2]
    # where nothing else is there, all are shown
    ended = house.zonecut("key", "trust", "child.sig0.test.")
    assert ended.code == 2
    assert all(str(tag) in ended.err for tag in TAGS)


def twin_of(key: Key) -> Key:
    """Another usable key with the same tag: the sum of its pairs of octets is the same."""
    pairs = [key.public_key[place : place + 2] for place in range(0, 32, 2)]
    for place in range(1, 16):
        swapped = [pairs[place], *pairs[1:place], pairs[0], *pairs[place + 1 :]]
        twin = replace(key, public_key=b"".join(swapped))
        with suppress(UnusableKey):
            check_usable(twin, DEFAULT)
            assert twin.tag == key.tag
            return twin
    raise AssertionError


def test_keys_of_one_tag_are_told_apart_by_their_fingerprints(house: House) -> None:
    twin = twin_of(KEYS[46020])
    house.imported(DIRECTORY / ED25519, house.file("Ktwin.key", record(twin)))
    ended = house.zonecut("key", "revoke", "child.sig0.test.", "--keyid", 46020)
    assert ended.code == 2
    assert "--fingerprint" in ended.err
    assert twin.fingerprint() in ended.err
    start = twin.fingerprint()[:9].lower()
    revoked = house.zonecut("key", "revoke", "child.sig0.test.", "--fingerprint", start, "--json").document
    assert (revoked["fingerprint"], revoked["state"]) == (twin.fingerprint(), "revoked")
    states = {each["fingerprint"]: each["state"] for each in house.zonecut("key", "list", "--json").document}
    assert states[FINGERPRINT] == "known"


def test_what_an_operator_does_is_in_the_audit_trail(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "joan")
    house.imported(DIRECTORY / ED25519)
    house.zonecut("key", "trust", "child.sig0.test.", "--reason", "by\x1b[2Jtelephone")
    records = house.zonecut("audit", "--child", "child.sig0.test.", "--json").document
    assert [record["event"] for record in records] == ["key.trusted", "key.added"]
    assert {record["actor"] for record in records} == {"operator:joan"}
    assert house.zonecut("audit", "--event", "key.trusted", "--limit", 1, "--json").document == records[:1]
    assert house.zonecut("audit", "--since", "2099-01-01", "--json").document == []
    assert len(house.zonecut("audit", "--since", "1h", "--json").document) == 2
    shown = house.zonecut("audit").out
    assert "operator:joan" in shown
    assert "\x1b" not in shown
    assert "by\\x1b[2Jtelephone" in shown


# key retry


AUTOMATIC = "    bootstrap: [at-apex, manual]\n"


@pytest.fixture
def automatic(house: House) -> House:
    """A parent zone with a method that looks."""
    house.config.write_text(house.config.read_text() + AUTOMATIC)
    return house


def _set_state(house: House, state: KeyState) -> None:
    async def set_state() -> None:
        async with house.store() as store:
            (stored,) = await store.keys.find(CHILD)
            await store.keys.set_state(stored.id, state, "zonecut", "the look found nothing")

    asyncio.run(set_state())


def _bootstrap(house: House) -> Bootstrap:
    async def find() -> Bootstrap:
        async with house.store() as store:
            (bootstrap,) = await store.bootstraps.list(CHILD)
            return bootstrap

    return asyncio.run(find())


def test_a_key_on_its_way_is_looked_at_again_with_all_its_attempts(automatic: House) -> None:
    automatic.imported(DIRECTORY / ED25519)

    async def wait() -> None:
        async with automatic.store() as store:
            (bootstrap,) = await store.bootstraps.list(CHILD)
            later = bootstrap.next_at + 1e6
            await store.bootstraps.progress(replace(bootstrap, manual=True, attempts=9, next_at=later))

    asyncio.run(wait())
    ended = automatic.zonecut("key", "retry", "child.sig0.test.", "--reason", "they have mended it")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        "child.sig0.test. key tag 46020: at-apex run as soon as zonecut serve runs; after 16 looks in vain it waits for"
        " an operator\n"
    )
    bootstrap = _bootstrap(automatic)
    assert (bootstrap.manual, bootstrap.attempts) == (False, 0)
    assert bootstrap.next_at <= time.time()
    trail = automatic.zonecut("audit", "--json").document
    (entry,) = [entry for entry in trail if entry["event"] == "key.retry"]
    assert entry["detail"]["reason"] == "they have mended it"


def test_a_key_whose_validation_failed_is_looked_at_again(automatic: House) -> None:
    automatic.imported(DIRECTORY / ED25519)
    _set_state(automatic, KeyState.VALIDATION_FAILED)
    ended = automatic.zonecut("key", "retry", "child.sig0.test.", "--json")
    assert ended.code == 0
    assert [key["state"] for key in ended.document["keys"]] == ["known"]
    assert _bootstrap(automatic).next_at <= time.time()
    assert "attempt 1 at" in automatic.zonecut("key", "show", "child.sig0.test.").out


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (KeyState.TRUSTED, "there is nothing to do"),
        (KeyState.REFUSED, "zonecut key trust"),
        (KeyState.REVOKED, "the child needs a new key"),
    ],
)
def test_no_look_changes_what_was_decided(automatic: House, state: KeyState, words: str) -> None:
    automatic.imported(DIRECTORY / ED25519)
    _set_state(automatic, state)
    ended = automatic.zonecut("key", "retry", "child.sig0.test.")
    assert (ended.code, ended.out) == (1, "")
    assert f"key 46020 of child.sig0.test. is {state.value}" in ended.err
    assert words in ended.err


def test_where_only_an_operator_decides_nothing_is_looked_at(house: House) -> None:
    house.imported(DIRECTORY / ED25519)
    ended = house.zonecut("key", "retry", "child.sig0.test.")
    assert (ended.code, ended.out) == (1, "")
    assert "an operator decides: zonecut key trust" in ended.err


# keys that end with their delegation


def away(house: House, child: bytes, looks: int) -> None:
    """So many looks have seen that a child's delegation is away, an hour each."""
    watch = Watch(child, ZONE, None, 1.0)
    for number in range(looks):
        watch = absence.away(watch, 3600.0 * number, 86400)

    async def put() -> None:
        async with house.store() as store:
            await store.watches.begin(watch)

    asyncio.run(put())


def test_an_operator_ends_the_trust_in_the_keys_of_a_child(house: House) -> None:
    house.imported(DIRECTORY, "--trust")
    ended = house.zonecut("key", "end", "child.sig0.test.", "--reason", "the name was given up", "--json")
    assert ended.document == {"ended": [{"child": "child.sig0.test.", "keys": len(TAGS)}], "dry_run": False}
    keys = house.zonecut("key", "list", "--json").document
    assert {(key["state"], key["reason"]) for key in keys} == {("ended", "the name was given up")}


def test_a_child_or_a_zone_is_named_and_not_both(house: House) -> None:
    for arguments in ((), ("child.sig0.test.", "--gone", "sig0.test.")):
        assert house.zonecut("key", "end", *arguments).code == 2


@pytest.mark.parametrize(("looks", "count"), [(10, 0), (25, 1)])
def test_what_was_away_over_the_period_and_is_not_there_now_is_ended_at_once(
    house: House, looks: int, count: int
) -> None:
    house.imported(DIRECTORY, "--trust")
    away(house, CHILD, looks)
    text = house.zone_file.read_text()
    house.zone_file.write_text("".join(line for line in text.splitlines(keepends=True) if "child" not in line))
    listed = house.zonecut("key", "end", "--gone", "sig0.test.", "--dry-run", "--json")
    assert listed.document["ended"] == [{"child": "child.sig0.test.", "keys": 0}] * count
    assert {key["state"] for key in house.zonecut("key", "list", "--json").document} == {"trusted"}
    house.zonecut("key", "end", "--gone", "sig0.test.")
    expected = {"ended"} if count else {"trusted"}
    assert {key["state"] for key in house.zonecut("key", "list", "--json").document} == expected


def test_a_key_that_is_trusted_is_not_rejected_but_revoked(house: House) -> None:
    house.imported(DIRECTORY / ED25519, "--trust")
    ended = house.zonecut("key", "reject", "child.sig0.test.")
    assert ended.code == 1
    assert "is trusted" in ended.err
    assert "zonecut key revoke" in ended.err
    assert house.zonecut("key", "trust", "child.sig0.test.", "--json").document["state"] == "trusted"
