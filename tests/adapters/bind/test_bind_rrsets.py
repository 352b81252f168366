"""RRsets of any type for BIND: what an answer shows, and the UPDATE that replaces them."""

import dns.flags
import dns.message
import dns.rrset
import pytest

from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.envelope import PREREQUISITE, UPDATE, walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.rrset import RRset
from zonecut_bind import rrsets

ZONE = names.from_text("parent.example.")
NAME = names.from_text("updater.parent.example.")
A = RRset(NAME, RRType.A, 60, (b"\1\1\1\1", b"\1\1\1\2"))
KEY = RRset(NAME, RRType.KEY, 60, (b"\2\0\3\x0fabc",))


def answer(*records: str) -> bytes:
    """An answer to an ANY query, compressed as servers do it."""
    message = dns.message.make_response(dns.message.make_query("updater.parent.example.", "ANY"))
    for record in records:
        owner, ttl, rtype, data = record.split(maxsplit=3)
        message.answer.append(dns.rrset.from_text(owner, int(ttl), "IN", rtype, data))
    return message.to_wire()


def test_the_rrsets_of_an_answer_are_whole_and_uncompressed() -> None:
    seen = rrsets.seen(
        walk(
            answer(
                "updater.parent.example. 60 A 1.1.1.2",
                "updater.parent.example. 60 A 1.1.1.1",
                "updater.parent.example. 5 NS ns.updater.parent.example.",
                "updater.parent.example. 5 MX 10 mx.parent.example.",
                "updater.parent.example. 5 CNAME Parent.Example.",
                "updater.parent.example. 5 SOA ns.parent.example. h.parent.example. 1 2 3 4 5",
                "updater.parent.example. 5 TXT mine",
            )
        ),
        NAME,
    )
    assert {rrset.rtype: rrset.rdatas for rrset in seen} == {
        RRType.A: A.rdatas,
        RRType.NS: (b"\2ns" + NAME,),
        15: (b"\0\x0a\2mx" + ZONE,),
        RRType.CNAME: (ZONE,),
        RRType.SOA: (b"\2ns" + ZONE + b"\1h" + ZONE + b"".join(n.to_bytes(4) for n in range(1, 6)),),
        16: (b"\4mine",),
    }
    assert {rrset.ttl for rrset in seen} == {60, 5}


def test_what_a_signer_makes_and_what_has_another_owner_is_left_out() -> None:
    wire = answer(
        "updater.parent.example. 5 NSEC z.parent.example. A",
        "other.parent.example. 5 A 1.1.1.1",
        "updater.parent.example. 5 DNSKEY 257 3 13 YWJj",
    )
    assert rrsets.seen(walk(wire), NAME) == ()


def test_a_record_of_a_wrong_length_is_malformed() -> None:
    wire = answer("updater.parent.example. 5 NS ns.updater.parent.example.")
    broken = wire[:-7] + (int.from_bytes(wire[-7:-5]) + 1).to_bytes(2) + wire[-5:] + b"\0"
    with pytest.raises(MalformedMessage, match="of type 2 of a wrong length"):
        rrsets.seen(walk(broken), NAME)


def test_an_update_states_what_is_there_and_what_is_not() -> None:
    more = RRset(NAME, RRType.A, 60, (b"\1\1\1\2", b"\1\1\1\3"))
    envelope = walk(rrsets.replace_message(ZONE, [A], [more, KEY]))
    stated = [(record.rtype, record.rclass, record.ttl) for record in envelope.section(PREREQUISITE)]
    assert stated == [(1, 1, 0), (1, 1, 0), (25, 254, 0)]
    made = [(r.rtype, r.rclass, r.ttl, envelope.rdata(r)) for r in envelope.section(UPDATE)]
    assert made == [
        (1, 255, 0, b""),
        (1, 1, 60, b"\1\1\1\2"),
        (1, 1, 60, b"\1\1\1\3"),
        (25, 1, 60, KEY.rdatas[0]),
    ]


def test_what_does_not_change_is_stated_and_not_written() -> None:
    envelope = walk(rrsets.replace_message(ZONE, [A, KEY], [A]))
    assert len(list(envelope.section(PREREQUISITE))) == 3
    assert [(r.rtype, r.rclass) for r in envelope.section(UPDATE)] == [(25, 255)]


def test_what_differs_between_a_zone_and_its_signed_copy_cannot_be_verified() -> None:
    assert rrsets.is_verifiable(A, ZONE)
    assert not rrsets.is_verifiable(RRset(ZONE, RRType.CDS, 60, (b"\0" * 5,)), ZONE)
    assert rrsets.is_verifiable(RRset(NAME, RRType.CDS, 60, (b"\0" * 5,)), ZONE)
