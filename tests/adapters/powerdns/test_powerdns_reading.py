"""What DNS answers of PowerDNS prove, what its export says, and how a zone is brought into order."""

import random

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zonecut.plugin import BackendUnavailable, Reading
from zonecut.plugin.branches import BranchReader
from zonecut.plugin.spool import Spool, place
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.envelope import Envelope, walk
from zonecut.protocol.rrset import ResourceRecord
from zonecut_powerdns import export
from zonecut_powerdns.bodies import Holdings
from zonecut_powerdns.queries import shown
from zonecut_powerdns.senseless import MOST, Senseless

ZONE = names.from_text("parent.example.")
CHILD = names.from_text("child.parent.example.")
NS1 = names.from_text("ns1.child.parent.example.")
NS = RR(CHILD, RRType.NS, NS1)
A = RR(NS1, RRType.A, b"\x0b\0\0\1")
DS = RR(CHILD, RRType.DS, b"\0\1\x0d\2" + bytes(32))
SOA = "parent.example. 60 SOA ns1.parent.example. h.parent.example. 1 2 3 4 5"


def answer(
    rtype: str,
    *,
    answer: tuple[str, ...] = (),
    authority: tuple[str, ...] = (),
    additional: tuple[str, ...] = (),
    aa: bool = True,
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
) -> Envelope:
    message = dns.message.make_response(dns.message.make_query("child.parent.example.", rtype, use_edns=False))
    message.set_rcode(rcode)
    if aa:
        message.flags |= dns.flags.AA
    for section, records in zip(message.sections[1:], (answer, authority, additional), strict=True):
        for record in records:
            owner, ttl, kind, data = record.split(maxsplit=3)
            section.append(dns.rrset.from_text(owner, int(ttl), "IN", kind, data))
    return walk(message.to_wire())


NS_TEXT = "child.parent.example. 60 NS NS1.Child.parent.example."
GLUE = ("ns1.child.parent.example. 60 A 11.0.0.1", "ns.parent.example. 60 A 11.0.0.9")
DS_TEXT = "child.parent.example. 60 DS 1 13 2 " + "00" * 32
REFERRAL = answer("NS", authority=(NS_TEXT,), additional=GLUE, aa=False)
NO_DS = answer("DS", authority=(SOA,))
NO_NS = answer("NS", authority=(SOA,), rcode=dns.rcode.NXDOMAIN)


def test_a_referral_and_a_ds_are_a_delegation() -> None:
    assert shown(CHILD, ZONE, REFERRAL, answer("DS", answer=(DS_TEXT,))) == Delegation.of(CHILD, [NS, A, DS])
    assert shown(CHILD, ZONE, REFERRAL, NO_DS) == Delegation.of(CHILD, [NS, A])


def test_a_negative_answer_of_the_zone_is_no_delegation() -> None:
    assert shown(CHILD, ZONE, NO_NS, NO_DS) == Delegation(CHILD)


OTHER_SOA = SOA.replace("parent", "child.parent", 1)


@pytest.mark.parametrize(
    ("ns", "ds"),
    [
        (answer("NS", answer=(NS_TEXT,)), NO_DS),
        (answer("NS", authority=(NS_TEXT,)), NO_DS),
        (answer("NS", answer=("child.parent.example. 60 CNAME x.example.",)), NO_DS),
        (answer("NS", authority=(OTHER_SOA,)), NO_DS),
        (answer("NS", authority=(SOA,), aa=False), NO_DS),
        (answer("NS", authority=(NS_TEXT.replace("child", "other", 1),), aa=False), NO_DS),
        (answer("NS"), NO_DS),
        (answer("NS", rcode=dns.rcode.SERVFAIL), NO_DS),
        (REFERRAL, answer("DS", authority=(OTHER_SOA,))),
        (REFERRAL, answer("DS", rcode=dns.rcode.REFUSED)),
        (REFERRAL, answer("DS", answer=("child.parent.example. 60 CNAME x.example.",), authority=(SOA,))),
    ],
)
def test_anything_else_proves_nothing(ns: Envelope, ds: Envelope) -> None:
    assert shown(CHILD, ZONE, ns, ds) is None


# The export

LINES = [
    b"child.parent.example.\t60\tIN\tNS\tNS1.child.parent.example.",
    b'child.parent.example.\t60\tIN\tTXT\t"a\tb"',
    b"ns1.child.parent.example.\t60\tIN\tA\t11.0.0.1",
    b"parent.example.\t60\tIN\tSOA\tns1.parent.example. h.parent.example. 1 2 3 4 5",
    b"",
]


def test_the_records_of_delegations_are_read_from_an_export() -> None:
    records = [ResourceRecord(owner, rtype, 60, rdata) for owner, rtype, rdata in (NS, A)]
    assert list(export.delegation_records(LINES)) == records
    assert list(export.cuts_below(LINES, ZONE)) == [CHILD]
    assert list(export.cuts_below(LINES, CHILD)) == []


def test_what_stands_at_some_names_is_collected_with_its_text() -> None:
    found = Holdings()
    export.collect(LINES, export.owner_texts([CHILD]), found)
    assert found.rdatas(CHILD, RRType.NS) == (NS1,)
    assert found.rdatas(CHILD, 16) == (b"\3a\tb",)
    assert found.rrsets[CHILD, 2].contents == {NS1: "NS1.child.parent.example."}
    assert found.rdatas(NS1, RRType.A) == ()


@pytest.mark.parametrize("line", [b"<html>", b"a.\t60\tIN\tA\t11.0.0", b"a..b.\t60\tIN\tNS\tx."])
def test_a_line_that_cannot_be_read_is_no_reading(line: bytes) -> None:
    with pytest.raises(BackendUnavailable, match="PowerDNS exports a line that"):
        list(export.delegation_records([line]))


# Order

label = st.binary(min_size=1, max_size=3)
wire = st.lists(label, max_size=4).map(lambda found: b"".join(bytes([len(x)]) + x for x in found) + b"\0")


@given(wire, wire)
def test_places_sort_as_names_do(one: bytes, other: bytes) -> None:
    assert (place(one) < place(other)) == (names.sort_key(one) < names.sort_key(other))


def test_records_come_out_in_canonical_order() -> None:
    records = [
        ResourceRecord(names.from_text(f"{a}child{i}.parent.example."), RRType.NS, i, NS1)
        for i in range(700)
        for a in ("", "n.")
    ]
    random.Random(1).shuffle(records)
    with Spool() as spool:
        spool.put(records[:100])
        spool.put(records[100:])
        found = [record for part in spool.sorted() for record in part]
    assert found == sorted(records, key=lambda record: names.sort_key(record.owner))


# What cannot be read

SENSELESS = {
    "good": b"good.parent.example.\t60\tIN\tNS\tns.x.",
    "child": b"child.parent.example.\t60\tIN\tNS\tns1.child.parent.example.",
    "glue": b"ns1.child.parent.example.\t60\tIN\tA\t999.1.1.1",
    "ns": b"bad.parent.example.\t60\tIN\tNS\tn..x.",
    "name": b"a..parent.example.\t60\tIN\tNS\tns.x.",
    "host": b"www.parent.example.\t60\tIN\tA\t999.1.1.1",
}


def listed(*lines: str) -> dict[str, str]:
    """The delegations of these lines by name, each with why it cannot be read."""
    senseless = Senseless(ZONE)
    found: dict[str, str] = {}
    with Spool() as spool:
        spool.put(export.delegation_records([SENSELESS[line] for line in lines], senseless))
        reader = BranchReader(ZONE)
        branches = [branch for records in spool.sorted() for branch in reader.feed(records)]
        for branch in (*branches, *reader.finish()):
            for each in map(senseless.in_stead_of, branch.readings()):
                if isinstance(each, Reading):
                    found[names.to_text(each.delegation.child)] = ""
                else:
                    found[each.name] = each.reason
    return {**found, **{each.name: each.reason for each in senseless.rest()}}


def test_a_record_that_cannot_be_read_spoils_its_delegation_and_no_other() -> None:
    told = listed("good", "child", "glue", "ns", "name", "host")
    assert told.pop("good.parent.example.") == ""
    assert {name: "cannot be read" in reason for name, reason in told.items()} == {
        "child.parent.example.": True,
        "bad.parent.example.": True,
        "a..parent.example.": True,
    }
    assert "999.1.1.1" in told["child.parent.example."]


def test_so_many_senseless_records_are_no_zone() -> None:
    senseless = Senseless(ZONE)
    lines = [b"c%d.parent.example.\t60\tIN\tNS\tn..x." % number for number in range(MOST + 1)]
    with pytest.raises(BackendUnavailable, match="more than 1000 lines"):
        list(export.delegation_records(lines, senseless))


def test_where_one_name_is_read_nothing_is_put_aside() -> None:
    with pytest.raises(BackendUnavailable, match=r"999\.1\.1\.1"):
        list(export.delegation_records([SENSELESS["glue"]]))
