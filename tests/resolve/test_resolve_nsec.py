"""RFC 4035 section 5.4 and RFC 6840 section 4: what NSEC records prove, and what they are misused for."""

from typing import Any

import pytest
from dns.rdatatype import RdataType

from resolve_support import NOW, Signer, reply, rrset, work
from zonecut.protocol import names
from zonecut.resolve.delegation import NoCut, judge_delegation
from zonecut.resolve.denial import Denial
from zonecut.resolve.failures import Bogus, Undecided
from zonecut.resolve.judgement import judge
from zonecut.resolve.nsec import Proof
from zonecut.resolve.reply import RRset
from zonecut.resolve.signatures import verify
from zonecut.resolve.values import Status, Verdict
from zonecut.resolve.zone import Unsigned

ZONE = Signer("test.")
CHILD = Signer("child.test.")


def nsec(owner: str, following: str, *types: str, signer: Signer = ZONE, **options: Any) -> RRset:
    return signer.sign(owner, "NSEC", f"{following} {' '.join(types)} RRSIG NSEC", **options)


APEX = nsec("test.", "a.test.", "NS", "SOA", "DNSKEY")


def prove(name: str, rtype: str, *records: RRset, signer: Signer = ZONE) -> Proof | None:
    spent = work()
    try:
        denial = Denial.read(records, signer.zone, NOW, spent)
        return denial.prove(names.from_text(name), RdataType[rtype], spent)
    except Undecided:
        return None


@pytest.mark.parametrize(
    ("name", "rtype", "records", "proof"),
    [
        ("host.test.", "KEY", [nsec("host.test.", "z.test.", "A")], Proof.NO_DATA),
        ("host.test.", "DS", [nsec("host.test.", "z.test.", "A")], Proof.NO_DATA),
        ("child.test.", "DS", [nsec("child.test.", "z.test.", "NS")], Proof.DELEGATION),
        ("test.", "KEY", [APEX], Proof.NO_DATA),
        ("b.test.", "KEY", [APEX, nsec("a.test.", "c.test.", "A")], Proof.NO_NAME),
        ("x.b.test.", "KEY", [APEX, nsec("a.test.", "c.test.", "A")], Proof.NO_NAME),
        # The last NSEC of the zone points back to its apex.
        ("zz.test.", "KEY", [APEX, nsec("c.test.", "test.", "A")], Proof.NO_NAME),
        # An empty non-terminal
        ("ent.test.", "KEY", [nsec("a.test.", "x.ent.test.", "A")], Proof.NO_DATA),
        # A wildcard that has no such type
        ("b.test.", "KEY", [nsec("a.test.", "c.test.", "A"), nsec("*.test.", "a.test.", "A")], Proof.NO_DATA),
    ],
)
def test_proofs(name: str, rtype: str, records: list[RRset], proof: Proof) -> None:
    assert prove(name, rtype, *records) is proof


@pytest.mark.parametrize(
    ("why", "name", "rtype", "records"),
    [
        ("nothing at all", "b.test.", "KEY", []),
        ("the type is there", "host.test.", "A", [nsec("host.test.", "z.test.", "A")]),
        ("a CNAME is there (RFC 6840 4.3)", "host.test.", "KEY", [nsec("host.test.", "z.test.", "CNAME")]),
        ("another name", "b.test.", "KEY", [nsec("host.test.", "z.test.", "A")]),
        ("the wildcard is not denied", "b.test.", "KEY", [nsec("a.test.", "c.test.", "A")]),
        ("the wildcard has it", "b.test.", "A", [nsec("a.test.", "c.test.", "A"), nsec("*.test.", "a.test.", "A")]),
        (
            "the wildcard is an empty non-terminal",
            "b.test.",
            "KEY",
            [nsec("a.test.", "c.test.", "A"), nsec("test.", "x.*.test.", "NS", "SOA")],
        ),
        (
            "the wildcard is a delegation",
            "b.test.",
            "DS",
            [nsec("a.test.", "c.test.", "A"), nsec("*.test.", "a.test.", "NS")],
        ),
        (
            "the child's own NSEC says nothing about DS",
            "child.test.",
            "DS",
            [nsec("child.test.", "z.test.", "NS", "SOA")],
        ),
        ("the parent's NSEC at a cut denies only DS", "child.test.", "KEY", [nsec("child.test.", "z.test.", "NS")]),
        (
            "nor names below the cut (RFC 6840 4.1)",
            "www.child.test.",
            "KEY",
            [APEX, nsec("child.test.", "z.test.", "NS")],
        ),
        ("nor names below a DNAME", "www.d.test.", "KEY", [APEX, nsec("d.test.", "z.test.", "DNAME")]),
        ("a name outside the zone", "b.example.", "KEY", [APEX, nsec("a.test.", "c.test.", "A")]),
        ("the next name lies outside the zone", "zz.test.", "KEY", [APEX, nsec("c.test.", "zzz.", "A")]),
        ("the name is one end of the gap", "c.test.", "KEY", [APEX, nsec("a.test.", "c.test.", "A")]),
        (
            "the gap wraps round at a name that is not the apex",
            "zz.test.",
            "KEY",
            [APEX, nsec("c.test.", "a.test.", "A")],
        ),
    ],
)
def test_what_proves_nothing(why: str, name: str, rtype: str, records: list[RRset]) -> None:
    assert prove(name, rtype, *records) is None, why


def test_the_records_of_another_zone_prove_nothing() -> None:
    sibling = nsec("child.test.", "z.test.", "NS", signer=Signer("other."))
    assert prove("child.test.", "DS", sibling) is None
    below = nsec("child.test.", "www.child.test.", "A", signer=CHILD)
    assert prove("child.test.", "DS", below) is None


def test_an_nsec_without_signature_proves_nothing() -> None:
    assert prove("child.test.", "DS", rrset("child.test.", "NSEC", "z.test. NS")) is None


def test_an_nsec_whose_signature_is_broken_or_expired_is_bogus() -> None:
    for changes in ({"signature": b"\0" * 64}, {"inception": NOW - 20, "expiration": NOW - 10}):
        with pytest.raises(Bogus):
            prove("child.test.", "DS", nsec("child.test.", "z.test.", "NS", **changes))


def test_an_nsec_that_a_wildcard_made_is_not_taken_for_one_that_stands_there() -> None:
    """The signature verifies, for the owner *.test.; at child.test. it would deny whatever is there."""
    made = ZONE.expand("*.test.", "child.test.", "NSEC", "z.test. NS RRSIG NSEC")
    assert verify(made, ZONE.wire, (ZONE.key,), NOW, work()).expanded
    assert prove("child.test.", "DS", made) is None


def test_only_a_few_records_of_a_reply_are_read() -> None:
    many = [nsec(f"n{number}.test.", f"n{number}a.test.", "A") for number in range(30)]
    spent = work()
    Denial.read(many, ZONE.zone, NOW, spent)
    assert spent.validations == spent.limits.denials


def test_an_insecure_delegation_needs_a_proof() -> None:
    name = names.from_text("child.test.")
    proven = judge_delegation(reply(authority=[nsec("child.test.", "z.test.", "NS")]), name, ZONE.zone, NOW, work())
    assert isinstance(proven, Unsigned)
    assert proven.reason == "test. proves that child.test. is delegated without DS"
    with pytest.raises(Undecided, match="nothing proves that child"):
        judge_delegation(reply(authority=[rrset("child.test.", "NS", "ns.child.test.")]), name, ZONE.zone, NOW, work())


@pytest.mark.parametrize("types", [("A",), ()])
def test_a_name_without_ns_is_no_cut(types: tuple[str, ...]) -> None:
    authority = [nsec("host.test.", "z.test.", *types)]
    judged = judge_delegation(reply(authority=authority), names.from_text("host.test."), ZONE.zone, NOW, work())
    assert isinstance(judged, NoCut)
    assert not judged.ends


def test_where_nothing_exists_the_way_down_ends() -> None:
    authority = [APEX, nsec("a.test.", "c.test.", "A")]
    judged = judge_delegation(reply(authority=authority, rcode=3), names.from_text("b.test."), ZONE.zone, NOW, work())
    assert judged == NoCut(300, ends=True)


@pytest.mark.parametrize(
    ("authority", "rcode", "status"),
    [
        ([nsec("host.test.", "z.test.", "A")], 0, Status.NODATA),
        ([APEX, nsec("a.test.", "z.test.", "A")], 3, Status.NXDOMAIN),
        # The response code is anybody's; the proof is not.
        ([nsec("host.test.", "z.test.", "A")], 3, Status.NODATA),
        ([APEX, nsec("a.test.", "z.test.", "A")], 0, Status.NXDOMAIN),
    ],
)
def test_a_proven_absence_contradicts(authority: list[RRset], rcode: int, status: Status) -> None:
    answer = judge(
        reply(authority=authority, rcode=rcode), names.from_text("host.test."), RdataType.KEY, ZONE.zone, NOW, work()
    )
    assert answer.is_proven_absent
    assert answer.status is status
    assert not answer.is_proven


def test_an_absence_without_proof_is_indeterminate() -> None:
    for rcode in (0, 3):
        answer = judge(reply(rcode=rcode), names.from_text("host.test."), RdataType.KEY, ZONE.zone, NOW, work())
        assert answer.verdict is Verdict.INDETERMINATE
        assert not answer.is_proven_absent
        assert "nothing proves that host.test. has no KEY" in answer.reason


@pytest.mark.parametrize(
    ("authority", "verdict"),
    [
        ([nsec("*.test.", "z.test.", "KEY")], Verdict.SECURE),
        ([], Verdict.INDETERMINATE),
        # A closer name exists: this wildcard was not to answer.
        ([nsec("x.b.test.", "z.test.", "A")], Verdict.INDETERMINATE),
        ([nsec("host.test.", "z.test.", "A")], Verdict.INDETERMINATE),
    ],
)
def test_what_a_wildcard_made_is_never_proven(authority: list[RRset], verdict: Verdict) -> None:
    made = ZONE.expand("*.test.", "y.b.test.", "KEY", "512 3 15 AAAA")
    answer = judge(reply([made], authority), names.from_text("y.b.test."), RdataType.KEY, ZONE.zone, NOW, work())
    assert (answer.status, answer.verdict) == (Status.WILDCARD, verdict)
    assert not answer.is_proven
