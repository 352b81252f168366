"""The receiver's own key: how it is kept, and how another one takes its place, with the time as an argument."""

import json
import stat
from pathlib import Path

import pytest

from zonecut.files import keyfiles
from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT, Algorithm
from zonecut.protocol.keys import KeyPair, UnusableKey
from zonecut.receiver.announce.identity import Identity, Phase
from zonecut.receiver.announce.key_directory import Identities, KeyDirectory, LostKey, RollUnderWay

TARGET = names.from_text("updater.parent.example.")
OTHER = names.from_text("updater.other.example.")
STATE = "Kupdater.parent.example.identity.json"
OLD = KeyPair.generate(TARGET, Algorithm.ED25519, DEFAULT)
NEW = KeyPair.generate(TARGET, Algorithm.ED25519, DEFAULT)
STEADY = Identity(TARGET, OLD)
ROLLING = STEADY.rolling(NEW, ttl=100)
SEEN = ROLLING.observed([OLD.key, NEW.key], 100, now=1000)


@pytest.fixture
def directory(tmp_path: Path) -> KeyDirectory:
    return KeyDirectory(tmp_path / "keys", DEFAULT)


# The roll


def test_without_a_roll_the_one_key_signs_and_is_published() -> None:
    assert (STEADY.phase(0), STEADY.signer(0), STEADY.published(0)) == (Phase.STEADY, OLD, (OLD.key,))
    assert STEADY.next_at(0) is None


def test_a_new_key_is_published_and_does_not_sign_before_it_was_seen() -> None:
    for now in (0, 10**9):
        assert ROLLING.phase(now) is Phase.INTRODUCING
        assert ROLLING.signer(now) == OLD
        assert ROLLING.published(now) == (OLD.key, NEW.key)
    assert ROLLING.next_at(0) is None


@pytest.mark.parametrize(
    ("now", "phase", "signer", "published", "next_at"),
    [
        (1000, Phase.INTRODUCING, OLD, (OLD.key, NEW.key), 1100),
        (1099.9, Phase.INTRODUCING, OLD, (OLD.key, NEW.key), 1100),
        (1100, Phase.RETIRING, NEW, (OLD.key, NEW.key), 1200),
        (1199.9, Phase.RETIRING, NEW, (OLD.key, NEW.key), 1200),
        (1200, Phase.WITHDRAWING, NEW, (NEW.key,), None),
        (10**9, Phase.WITHDRAWING, NEW, (NEW.key,), None),
    ],
)
def test_each_phase_lasts_a_ttl_from_when_the_new_key_was_seen(
    now: float, phase: Phase, signer: KeyPair, published: object, next_at: float | None
) -> None:
    assert (SEEN.phase(now), SEEN.signer(now), SEEN.published(now)) == (phase, signer, published)
    assert SEEN.next_at(now) == next_at


def test_seeing_the_new_key_again_does_not_move_the_times() -> None:
    assert SEEN.observed([OLD.key, NEW.key], 100, now=1050) == SEEN


def test_a_new_key_that_vanishes_before_it_signs_starts_over() -> None:
    gone = SEEN.observed([OLD.key], 100, now=1050)
    assert gone.signs_at is None
    assert gone.observed([NEW.key], 100, now=1060).signs_at == 1160


def test_a_new_key_that_vanishes_once_it_signs_goes_on_signing() -> None:
    assert SEEN.observed([OLD.key], 100, now=1100) == SEEN


def test_the_longest_ttl_that_was_seen_counts() -> None:
    assert ROLLING.observed([NEW.key], 500, now=1000).signs_at == 1500
    assert ROLLING.observed([NEW.key], 5, now=1000).signs_at == 1100


def test_after_the_roll_the_new_key_is_the_only_one() -> None:
    assert SEEN.rolled() == Identity(TARGET, NEW)
    assert STEADY.rolled() == STEADY
    assert STEADY.observed([], 1, now=0) == STEADY


def test_the_identity_as_json_has_no_secret() -> None:
    document = SEEN.to_json(1100)
    assert (document["phase"], document["signer"]["tag"], len(document["published"])) == ("retiring", NEW.key.tag, 2)
    assert document["signs_at"] == "1970-01-01T00:18:20.000Z"
    assert "PrivateKey" not in json.dumps(document)


# On disk


def test_who_only_looks_makes_nothing(directory: KeyDirectory) -> None:
    assert directory.find(TARGET) is None
    assert not directory.path.exists()


def test_the_first_start_makes_a_key_that_only_its_owner_can_read(directory: KeyDirectory) -> None:
    identity = directory.ensure(TARGET, Algorithm.ECDSAP256SHA256)
    assert identity.current.key.owner == TARGET
    assert identity.current.key.algorithm == Algorithm.ECDSAP256SHA256
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700
    private = [path for path in directory.path.iterdir() if path.suffix != ".key"]
    assert len(private) == 3
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in private)


def test_later_starts_read_the_key(directory: KeyDirectory) -> None:
    first = directory.ensure(TARGET, Algorithm.ED25519)
    again = KeyDirectory(directory.path, DEFAULT).ensure(TARGET, Algorithm.RSASHA256)
    assert again == first
    assert again.signer(0).sign(b"x") == first.signer(0).sign(b"x")
    assert KeyDirectory(directory.path, DEFAULT).find(TARGET) == first


def test_each_target_has_a_key_of_its_own(directory: KeyDirectory) -> None:
    assert directory.ensure(TARGET, Algorithm.ED25519) != directory.ensure(OTHER, Algorithm.ED25519)
    below = b"\1x" + TARGET
    assert directory.ensure(below, Algorithm.ED25519).owner == below
    found = directory.find(TARGET)
    assert found is not None
    assert found.owner == TARGET


def test_a_key_that_the_operator_made_is_taken(directory: KeyDirectory) -> None:
    directory.path.mkdir(mode=0o700)
    keyfiles.write_pair(directory.path, OLD, DEFAULT)
    assert directory.ensure(TARGET, Algorithm.ED25519) == STEADY
    # and stays the one when another is put beside it
    keyfiles.write_pair(directory.path, NEW, DEFAULT)
    assert directory.find(TARGET) == STEADY


def test_of_two_keys_that_the_operator_made_none_is_guessed(directory: KeyDirectory) -> None:
    directory.path.mkdir(mode=0o700)
    for pair in (OLD, NEW):
        keyfiles.write_pair(directory.path, pair, DEFAULT)
    with pytest.raises(UnusableKey, match=r"holds 2 keys of updater.parent.example.: leave the one to use"):
        directory.ensure(TARGET, Algorithm.ED25519)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"coming": 1', '{"coming": null, "seen_at": null, "ttl": "x"}'])
def test_a_damaged_state_file_is_named(directory: KeyDirectory, text: str) -> None:
    directory.ensure(TARGET, Algorithm.ED25519)
    (directory.path / STATE).write_text(text)
    with pytest.raises(UnusableKey, match=f"{STATE}: not what zonecut writes there"):
        directory.find(TARGET)


def test_a_missing_key_file_is_named(directory: KeyDirectory) -> None:
    identity = directory.ensure(TARGET, Algorithm.ED25519)
    stem = keyfiles.file_stem(identity.current.key)
    (directory.path / f"{stem}.private").unlink()
    with pytest.raises(UnusableKey, match=r"names a key whose file is missing: .*\.private"):
        directory.ensure(TARGET, Algorithm.ED25519)


def test_a_private_key_that_others_can_read_is_refused(directory: KeyDirectory) -> None:
    identity = directory.ensure(TARGET, Algorithm.ED25519)
    (directory.path / f"{keyfiles.file_stem(identity.current.key)}.private").chmod(0o640)
    with pytest.raises(UnusableKey, match="chmod 600"):
        directory.find(TARGET)


def test_a_roll_goes_through_its_phases_on_disk(directory: KeyDirectory) -> None:
    old = directory.ensure(TARGET, Algorithm.ED25519).current
    rolling = directory.begin_roll(TARGET, Algorithm.ED25519, 100)
    assert rolling.coming is not None
    assert rolling.current == old
    with pytest.raises(RollUnderWay):
        directory.begin_roll(TARGET, Algorithm.ED25519, 100)
    keys = rolling.published(0)
    seen = directory.update(TARGET, lambda identity: identity.observed(keys, 100, 1000))
    assert KeyDirectory(directory.path, DEFAULT).find(TARGET) == seen
    done = directory.update(TARGET, lambda identity: identity.rolled())
    assert done.current == rolling.coming
    assert directory.find(TARGET) == done
    retired = {path.name for path in (directory.path / "retired").iterdir()}
    stem = keyfiles.file_stem(old.key)
    assert retired == {f"{stem}.key", f"{stem}.private"}
    assert not list(directory.path.glob(f"{stem}.*"))


# Held against what is known


def test_a_lost_directory_is_named_and_no_new_key_made(directory: KeyDirectory) -> None:
    with pytest.raises(
        LostKey, match=r"holds no key of updater.*tag \d+.*put that directory back.*--new-key"
    ) as caught:
        directory.ensure(TARGET, Algorithm.ED25519, OLD.key)
    assert str(directory.path) in str(caught.value)
    assert not directory.path.exists(), "what is put back shall not land in another one"


def test_an_older_copy_of_the_directory_is_no_proof_of_a_later_key(directory: KeyDirectory) -> None:
    had = directory.ensure(TARGET, Algorithm.ED25519).current.key
    assert directory.ensure(TARGET, Algorithm.ED25519, had).current.key == had
    with pytest.raises(LostKey, match=r"holds another key of updater.parent.example."):
        directory.ensure(TARGET, Algorithm.ED25519, NEW.key)


def test_a_key_that_follows_by_a_roll_from_the_one_that_is_known_is_taken(directory: KeyDirectory) -> None:
    had = directory.ensure(TARGET, Algorithm.ED25519).current.key
    rolling = directory.begin_roll(TARGET, Algorithm.ED25519, 100)
    assert directory.ensure(TARGET, Algorithm.ED25519, had) == rolling
    assert rolling.coming is not None
    assert directory.ensure(TARGET, Algorithm.ED25519, rolling.coming.key) == rolling
    keys = rolling.published(0)
    directory.update(TARGET, lambda identity: identity.observed(keys, 100, 1000))
    done = directory.update(TARGET, lambda identity: identity.rolled())
    assert directory.ensure(TARGET, Algorithm.ED25519, had) == done


def test_a_key_that_is_gone_is_not_rolled(directory: KeyDirectory) -> None:
    directory.path.mkdir(mode=0o700)
    with pytest.raises(UnusableKey, match=r"the key of updater.parent.example. is gone"):
        directory.begin_roll(TARGET, Algorithm.ED25519, 100)
    assert not list(directory.path.glob("K*"))


# In memory


def test_a_running_receiver_notices_what_others_did_and_nothing_else(directory: KeyDirectory) -> None:
    identities = Identities(directory, Algorithm.ED25519)
    identities.ensure({TARGET, OTHER})
    old = identities.signer(TARGET, 0)
    assert identities.refresh() == set()
    rolling = KeyDirectory(directory.path, DEFAULT).begin_roll(TARGET, Algorithm.ED25519, 100)
    assert identities.of(TARGET).coming is None
    assert identities.refresh() == {TARGET}
    assert identities.of(TARGET) == rolling
    assert identities.signer(TARGET, 0) == old
    assert identities.refresh() == set()


def test_a_running_receiver_goes_on_with_its_key_when_the_files_are_damaged(directory: KeyDirectory) -> None:
    identities = Identities(directory, Algorithm.ED25519)
    identities.ensure({TARGET})
    before = identities.of(TARGET)
    content = (directory.path / STATE).read_text()
    (directory.path / STATE).write_text("nonsense")
    assert identities.refresh() == set()
    assert identities.of(TARGET) == before
    (directory.path / STATE).unlink()
    assert identities.refresh() == {TARGET}, "one key is left, which is it"
    (directory.path / STATE).write_text(content)
    assert identities.refresh() == {TARGET}
    identities.ensure({OTHER})
    assert identities.refresh() == set()
    with pytest.raises(KeyError):
        identities.of(TARGET)
