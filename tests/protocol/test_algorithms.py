"""What signs and verifies: the nine algorithms (RFC 3110, 5702, 6605, 8080; FIPS 204)."""

from base64 import b64decode
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT, CodePoints
from zonecut.protocol.keys import Key, KeyPair, UnusableKey, algorithm_number, algorithm_text, verifier

CHILD = names.from_text("child.example.")
SIGNATURE_SIZES = {8: 256, 10: 256, 13: 64, 14: 96, 15: 64, 16: 114, 199: 2420, 200: 3309, 201: 4627}
PAIRS = {number: KeyPair.generate(CHILD, number, DEFAULT) for number in SIGNATURE_SIZES}
VERIFIERS = {number: verifier(pair.key, DEFAULT) for number, pair in PAIRS.items()}

every_algorithm = pytest.mark.parametrize("number", list(PAIRS))

MX = "076578616d706c6503636f6d00 000f 0001 00000e10 0014 000a 046d61696c076578616d706c6503636f6d00"
A = "03777777076578616d706c65036e657400 0001 0001 00000e10 0004 c0000201"

# A key as the RFC prints it (as a KEY), its tag, the octets that its RRSIG covers, and the signature.
RFC_EXAMPLES = [
    pytest.param(
        "example.com. 3600 IN KEY 257 3 15 ( l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4= )",
        3613,
        "000f 0f 02 00000e10 55d4fc60 55b94ce0 0e1d 076578616d706c6503636f6d00" + MX,
        "oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==",
        id="RFC 8080 section 6.1, first, erratum 4935",
    ),
    pytest.param(
        "example.com. 3600 IN KEY 257 3 15 ( zPnZ/QwEe7S8C5SPz2OfS5RR40ATk2/rYnE9xHIEijs= )",
        35217,
        "000f 0f 02 00000e10 55d4fc60 55b94ce0 8991 076578616d706c6503636f6d00" + MX,
        "zXQ0bkYgQTEFyfLyi9QoiY6D8ZdYo4wyUhVioYZXFdT410QPRITQSqJSnzQoSm5poJ7gD7AQR0O7KuI5k2pcBg==",
        id="RFC 8080 section 6.1, second, erratum 4935",
    ),
    pytest.param(
        "example.com. 3600 IN KEY 257 3 16 ( 3kgROaDjrh0H2iuixWBrc8g2EpBBLCdGzHmn\n"
        "   +G2MpTPhpj/OiBVHHSfPodx1FYYUcJKm1MDpJtIA )",
        9713,
        "000f 10 02 00000e10 55d4fc60 55b94ce0 25f1 076578616d706c6503636f6d00" + MX,
        "3cPAHkmlnxcDHMyg7vFC34l0blBhuG1qpwLmjInI8w1CMB29FkEAIJUA0amxWndkmnBZ6SKiwZSAxGILn/NBtOXft0+G"
        "j7FSvOKxE/07+4RQvE581N3Aj/JtIyaiYVdnYtyMWbSNyGEY2213WKsJlwEA",
        id="RFC 8080 section 6.2, first, erratum 4935",
    ),
    pytest.param(
        "example.net. 3600 IN KEY 257 3 13 ( GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edb\n"
        "   krSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA== )",
        55648,
        "0001 0d 03 00000e10 4c88b137 4c63c737 d960 076578616d706c65036e657400" + A,
        "qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==",
        id="RFC 6605 section 6.1",
    ),
    pytest.param(
        "example.net. 3600 IN KEY 257 3 14 ( xKYaNhWdGOfJ+nPrL8/arkwf2EY3MDJ+SErKivBVSum1\n"
        "   w/egsXvSADtNJhyem5RCOpgQ6K8X1DRSEkrbYQ+OB+v8/uX45NBwY8rp65F6Glur8I/mlVNgF6W/qTI37m40 )",
        10771,
        "0001 0e 03 00000e10 4c88b4e9 4c63cae9 2a13 076578616d706c65036e657400" + A,
        "/L5hDKIvGDyI1fcARX3z65qrmPsVz73QD1Mr5CEqOiLP95hxQouuroGCeZOvzFaxsT8Glr74hbavRKayJNuydCuzWTSS"
        "Pdz7wnqXL5bdcJzusdnI0RSMROxxwGipWcJm",
        id="RFC 6605 section 6.2",
    ),
]


@every_algorithm
def test_an_algorithm_is_found_by_its_mnemonic_and_by_its_number(number: int) -> None:
    text = algorithm_text(number, DEFAULT)
    assert algorithm_number(text, DEFAULT) == number
    assert algorithm_number(text.lower(), DEFAULT) == number
    assert algorithm_number(str(number), DEFAULT) == number


def test_algorithms_have_the_mnemonics_that_dnssec_keygen_prints() -> None:
    assert [algorithm_text(number, DEFAULT) for number in PAIRS] == [
        *("RSASHA256", "RSASHA512", "ECDSAP256SHA256", "ECDSAP384SHA384", "ED25519", "ED448"),
        *("ML-DSA-44", "ML-DSA-65", "ML-DSA-87"),
    ]
    assert algorithm_text(5, DEFAULT) == "5"


@pytest.mark.parametrize("text", ["RSASHA1", "5", "", "ED25519X"])
def test_an_unknown_algorithm_is_answered_with_what_there_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"there is .*ED25519 \(15\), .*ML-DSA-87 \(201\)"):
        algorithm_number(text, DEFAULT)


def test_the_numbers_of_ml_dsa_are_settings() -> None:
    codepoints = CodePoints(ml_dsa_44=250)
    assert algorithm_number("mldsa44", codepoints) == 250
    assert algorithm_text(199, codepoints) == "199"
    pair = KeyPair.generate(CHILD, 250, codepoints)
    assert verifier(pair.key, codepoints)(pair.sign(b"data"), b"data")


# Signing and verifying


@pytest.mark.parametrize(("text", "tag", "data", "signature"), RFC_EXAMPLES)
def test_the_examples_of_the_rfcs_verify(text: str, tag: int, data: str, signature: str) -> None:
    key = Key.from_text(text)
    assert key.tag == tag
    verify = verifier(key, DEFAULT)
    assert verify(b64decode(signature), bytes.fromhex(data))
    assert not verify(b64decode(signature), bytes.fromhex(data) + b"\0")


@every_algorithm
def test_signatures_have_the_length_that_dns_gives_them(number: int) -> None:
    assert len(PAIRS[number].sign(b"data")) == SIGNATURE_SIZES[number]


@every_algorithm
@settings(max_examples=25, deadline=None)
@given(data=st.binary(min_size=1, max_size=600), flip=st.integers(min_value=0))
def test_what_a_pair_signs_verifies_until_one_bit_is_flipped(number: int, data: bytes, flip: int) -> None:
    verify = VERIFIERS[number]
    signature = PAIRS[number].sign(data)
    assert verify(signature, data)
    assert not verify(_flipped(signature, flip), data)
    assert not verify(signature, _flipped(data, flip))


def _flipped(octets: bytes, bit: int) -> bytes:
    number = int.from_bytes(octets) ^ 1 << bit % (8 * len(octets))
    return number.to_bytes(len(octets))


@every_algorithm
def test_a_signature_by_another_key_does_not_verify(number: int) -> None:
    other = KeyPair.generate(CHILD, number, DEFAULT)
    assert not VERIFIERS[number](other.sign(b"data"), b"data")


def test_a_signature_with_the_other_rsa_hash_does_not_verify() -> None:
    other = KeyPair(replace(PAIRS[8].key, algorithm=10), PAIRS[8].private)
    assert verifier(other.key, DEFAULT)(other.sign(b"data"), b"data")
    assert not VERIFIERS[8](other.sign(b"data"), b"data")


@every_algorithm
def test_a_signature_of_the_wrong_length_is_false_and_not_an_exception(number: int) -> None:
    signature = PAIRS[number].sign(b"data")
    wrong = [b"", signature[:-1], signature[1:], signature + b"\0", b"\0" + signature, signature * 2]
    assert not any(VERIFIERS[number](octets, b"data") for octets in wrong)


@every_algorithm
@settings(max_examples=50, deadline=None)
@given(signature=st.binary(max_size=200), data=st.binary(max_size=100))
def test_the_verifier_never_raises_for_random_bytes(number: int, signature: bytes, data: bytes) -> None:
    size = SIGNATURE_SIZES[number]
    assert VERIFIERS[number](signature, data) is False
    assert VERIFIERS[number](signature[:size].ljust(size, b"\0"), data) is False
    assert VERIFIERS[number](signature[:size].ljust(size, b"\xff"), data) is False


@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
@every_algorithm
def test_degenerate_signatures_do_not_verify(number: int, fill: bytes) -> None:
    assert VERIFIERS[number](fill * SIGNATURE_SIZES[number], b"data") is False


@every_algorithm
def test_the_private_part_is_not_in_the_representation(number: int) -> None:
    pair = PAIRS[number]
    assert repr(pair) == f"KeyPair(key={pair.key!r})"


def test_a_pair_whose_parts_do_not_belong_together_is_refused() -> None:
    other = KeyPair.generate(CHILD, 15, DEFAULT)
    with pytest.raises(UnusableKey, match=f"key tag {other.key.tag}: the private part belongs to another public key"):
        KeyPair(other.key, PAIRS[15].private)


def test_a_generated_key_has_the_flags_the_size_and_the_owner_that_were_asked_for() -> None:
    assert PAIRS[8].key.flags == 512
    assert PAIRS[8].key.protocol == 3
    assert PAIRS[8].key.owner == CHILD
    large = KeyPair.generate(CHILD, 10, DEFAULT, flags=256, rsa_bits=3072)
    assert large.key.flags == 256
    assert len(large.sign(b"data")) == 3072 // 8


def test_no_pair_is_generated_that_could_not_be_used() -> None:
    with pytest.raises(ValueError, match="2048 to 4096 bits, not 1024"):
        KeyPair.generate(CHILD, 8, DEFAULT, rsa_bits=1024)
    with pytest.raises(ValueError, match="'5' is no supported algorithm"):
        KeyPair.generate(CHILD, 5, DEFAULT)
    with pytest.raises(UnusableKey, match="0x8000"):
        KeyPair.generate(CHILD, 15, DEFAULT, flags=0xC000)
