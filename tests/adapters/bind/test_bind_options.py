"""The options and the key file of the adapter `bind`."""

import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from zonecut.plugin.dns.tsig_key import KeyFileError, load_key, parse_key
from zonecut.plugin.registry import adapters, create_manager
from zonecut_bind.options import BindOptions, Rfc2136Options

SECRET = "jEyPbgDpe4vb2MYIqGmoL7XiZH/kESYEx9bxemg/coQ="
WRITTEN = f'key "zonecut.example" {{\n\talgorithm hmac-sha256;\n\tsecret "{SECRET}";\n}};\n'


def key_file(directory: Path, text: str, mode: int = 0o600) -> Path:
    file = directory / "tsig.key"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_the_adapter_registers_under_its_name() -> None:
    assert adapters(create_manager())["bind"].options is BindOptions


def test_the_defaults_are_the_documented_ones() -> None:
    options = BindOptions()
    assert options.model_dump() == {
        "server": "127.0.0.1:53",
        "tsig": Path("/etc/zonecut/tsig.key"),
        "timeout": 5.0,
        "batch_octets": 60_000,
        "rescan": 300.0,
    }


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ("127.0.0.1:53", ("127.0.0.1", 53)),
        ("[::1]:5353", ("::1", 5353)),
        ("[2001:DB8:0::1]:1", ("2001:db8::1", 1)),
    ],
)
def test_a_server_is_an_address_and_a_port(server: str, address: tuple[str, int]) -> None:
    assert BindOptions(server=server).address == address


@pytest.mark.parametrize(
    "server",
    [
        "",
        "127.0.0.1",
        "::1",
        "::1:53",
        "[::1]",
        "[127.0.0.1]:53",
        "localhost:53",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:٥٣",
        "127.0.0.1:-1",
        "127.0.0.1:",
        ":53",
        "1.2.3:53",
    ],
)
def test_anything_else_is_refused_with_an_example(server: str) -> None:
    with pytest.raises(ValidationError, match="an address with a port, as"):
        BindOptions(server=server)


@pytest.mark.parametrize(
    "options", [{"sever": "x"}, {"timeout": 0}, {"batch_octets": 65535}, {"batch_octets": 1}, {"rescan": 0}]
)
def test_options_outside_their_limits_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        BindOptions.model_validate(options)


def test_a_file_of_tsig_keygen_is_read(tmp_path: Path) -> None:
    key = load_key(key_file(tmp_path, WRITTEN))
    assert (str(key.name), str(key.algorithm), len(key.secret)) == ("zonecut.example.", "hmac-sha256.", 32)


@pytest.mark.parametrize(
    "text",
    [
        "key k { algorithm HMAC-SHA512.; secret AAAA; };",
        '# a comment\nkey k{algorithm "hmac-sha1";secret "AA AA";};// another',
        '/* one\n two */ KEY k { SECRET "//8="; algorithm hmac-sha384; } ;',
        "key k { algorithm hmac-sha224; secret AA//; };",
    ],
)
def test_what_named_reads_is_read(text: str) -> None:
    assert str(parse_key(text).name) == "k."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "key",
        SECRET,
        WRITTEN + WRITTEN,
        WRITTEN.replace("algorithm hmac-sha256;", ""),
        WRITTEN.replace("hmac-sha256", "hmac-md5"),
        WRITTEN.replace("secret", "secrets"),
        WRITTEN.replace("=", "!"),
        WRITTEN.replace(SECRET, ""),
        WRITTEN.replace('";', ";"),
        WRITTEN.replace("};", "}"),
        WRITTEN.replace("};", f'secret "{SECRET}"; }};'),
        WRITTEN.replace("zonecut.example", "a..b"),
        f"key k {{ algorithm hmac-sha256; secret {SECRET} {SECRET}; }};",
    ],
)
def test_anything_else_is_refused_without_showing_the_secret(tmp_path: Path, text: str) -> None:
    with pytest.raises(KeyFileError, match="should hold key") as caught:
        load_key(key_file(tmp_path, text))
    assert SECRET[:10] not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_key(key_file(tmp_path, WRITTEN, mode))


def test_a_file_that_is_missing_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        load_key(tmp_path / "none")
    with pytest.raises(KeyFileError, match="directory"):
        load_key(tmp_path)
    binary = tmp_path / "binary"
    binary.write_bytes(pickle.dumps("\x80\xff"))
    binary.chmod(0o600)
    with pytest.raises(KeyFileError, match="cannot be used"):
        load_key(binary)


def test_a_key_does_not_show_its_secret(tmp_path: Path) -> None:
    shown = repr(load_key(key_file(tmp_path, WRITTEN)))
    assert "zonecut.example" in shown
    assert SECRET not in shown


def test_the_adapter_for_any_server_registers_under_its_name() -> None:
    assert adapters(create_manager())["rfc2136"].options is Rfc2136Options


@pytest.mark.parametrize("options", [{"transfer_timeout": 0}, {"transfer_timeout": 601}, {"zone": "x"}])
def test_options_of_any_server_outside_their_limits_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Rfc2136Options.model_validate(options)
