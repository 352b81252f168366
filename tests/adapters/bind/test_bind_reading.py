"""What the adapter `bind` makes of answers and of transferred records."""

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from zonecut.plugin import (
    BackendConflict,
    BackendError,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Reading,
)
from zonecut.plugin.branches import Branch, BranchReader, ChildFilter, OutOfOrder, hidden
from zonecut.plugin.dns.tsig import NotAuthentic
from zonecut.plugin.dns.tsig_key import parse_key
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.envelope import Envelope, walk
from zonecut.protocol.rrset import ResourceRecord
from zonecut_bind.answers import doubtful, failure
from zonecut_bind.dialect import BIND, Operation
from zonecut_bind.reading import sight
from zonecut_bind.server import Server

SERVER = Server("127.0.0.1", 53, parse_key("key the-key { algorithm hmac-sha256; secret AAAA; };"), 5.0, BIND, 5.0)

ZONE = names.from_text("parent.test.")
CHILD = names.from_text("c.parent.test.")


def n(label: str) -> bytes:
    return names.from_text(f"{label}.parent.test.")


def answer(
    rdtype: str, *, aa: bool = False, rcode: int = 0, answers: str = "", authority: str = "", additional: str = ""
) -> Envelope:
    """An answer about c.parent.test; records are written `owner type rdata`, separated by semicolons."""
    response = dns.message.make_response(dns.message.make_query("c.parent.test.", rdtype))
    if aa:
        response.flags |= dns.flags.AA
    response.set_rcode(dns.rcode.Rcode(rcode))
    for section, text in (
        (response.answer, answers),
        (response.authority, authority),
        (response.additional, additional),
    ):
        for line in filter(None, text.split(";")):
            owner, kind, rdata = line.split(maxsplit=2)
            section.append(dns.rrset.from_text(owner, 300, "IN", kind, rdata))
    return walk(response.to_wire())


NO_DS = answer("DS", aa=True, authority="parent.test. SOA a. b. 1 2 3 4 5")


def test_a_referral_is_the_parents_data_and_only_glue_in_the_child_counts() -> None:
    ns = answer(
        "NS",
        authority="C.Parent.test. NS NS1.C.parent.test.;C.parent.test. NS ns.d.parent.test.",
        additional="NS1.c.parent.test. A 192.0.2.1;ns.d.parent.test. A 192.0.2.2;x.c.parent.test. A 192.0.2.3",
    )
    seen = sight(CHILD, ZONE, ns, NO_DS)
    glue = RR(n("ns1.c"), RRType.A, bytes([192, 0, 2, 1]))
    expected = [RR(CHILD, RRType.NS, n("ns1.c")), RR(CHILD, RRType.NS, n("ns.d")), glue]
    assert (seen.delegation, seen.of_parent, seen.barren) == (Delegation.of(CHILD, expected), True, False)
    assert seen.ttls == {(CHILD, RRType.NS): 300, (n("ns1.c"), RRType.A): 300}


def test_an_authoritative_ns_answer_is_only_a_guess() -> None:
    seen = sight(CHILD, ZONE, answer("NS", aa=True, answers="c.parent.test. NS ns.x.test."), NO_DS)
    assert seen.delegation.ns == (names.from_text("ns.x.test."),)
    assert not seen.of_parent


def test_a_referral_for_a_name_above_is_no_delegation_of_the_child() -> None:
    seen = sight(n("x.c"), ZONE, answer("NS", authority="c.parent.test. NS ns.x.test."), NO_DS)
    assert (seen.delegation, seen.barren) == (Delegation(n("x.c")), False)


def test_a_name_error_counts_only_from_the_parent_zone() -> None:
    for owner, barren in (("parent.test.", True), ("x.parent.test.", False)):
        ns = answer("NS", aa=True, rcode=Rcode.NXDOMAIN, authority=f"{owner} SOA a. b. 1 2 3 4 5")
        seen = sight(CHILD, ZONE, ns, NO_DS)
        assert (seen.delegation, seen.barren) == (Delegation(CHILD), barren)


def test_a_ds_answer_joins_the_delegation() -> None:
    ns = answer("NS", authority="c.parent.test. NS ns.x.test.")
    ds = answer("DS", aa=True, answers="c.parent.test. DS 1 13 2 " + "ab" * 32)
    assert sight(CHILD, ZONE, ns, ds).delegation.ds == (bytes([0, 1, 13, 2]) + b"\xab" * 32,)


def test_the_names_between_a_child_and_the_apex_are_listed_from_the_top() -> None:
    assert names.between(n("a.b.c"), ZONE) == (n("c"), n("b.c"))
    assert names.between(n("c"), ZONE) == ()


def ns(owner: str, target: str = "ns.other") -> RR:
    return RR(n(owner), RRType.NS, n(target))


def a(owner: str, last: int = 1) -> RR:
    return RR(n(owner), RRType.A, bytes([192, 0, 2, last]))


def ds(owner: str) -> RR:
    return RR(n(owner), RRType.DS, bytes(36))


TTLS: dict[int, int] = {RRType.NS: 3600, RRType.DS: 1800, RRType.A: 900}


def branches(records: list[RR]) -> list[Branch]:
    reader = BranchReader(ZONE)
    found = []
    for owner, rtype, rdata in records:
        found += list(reader.feed([ResourceRecord(owner, rtype, TTLS[rtype], rdata)]))
    return found + list(reader.finish())


APEX_NS = RR(ZONE, RRType.NS, n("ns"))
SAMPLE = [
    APEX_NS,
    a("b"),
    ds("c"),
    a("c", 9),
    ns("c", "ns.c"),
    ns("c", "c"),
    a("ns.c"),
    a("orphan.c"),
    ns("sub.c", "ns.sub.c"),
    ds("sub.c"),
    ns("c", "ns.sub.c")._replace(owner=n("sub2.c")),
    a("e"),
    ns("f.f"),
    a("x.f"),
]


def test_delegations_come_with_their_glue_and_nothing_else() -> None:
    found = [reading for branch in branches(SAMPLE) for reading in branch.readings()]
    top = [ds("c"), ns("c", "ns.c"), ns("c", "c"), a("c", 9), a("ns.c"), a("orphan.c")]
    assert found == [
        Reading(Delegation.of(n("c"), top), None, (n("sub.c"), n("sub2.c"))),
        Reading(Delegation.of(n("sub.c"), [ns("sub.c", "ns.sub.c"), ds("sub.c")]), n("c")),
        Reading(Delegation.of(n("sub2.c"), [ns("sub2.c", "ns.sub.c")]), n("c")),
        Reading(Delegation.of(n("f.f"), [ns("f.f")])),
    ]
    assert found[1].ttls == {(n("sub.c"), RRType.NS): 3600, (n("sub.c"), RRType.DS): 1800}


def test_glue_below_a_nested_delegation_belongs_to_those_that_name_it() -> None:
    records = [ns("c", "ns.sub.c"), ns("sub.c", "ns.sub.c"), a("ns.sub.c"), a("orphan.sub.c")]
    (branch,) = branches(records)
    assert [[rr.owner for rr in reading.delegation.glue] for reading in branch.readings()] == [
        [n("ns.sub.c")],
        [n("ns.sub.c"), n("orphan.sub.c")],
    ]
    assert hidden(branch) == (n("sub.c"),)


def test_a_branch_ends_where_names_leave_it_even_if_they_end_alike() -> None:
    found = branches([ns("c"), a("x.c"), ns("xc"), a("x.xc")])
    assert [branch.top for branch in found] == [n("c"), n("xc")]


def test_records_out_of_order_are_detected() -> None:
    with pytest.raises(OutOfOrder, match=r"b\.parent\.test"):
        branches([ns("c"), a("b")])


@pytest.mark.parametrize(
    ("child", "reading"),
    [
        ("c", Reading(Delegation.of(n("c"), [*SAMPLE[2:7]]), None, (n("sub.c"), n("sub2.c")))),
        ("sub.c", Reading(Delegation.of(n("sub.c"), SAMPLE[8:10]), n("c"))),
        ("x.sub.c", Reading(Delegation(n("x.sub.c")), n("c"))),
        ("f", Reading(Delegation(n("f")), None, (n("f.f"),))),
        ("b", Reading(Delegation(n("b")))),
    ],
)
def test_one_child_is_picked_out_of_a_transfer_as_queries_would_show_it(child: str, reading: Reading) -> None:
    chosen = ChildFilter(n(child))
    for branch in branches(SAMPLE):
        chosen.take(branch)
    assert chosen.reading() == reading


ERRORS: list[tuple[int, type[BackendError]]] = [
    (Rcode.NXRRSET, BackendConflict),
    (Rcode.YXRRSET, BackendConflict),
    (Rcode.NXDOMAIN, BackendConflict),
    (Rcode.YXDOMAIN, BackendConflict),
    (Rcode.REFUSED, BackendMisconfigured),
    (Rcode.NOTAUTH, BackendMisconfigured),
    (Rcode.NOTZONE, BackendMisconfigured),
    (Rcode.SERVFAIL, BackendUnavailable),
    (Rcode.FORMERR, BackendRejected),
    (14, BackendRejected),
]


@pytest.mark.parametrize(("rcode", "error"), ERRORS)
def test_each_rcode_of_an_update_has_its_error(rcode: int, error: type[BackendError]) -> None:
    assert type(failure(answer("SOA", rcode=rcode), Operation.UPDATE, SERVER)) is error


@pytest.mark.parametrize(("rcode", "error"), [(Rcode.NOERROR, BackendConflict), *ERRORS])
def test_an_unsigned_answer_is_neither_success_nor_conflict(rcode: int, error: type[BackendError]) -> None:
    found = doubtful(answer("SOA", rcode=rcode), NotAuthentic("is not signed"), Operation.UPDATE, SERVER)
    assert type(found) is (BackendMisconfigured if error is BackendConflict else error)
    assert "is not signed" in found.reason


@pytest.mark.parametrize(("error", "word"), [(16, "secret"), (17, "name and algorithm"), (18, "clock"), (22, "22")])
def test_a_tsig_error_says_what_to_look_at(error: int, word: str) -> None:
    found = doubtful(answer("SOA", rcode=9), NotAuthentic("reports a TSIG error", error), Operation.QUERY, SERVER)
    assert isinstance(found, BackendMisconfigured)
    assert word in found.reason
    assert "the-key" in found.reason
