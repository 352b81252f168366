"""KEY records as values, and what makes one unusable (RFC 2535 section 3, RFC 3110, 6605, 8080)."""

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import dns.dnssec
import dns.rdata
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT
from zonecut.protocol.keys import (
    Key,
    KeyPair,
    UnusableKey,
    algorithm_text,
    check_usable,
    verifier,
)

VECTORS = Path(__file__).parents[1] / "vectors"
CHILD = names.from_text("child.example.")
PAIRS = {number: KeyPair.generate(CHILD, number, DEFAULT) for number in (8, 10, 13, 14, 15, 16, 199, 200, 201)}

every_algorithm = pytest.mark.parametrize("number", list(PAIRS))

labels = st.binary(min_size=1, max_size=20).map(bytes.lower)
owners = st.lists(labels, max_size=5).map(lambda found: b"".join(bytes([len(n)]) + n for n in found) + b"\0")
keys = st.builds(
    Key,
    owner=owners,
    flags=st.integers(0, 0xFFFF),
    protocol=st.integers(0, 255),
    algorithm=st.integers(0, 255),
    public_key=st.binary(min_size=1, max_size=300),
)


def rsa_key(exponent: bytes, modulus: bytes, *, algorithm: int = 8) -> Key:
    return Key(CHILD, 512, 3, algorithm, bytes([len(exponent)]) + exponent + modulus)


def refused(key: Key) -> str:
    """The reason for which both checks refuse the key."""
    with pytest.raises(UnusableKey) as checked:
        check_usable(key, DEFAULT)
    with pytest.raises(UnusableKey) as loaded:
        verifier(key, DEFAULT)
    assert checked.value.reason == loaded.value.reason == str(checked.value)
    assert f"KEY of child.example. with key tag {key.tag}: " in checked.value.reason
    return checked.value.reason


def unreadable(text: str) -> str:
    with pytest.raises(UnusableKey) as error:
        Key.from_text(text)
    return error.value.reason


# The KEY record


@pytest.mark.parametrize("path", sorted(VECTORS.glob("K*.key")), ids=lambda path: path.name)
def test_the_tag_is_the_one_that_bind_puts_into_the_file_name(path: Path) -> None:
    key = Key.from_text(path.read_text())
    assert f"+{key.algorithm:03d}+{key.tag:05d}.key" in path.name
    check_usable(key, DEFAULT)


@given(keys.filter(lambda key: key.algorithm != 1))  # RSA/MD5 has a tag of its own, which nobody uses any more
def test_the_tag_is_the_one_that_dnspython_computes(key: Key) -> None:
    rdata = dns.rdata.from_wire("IN", "KEY", key.rdata, 0, len(key.rdata))
    assert key.tag == dns.dnssec.key_id(rdata)  # type: ignore[arg-type]


@given(keys, st.none() | st.integers(0, 2**31 - 1))
def test_a_key_survives_its_presentation_form(key: Key, ttl: int | None) -> None:
    assert Key.from_text(key.to_text(ttl)) == key


@given(keys)
def test_a_key_survives_its_wire_form(key: Key) -> None:
    assert Key.from_rdata(key.owner, key.rdata) == key


def test_the_presentation_form_is_what_bind_writes() -> None:
    key = Key(CHILD, 512, 3, 15, b"\0" * 32)
    assert key.to_text() == "child.example. IN KEY 512 3 15 " + "A" * 43 + "="
    assert key.to_text(3600) == "child.example. 3600 IN KEY 512 3 15 " + "A" * 43 + "="


@pytest.mark.parametrize("rdata", [b"", b"\2\0\3\17"])
def test_rdata_without_a_public_key_is_no_key(rdata: bytes) -> None:
    with pytest.raises(UnusableKey, match=r"KEY of child\.example\.: RDATA of [04] octets"):
        Key.from_rdata(CHILD, rdata)


@pytest.mark.parametrize(
    "text",
    [
        "child.example. IN KEY 512 3 15 AAEC",
        "CHILD.Example KEY 512 3 15 AA EC",
        "; made today\n\n  ; and commented\nchild.example.\t3600 IN KEY ( 512 3 15 ; host\n\tAA\n\tEC ) ; end\n\n",
        "child.example. IN 1h30m KEY 512 3 15 AAEC\r\n",
        "\\099hild.e\\xample. in key 512 3 15 AAEC",
        "child.example. (IN KEY 512 3 15)AAEC",
        "child.example. IN KEY 512 3 ED25519 AAEC",
        "child.example. IN TYPE25 512 3 ed25519 AAEC",
        "child.example. 300 CLASS1 TYPE25 \\# 7 0200030f 000102",
        "child.example. IN KEY \\# 7 ( 0200 030F\n 000102 )",
        "$ORIGIN example.\n$TTL 1h\nchild IN KEY 512 3 15 AAEC\n",
        "$ttl 3600\n$origin example\n$ORIGIN child\n@ IN KEY 512 3 15 AAEC\n",
        "$ORIGIN elsewhere.test.\nchild.example. IN KEY 512 3 15 AAEC\n",
    ],
)
def test_what_a_zone_file_may_hold_is_understood(text: str) -> None:
    assert Key.from_text(text) == Key(CHILD, 512, 3, 15, b"\0\1\2")


@pytest.mark.parametrize("kind", ["DNSKEY", "CDNSKEY", "dnskey"])
def test_a_dnskey_is_not_a_key_and_the_message_says_how_to_make_one(kind: str) -> None:
    reason = unreadable(f"child.example. IN {kind} 257 3 15 AAEC")
    assert f"child.example.: a {kind.upper()} is not a KEY" in reason
    assert "dnssec-keygen -T KEY -n HOST" in reason


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "0 records"),
        ("; nothing\n", "0 records"),
        ("child.example. IN KEY 512 3 15 AAEC\nchild.example. IN KEY 512 3 15 AAEC\n", "2 records"),
        ("child.example. IN KEY 512 3 15 AA\nEC\n", "2 records"),
        ("  IN KEY 512 3 15 AAEC", "full owner name, not with 'white space'"),
        ("@ IN KEY 512 3 15 AAEC", "full owner name, not with '@'"),
        ("$ORIGIN example.", "0 records"),
        ("$ORIGIN example.\n  IN KEY 512 3 15 AAEC", "full owner name, not with 'white space'"),
        ("$ORIGIN " + "a23456789." * 20 + "\n" + "b23456789." * 8 + "c IN KEY 512 3 15 AAEC", "longer than 255 octets"),
        ("$ORIGIN a..b.\n@ IN KEY 512 3 15 AAEC", "the $ORIGIN is no domain name"),
        ("$TTL soon\nchild.example. KEY 512 3 15 AAEC", "'$TTL soon' has no place in a key file"),
        ("$INCLUDE /etc/passwd\nchild.example. KEY 512 3 15 AAEC", "only $ORIGIN NAME and $TTL TIME"),
        ("child.example. IN TYPE48 \\# 7 02000303000102", "a DNSKEY is not a KEY"),
        ("child.example. IN TYPE25 \\# 8 0200030F000102", "\\# 8 is followed by 7 octets"),
        ("child.example. IN TYPE25 \\# 4 0200030F", "\\# 4 is followed by 4 octets; a KEY has five or more"),
        ("child.example. IN TYPE25 \\# 7 0200030F00010", "not hexadecimal"),
        ("child.example. IN TYPE25 \\#", "the length after \\# is a number up to 65535, not ''"),
        ("child.example. IN KEY 512 3 ED25518 AAEC", "up to 255 or a mnemonic such as ED25519, not 'ED25518'"),
        ("child..example. IN KEY 512 3 15 AAEC", "empty label"),
        ("child.example.", "record without a type"),
        ("child.example. IN A 192.0.2.1", "a A is not a KEY"),
        ("child.example. CH KEY 512 3 15 AAEC", "a CH is not a KEY"),
        ("child.example. IN KEY 512 3 15", "four fields"),
        ("child.example. IN KEY 65536 3 15 AAEC", "flags is a number up to 65535, not '65536'"),
        ("child.example. IN KEY 512 256 15 AAEC", "protocol is a number up to 255, not '256'"),
        (
            "child.example. IN KEY 512 3 -5 AAEC",
            "algorithm is a number up to 255 or a mnemonic such as ED25519, not '-5'",
        ),
        ("child.example. IN KEY 512 3 15 AAE", "no base64"),
        ("child.example. IN KEY 512 3 15 A*EC", "no base64"),
        ("child.example. IN KEY 512 3 15 =", "no base64"),
        ("child.example. IN KEY 512 3 15 " + "AAAA" * 22000, "does not fit"),
        ("child.example. IN KEY ( 512 3 15 AAEC", "parentheses"),
        ("child.example. IN KEY ) 512 3 15 AAEC", "parentheses"),
        ("child.example. IN KEY (( 512 3 15 AAEC ))", "parentheses"),
        ('"child.example." IN KEY 512 3 15 AAEC', "no KEY record can be read from"),
        ("child.example.\\", "no KEY record can be read from"),
    ],
)
def test_text_that_is_no_key_record_is_refused_with_the_rule(text: str, rule: str) -> None:
    assert rule in unreadable(text)


@given(st.text())
def test_any_other_text_is_refused_and_never_crashes(text: str) -> None:
    with suppress(UnusableKey):
        Key.from_text(text)


def test_the_fingerprint_is_128_bits_in_groups_that_can_be_read_aloud() -> None:
    key = Key.from_text((VECTORS / "Kchild.sig0.test.+015+46020.key").read_text())
    assert re.fullmatch(r"(?:[0-9A-F]{4} ){7}[0-9A-F]{4}", key.fingerprint())
    assert key.fingerprint() == "C024 FA76 2B73 8A4A 68EF F97C E0C2 8013"


@given(keys, keys)
def test_fingerprints_tell_keys_apart(one: Key, other: Key) -> None:
    assert (one.fingerprint() == other.fingerprint()) == (one == other)


def test_the_same_public_key_of_another_owner_has_another_fingerprint() -> None:
    key = PAIRS[15].key
    assert replace(key, owner=names.from_text("other.example.")).fingerprint() != key.fingerprint()


# What makes a key unusable


@every_algorithm
@pytest.mark.parametrize(("flags", "protocol"), [(512, 3), (256, 3), (512, 255), (0, 3)])
def test_what_known_tools_write_is_usable(number: int, flags: int, protocol: int) -> None:
    check_usable(replace(PAIRS[number].key, flags=flags, protocol=protocol), DEFAULT)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"flags": 0x8200}, "prohibit authentication (0x8000)"),
        ({"flags": 0xC000}, "prohibit authentication (0x8000)"),
        ({"flags": 0x1200}, "extended flags (0x1000)"),
        ({"protocol": 1}, "protocol 1 is neither 3 (DNSSEC) nor 255 (all)"),
        ({"algorithm": 5}, "algorithm 5 is not supported"),
        ({"algorithm": 0}, "algorithm 0 is not supported"),
    ],
)
def test_a_key_that_is_not_for_this_is_unusable(change: dict[str, int], rule: str) -> None:
    assert rule in refused(replace(PAIRS[15].key, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("exponent", "modulus", "rule"),
    [
        (b"\1\0\1", b"\xff" * 255, "modulus has 2040 bits, not 2048 to 4096"),
        (b"\1\0\1", b"\x7f" + b"\xff" * 255, "modulus has 2047 bits"),
        (b"\1\0\1", b"\1" + b"\xff" * 512, "modulus has 4097 bits"),
        (b"\1\0\1", b"", "modulus has 0 bits"),
        (b"\1\0\1", b"\xff" * 255 + b"\xfe", "modulus is even"),
        (b"\1\0\1", b"\0" + b"\xff" * 256, "leading zeros"),
        (b"\0\1\0\1", b"\xff" * 256, "leading zeros"),
        (b"\1\0\0\0\1", b"\xff" * 256, "exponent is 2^32 or larger"),
        (b"", b"\1\0" + b"\1" * 256 + b"\xff" * 256, "exponent is 2^32 or larger"),  # the long form of RFC 3110
        (b"\1", b"\xff" * 256, "exponent is 1, not an odd number from 3 up"),
        (b"\4", b"\xff" * 256, "exponent is 4, not an odd number from 3 up"),
    ],
)
def test_an_rsa_key_out_of_bounds_is_unusable(exponent: bytes, modulus: bytes, rule: str) -> None:
    assert rule in refused(rsa_key(exponent, modulus))
    assert rule in refused(rsa_key(exponent, modulus, algorithm=10))


@pytest.mark.parametrize("octets", [b"", b"\0", b"\5", b"\3\1", b"\1\0"])
def test_an_rsa_key_that_ends_early_is_unusable(octets: bytes) -> None:
    refused(Key(CHILD, 512, 3, 8, octets))


@pytest.mark.parametrize("bits", [2048, 4096])
def test_rsa_keys_at_the_bounds_are_usable(bits: int) -> None:
    check_usable(rsa_key(b"\xff\xff\xff\xff", b"\xff" * (bits // 8)), DEFAULT)
    check_usable(rsa_key(b"\3", b"\xff" * (bits // 8)), DEFAULT)


@pytest.mark.parametrize("number", [number for number in PAIRS if number not in (8, 10)])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_key_of_the_wrong_length_is_unusable(number: int, change: int) -> None:
    right = len(PAIRS[number].key.public_key)
    key = replace(PAIRS[number].key, public_key=b"\1" * (right + change))
    assert f"the {algorithm_text(number, DEFAULT)} public key has {right + change} octets, not {right}" in refused(key)


@pytest.mark.parametrize("number", [13, 14, 15, 16])
def test_a_key_with_an_impossible_coordinate_is_unusable(number: int) -> None:
    size = len(PAIRS[number].key.public_key)
    key = replace(PAIRS[number].key, public_key=b"\xff" * size)
    assert f"the {algorithm_text(number, DEFAULT)} public key is no point on the curve" in refused(key)


@pytest.mark.parametrize(("number", "coordinate"), [(13, 6), (14, 6)])
def test_an_ecdsa_key_that_is_no_point_on_the_curve_is_unusable(number: int, coordinate: int) -> None:
    size = len(PAIRS[number].key.public_key)
    key = replace(PAIRS[number].key, public_key=coordinate.to_bytes(size, "little"))
    assert f"the {algorithm_text(number, DEFAULT)} public key is no point on the curve" in refused(key)


@pytest.mark.parametrize(("number", "coordinate"), [(15, 2), (16, 6)])
def test_an_eddsa_key_that_is_no_point_on_the_curve_is_not_taken_in_and_verifies_nothing(
    number: int, coordinate: int
) -> None:
    octets = coordinate.to_bytes(len(PAIRS[number].key.public_key), "little")
    key = replace(PAIRS[number].key, public_key=octets)
    with pytest.raises(UnusableKey, match="no point on the curve"):
        check_usable(key, DEFAULT)
    verify = verifier(key, DEFAULT)
    assert not verify(PAIRS[number].sign(b"data"), b"data")


SMALL_ORDER = [
    (15, (1).to_bytes(32, "little")),
    (15, (0).to_bytes(32, "little")),
    (15, ((1 << 255) - 20).to_bytes(32, "little")),
    (15, bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")),
    (15, bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa")),
    (16, (1).to_bytes(57, "little")),
    (16, (0).to_bytes(57, "little")),
    (16, ((1 << 448) - (1 << 224) - 2).to_bytes(57, "little")),
]


@pytest.mark.parametrize(("number", "octets"), SMALL_ORDER)
def test_a_point_of_small_order_is_unusable_since_anybody_can_sign_for_it(number: int, octets: bytes) -> None:
    assert "a point of small order, for which anybody can sign" in refused(Key(CHILD, 512, 3, number, octets))
