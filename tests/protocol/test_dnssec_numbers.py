"""Numbers that receiver, resolver and agent have to read alike."""

from hashlib import sha1, sha256, sha384

import pytest

from zonecut.agent.evidence.ds_statement import names_key
from zonecut.agent.settings import DsSettings
from zonecut.protocol import dnssec
from zonecut.protocol.codepoints import Rcode, rcode_text, type_text
from zonecut.receiver.change.policy import Policy

ZONE = b"\x05child\x07example\0"
DNSKEY = b"\x01\x01\x03\x0d" + bytes(64)


def test_what_the_receiver_accepts_is_what_the_agent_makes_and_the_resolver_knows() -> None:
    assert Policy().ds_digest_types == dnssec.DIGESTS
    assert Policy().ds_algorithms == dnssec.ZONE_ALGORITHMS == {8, 10, 13, 14, 15, 16}
    assert set(DsSettings().digests) <= dnssec.DIGESTS == {2, 4}


@pytest.mark.parametrize(("digest_type", "make"), [(1, sha1), (2, sha256), (4, sha384)])
def test_a_ds_names_the_key_of_which_it_has_the_digest(digest_type: int, make: type) -> None:
    digest = make(ZONE + DNSKEY).digest()
    assert dnssec.ds_digest(digest_type, ZONE, DNSKEY) == digest
    assert len(digest) == dnssec.DIGEST_LENGTH[digest_type]
    assert names_key(ZONE, b"\x12\x34\x0d" + bytes([digest_type]) + digest, DNSKEY)
    assert not names_key(ZONE, b"\x12\x34\x0d" + bytes([digest_type]) + digest[:-1], DNSKEY)


def test_a_digest_of_a_type_that_cannot_be_made_names_nothing() -> None:
    assert dnssec.ds_digest(3, ZONE, DNSKEY) is None
    assert not names_key(ZONE, b"\x12\x34\x0d\x03" + bytes(32), DNSKEY)


def test_numbers_have_one_text_each_and_16_has_two() -> None:
    assert (rcode_text(Rcode.BADVERS), rcode_text(16, of_signed=True), rcode_text(23)) == (
        "BADVERS",
        "BADSIG",
        "RCODE23",
    )
    assert (type_text(6), type_text(257), type_text(65280)) == ("SOA", "CAA", "TYPE65280")
