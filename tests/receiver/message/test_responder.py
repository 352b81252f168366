"""Responses: what they echo, what they may say, how long they may be."""

import dns.edns
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, EdeCode, Rcode, RRType
from zonecut.protocol.ede import MAX_TEXT, ExtendedError, describe
from zonecut.protocol.envelope import walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.foreigntext import printable
from zonecut.receiver.message import responder
from zonecut.receiver.message.responder import Answer

ZONE = names.from_text("parent.example.")
WITH_EDNS = walk(message.update(4711, ZONE, [], [], [message.opt_record()]))
WITHOUT = walk(message.update(4711, ZONE, [], []))


@pytest.mark.parametrize("rcode", list(Rcode))
def test_an_rcode_above_15_needs_edns_and_is_notauth_without(rcode: Rcode) -> None:
    parsed = dns.message.from_wire(responder.respond(WITH_EDNS, Answer(rcode)))
    assert parsed.id == 4711
    assert int(parsed.rcode()) == rcode
    parsed = dns.message.from_wire(responder.respond(WITHOUT, Answer(rcode)))
    assert parsed.edns == -1
    assert int(parsed.rcode()) == (rcode if rcode < 16 else Rcode.NOTAUTH)


def test_an_extended_error_goes_to_those_with_edns_only() -> None:
    error = ExtendedError(EdeCode.PROHIBITED, "not signed")
    parsed = dns.message.from_wire(responder.respond(WITH_EDNS, Answer(Rcode.REFUSED, error)))
    assert parsed.extended_errors() == [dns.edns.EDEOption(dns.edns.EDECode.PROHIBITED, "not signed")]
    parsed = dns.message.from_wire(responder.respond(WITHOUT, Answer(Rcode.REFUSED, error)))
    assert parsed.extended_errors() == []


@given(st.text(max_size=2000), st.booleans())
def test_an_answer_to_the_unverified_is_at_most_128_octets_longer(text: str, verified: bool) -> None:
    error = ExtendedError(EdeCode.OTHER, text)
    answer = responder.respond(WITH_EDNS, Answer(Rcode.REFUSED, error), verified=verified)
    parsed = dns.message.from_wire(answer)
    (option,) = parsed.extended_errors()
    assert isinstance(option, dns.edns.EDEOption)
    if verified:
        assert len((option.text or "").encode()) <= MAX_TEXT
    else:
        assert len(answer) <= len(WITH_EDNS.wire) + responder.MAX_GROWTH
    assert printable(text).startswith((option.text or "").removesuffix("..."))


def test_a_malformed_request_gets_its_header_back() -> None:
    answer = responder.malformed(b"\x12\x34\x29\x00" + b"\xff" * 20)
    assert answer == b"\x12\x34\xa9\x01" + bytes(8)


def test_the_soa_answer_is_read_by_others() -> None:
    query = walk(message.query(5, names.from_text("Child.parent.example."), RRType.SOA))
    parsed = dns.message.from_wire(responder.answer_soa(query, ZONE, b"\x07updater" + ZONE))
    (rrset,) = parsed.authority
    assert rrset.to_text() == (
        "parent.example. 0 IN SOA updater.parent.example. hostmaster.parent.example. 0 3600 600 86400 300"
    )
    assert parsed.answer == []


def test_extended_errors_have_names() -> None:
    assert describe(EdeCode.PROHIBITED, DEFAULT) == "Prohibited"
    assert describe(DEFAULT.ede_manual_bootstrap_required, DEFAULT) == "Manual Bootstrap Required"
    assert describe(4242, DEFAULT) == "INFO-CODE 4242"
    with pytest.raises(MalformedMessage):
        ExtendedError.from_data(b"\0")
