"""A PATCH of the PowerDNS API, and the UPDATEs that it stands for."""

import json
from typing import Any

import pytest
from hypothesis import given

from patch_support import rrset
from strategies import CHILD, delegations
from zonecut.powerdns_api.patch import Asked, MalformedPatch, by_child, read_patch, without_cut
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, rdata_text
from zonecut.protocol.envelope import walk
from zonecut.protocol.errors import Refusal
from zonecut.protocol.update import read_request

ZONE = names.from_text("parent.example.")
OTHER = names.from_text("other.parent.example.")


def body(*rrsets: Any) -> bytes:
    return json.dumps({"rrsets": rrsets}).encode()


def asked(*rrsets: dict[str, Any], known: dict[bytes, bytes | None] | None = None, most: int = 1000) -> list[Asked]:
    return list(by_child(read_patch(body(*rrsets), ZONE), ZONE, known or {}, most))


def refused(*rrsets: Any, **options: Any) -> Refusal:
    with pytest.raises(Refusal) as found:
        asked(*rrsets, **options)
    return found.value


def test_each_child_gets_what_is_its() -> None:
    first, second = asked(
        rrset("child.parent.example.", "NS", "ns1.child.parent.example.", "ns.elsewhere.example."),
        rrset("other.parent.example.", "DS"),
        rrset("ns1.child.parent.example.", "A", "11.0.0.1", "11.0.0.2"),
        rrset("NS1.Child.parent.example.", "AAAA", "2610:0:0::1"),
        rrset("child.parent.example.", "ds", "12345 13 2 " + "ab" * 32),
    )
    assert (first.child, second.child) == (CHILD, OTHER)
    assert [operation.to_text() for operation in first.request.operations] == [
        "delete child.parent.example. NS",
        "add child.parent.example. NS ns1.child.parent.example.",
        "add child.parent.example. NS ns.elsewhere.example.",
        "delete ns1.child.parent.example. A",
        "add ns1.child.parent.example. A 11.0.0.1",
        "add ns1.child.parent.example. A 11.0.0.2",
        "delete ns1.child.parent.example. AAAA",
        "add ns1.child.parent.example. AAAA 2610::1",
        "delete child.parent.example. DS",
        "add child.parent.example. DS 12345 13 2 " + "AB" * 32,
    ]
    assert [operation.to_text() for operation in second.request.operations] == ["delete other.parent.example. DS"]


@given(delegations, delegations)
def test_replacements_lead_from_any_delegation_to_any_other(before: Delegation, after: Delegation) -> None:
    old, new = before.rrsets, after.rrsets
    rrsets = [
        rrset(names.to_text(owner), RRType(rtype).text, *(rdata_text(rtype, each) for each in new.get(key, ())))
        for key in sorted(old.keys() | new.keys())
        for owner, rtype in [key]
    ]
    if any(rdata_text(RRType.DS, each).startswith("\\#") for each in after.ds) or not rrsets:
        return
    edits = read_patch(body(*rrsets), ZONE)
    (only,) = by_child(edits, ZONE, dict.fromkeys(without_cut(edits), CHILD), 1000)
    assert only.request.apply(before) == after


@given(delegations)
def test_the_ledger_s_message_says_the_same_after_a_restart(after: Delegation) -> None:
    rrsets = [
        rrset(names.to_text(owner), RRType(rtype).text, *(rdata_text(rtype, rdata) for rdata in rdatas))
        for (owner, rtype), rdatas in after.rrsets.items()
        if rtype != RRType.DS
    ]
    if rrsets:
        edits = read_patch(body(*rrsets), ZONE)
        (only,) = by_child(edits, ZONE, dict.fromkeys(without_cut(edits), CHILD), 1000)
        assert read_request(walk(only.message), ZONE, CHILD, b"") == only.request


def test_addresses_alone_belong_to_the_delegation_that_is_there() -> None:
    host = names.from_text("ns1.child.parent.example.")
    rrsets = [rrset("ns1.child.parent.example.", "A", "11.0.0.1"), rrset("ns1.child.parent.example.", "AAAA")]
    assert without_cut(read_patch(body(*rrsets), ZONE)) == (host,)
    (only,) = asked(*rrsets, known={host: CHILD})
    assert only.child == CHILD
    none = refused(*rrsets, known={host: None})
    assert none.rule == "child-delegated"
    assert "ns1.child.parent.example. A" in none.reason


def test_addresses_belong_to_the_nearest_child_of_the_patch() -> None:
    found = asked(
        rrset("child.parent.example.", "NS", "ns.elsewhere.example."),
        rrset("deep.child.parent.example.", "DS"),
        rrset("ns1.deep.child.parent.example.", "A", "11.0.0.1"),
    )
    assert [len(each.request.operations) for each in found] == [2, 3]


@pytest.mark.parametrize(
    ("entry", "rule", "named"),
    [
        (rrset("elsewhere.example.", "NS", "ns.example."), "owner-in-zone", "elsewhere.example."),
        (rrset("child.parent.example.", "TXT", '"x"'), "delegation-types", "child.parent.example. TXT"),
        (rrset("parent.example.", "SOA"), "delegation-types", "parent.example. SOA"),
        (rrset("child.parent.example", "NS", "ns.example."), "record-readable", "ends in a dot"),
        (rrset("child..parent.example.", "NS", "ns.example."), "record-readable", "empty label"),
        (rrset("bücher.parent.example.", "NS", "ns.example."), "record-readable", "A-labels"),
        (rrset("child.parent.example.", "NS", "ns.example"), "record-readable", "'ns.example'"),
        (rrset("child.parent.example.", "DS", "12345 13 2"), "record-readable", "it has no digest"),
        (rrset("child.parent.example.", "DS", "99999 13 2 AB"), "record-readable", "is no DS record"),
        (rrset("child.parent.example.", "DS", "1 13 2 XY"), "record-readable", "is no DS record"),
        (rrset("a.child.parent.example.", "A", "11.0.0"), "record-readable", "'11.0.0'"),
        (rrset("a.child.parent.example.", "A", "2610::1"), "record-readable", "'2610::1'"),
        (rrset("a.child.parent.example.", "AAAA", "11.0.0.1"), "record-readable", "'11.0.0.1'"),
        (rrset("a.child.parent.example.", "AAAA", "2610::1%eth0"), "record-readable", "has a zone id"),
        (rrset("child.parent.example.", "NS", changetype="APPEND"), "changetype", "'APPEND'"),
        (rrset("child.parent.example.", "NS", "ns.example.", comments=[{"content": "x"}]), "no-comments", "comments"),
        (
            rrset(
                "child.parent.example.",
                "NS",
                records=[{"content": "ns.example.", "disabled": True}],
                changetype="REPLACE",
            ),
            "record-enabled",
            "child.parent.example. NS ns.example.",
        ),
    ],
)
def test_a_refusal_names_record_and_rule(entry: dict[str, Any], rule: str, named: str) -> None:
    found = refused(rrset("other.parent.example.", "DS"), entry)
    assert found.rule == rule
    assert named in found.reason


def test_an_rrset_is_there_once() -> None:
    twice = [rrset("child.parent.example.", "NS", "ns.example."), rrset("CHILD.parent.example.", "NS")]
    assert refused(*twice).rule == "rrset-once"
    for kind in ("EXTEND", "PRUNE"):
        one = rrset("child.parent.example.", "NS", "ns.example.", changetype=kind)
        for mixed in ((one, twice[0]), (twice[1], one)):
            assert refused(*mixed).rule == "rrset-once"


def test_records_come_and_go_one_by_one() -> None:
    """EXTEND and PRUNE, since PowerDNS 4.9.12 and 5.0.2."""
    (found,) = asked(
        rrset("child.parent.example.", "NS", "ns3.example.", changetype="EXTEND"),
        rrset("child.parent.example.", "NS", "ns4.example.", changetype="extend"),
        rrset("child.parent.example.", "NS", "ns1.example.", changetype="PRUNE"),
        rrset("child.parent.example.", "DS"),
    )
    assert [operation.to_text() for operation in found.request.operations] == [
        "add child.parent.example. NS ns3.example.",
        "add child.parent.example. NS ns4.example.",
        "delete child.parent.example. NS ns1.example.",
        "delete child.parent.example. DS",
    ]
    for contents in ((), ("ns1.example.", "ns2.example.")):
        entry = rrset("child.parent.example.", "NS", *contents) | {"changetype": "PRUNE"}
        with pytest.raises(MalformedPatch, match=r"PRUNE is of exactly one record|a list `records`"):
            asked(entry)


def test_no_more_is_asked_than_an_update_holds() -> None:
    hosts = [f"ns{number}.child.parent.example." for number in range(40)]
    many = [rrset("child.parent.example.", "NS", *hosts)]
    assert refused(*many, most=40).rule == "max-records"
    assert len(asked(*many, most=41)) == 1
    huge = [rrset("child.parent.example.", "DS", *(f"1 13 2 {number:04x}" + "00" * 1000 for number in range(100)))]
    assert refused(*huge).rule == "max-records"


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"rrsets": {}}',
        b'{"rrsets": [1]}',
        b'{"rrsets": [{}]}',
        b'{"rrsets": [{"name": 1, "type": "NS", "changetype": "DELETE"}]}',
        b'{"rrsets": [], "rrsets": []}',
        b'{"rrsets": [{"name": "c.parent.example.", "type": "NS", "changetype": "REPLACE"}]}',
        b'{"rrsets": [{"name": "c.parent.example.", "type": "NS", "changetype": "REPLACE", "records": [1]}]}',
        b'{"rrsets": [{"name": "c.parent.example.", "type": "NS", "changetype": "REPLACE", "records": [{}]}]}',
        b"[" * 100_000,
        b'{"rrsets":' + b"[" * 100_000,
    ],
)
def test_what_is_no_patch_is_said_to_be_none(octets: bytes) -> None:
    with pytest.raises(MalformedPatch):
        read_patch(octets, ZONE)


def test_an_empty_patch_asks_for_nothing() -> None:
    assert asked() == []


def test_a_replacement_by_nothing_is_a_deletion() -> None:
    (only,) = asked({"name": "child.parent.example.", "type": "DS", "changetype": "replace", "records": []})
    assert [operation.to_text() for operation in only.request.operations] == ["delete child.parent.example. DS"]
    assert only.request.apply(Delegation.of(CHILD, [RR(CHILD, RRType.DS, b"\0\1\15\2x")])) == Delegation(CHILD)
