"""SIG(0) on the messages of a real client, and on our own (RFC 2931)."""

import random
import struct

import pytest

from vectors_of import CHILD, VECTORS, ZONE, Vector
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, Algorithm, RRClass, RRType
from zonecut.protocol.envelope import walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.keys import KeyPair, verifier
from zonecut.protocol.sig0 import (
    Signature,
    Untimely,
    check_time,
    later,
    sign_request,
    sign_response,
    signatures,
    signed_data,
    verify_response,
)

SIG = DEFAULT.signature_type
PAIR = KeyPair.generate(CHILD, Algorithm.ED25519, DEFAULT)
VERIFY = verifier(PAIR.key, DEFAULT)
NS = message.add(CHILD, RRType.NS, 3600, names.from_text("ns1.example."))
PLAIN = message.update(7, ZONE, [], [NS], [message.opt_record()])
SIGNED = sign_request(PLAIN, PAIR, 1000, 1300, signature_type=SIG)


def only(wire: bytes) -> Signature:
    (signature,) = signatures(walk(wire), SIG)
    return signature


def with_last_record(wire: bytes, **fields: int | bytes) -> bytes:
    """The message with fields of its last record, which has the root as its owner, set to something else."""
    record = walk(wire).records[-1]
    owner = fields.get("owner", b"\0")
    rtype, rclass, ttl = (fields.get(name, getattr(record, name)) for name in ("rtype", "rclass", "ttl"))
    rdata = fields.get("data", wire[record.rdata : record.end])
    assert isinstance(owner, bytes)
    assert isinstance(rdata, bytes)
    return wire[: record.start] + owner + struct.pack("!HHIH", rtype, rclass, ttl, len(rdata)) + rdata


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_the_message_of_a_real_client_verifies_at_its_time(vector: Vector) -> None:
    signature = vector.signature
    check_time(signature, vector.time, fudge=300, max_validity=3600)
    assert signature.signer == CHILD == vector.key.owner
    assert verifier(vector.key, DEFAULT)(signature.signature, signed_data(vector.wire, signature))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_no_bit_that_is_signed_can_be_flipped(vector: Vector) -> None:
    wire, signature, verify = vector.wire, vector.signature, verifier(vector.key, DEFAULT)
    record = walk(wire).records[-1]
    unsigned = set(range(record.start, record.rdata)) | {10, 11}
    bits = [(octet, bit) for octet in range(len(wire)) if octet not in unsigned for bit in range(8)]
    # every octet once, with a bit that differs from vector to vector; all bits would take minutes
    chosen = random.Random(vector.name)
    seen = 0
    for octet in {octet for octet, _ in bits}:
        altered = bytearray(wire)
        altered[octet] ^= 1 << chosen.randrange(8)
        if octet >= record.rdata:
            try:
                found = only(bytes(altered))
            except MalformedMessage:
                continue
            data = signed_data(bytes(altered), found)
            assert not verify(found.signature, data)
        else:
            assert not verify(signature.signature, signed_data(bytes(altered), signature))
        seen += 1
    assert seen > len(wire) // 2


def test_a_bit_flipped_anywhere_in_a_small_message_makes_it_fail() -> None:
    record = walk(SIGNED).records[-1]
    for octet in range(len(SIGNED)):
        for bit in range(8):
            altered = bytearray(SIGNED)
            altered[octet] ^= 1 << bit
            try:
                found = signatures(walk(bytes(altered)), SIG)
            except MalformedMessage:
                continue
            verified = [VERIFY(each.signature, signed_data(bytes(altered), each)) for each in found]
            # what a signature does not cover: its class, which may be IN as well as ANY, and nothing else
            assert not any(verified) or octet in (record.start + 3, record.start + 4), octet


@pytest.mark.parametrize("algorithm", [8, 10, 13, 14, 15, 16, 199, 200, 201])
def test_requests_and_responses_of_every_algorithm_verify(algorithm: int) -> None:
    pair = KeyPair.generate(CHILD, algorithm, DEFAULT)
    verify = verifier(pair.key, DEFAULT)
    request = sign_request(PLAIN, pair, 1000, 1300, signature_type=SIG)
    assert verify(only(request).signature, signed_data(request, only(request)))
    plain = bytearray(PLAIN)
    plain[2] |= 0x80
    for covered in (request, b""):
        response = sign_response(bytes(plain), pair, 1000, 1300, request=covered, signature_type=SIG)
        assert verify_response(response, only(response), verify, request)
        other = sign_request(PLAIN, pair, 1000, 1301, signature_type=SIG)
        assert verify_response(response, only(response), verify, other) is not bool(covered)


def test_two_signatures_each_cover_what_stands_before_them() -> None:
    second = KeyPair.generate(CHILD, Algorithm.ECDSAP256SHA256, DEFAULT)
    twice = sign_request(SIGNED, second, 1000, 1300, signature_type=SIG)
    first_found, second_found = signatures(walk(twice), SIG)
    assert VERIFY(first_found.signature, signed_data(twice, first_found))
    assert verifier(second.key, DEFAULT)(second_found.signature, signed_data(twice, second_found))
    assert not VERIFY(second_found.signature, signed_data(twice, second_found))


def test_three_signatures_or_two_signers_are_malformed() -> None:
    twice = sign_request(SIGNED, PAIR, 1000, 1300, signature_type=SIG)
    with pytest.raises(MalformedMessage, match="3 SIG records"):
        signatures(walk(sign_request(twice, PAIR, 1000, 1300, signature_type=SIG)), SIG)
    other = KeyPair.generate(names.from_text("other.sig0.test."), Algorithm.ED25519, DEFAULT)
    with pytest.raises(MalformedMessage, match="different signers"):
        signatures(walk(sign_request(SIGNED, other, 1000, 1300, signature_type=SIG)), SIG)


def test_class_in_is_accepted_and_other_unsigned_octets_are_not_free() -> None:
    written_in = with_last_record(SIGNED, rclass=RRClass.IN)
    assert VERIFY(only(written_in).signature, signed_data(written_in, only(written_in)))
    for altered, reason in [
        (with_last_record(SIGNED, ttl=1), "TTL"),
        (with_last_record(SIGNED, rclass=RRClass.NONE), "class"),
        (with_last_record(SIGNED, owner=b"\1x\0"), "owner"),
    ]:
        with pytest.raises(MalformedMessage, match=reason):
            only(altered)


@pytest.mark.parametrize("length", [0, 17, 18, 19, 18 + len(CHILD)])
def test_a_sig_record_that_is_too_short_is_malformed(length: int) -> None:
    record = walk(SIGNED).records[-1]
    with pytest.raises(MalformedMessage):
        only(with_last_record(SIGNED, data=SIGNED[record.rdata : record.rdata + length]))


@pytest.mark.parametrize("octet", [0, 1, 3, 4, 5, 6, 7])
def test_a_sig_record_that_covers_something_is_malformed(octet: int) -> None:
    record = walk(SIGNED).records[-1]
    data = bytearray(SIGNED[record.rdata : record.end])
    data[octet] = 1
    with pytest.raises(MalformedMessage, match="not all 0"):
        only(with_last_record(SIGNED, data=bytes(data)))


def test_a_sig_record_that_is_not_last_is_malformed() -> None:
    moved = bytearray(SIGNED + message.record(b"\0", RRType.A, RRClass.IN, 0, b"\1\2\3\4"))
    moved[11] += 1
    with pytest.raises(MalformedMessage, match="not at the end"):
        signatures(walk(bytes(moved)), SIG)


def test_a_compressed_signer_is_malformed() -> None:
    record = walk(SIGNED).records[-1]
    data = SIGNED[record.rdata : record.rdata + 18] + b"\xc0\x0c" + b"x" * 64
    with pytest.raises(MalformedMessage, match="compressed"):
        only(with_last_record(SIGNED, data=data))


@pytest.mark.parametrize(
    ("inception", "expiration", "now", "reason"),
    [
        (1000, 1300, 1000, None),
        (1000, 1300, 1300, None),
        (1000, 1300, 700, None),
        (1000, 1300, 1600, None),
        (1000, 1300, 699, "not valid before"),
        (1000, 1300, 1601, "expired"),
        (1000, 4601, 1000, "more than"),
        (1300, 1000, 1100, "before its inception"),
        (2**32 - 100, 100, 2**32 - 1, None),
        (2**32 - 100, 100, 2**32 + 50, None),
        (2**32 - 100, 100, 2**32 + 401, "expired"),
    ],
)
def test_validity_is_judged_in_serial_arithmetic(inception: int, expiration: int, now: int, reason: str | None) -> None:
    signature = only(sign_request(PLAIN, PAIR, inception, expiration, signature_type=SIG))
    if reason is None:
        check_time(signature, now, fudge=300, max_validity=3600)
    else:
        with pytest.raises(Untimely, match=reason):
            check_time(signature, now, fudge=300, max_validity=3600)


def test_later_wraps_around() -> None:
    assert later(5, 2**32 - 5)
    assert not later(2**32 - 5, 5)
    assert not later(5, 5)
