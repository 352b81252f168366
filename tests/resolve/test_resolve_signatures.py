"""RFC 4035 section 5.3: every way in which a signature can fail, and how much is tried."""

from dataclasses import replace
from typing import Any

import dns.dnssec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from resolve_support import HOUR, KEY, NOW, Signer, rrset, work
from zonecut.protocol import names
from zonecut.resolve.failures import Bogus, Undecided
from zonecut.resolve.reply import RRset
from zonecut.resolve.signatures import Verified, is_usable, verify
from zonecut.resolve.zone import verify_keys

CHILD = Signer("child.test.")
OTHER = Signer("child.test.", "another key")


def check(found: RRset, signer: Signer = CHILD, now: float = NOW, **limits: Any) -> Verified:
    return verify(found, signer.wire, (signer.key,), now, work(**limits))


def test_a_signature_of_the_zone_verifies() -> None:
    verified = check(CHILD.sign("child.test.", "KEY", KEY))
    assert verified == Verified(CHILD.key.key_id(), 2, False, HOUR)


def test_the_case_of_the_owner_does_not_matter() -> None:
    check(CHILD.sign("CHILD.test.", "KEY", KEY))


def test_the_ttl_is_at_most_the_signed_one_and_the_life_of_the_signature() -> None:
    signed = CHILD.sign("child.test.", "KEY", KEY, ttl=300)
    assert check(replace(signed, ttl=86400)).ttl == 300
    assert check(replace(signed, ttl=86400), now=NOW + HOUR - 10).ttl == 10


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (rrset("child.test.", "KEY", KEY), "KEY of child.test. has no signature"),
        (Signer("test.").sign("child.test.", "KEY", KEY), "signed by test., not by its zone child.test."),
        (OTHER.sign("child.test.", "KEY", KEY), "is by no key of the zone"),
        (CHILD.sign("child.test.", "KEY", KEY, expiration=NOW - 7200, inception=NOW - 9000), r"expired .*, 2 h ago"),
        (
            CHILD.sign("child.test.", "KEY", KEY, inception=NOW + 86400 * 3, expiration=NOW + 86400 * 4),
            r"is not valid before .*, 3 d from now",
        ),
        (CHILD.sign("child.test.", "KEY", KEY, signature=b"\0" * 64), "does not verify"),
        (CHILD.sign("child.test.", "KEY", KEY, signature=b"short"), "does not verify"),
        (CHILD.sign("child.test.", "KEY", KEY, labels=3), "covers 3 labels"),
        (CHILD.sign("child.test.", "KEY", KEY, original_ttl=1), "does not verify"),
        (CHILD.sign("child.test.", "KEY", KEY, algorithm=8), "is by no key of the zone"),
        (CHILD.sign("child.test.", "KEY", KEY, labels=1), "does not verify"),
        (replace(CHILD.sign("a.child.test.", "KEY", KEY), name=names.from_text("b.child.test.")), "does not verify"),
        (replace(CHILD.sign("child.test.", "KEY", KEY), rtype=int(RdataType.CDNSKEY)), "does not verify"),
        (
            rrset(
                "child.test.", "KEY", KEY, "256 3 15 AAAA", signatures=CHILD.sign("child.test.", "KEY", KEY).signatures
            ),
            "does not verify",
        ),
        (CHILD.sign("test.", "KEY", KEY), "which does not enclose it"),
        (CHILD.sign("otherchild.test.", "KEY", KEY), "which does not enclose it"),
    ],
)
def test_whatever_is_wrong_makes_it_bogus_and_is_named(found: RRset, reason: str) -> None:
    with pytest.raises(Bogus, match=reason):
        check(found)


def test_the_edges_of_the_validity_are_valid() -> None:
    signed = CHILD.sign("child.test.", "KEY", KEY)
    check(signed, now=NOW - HOUR)
    check(signed, now=NOW + HOUR)
    for outside in (NOW - HOUR - 1, NOW + HOUR + 1):
        with pytest.raises(Bogus):
            check(signed, now=outside)


def test_one_good_signature_among_bad_ones_is_enough() -> None:
    good = CHILD.sign("child.test.", "KEY", KEY)
    bad = CHILD.signature("child.test.", "KEY", KEY, signature=b"\0" * 64)
    check(replace(good, signatures=(bad, bad, *good.signatures)))


def test_an_owner_below_the_signed_wildcard_is_expanded_and_the_wildcard_itself_is_not() -> None:
    assert check(CHILD.expand("*.child.test.", "a.b.child.test.", "KEY", KEY)).expanded
    assert not check(CHILD.sign("*.child.test.", "KEY", KEY)).expanded


@pytest.mark.parametrize(
    ("flags", "protocol", "algorithm"), [(1, 3, 15), (0x181, 3, 15), (257, 2, 15), (257, 3, 5), (257, 3, 253)]
)
def test_a_key_that_must_not_sign_zones_is_not_used(flags: int, protocol: int, algorithm: int) -> None:
    changed = CHILD.key.replace(flags=flags, protocol=protocol, algorithm=algorithm)
    assert isinstance(changed, DNSKEY)
    assert not is_usable(changed)


def test_a_revoked_key_signs_nothing() -> None:
    revoked = Signer("child.test.", flags=257 | 0x80)
    with pytest.raises(Bogus, match="is by no key of the zone"):
        check(revoked.sign("child.test.", "KEY", KEY), revoked)


F4 = b"\3\1\0\1"


def rsa_key(octets: bytes, algorithm: int = 8) -> DNSKEY:
    key = CHILD.key.replace(algorithm=algorithm, key=octets)
    assert isinstance(key, DNSKEY)
    return key


@pytest.mark.parametrize("algorithm", [8, 10])
@pytest.mark.parametrize(
    ("octets", "usable"),
    [
        (F4 + b"\xff" * 64, False),
        (F4 + b"\xff" * 96, False),
        (F4 + b"\x7f" + b"\xff" * 127, False),
        (F4 + b"\xff" * 128, True),
        (F4 + b"\0" * 64 + b"\xff" * 64, False),
        (F4 + b"\xff" * 512, True),
        (F4 + b"\1" + b"\xff" * 512, False),
        (F4 + b"\xff" * 1024, False),
        (b"\0\0\3\1\0\1" + b"\xff" * 256, True),
        (b"\4" + b"\xff" * 4 + b"\xff" * 256, True),
        (b"\5\1\0\0\0\1" + b"\xff" * 256, False),
        (b"\xad" + b"\xff" * 173 + b"\xff" * 256, False),
        (b"\0\1\0" + b"\xff" * 256 + b"\xff" * 256, False),
        (b"\1\1" + b"\xff" * 256, False),
        (b"\1\4" + b"\xff" * 256, False),
        (b"\xff\1\0\1", False),
        (F4, False),
        (b"\0", False),
        (b"", False),
    ],
)
def test_an_rsa_key_has_1024_to_4096_bits_and_an_odd_exponent_below_2_32(
    octets: bytes, usable: bool, algorithm: int
) -> None:
    assert is_usable(rsa_key(octets, algorithm)) is usable


def test_a_zone_whose_ds_names_a_weak_rsa_key_is_bogus_and_says_why() -> None:
    weak = rsa_key(F4 + b"\xff" * 64)
    ds = dns.dnssec.make_ds(dns.name.from_text("child.test."), weak, "SHA256", validating=True)
    keys = rrset("child.test.", "DNSKEY", weak.to_text())
    with pytest.raises(Bogus, match=r"that its DS names .* cannot be used: .*RSA with 1024 to 4096 bits"):
        verify_keys(CHILD.wire, keys, [ds], (), NOW, work())


@pytest.mark.parametrize("algorithm", [8, 10, 13, 14, 16])
def test_every_supported_algorithm_verifies(algorithm: int) -> None:
    private: Any
    if algorithm in (8, 10):
        private = rsa.generate_private_key(65537, 2048)
    elif algorithm == 16:
        private = ed448.Ed448PrivateKey.generate()
    else:
        private = ec.generate_private_key(ec.SECP256R1() if algorithm == 13 else ec.SECP384R1())
    key = dns.dnssec.make_dnskey(private.public_key(), algorithm, 257)
    made = dns.rrset.from_text("child.test.", HOUR, "IN", "KEY", KEY)
    signature = dns.dnssec.sign(
        made, private, dns.name.from_text("child.test."), key, inception=NOW - 1, expiration=NOW + 1
    )
    verify(rrset("child.test.", "KEY", KEY, signatures=[signature]), CHILD.wire, (key,), NOW, work())


def _with_tag(tag: int) -> DNSKEY:
    """A DNSKEY that is no good and has this key tag: anybody can make as many as he likes (CVE-2023-50387)."""
    key = Signer("child.test.", f"tag {tag}").key
    for octets in range(0x10000):
        candidate = key.replace(key=octets.to_bytes(2) + key.key[2:])
        assert isinstance(candidate, DNSKEY)
        if candidate.key_id() == tag:
            return candidate
    raise AssertionError("no such key")


def test_only_four_keys_with_the_same_tag_and_eight_signatures_are_tried() -> None:
    wrong = CHILD.signature("child.test.", "KEY", KEY, signature=b"\1" * 64)
    found = rrset("child.test.", "KEY", KEY, signatures=[wrong] * 50)
    spent = work()
    with pytest.raises(Bogus, match="42 more signatures were not tried"):
        verify(found, CHILD.wire, (CHILD.key, *[_with_tag(CHILD.key.key_id())] * 20), NOW, spent)
    assert spent.validations == 8 * 4


def test_all_of_a_look_up_has_a_bounded_number_of_verifications() -> None:
    spent = work(validations=3)
    wrong = CHILD.sign("child.test.", "KEY", KEY, signature=b"\1" * 64)
    for _ in range(3):
        with pytest.raises(Bogus):
            verify(wrong, CHILD.wire, (CHILD.key,), NOW, spent)
    with pytest.raises(Undecided, match="more than 3 signature verifications"):
        verify(wrong, CHILD.wire, (CHILD.key,), NOW, spent)
