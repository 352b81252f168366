"""What goes over the wire between zonecut and a provisioning system, and what its answers mean."""

import json
from typing import Any

import pytest
from hypothesis import given

from strategies import delegations
from zonecut.plugin import (
    BackendConflict,
    BackendError,
    BackendLater,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
    Reading,
)
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls
from zonecut.protocol.rrset import RRset
from zonecut_webhook import documents
from zonecut_webhook.answers import again_in, failure, parse

ZONE = names.from_text("parent.example.")
CHILD = names.from_text("child.parent.example.")
INSIDE = names.from_text("ns1.child.parent.example.")
AFTER = Delegation.of(
    CHILD,
    [
        RR(CHILD, RRType.NS, INSIDE),
        RR(CHILD, RRType.NS, names.from_text("ns.elsewhere.example.")),
        RR(CHILD, RRType.DS, bytes.fromhex("3039 0d02") + bytes(32)),
        RR(INSIDE, RRType.A, b"\x0b\0\0\1"),
        RR(INSIDE, RRType.AAAA, bytes.fromhex("2610" + 27 * "0" + "1")),
    ],
)
CHANGE = Change(Delegation(CHILD), AFTER, b"identity")


def test_a_change_is_written_as_the_readme_shows_it() -> None:
    (identity,) = [documents.change_id(ZONE, CHANGE)]
    document = documents.changes_json(ZONE, [CHANGE], [identity], Ttls(7200, 1800, 900))
    assert json.loads(documents.dump(document)) == {
        "zone": "parent.example.",
        "ttl": {"ns": 7200, "ds": 1800, "glue": 900},
        "changes": [
            {
                "id": identity,
                "child": "child.parent.example.",
                "before": {"ns": [], "ds": [], "glue": {}},
                "after": {
                    "ns": ["ns.elsewhere.example.", "ns1.child.parent.example."],
                    "ds": ["12345 13 2 " + 64 * "0"],
                    "glue": {"ns1.child.parent.example.": ["11.0.0.1", "2610::1"]},
                },
            }
        ],
    }


@given(delegations)
def test_a_delegation_is_read_as_it_was_written(delegation: Delegation) -> None:
    document = json.loads(documents.dump(documents.delegation_json(delegation)))
    assert documents.delegation_of(delegation.child, document) == delegation


def test_a_look_up_tells_what_lies_around_a_name() -> None:
    document = {"child": "Child.Parent.Example", "ns": ["NS.elsewhere.example"], "ds": []}
    held = Delegation(CHILD, (names.from_text("ns.elsewhere.example."),))
    assert documents.reading_of(document) == Reading(held)
    around = {"enclosing": "parent.example.", "nested": ["b.child.parent.example.", "a.child.parent.example."]}
    reading = documents.reading_of(document | around)
    assert reading.enclosing == ZONE
    assert list(map(names.to_text, reading.nested)) == ["a.child.parent.example.", "b.child.parent.example."]


@pytest.mark.parametrize("missing", ["ns", "ds"])
def test_what_is_not_there_is_said_by_an_empty_list(missing: str) -> None:
    document = {"child": "child.parent.example.", "ns": [], "ds": [], "glue": {}}
    assert documents.reading_of(document) == Reading(Delegation(CHILD))
    for wrong in ({key: value for key, value in document.items() if key != missing}, {**document, missing: None}):
        with pytest.raises(ValueError, match=f"a delegation without '{missing}'"):
            documents.reading_of(wrong)


@given(delegations)
def test_a_reading_is_read_as_the_command_line_prints_it(delegation: Delegation) -> None:
    ttls = {key: 60 + key[1] for key in delegation.rrsets}
    reading = Reading(delegation, ZONE, (INSIDE,), ttls)
    again = documents.reading_of(json.loads(documents.dump(reading.to_json())))
    assert (again, again.ttls) == (reading, ttls)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {},
        {"child": 1},
        {"child": "a..b"},
        {"ns": "ns.example."},
        {"ns": [1]},
        {"ns": ["x" * 64 + "."]},
        {"ds": ["1 2"]},
        {"ds": ["1 2 3 zz"]},
        {"ds": ["65536 13 2 00"]},
        {"ds": ["1 256 2 00"]},
        {"glue": ["11.0.0.1"]},
        {"glue": {"ns.elsewhere.example.": ["11.0.0.1"]}},
        {"glue": {"ns1.child.parent.example.": ["11.0.0"]}},
        {"glue": {"ns1.child.parent.example.": "11.0.0.1"}},
        {"enclosing": 1},
        {"nested": {}},
        {"ttls": [1]},
        {"ttls": {"child.parent.example.": 60}},
        {"ttls": {"child.parent.example.": {"MX": 60}}},
        {"ttls": {"child.parent.example.": {"NS": -1}}},
    ],
)
def test_anything_else_is_not_understood(wrong: Any) -> None:
    document = {"child": "child.parent.example.", "ns": [], **wrong} if isinstance(wrong, dict) and wrong else wrong
    with pytest.raises(ValueError, match=r".+"):
        documents.reading_of(document)


@pytest.mark.parametrize(
    "record",
    [RR(CHILD, RRType.NS, b"\3not-a-name"), RR(INSIDE, RRType.A, b"\1\2\3"), RR(INSIDE, RRType.AAAA, b"\1\2\3\4")],
)
def test_a_record_without_a_text_is_rejected_before_it_is_sent(record: RR) -> None:
    with pytest.raises(BackendRejected, match="is no data of this type"):
        documents.delegation_json(Delegation.of(CHILD, [record]))


def test_a_change_has_the_same_id_whenever_it_is_written() -> None:
    same = Change(CHANGE.before, CHANGE.after, CHANGE.identity)
    assert documents.change_id(ZONE, same) == documents.change_id(ZONE, CHANGE)
    others = [
        documents.change_id(CHILD, CHANGE),
        documents.change_id(ZONE, Change(CHANGE.before, CHANGE.after, b"another request")),
        documents.change_id(ZONE, Change(CHANGE.after, CHANGE.before, CHANGE.identity)),
        # nobody's request is another one each time
        documents.change_id(ZONE, Change(CHANGE.before, CHANGE.after)),
        documents.change_id(ZONE, Change(CHANGE.before, CHANGE.after)),
    ]
    assert len({*others, documents.change_id(ZONE, CHANGE)}) == 6
    assert documents.idempotency_key(others) != documents.idempotency_key(others[:1])


def test_a_request_is_as_large_as_the_options_allow() -> None:
    assert documents.fitting([CHANGE] * 7, 5, 1_000_000) == 5
    assert documents.fitting([CHANGE] * 7, 50, 1_000_000) == 7
    assert documents.fitting([CHANGE] * 7, 50, 1) == 1
    count = documents.fitting([CHANGE] * 100, 100, 20_000)
    ids = ["0" * 32] * count
    assert 1 < count < 100
    assert len(documents.dump(documents.changes_json(ZONE, [CHANGE] * count, ids, Ttls()))) <= 20_000


@given(delegations)
def test_no_change_is_larger_than_was_reckoned(delegation: Delegation) -> None:
    change = Change(Delegation(delegation.child), delegation)
    document = documents.changes_json(ZONE, [change, change], ["0" * 32] * 2, Ttls())
    size = len(documents.dump(document))
    assert documents.fitting([change, change], 2, size // 2) == 1


def test_an_rrset_is_read_as_it_was_written() -> None:
    rrset = RRset(CHILD, RRType.DSYNC, 60, (bytes.fromhex("00ff 02 14ea") + INSIDE,))
    document = json.loads(documents.dump(documents.rrset_json(rrset)))
    assert (document["type"], document["records"][0]["text"]) == ("DSYNC", f"ANY UPDATE 5354 {names.to_text(INSIDE)}")
    assert documents.rrset_of(document) == rrset
    unknown = RRset(CHILD, 65300, 60, (b"x",))
    assert documents.rrset_of(documents.rrset_json(unknown)) == unknown


@pytest.mark.parametrize(
    "wrong",
    [
        {"ttl": -1},
        {"ttl": "60"},
        {"ttl": True},
        {"type": "NONSENSE"},
        {"records": []},
        {"records": [{}]},
        {"records": [{"rdata": "xx"}]},
        {"records": None},
        {"name": None},
    ],
)
def test_anything_else_is_no_rrset(wrong: dict[str, Any]) -> None:
    document = documents.rrset_json(RRset(CHILD, RRType.A, 60, (b"\1\2\3\4",)))
    with pytest.raises(ValueError, match=r".+"):
        documents.rrset_of({**document, **wrong})


def answered(status: int, document: Any = None, **headers: str) -> BackendError:
    body = b"" if document is None else json.dumps(document).encode()
    return failure(status, headers, body, asked=[CHILD, INSIDE], key_file="/etc/zonecut/webhook.key", now=1000.0)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (202, BackendLater),
        (204 + 2, BackendMisconfigured),
        (301, BackendMisconfigured),
        (307, BackendMisconfigured),
        (400, BackendRejected),
        (401, BackendMisconfigured),
        (403, BackendMisconfigured),
        (404, BackendMisconfigured),
        (405, BackendMisconfigured),
        (408, BackendUnavailable),
        (409, BackendConflict),
        (413, BackendRejected),
        (422, BackendRejected),
        (429, BackendUnavailable),
        (500, BackendUnavailable),
        (501, BackendMisconfigured),
        (503, BackendUnavailable),
    ],
)
def test_each_status_is_one_error_of_the_interface(status: int, error: type[BackendError]) -> None:
    assert type(answered(status)) is error
    assert answered(status).reason
    assert "the holder objects" in answered(status, {"reason": "the holder objects"}).reason


def test_the_reason_of_a_rejection_is_the_systems_own() -> None:
    rejected = answered(422, {"reason": "the holder\n objects\0", "children": ["CHILD.parent.example", "x.", 7]})
    assert rejected.reason == "the holder objects"
    assert isinstance(rejected, BackendRejected)
    assert rejected.children == (CHILD,)
    assert len(answered(422, {"reason": "x" * 5000}).reason) == 303


@pytest.mark.parametrize("document", ["text", [], {"reason": 7, "children": "child"}, {"children": [None, "a..b"]}])
def test_an_explanation_that_is_none_is_left_out(document: Any) -> None:
    rejected = answered(422, document)
    assert isinstance(rejected, BackendRejected)
    assert (rejected.children, rejected.reason) == ((), "the provisioning system rejects it without a reason")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        ("0", 1.0),
        ("999999999999999", 3600.0),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 1.0),
        ("soon", 30.0),
        ("-1", 30.0),
        ("", 30.0),
    ],
)
def test_later_is_when_the_system_says_within_bounds(text: str, seconds: float) -> None:
    assert again_in({"retry-after": text}, 1000.0) == seconds
    later = answered(202, {"reason": "is being looked at"}, **{"retry-after": text})
    assert isinstance(later, BackendLater)
    assert (later.again_in, later.reason, later.children) == (seconds, "is being looked at", ())


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_none(body: bytes) -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        parse(body)
