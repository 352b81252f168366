"""BIND key files: what dnssec-keygen writes is read, what is written is what it would write."""

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from zonecut.files.keyfiles import file_stem, parse_pair, private_text, read_pair, read_public, write_pair
from zonecut.protocol import names
from zonecut.protocol.algorithms import public_octets
from zonecut.protocol.codepoints import DEFAULT
from zonecut.protocol.keys import Key, KeyPair, UnusableKey, algorithm_text, verifier

KEYFILES = Path(__file__).parents[1] / "vectors" / "keyfiles"
STEMS = sorted(path.stem for path in KEYFILES.glob("K*.key"))
CHILD = names.from_text("child.example.")
PAIRS = {number: KeyPair.generate(CHILD, number, DEFAULT) for number in (8, 10, 13, 14, 15, 16, 199, 200, 201)}

every_algorithm = pytest.mark.parametrize("number", list(PAIRS))
every_fixture = pytest.mark.parametrize("stem", STEMS)


@pytest.fixture
def bind(tmp_path: Path) -> Path:
    """A directory with the fixtures, in the modes that dnssec-keygen gives them and git does not keep."""
    directory = tmp_path / "bind"
    shutil.copytree(KEYFILES, directory)
    for path in directory.glob("*.private"):
        path.chmod(0o600)
    return directory


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    directory = tmp_path / "ours"
    directory.mkdir()
    return directory


def without_timing(text: str) -> str:
    return re.sub(r"^(Created|Publish|Activate): .*\n", "", text, flags=re.MULTILINE)


def test_the_fixtures_cover_every_algorithm_of_dnssec_keygen() -> None:
    assert {int(re.findall(r"\+(\d{3})\+", stem)[0]) for stem in STEMS} == {8, 10, 13, 14, 15, 16}


@every_fixture
@pytest.mark.parametrize("ending", ["", ".", ".key", ".private"])
def test_a_pair_that_dnssec_keygen_made_is_read_by_any_of_its_names(bind: Path, stem: str, ending: str) -> None:
    pair = read_pair(bind / (stem + ending), DEFAULT)
    assert pair.key == read_public(bind / f"{stem}.key")
    assert verifier(pair.key, DEFAULT)(pair.sign(b"data"), b"data")


@every_fixture
def test_we_write_what_dnssec_keygen_wrote(bind: Path, ours: Path, stem: str) -> None:
    pair = read_pair(bind / stem, DEFAULT)
    assert write_pair(ours, pair, DEFAULT) == ours / f"{stem}.key"
    private = without_timing((bind / f"{stem}.private").read_text())
    assert (ours / f"{stem}.private").read_text() == private
    # BIND breaks the base64 with spaces; the record is the same.
    assert read_public(ours / f"{stem}.key") == pair.key


@every_algorithm
def test_a_pair_survives_its_files(ours: Path, number: int) -> None:
    pair = PAIRS[number]
    path = write_pair(ours, pair, DEFAULT, ttl=3600)
    assert path.name == f"Kchild.example.+{number:03d}+{pair.key.tag:05d}.key"
    assert path.read_text() == pair.key.to_text(3600) + "\n"
    again = read_pair(path, DEFAULT)
    assert again == pair
    assert verifier(pair.key, DEFAULT)(again.sign(b"data"), b"data")


@every_algorithm
def test_the_private_file_names_format_and_algorithm_first_as_bind_wants_it(number: int) -> None:
    lines = private_text(PAIRS[number], DEFAULT).splitlines()
    assert lines[:2] == ["Private-key-format: v1.3", f"Algorithm: {number} ({algorithm_text(number, DEFAULT)})"]


@pytest.mark.parametrize(("number", "curve"), [(13, ec.SECP256R1()), (14, ec.SECP384R1())])
def test_an_ecdsa_key_with_leading_zeros_is_written_at_full_length_and_read_without_them(
    ours: Path, number: int, curve: ec.EllipticCurve
) -> None:
    private = ec.derive_private_key(1, curve)
    pair = KeyPair(Key(CHILD, 512, 3, number, public_octets(private)), private)
    text = private_text(pair, DEFAULT)
    zeros = curve.key_size // 8 - 1
    assert len(re.findall(r"PrivateKey: (\S+)", text)[0]) == (zeros + 1 + 2) // 3 * 4
    shortened = re.sub(r"PrivateKey: \S+", "PrivateKey: AQ==", text)
    assert parse_pair(pair.key, shortened, DEFAULT) == parse_pair(pair.key, text, DEFAULT) == pair


@pytest.mark.parametrize(
    ("record", "private_key", "tag"),
    [
        (
            "example.com. 3600 IN KEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=",
            "ODIyNjAzODQ2MjgwODAxMjI2NDUxOTAyMDQxNDIyNjI=",
            3613,
        ),
        (
            (
                "example.com. 3600 IN KEY 257 3 16"
                " 3kgROaDjrh0H2iuixWBrc8g2EpBBLCdGzHmn+G2MpTPhpj/OiBVHHSfPodx1FYYUcJKm1MDpJtIA"
            ),
            "xZ+5Cgm463xugtkY5B0Jx6erFTXp13rYegst0qRtNsOYnaVpMx0Z/c5EiA9x8wWbDDct/U3FhYWA",
            9713,
        ),
        (
            (
                "example.net. 3600 IN KEY 257 3 13"
                " GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA=="
            ),
            "GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ=",
            55648,
        ),
        (
            (
                "example.net. 3600 IN KEY 257 3 14 xKYaNhWdGOfJ+nPrL8/arkwf2EY3MDJ+SErKivBVSum1"
                "w/egsXvSADtNJhyem5RCOpgQ6K8X1DRSEkrbYQ+OB+v8/uX45NBwY8rp65F6Glur8I/mlVNgF6W/qTI37m40"
            ),
            "WURgWHCcYIYUPWgeLmiPY2DJJk02vgrmTfitxgqcL4vwW7BOrbawVmVe0d9V94SR",
            10771,
        ),
    ],
    ids=["RFC 8080 section 6.1", "RFC 8080 section 6.2", "RFC 6605 section 6.1", "RFC 6605 section 6.2"],
)
def test_the_private_keys_of_the_rfcs_belong_to_their_public_keys(record: str, private_key: str, tag: int) -> None:
    key = Key.from_text(record)
    text = f"Private-key-format: v1.2\nAlgorithm: {key.algorithm} (X)\nPrivateKey: {private_key}\n"
    assert parse_pair(key, text, DEFAULT).key.tag == tag


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (".", "K."),
        ("child.example.", "Kchild.example."),
        ("CHILD.Example.", "Kchild.example."),
        ("a/b\\.c*D\\032x.sig0.test.", "Ka%2Fb%2Ec%2Ad%20x.sig0.test."),
        ("\\000\\255_-%\\@\\$\\(\\).t.", "K%00%FF_-%25%40%24%28%29.t."),
        ("\\.\\./x.", "K%2E%2E%2Fx."),
    ],
)
def test_odd_owner_names_get_the_file_names_that_dnssec_keygen_gives_them(ours: Path, owner: str, name: str) -> None:
    pair = KeyPair.generate(names.from_text(owner), 15, DEFAULT)
    assert file_stem(pair.key) == f"{name}+015+{pair.key.tag:05d}"
    path = write_pair(ours, pair, DEFAULT)
    assert path.parent == ours
    assert read_pair(path, DEFAULT) == pair


# Files that are not to be trusted


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o620])
def test_a_private_key_that_group_or_others_may_touch_is_refused(bind: Path, mode: int) -> None:
    private = bind / f"{STEMS[0]}.private"
    private.chmod(mode)
    with pytest.raises(UnusableKey, match=rf"{re.escape(str(private))}: group or others .*mode {mode:o}.*chmod 600"):
        read_pair(private, DEFAULT)


def test_the_private_file_is_ours_alone_whatever_the_umask(ours: Path) -> None:
    before = os.umask(0)
    try:
        path = write_pair(ours, PAIRS[15], DEFAULT)
    finally:
        os.umask(before)
    assert path.with_suffix(".private").stat().st_mode & 0o777 == 0o600
    assert path.stat().st_mode & 0o777 == 0o644


@every_algorithm
def test_a_pair_of_files_that_do_not_belong_together_is_refused(ours: Path, number: int) -> None:
    path = write_pair(ours, PAIRS[number], DEFAULT)
    other = KeyPair.generate(CHILD, number, DEFAULT)
    path.with_suffix(".private").write_text(private_text(other, DEFAULT))
    with pytest.raises(UnusableKey, match=r"\.private: .*the private part belongs to another public key") as error:
        read_pair(path, DEFAULT)
    assert f"key tag {PAIRS[number].key.tag}" in error.value.reason


def test_a_private_file_of_another_algorithm_is_refused() -> None:
    with pytest.raises(UnusableKey, match="Algorithm is not 15"):
        parse_pair(PAIRS[15].key, private_text(PAIRS[16], DEFAULT), DEFAULT)


def test_an_unusable_public_key_has_no_pair() -> None:
    key = replace(PAIRS[15].key, flags=0x8200)
    with pytest.raises(UnusableKey, match="0x8000"):
        parse_pair(key, private_text(PAIRS[15], DEFAULT), DEFAULT)


@pytest.mark.parametrize(
    ("pattern", "replacement", "rule"),
    [
        (r"Private-key-format: v1\.3", "Private-key-format: v2.0", "Private-key-format is not v1.x"),
        (r"Private-key-format: v1\.3\n", "", "Private-key-format is not v1.x"),
        (r"Algorithm: .*\n", "", "Algorithm is not"),
        (r"Pri(me1|vateKey): .*\n", "", "the file has no field"),
        (r"(Prime1|PrivateKey): .*\n", r"\1: AAECAwQF\n", "the private part"),
        (r"(Prime1|PrivateKey): .*\n", r"\1: ====\n", "the private part is damaged"),
        (r"(Prime1|PrivateKey): .*\n", r"\1:\n", "the private part is damaged"),
        (r"(Prime1|PrivateKey): (.*)\n", r"\1: \2\n\1: \2\n", "is not a new field and its value"),
        (r"(Prime1|PrivateKey): .*\n", r"\1\n", "is not a new field and its value"),
    ],
)
@every_algorithm
def test_a_damaged_private_file_is_refused_without_repeating_its_content(
    number: int, pattern: str, replacement: str, rule: str
) -> None:
    text = private_text(PAIRS[number], DEFAULT)
    damaged = re.sub(pattern, replacement, text, count=1)
    assert damaged != text
    with pytest.raises(UnusableKey) as error:
        parse_pair(PAIRS[number].key, damaged, DEFAULT)
    assert rule in error.value.reason
    assert f"child.example. with key tag {PAIRS[number].key.tag}: " in error.value.reason
    secrets = re.findall(r"(?:Pri\w+|Exponent\d|Coefficient): (\S{8})", text)
    assert not any(secret in error.value.reason for secret in secrets)


def test_comments_timing_and_unknown_fields_are_passed_over() -> None:
    pair = PAIRS[15]
    text = f"; ours\n\n{private_text(pair, DEFAULT)}Created: 20261124063830\nFuture: yes\n"
    assert parse_pair(pair.key, text, DEFAULT) == pair


def test_a_key_file_may_begin_with_comments(tmp_path: Path) -> None:
    path = tmp_path / "any-name.key"
    path.write_text(f"; This is a key, keyid {PAIRS[15].key.tag}\n; Caf\u00e9\n{PAIRS[15].key.to_text()}\n")
    assert read_public(path) == PAIRS[15].key


@pytest.mark.parametrize("content", [b"", b"\0\xff" * 100, b"child.example. IN DNSKEY 257 3 15 AAEC\n"])
def test_a_file_that_holds_no_key_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.key"
    path.write_bytes(content)
    with pytest.raises(UnusableKey, match=re.escape(str(path))):
        read_public(path)


def test_a_file_that_is_far_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.key"
    path.write_bytes(b";" * (1 << 20))
    with pytest.raises(UnusableKey, match="larger than 262144 octets"):
        read_public(path)


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_pair(tmp_path / "Knone.+015+00000", DEFAULT)


# Writing never harms what is there


@pytest.mark.parametrize("ending", [".key", ".private"])
def test_an_existing_file_is_never_overwritten_and_no_half_is_left(ours: Path, ending: str) -> None:
    existing = ours / (file_stem(PAIRS[15].key) + ending)
    existing.write_text("precious")
    with pytest.raises(FileExistsError):
        write_pair(ours, PAIRS[15], DEFAULT)
    assert list(ours.iterdir()) == [existing]
    assert existing.read_text() == "precious"


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_write_that_fails_leaves_nothing_behind(ours: Path, failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="disk full"):
        write_pair(ours, PAIRS[15], DEFAULT)
    assert list(ours.iterdir()) == []


def test_a_directory_that_does_not_exist_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_pair(tmp_path / "none", PAIRS[15], DEFAULT)
