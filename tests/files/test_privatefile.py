"""Files that hold a secret: who else may read them, and what is said when they cannot be used."""

from pathlib import Path

import pytest

from zonecut.files.privatefile import PrivateFileError, read_word


def key_file(directory: Path, octets: bytes, mode: int = 0o600) -> Path:
    file = directory / "api.key"
    file.write_bytes(octets)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("octets", [b"changeme", b"changeme\n", b"  a+b/c=\r\n"])
def test_a_key_is_one_word(tmp_path: Path, octets: bytes) -> None:
    assert read_word(key_file(tmp_path, octets), "API key") == octets.strip().decode()


@pytest.mark.parametrize("octets", [b"", b"\n", b"two words", b"two\nlines", b"\xc3\xa4", b"a" * 5000, b"a\0b"])
def test_anything_else_is_no_key_and_is_not_shown(tmp_path: Path, octets: bytes) -> None:
    with pytest.raises(PrivateFileError, match="one word of ASCII") as caught:
        read_word(key_file(tmp_path, octets), "API key")
    assert "lines" not in str(caught.value)


def test_a_word_that_is_too_short_to_be_a_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrivateFileError, match="one word of ASCII of 32 characters or more"):
        read_word(key_file(tmp_path, b"a" * 31), "API key", 32)
    assert read_word(key_file(tmp_path, b"a" * 32), "API key", 32) == "a" * 32


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(PrivateFileError, match="chmod 600"):
        read_word(key_file(tmp_path, b"changeme", mode), "API key")


def test_a_key_that_is_missing_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrivateFileError, match="No such file"):
        read_word(tmp_path / "none", "API key")
    with pytest.raises(PrivateFileError, match="directory"):
        read_word(tmp_path, "API key")
