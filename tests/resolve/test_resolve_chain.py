"""The way from a trust anchor to an answer: each cut, each way to break it, what is kept and for how long."""

from typing import Any

import pytest
from dns.rdatatype import RdataType

from resolve_support import HOUR, KEY, NOW, Authority, Signer, reply, rrset, work
from zonecut.protocol import names
from zonecut.resolve.anchors import TrustAnchors
from zonecut.resolve.failures import Bogus, Undecided
from zonecut.resolve.judgement import judge
from zonecut.resolve.reply import Reply
from zonecut.resolve.values import Answer, Status, Verdict
from zonecut.resolve.walk import StepCache, Walk
from zonecut.resolve.work import Limits, Work
from zonecut.resolve.zone import Unsigned, Zone

ROOT = Signer(".")
PARENT = Signer("test.")
CHILD = Signer("child.test.")
ROGUE = Signer("child.test.", "rogue")
ANCHORS = TrustAnchors({names.ROOT: (ROOT.ds(),)})
WWW = names.from_text("www.child.test.")

TREE = {
    (".", "DNSKEY"): reply([ROOT.dnskeys()]),
    ("test.", "DS"): reply([ROOT.sign("test.", "DS", PARENT.ds().to_text())]),
    ("test.", "DNSKEY"): reply([PARENT.dnskeys()]),
    ("child.test.", "DS"): reply([PARENT.sign("child.test.", "DS", CHILD.ds().to_text())]),
    ("child.test.", "DNSKEY"): reply([CHILD.dnskeys()]),
    ("www.child.test.", "DS"): reply(authority=[CHILD.sign("www.child.test.", "NSEC", "child.test. A RRSIG NSEC")]),
}


def walk(
    changes: dict[tuple[str, str], Reply] | None = None,
    anchors: TrustAnchors = ANCHORS,
    cache: StepCache | None = None,
    now: float = NOW,
    spent: Work | None = None,
) -> tuple[Walk, Authority]:
    authority = Authority({**TREE, **(changes or {})})
    return Walk(
        anchors, authority.fetch, StepCache(Limits()) if cache is None else cache, lambda: now, spent or work()
    ), authority


async def reached(changes: dict[tuple[str, str], Reply] | None = None, **options: Any) -> Zone | Unsigned:
    return await walk(changes, **options)[0].to(WWW)


async def test_the_way_leads_down_over_every_cut() -> None:
    way, authority = walk()
    zone = await way.to(WWW)
    assert isinstance(zone, Zone)
    assert zone.path == ". > test. > child.test."
    assert authority.asked == [
        ". DNSKEY",
        "test. DS",
        "test. DNSKEY",
        "child.test. DS",
        "child.test. DNSKEY",
        "www.child.test. DS",
    ]


async def test_what_is_known_is_not_asked_for_again_until_it_expires() -> None:
    cache = StepCache(Limits(cache_seconds=100, cache_absence_seconds=10))
    await walk(cache=cache)[0].to(WWW)
    for later, asked in ((5, []), (11, ["www.child.test. DS"]), (-1, 6), (101, 6)):
        way, authority = walk(cache=cache, now=NOW + later)
        await way.to(WWW)
        assert authority.asked == asked or len(authority.asked) == asked


async def test_nothing_is_kept_longer_than_its_ttl() -> None:
    cache = StepCache(Limits())
    short = {("child.test.", "DS"): reply([PARENT.sign("child.test.", "DS", CHILD.ds().to_text(), ttl=7)])}
    await walk(short, cache=cache)[0].to(WWW)
    way, authority = walk(short, cache=cache, now=NOW + 8)
    await way.to(WWW)
    assert authority.asked == ["child.test. DS", "child.test. DNSKEY"]


async def test_the_cache_is_bounded_and_keeps_nothing_bogus() -> None:
    cache = StepCache(Limits(cache_names=2))
    await walk(cache=cache)[0].to(WWW)
    assert len(cache) == 2
    cache = StepCache(Limits())
    with pytest.raises(Bogus):
        await walk({("child.test.", "DNSKEY"): reply([ROGUE.dnskeys()])}, cache=cache)[0].to(WWW)
    assert cache.get(names.from_text("child.test."), NOW) is None


BROKEN: dict[str, tuple[dict[tuple[str, str], Reply], str]] = {
    "the anchor names another key": (
        {(".", "DNSKEY"): reply([Signer(".", "other").dnskeys()])},
        r"no DNSKEY of \. matches its DS",
    ),
    "the root has no keys": ({(".", "DNSKEY"): reply()}, r"\. has a DS .* but no DNSKEY"),
    "the keys are not signed": (
        {("child.test.", "DNSKEY"): reply([rrset("child.test.", "DNSKEY", CHILD.key.to_text())])},
        "has no signature",
    ),
    "the keys are signed by a key that the DS does not name": (
        {
            ("child.test.", "DNSKEY"): reply(
                [ROGUE.sign("child.test.", "DNSKEY", CHILD.key.to_text(), ROGUE.key.to_text())]
            )
        },
        "is by no key of the zone",
    ),
    "the keys are signed by the parent": (
        {("child.test.", "DNSKEY"): reply([PARENT.sign("child.test.", "DNSKEY", CHILD.key.to_text())])},
        r"is signed by test\., not by its zone child\.test\.",
    ),
    "the keys' signature has expired": (
        {("child.test.", "DNSKEY"): reply([CHILD.dnskeys(inception=NOW - 90, expiration=NOW - 60)])},
        "DNSKEY of child.test.: .* expired .* 60 s ago",
    ),
    "the zone is not signed at all": ({("child.test.", "DNSKEY"): reply()}, "has a DS .* but no DNSKEY"),
    "the DS is not signed": (
        {("child.test.", "DS"): reply([rrset("child.test.", "DS", ROGUE.ds().to_text())])},
        r"DS of child\.test\. has no signature",
    ),
    "the DS is signed by the child": (
        {("child.test.", "DS"): reply([ROGUE.sign("child.test.", "DS", ROGUE.ds().to_text())])},
        r"is signed by child\.test\., not by its zone test\.",
    ),
    "the DS is signed by the grandparent": (
        {("child.test.", "DS"): reply([ROOT.sign("child.test.", "DS", ROGUE.ds().to_text())])},
        r"is signed by \., not by its zone test\.",
    ),
    "the DS was made from a wildcard": (
        {("child.test.", "DS"): reply([PARENT.expand("*.test.", "child.test.", "DS", ROGUE.ds().to_text())])},
        "the DS of child.test. was made from a wildcard",
    ),
    "the keys were made from a wildcard": (
        {("child.test.", "DNSKEY"): reply([CHILD.expand("*.test.", "child.test.", "DNSKEY", CHILD.key.to_text())])},
        r"the DNSKEY of child\.test\. was made from a wildcard",
    ),
    "the digest of the DS is wrong": (
        {("child.test.", "DS"): reply([PARENT.sign("child.test.", "DS", f"{CHILD.key.key_id()} 15 2 {'00' * 32}")])},
        "no DNSKEY of child.test. matches its DS",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_chain_is_bogus_when(case: str) -> None:
    changes, reason = BROKEN[case]
    with pytest.raises(Bogus, match=reason):
        await reached(changes)


@pytest.mark.parametrize("rcode", [1, 2, 5])
async def test_a_resolver_that_fails_leaves_it_undecided(rcode: int) -> None:
    for question in (("child.test.", "DS"), ("child.test.", "DNSKEY")):
        with pytest.raises(Undecided, match="the resolver answers"):
            await reached({question: reply(rcode=rcode)})


async def test_a_ds_that_was_left_out_is_no_proof_of_an_unsigned_cut() -> None:
    with pytest.raises(Undecided, match="nothing proves that"):
        await reached({("child.test.", "DS"): reply()})
    # Neither is the word of the child itself.
    from_below = CHILD.sign("child.test.", "NSEC", "www.child.test. NS RRSIG NSEC")
    with pytest.raises(Undecided, match="nothing proves that"):
        await reached({("child.test.", "DS"): reply(authority=[from_below])})


async def test_a_proven_unsigned_cut_ends_the_chain() -> None:
    proof = PARENT.sign("child.test.", "NSEC", "z.test. NS RRSIG NSEC")
    unsigned = await reached({("child.test.", "DS"): reply(authority=[proof])})
    assert isinstance(unsigned, Unsigned)
    assert unsigned.cut == CHILD.wire


@pytest.mark.parametrize("ds", [f"1 15 1 {'00' * 20}", f"1 5 2 {'00' * 32}", f"1 250 2 {'00' * 32}"])
async def test_a_ds_of_unsupported_kinds_only_counts_as_none(ds: str) -> None:
    """RFC 4035 section 5.2, RFC 6840 section 5.2."""
    unsigned = await reached({("child.test.", "DS"): reply([PARENT.sign("child.test.", "DS", ds)])})
    assert isinstance(unsigned, Unsigned)
    assert "not supported" in unsigned.reason


async def test_an_unsupported_ds_beside_a_supported_one_is_passed_over() -> None:
    both = PARENT.sign("child.test.", "DS", f"1 250 2 {'00' * 32}", CHILD.ds("SHA384").to_text())
    assert isinstance(await reached({("child.test.", "DS"): reply([both])}), Zone)
    broken = PARENT.sign("child.test.", "DS", f"1 250 2 {'00' * 32}", f"1 15 2 {'00' * 32}")
    with pytest.raises(Bogus):
        await reached({("child.test.", "DS"): reply([broken])})


async def test_the_deepest_anchor_counts_and_none_is_undecided() -> None:
    island = TrustAnchors({names.ROOT: (ROOT.ds(),), CHILD.wire: (CHILD.ds(),)})
    way, authority = walk(anchors=island)
    zone = await way.to(WWW)
    assert isinstance(zone, Zone)
    assert zone.path == "child.test."
    assert authority.asked[0] == "child.test. DNSKEY"
    with pytest.raises(Undecided, match=r"no trust anchor is at or above www\.child\.test\."):
        await reached(anchors=TrustAnchors({names.from_text("other."): (Signer("other.").ds(),)}))


async def test_an_alias_on_the_way_is_no_cut() -> None:
    alias = {("www.child.test.", "DS"): reply([CHILD.sign("www.child.test.", "CNAME", "other.test.")])}
    assert isinstance(await reached(alias), Zone)
    forged = {("www.child.test.", "DS"): reply([rrset("www.child.test.", "CNAME", "other.test.")])}
    with pytest.raises(Bogus):
        await reached(forged)


def answer_to(*answer: Any, authority: Any = (), name: str = "child.test.", now: float = NOW) -> Answer:
    return judge(reply(answer, authority), names.from_text(name), RdataType.KEY, CHILD.zone, now, work())


def test_a_signed_key_is_proven() -> None:
    answer = answer_to(CHILD.sign("child.test.", "KEY", KEY, ttl=300))
    assert answer.is_proven
    assert (answer.verdict, answer.status, answer.signer, answer.ttl) == (
        Verdict.SECURE,
        Status.FOUND,
        CHILD.wire,
        300,
    )
    assert [rdata[:4] for rdata in answer.rdatas] == [b"\x02\x00\x03\x0f"]
    assert "signed by key" in answer.reason


def test_a_key_that_the_parent_signed_at_the_childs_name_is_bogus() -> None:
    """BIND answers a KEY that stands in the parent zone as its own, signed by the parent."""
    answer = answer_to(PARENT.sign("child.test.", "KEY", KEY))
    assert answer.verdict is Verdict.BOGUS
    assert not answer.is_proven
    assert answer.rdatas == ()


def test_records_that_do_not_validate_are_withheld() -> None:
    for found in (rrset("child.test.", "KEY", KEY), CHILD.sign("child.test.", "KEY", KEY, signature=b"\0" * 64)):
        answer = answer_to(found)
        assert (answer.status, answer.verdict, answer.rdatas) == (Status.FOUND, Verdict.BOGUS, ())


def test_aliases_do_not_count() -> None:
    target = CHILD.sign("target.child.test.", "KEY", KEY)
    cname = answer_to(CHILD.sign("a.child.test.", "CNAME", "target.child.test."), target, name="a.child.test.")
    dname = answer_to(CHILD.sign("child.test.", "DNAME", "test."), target, name="a.child.test.")
    for answer in (cname, dname):
        assert (answer.status, answer.verdict, answer.rdatas) == (Status.ALIAS, Verdict.SECURE, ())
        assert not answer.is_proven
        assert not answer.is_proven_absent
    forged = answer_to(rrset("a.child.test.", "CNAME", "target.child.test."), target, name="a.child.test.")
    assert (forged.status, forged.verdict) == (Status.ALIAS, Verdict.BOGUS)
    # where it leads is told of a CNAME that is signed, not of one that was made from a DNAME, which is not
    made = rrset("a.child.test.", "CNAME", "elsewhere.test.")
    both = answer_to(CHILD.sign("child.test.", "DNAME", "test."), made, name="a.child.test.")
    assert (both.status, both.verdict) == (Status.ALIAS, Verdict.SECURE)
    assert cname.target == names.from_text("target.child.test.")
    assert [answer.target for answer in (dname, both, forged)] == [None, None, None]


def test_an_alias_that_a_wildcard_made_needs_the_proof_that_it_had_to() -> None:
    made = CHILD.expand("*.child.test.", "a.child.test.", "CNAME", "target.test.")
    without = answer_to(made, name="a.child.test.")
    assert (without.status, without.verdict) == (Status.ALIAS, Verdict.INDETERMINATE)
    proof = CHILD.sign("*.child.test.", "NSEC", "z.child.test. CNAME RRSIG NSEC")
    assert answer_to(made, authority=[proof], name="a.child.test.").verdict is Verdict.SECURE
    dname = CHILD.expand("*.child.test.", "a.child.test.", "DNAME", "target.test.")
    assert answer_to(dname, name="b.a.child.test.").verdict is Verdict.BOGUS


def test_records_of_other_names_are_no_answer() -> None:
    answer = answer_to(CHILD.sign("other.child.test.", "KEY", KEY))
    assert answer.status is Status.NODATA
    assert answer.verdict is Verdict.INDETERMINATE


def test_the_signature_is_held_against_the_clock_that_was_given() -> None:
    signed = CHILD.sign("child.test.", "KEY", KEY)
    assert answer_to(signed).is_proven
    assert answer_to(signed, now=NOW + 2 * HOUR).verdict is Verdict.BOGUS
