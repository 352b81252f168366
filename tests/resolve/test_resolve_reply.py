"""Replies as octets: what is read from them, and that no octets do harm."""

from collections.abc import Sequence
from contextlib import suppress

import dns.dnssec
import dns.name
import dns.rdataclass
import dns.rrset
import pytest
from dns.rdata import GenericRdata
from dns.rdatatype import RdataType
from hypothesis import given
from hypothesis import strategies as st

from resolve_support import NOW, Signer, private_key, work
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import RRClass, RRType
from zonecut.resolve.anchors import supported
from zonecut.resolve.delegation import judge_delegation
from zonecut.resolve.failures import Bogus, NoAnswer
from zonecut.resolve.reply import Reply, RRset, answers, read_reply

NAME = names.from_text("child.test.")
ZONE = Signer("child.test.")
RESPONSE = 0x8000
MALFORMED_DS = (1).to_bytes(2) + b"\x0f\x02" + b"a SHA-256 digest is longer"


def reply_wire(
    *records: bytes, flags: int = RESPONSE, name: bytes = NAME, rtype: int = RRType.KEY, opt: Sequence[bytes] = ()
) -> bytes:
    query = message.query(7, name, rtype, flags=flags, additional=[*records, *opt])
    # The records are moved from the additional to the answer section.
    return query[:6] + len(records).to_bytes(2) + b"\0\0" + len(opt).to_bytes(2) + query[12:]


def read(*records: bytes) -> Reply:
    return read_reply(reply_wire(*records), NAME, RRType.KEY)


def rr(owner: str, rtype: int, rdata: bytes, *, ttl: int = 60, rclass: int = RRClass.IN) -> bytes:
    return message.record(names.from_text(owner), rtype, rclass, ttl, rdata)


def test_signatures_come_with_the_rrset_that_they_cover() -> None:
    signed = ZONE.sign("child.test.", "KEY", "512 3 15 AAAA")
    records = [rr("child.test.", RRType.KEY, rdata.to_wire() or b"") for rdata in signed.rdatas]
    records += [rr("CHILD.test.", RdataType.RRSIG, signature.to_wire() or b"") for signature in signed.signatures]
    found = read(*records).find(NAME, RRType.KEY)
    assert found is not None
    assert found.signatures == signed.signatures
    assert found.wires == signed.wires


def test_the_ttl_is_the_lowest_and_never_negative() -> None:
    found = read(rr("child.test.", RRType.KEY, b"\0" * 5, ttl=60), rr("child.test.", RRType.KEY, b"\1" * 5, ttl=30))
    assert found.answer[0].ttl == 30
    assert read(rr("child.test.", RRType.KEY, b"\0" * 5, ttl=0xFFFFFFFF)).answer[0].ttl == 0


def test_names_in_rdata_are_decompressed_and_lower_case() -> None:
    pointer = b"\xc0\x0c"
    found = read(rr("child.test.", RRType.NS, b"\x02NS" + pointer)).find(NAME, RRType.NS)
    assert found is not None
    assert found.wires == (names.from_text("ns.child.test."),)


def test_the_addresses_of_a_referral_are_read_and_harm_nobody() -> None:
    good = rr("ns.child.test.", RRType.A, bytes((192, 0, 2, 1)))
    others = [
        rr("ns.child.test.", RRType.A, b"\0"),
        rr("ns.child.test.", RRType.AAAA, bytes(4)),
        rr("ns.child.test.", RRType.A, bytes(4), rclass=RRClass.NONE),
        rr("ns.child.test.", RRType.DS, MALFORMED_DS),
    ]
    query = message.query(7, NAME, RRType.NS, flags=RESPONSE, additional=[message.opt_record(), good, *others])
    (found,) = read_reply(query, NAME, RRType.NS).addresses
    assert (found.name, found.rtype) == (names.from_text("ns.child.test."), RRType.A)
    assert found.wires == (bytes((192, 0, 2, 1)),)


def test_an_svcb_that_dnspython_refuses_is_read_all_the_same() -> None:
    svcb = b"\0\0\0" + (65282).to_bytes(2) + (7).to_bytes(2) + b"at-apex"
    found = read(rr("child.test.", RRType.SVCB, svcb)).find(NAME, RRType.SVCB)
    assert found is not None
    assert found.wires == (svcb,)


def test_a_malformed_ds_does_not_cost_the_good_one_beside_it() -> None:
    good = rr("child.test.", RRType.DS, ZONE.ds().to_wire() or b"")
    wire = reply_wire(good, rr("child.test.", RRType.DS, MALFORMED_DS), rtype=RRType.DS)
    found = read_reply(wire, NAME, RRType.DS).find(NAME, RRType.DS)
    assert found is not None
    assert supported(found.rdatas) == (ZONE.ds(),)


def test_a_malformed_ds_is_no_unsupported_one() -> None:
    parent = Signer("test.")
    malformed = GenericRdata(dns.rdataclass.IN, RdataType.DS, MALFORMED_DS)
    owner = dns.name.from_text("child.test.")
    signature = dns.dnssec.sign(
        dns.rrset.from_rdata(owner, 60, malformed),
        private_key("test."),
        dns.name.from_text("test."),
        parent.key,
        inception=NOW,
        expiration=NOW,
    )
    signed = Reply(0, False, False, False, (RRset(NAME, RRType.DS, 60, (malformed,), (signature,)),), ())
    with pytest.raises(Bogus, match="is malformed"):
        judge_delegation(signed, NAME, parent.zone, NOW, work())


def test_other_classes_are_passed_over() -> None:
    assert read(rr("child.test.", RRType.KEY, b"\0" * 5, rclass=3)).answer == ()


def test_the_response_code_is_extended_by_the_opt_record() -> None:
    wire = reply_wire(flags=RESPONSE | 3, opt=[message.opt_record(flags=1 << 24)])
    assert read_reply(wire, NAME, RRType.KEY).rcode == 19


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (b"", "malformed"),
        (b"\0" * 11, "malformed"),
        (reply_wire()[:-1], "malformed"),
        (reply_wire() + b"\0", "malformed"),
        (reply_wire(flags=0), "no reply to a query"),
        (reply_wire(flags=RESPONSE | 5 << 11), "no reply to a query"),
        (reply_wire(name=names.from_text("other.test.")), "a reply to another question"),
        (reply_wire(rtype=RRType.A), "a reply to another question"),
        (reply_wire(rr("child.test.", RRType.A, b"\0" * 3)), "malformed"),
        (reply_wire(rr("child.test.", RdataType.NSEC, b"\0\0\0")), "malformed"),
        (reply_wire(*[rr("child.test.", RRType.KEY, b"\0" * 5)] * 513), "more than 512 records"),
    ],
)
def test_what_is_no_reply_is_no_answer(wire: bytes, reason: str) -> None:
    with pytest.raises(NoAnswer, match=reason):
        read_reply(wire, NAME, RRType.KEY)


def test_a_datagram_counts_only_with_our_identity_and_question() -> None:
    assert answers(reply_wire(), 7, NAME, RRType.KEY)
    assert not answers(reply_wire(), 8, NAME, RRType.KEY)
    assert not answers(reply_wire(), 7, names.from_text("other.test."), RRType.KEY)
    assert not answers(reply_wire(flags=0), 7, NAME, RRType.KEY)
    assert not answers(reply_wire()[:-1], 7, NAME, RRType.KEY)


@given(st.data())
def test_no_octets_make_it_raise_anything_else(data: st.DataObject) -> None:
    signed = ZONE.sign("child.test.", "NSEC", "a.child.test. A RRSIG NSEC")
    wire = bytearray(
        reply_wire(
            rr("child.test.", RdataType.NSEC, signed.rdatas[0].to_wire() or b""),
            rr("child.test.", RdataType.RRSIG, signed.signatures[0].to_wire() or b""),
            rr("child.test.", RRType.NS, b"\x02ns\xc0\x0c"),
        )
    )
    for place in data.draw(st.lists(st.integers(12, len(wire) - 1), max_size=6)):
        wire[place] = data.draw(st.integers(0, 255))
    octets = bytes(wire[: data.draw(st.integers(0, len(wire)))])
    answers(octets, 7, NAME, RRType.KEY)
    with suppress(NoAnswer):
        read_reply(octets, NAME, RRType.KEY)
