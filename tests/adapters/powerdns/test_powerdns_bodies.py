"""What goes to the API of PowerDNS and comes from it: names, RDATA, JSON bodies, failures."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import delegations
from zonecut.plugin import (
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
)
from zonecut.protocol import names
from zonecut.protocol.announced.svcb import Method, Svcb
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls
from zonecut.protocol.rrset import RRset
from zonecut_powerdns import bodies, content
from zonecut_powerdns.answers import Busy, failure, reason
from zonecut_powerdns.switchedoff import Document

CHILD = names.from_text("child.parent.example.")
NS1 = names.from_text("ns1.child.parent.example.")
TTLS = Ttls(ns=7200, ds=1800, glue=900)
A = RR(NS1, RRType.A, b"\x0b\0\0\1")
BEFORE = Delegation.of(CHILD, [RR(CHILD, RRType.NS, NS1), RR(CHILD, RRType.DS, b"\0\1\x0d\2\xab"), A])

labels = st.binary(min_size=1, max_size=20).map(bytes.lower)
wire_names = st.lists(labels, max_size=5).map(lambda found: b"".join(bytes([len(x)]) + x for x in found) + b"\0")


@given(wire_names)
def test_names_go_and_come_back(name: bytes) -> None:
    assert content.name_wire(content.name_text(name)) == name


def test_names_have_the_escapes_of_powerdns_and_no_others() -> None:
    assert content.name_text(b'\x08a.\\@"; \xff\0') == 'a\\.\\\\@";\\032\\255.'
    assert content.name_text(names.ROOT) == "."


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("parent.example.", "parent.example."),
        (".", "=2E"),
        ("0/25.2.0.192.in-addr.arpa.", "0=2F25.2.0.192.in-addr.arpa."),
        ("_a.example.", "=5Fa.example."),
    ],
)
def test_a_zone_has_its_address(zone: str, expected: str) -> None:
    assert content.zone_id(names.from_text(zone)) == expected


@pytest.mark.parametrize(
    ("rtype", "text", "rdata"),
    [
        (RRType.A, "11.0.0.1", b"\x0b\0\0\1"),
        (RRType.AAAA, "2610::1", b"\x26\x10" + bytes(13) + b"\1"),
        (RRType.AAAA, "::ffff:11.0.0.1", bytes(10) + b"\xff\xff\x0b\0\0\1"),
        (RRType.NS, "ns1.child.parent.example.", NS1),
        (RRType.DS, "1 13 2 abcd", b"\0\1\x0d\2\xab\xcd"),
        (RRType.DSYNC, "\\# 6 00ff02003500", b"\0\xff\2\0\x35\0"),
        (RRType.SVCB, '1 . key65282="at-apex,manual"', Svcb.announcing([Method.AT_APEX, Method.MANUAL]).to_wire()),
        (RRType.KEY, "512 3 15 AAAA", b"\2\0\3\x0f\0\0\0"),
        (15, "10 mx.parent.example.", b"\0\x0a\2mx\6parent\7example\0"),
        (16, '"a b"', b"\3a b"),
        (65402, "A \"ifportup(443, {'11.0.0.1'})\"", b"A \"ifportup(443, {'11.0.0.1'})\""),
    ],
)
def test_rdata_is_written_and_read_as_powerdns_does(rtype: int, text: str, rdata: bytes) -> None:
    assert content.rdata_text(rtype, rdata) == text
    assert content.rdata_wire(rtype, text) == rdata


def test_what_cannot_be_rdata_is_written_in_generic_form_for_the_server_to_refuse() -> None:
    assert content.rdata_text(RRType.NS, b"\3not-a-name") == "\\# 11 036e6f742d612d6e616d65"
    assert content.rdata_text(RRType.A, b"\1") == "\\# 1 01"


def test_names_of_name_servers_are_read_in_lower_case() -> None:
    assert content.rdata_wire(RRType.NS, "NS1.Child.PARENT.example.") == NS1


@pytest.mark.parametrize("text", ["11.0.0", "", "11.0.0.1 x"])
def test_what_is_no_rdata_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        content.rdata_wire(RRType.A, text)


@pytest.mark.parametrize(
    ("rtype", "text"), [(RRType.DSYNC, "TYPE66"), (RRType.NS, "NS"), (65401, "ALIAS"), (65300, "TYPE65300")]
)
def test_types_have_the_names_of_powerdns(rtype: int, text: str) -> None:
    assert content.type_text(rtype) == text
    assert content.type_number(text) == rtype


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(ValueError, match="'NONSENSE' is no RR type"):
        content.type_number("NONSENSE")


# The document of a zone


def document(*rrsets: tuple[str, str, list[tuple[str, bool]]]) -> dict[str, Any]:
    return {
        "name": "parent.example.",
        "rrsets": [
            {
                "name": name,
                "type": rtype,
                "ttl": 60,
                "comments": [],
                "records": [{"content": text, "disabled": disabled} for text, disabled in records],
            }
            for name, rtype, records in rrsets
        ],
    }


def test_what_is_served_is_held_and_what_is_switched_off_is_not() -> None:
    found = bodies.holdings(
        document(
            ("child.parent.example.", "NS", [("NS1.child.parent.example.", False), ("off.example.", True)]),
            ("ns1.child.parent.example.", "A", [("11.0.0.1", True)]),
        )
    )
    assert found.rdatas(CHILD, RRType.NS) == (NS1,)
    assert found.rdatas(NS1, RRType.A) == ()


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_where_records_are_switched_off_is_found_in_a_document_that_comes_in_pieces(size: int) -> None:
    whole = document(
        ("child.parent.example.", "NS", [("a.example.", False)]),
        ("off.parent.example.", "TXT", [('"\\"disabled\\": true ]} \u00e9"', False), ("x", True)]),
        ("on.parent.example.", "TXT", [('"disabled"', False)]),
        ("last.parent.example.", "A", [("11.0.0.1", True)]),
    )
    octets = json.dumps({"masters": [], **whole, "serial": 1}, ensure_ascii=False).encode()
    reading = Document()
    found = [each for at in range(0, len(octets), size) for each in reading.switched_off(octets[at : at + size])]
    off, last = names.from_text("off.parent.example."), names.from_text("last.parent.example.")
    assert found == [((off, 16), ("x",)), ((last, RRType.A), ("11.0.0.1",))]
    reading.finish()


@pytest.mark.parametrize("text", ["", '{"rrsets": [', '{"rrsets": [{"name": "x."', "<html>"])
def test_a_document_that_ends_early_is_refused(text: str) -> None:
    reading = Document()
    assert list(reading.switched_off(text.encode())) == []
    with pytest.raises(ValueError, match="ends early"):
        reading.finish()


def test_what_is_switched_off_is_written_again_unless_it_comes_back() -> None:
    after = Delegation.of(CHILD, [RR(CHILD, RRType.NS, NS1)])
    off = {
        (CHILD, int(RRType.NS)): ("off.example.", "NS1.child.parent.example."),
        (CHILD, int(RRType.DS)): ("1 13 2 ff",),
    }
    before = Delegation.of(
        CHILD, [RR(CHILD, RRType.NS, names.from_text("a.example.")), RR(CHILD, RRType.DS, b"\0\1\x0d\2\xab")]
    )
    made = bodies.replacements(Change(before, after), TTLS, off)
    assert [(item["type"], item["changetype"], item["records"]) for item in made] == [
        (
            "NS",
            "REPLACE",
            [
                {"content": "ns1.child.parent.example.", "disabled": False},
                {"content": "off.example.", "disabled": True},
            ],
        ),
        ("DS", "REPLACE", [{"content": "1 13 2 ff", "disabled": True}]),
    ]


def test_other_names_of_a_whole_zone_are_left_out() -> None:
    found = bodies.holdings(document(("other.parent.example.", "NS", [("a.example.", False)])), CHILD)
    assert found.rrsets == {}


@pytest.mark.parametrize("broken", [{}, {"rrsets": 1}, {"rrsets": [{}]}, {"rrsets": ["x"]}])
def test_a_document_that_is_none_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no RRsets as PowerDNS writes them"):
        bodies.holdings(broken)


@given(delegations, delegations)
def test_exactly_the_delegation_is_held(held: Delegation, other: Delegation) -> None:
    found = bodies.Holdings()
    for (owner, rtype), rdatas in held.rrsets.items():
        found.add(owner, rtype, 60, dict.fromkeys(rdatas, ""))
    owners = {record.owner for each in (held, other) for record in each.glue}
    assert found.holds(held, owners)
    assert found.holds(other, owners) == (held == other)


# A PATCH


def contents(item: dict[str, Any]) -> list[str]:
    return [record["content"] for record in item.get("records", ())]


def items(before: Delegation, after: Delegation) -> list[tuple[Any, ...]]:
    made = json.loads(bodies.patch(bodies.replacements(Change(before, after), TTLS)))["rrsets"]
    return [(item["changetype"], item["name"], item["type"], item.get("ttl"), *contents(item)) for item in made]


def test_only_what_differs_is_written() -> None:
    after = Delegation(CHILD, BEFORE.ns, (b"\0\2\x0d\2\xcd",), BEFORE.glue)
    assert items(BEFORE, after) == [("REPLACE", "child.parent.example.", "DS", 1800, "2 13 2 cd")]
    assert items(BEFORE, BEFORE) == []


def test_a_new_delegation_replaces_whatever_glue_lies_there() -> None:
    assert items(Delegation(CHILD), BEFORE) == [
        ("REPLACE", "child.parent.example.", "NS", 7200, "ns1.child.parent.example."),
        ("REPLACE", "child.parent.example.", "DS", 1800, "1 13 2 ab"),
        ("REPLACE", "ns1.child.parent.example.", "A", 900, "11.0.0.1"),
        ("DELETE", "ns1.child.parent.example.", "AAAA", None),
    ]


def test_a_delegation_that_goes_takes_all_with_it() -> None:
    orphan = RR(names.from_text("old.child.parent.example."), RRType.A, b"\x0b\0\0\2")
    before = Delegation.of(CHILD, [*BEFORE.records, orphan])
    assert {item[:3] for item in items(before, Delegation(CHILD))} == {
        ("DELETE", "child.parent.example.", "NS"),
        ("DELETE", "child.parent.example.", "DS"),
        ("DELETE", "ns1.child.parent.example.", "A"),
        ("DELETE", "old.child.parent.example.", "A"),
        ("DELETE", "old.child.parent.example.", "AAAA"),
    }


@given(delegations, delegations)
def test_a_patch_names_each_rrset_once_and_makes_after_of_before(before: Delegation, after: Delegation) -> None:
    change = Change(before, after)
    keys = bodies.changed_keys(change)
    assert len(keys) == len(set(keys))
    held = dict(before.rrsets)
    for key in keys:
        held.pop(key, None)
        if key in after.rrsets:
            held[key] = after.rrsets[key]
    assert held == after.rrsets


@given(st.lists(st.tuples(delegations, delegations), min_size=1, max_size=4), st.integers(2048, 20000))
def test_what_fits_is_no_larger_than_allowed(pairs: list[tuple[Delegation, Delegation]], octets: int) -> None:
    changes = [Change(*pair) for pair in pairs]
    count = bodies.fitting(changes, octets)
    assert 1 <= count <= len(changes)
    if count > 1:
        made = [item for change in changes[:count] for item in bodies.replacements(change, TTLS)]
        assert len(bodies.patch(made)) <= octets
        assert len({(item["name"], item["type"]) for item in made}) == len(made)


def test_rrsets_of_others_keep_their_text() -> None:
    found = bodies.holdings(document(("u.parent.example.", "SVCB", [("1 . alpn=h2,h3 port=53", False)])))
    ((key, held),) = found.rrsets.items()
    foreign = RRset(*key, 60, held.rdatas)
    ours = Svcb.announcing([Method.MANUAL], priority=2).to_wire()
    both = RRset(*key, 60, (*foreign.rdatas, ours))
    (item,) = bodies.rrset_replacements([foreign], [both], found)
    assert [each["content"] for each in item["records"]] == ["1 . alpn=h2,h3 port=53", '2 . key65282="manual"']
    assert bodies.rrset_replacements([foreign], [foreign], found) == []
    (gone,) = bodies.rrset_replacements([foreign], [], found)
    assert gone == {"name": "u.parent.example.", "type": "SVCB", "changetype": "DELETE"}


# Failures


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (401, b"Unauthorized", BackendMisconfigured, "the API key in /k has to be"),
        (403, b"", BackendMisconfigured, "webserver-allow-from"),
        (404, b"Not Found", BackendMisconfigured, "no zone parent.example. on a server 'localhost'"),
        (422, b'{"error": "Could not find domain"}', BackendMisconfigured, "no zone"),
        (422, b'{"error": "Conflicts with\\n it"}', BackendRejected, "PowerDNS will not have it: Conflicts with it"),
        (422, b'{"error": "a", "errors": ["b", "c"]}', BackendRejected, "a; b; c"),
        (400, b"Bad Request", BackendRejected, "400 (Bad Request)"),
        (413, b"", BackendRejected, "webserver-max-bodysize"),
        (429, b"", BackendUnavailable, "429"),
        (500, b"Internal Server Error", Busy, "may be locked"),
        (503, b"<html>", BackendUnavailable, "PowerDNS answers 503:"),
        (302, b"", BackendMisconfigured, "is it the API of PowerDNS"),
    ],
)
def test_a_failure_says_where_to_look(status: int, body: bytes, error: type[Exception], words: str) -> None:
    made = failure(status, body, zone="parent.example.", server_id="localhost", key_file="/k")
    assert type(made) is error
    assert words in made.reason


def test_a_long_reason_is_cut() -> None:
    assert len(reason(b"x" * 5000)) == 303
