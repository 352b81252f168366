"""May this child become this? Each rule by its name, and what it says of the record that breaks it."""

from ipaddress import ip_address

import pytest
from hypothesis import given

from strategies import CHILD, delegations
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.errors import Refusal
from zonecut.receiver.change.policy import (
    RULES,
    Policy,
    Rules,
    check,
    check_child,
    check_place,
    held_because,
    shortcomings,
    without_orphans,
)

ZONE = names.from_text("parent.example.")
TARGET = names.from_text("updater.parent.example.")
NS1, NS2 = b"\x03ns1" + CHILD, b"\x03ns2" + CHILD
OUTSIDE = names.from_text("ns.elsewhere.example.")
DS = bytes.fromhex("30390d02") + b"d" * 32


def rules(**settings: object) -> Rules:
    return Rules.of(ZONE, TARGET, Policy.model_validate(settings))


def glue(owner: bytes, address: str) -> RR:
    packed = ip_address(address).packed
    return RR(owner, RRType.A if len(packed) == 4 else RRType.AAAA, packed)


def delegation(
    ns: tuple[bytes, ...] = (NS1, OUTSIDE), ds: tuple[bytes, ...] = (), addresses: tuple[RR, ...] | None = None
) -> Delegation:
    if addresses is None:
        addresses = tuple(glue(target, "1.1.1.1") for target in ns if target.endswith(CHILD))
    return Delegation(CHILD, tuple(sorted(ns)), tuple(sorted(ds)), tuple(sorted(addresses)))


GOOD = delegation()


def broken_rule(after: Delegation, before: Delegation, **settings: object) -> tuple[str, str]:
    with pytest.raises(Refusal) as refused:
        check(rules(**settings), before, after)
    assert refused.value.rcode == Rcode.REFUSED
    assert refused.value.ede == 18
    return refused.value.rule, refused.value.reason


def test_a_good_delegation_passes() -> None:
    check(rules(), GOOD, delegation(ds=(DS,)))
    check(rules(min_ns=2, glue_addresses="any"), GOOD, GOOD)


@pytest.mark.parametrize(
    ("after", "settings", "rule", "words"),
    [
        (delegation(ns=()), {}, "ns-count", "the last name server is removed"),
        (delegation(ns=(), ds=(DS,)), {}, "ns-count", "the last name server is removed"),
        (delegation(ns=(OUTSIDE,)), {"min_ns": 2}, "ns-count", "1 name server(s) would remain, at least 2"),
        (delegation(ns=(OUTSIDE, NS1, NS2)), {"max_ns": 2}, "ns-count", "3 name servers, at most 2"),
        (delegation(ns=(b"\x03n_s\x07example\0",)), {}, "ns-names", "n_s.example.: not a host name"),
        (delegation(ns=(b"\0",)), {}, "ns-names", "NS .: not a host name"),
        (delegation(ns=(b"\x04-bad\x07example\0",)), {}, "ns-names", "not a host name"),
        (delegation(ns=(names.from_text("192.0.2.5."),)), {}, "ns-names", "NS 192.0.2.5.: not a host name"),
        (delegation(addresses=()), {}, "glue-for-ns", "ns1.child.parent.example.: in the child zone and without"),
        (delegation(ns=(CHILD,), addresses=()), {}, "glue-for-ns", "without an address"),
        (
            delegation(addresses=(glue(NS1, "1.1.1.1"), glue(NS2, "1.1.1.2"))),
            {},
            "glue-of-ns-only",
            "ns2.child.parent.example. A 1.1.1.2: no NS",
        ),
        (
            delegation(ns=(OUTSIDE,), addresses=(glue(OUTSIDE, "1.1.1.1"),)),
            {},
            "glue-of-ns-only",
            "not a name in child.parent.example.",
        ),
        (
            delegation(addresses=tuple(glue(NS1, f"1.1.1.{number}") for number in range(9))),
            {},
            "glue-count",
            "9 addresses, at most 8",
        ),
        (delegation(ds=tuple(bytes([0, tag]) + DS[2:] for tag in range(7))), {}, "ds-count", "7 records, at most 6"),
        (delegation(ds=(bytes.fromhex("30390d01") + b"d" * 20,)), {}, "ds-digest", "digest type 1; accepted are 2, 4"),
        (delegation(ds=(DS[:-1],)), {}, "ds-digest", "the digest is 31 octets, type 2 has 32"),
        (delegation(ds=(DS + b"d",)), {}, "ds-digest", "the digest is 33 octets, type 2 has 32"),
        (delegation(ds=(bytes.fromhex("30390d04") + b"d" * 32,)), {}, "ds-digest", "32 octets, type 4 has 48"),
        (delegation(ds=(bytes.fromhex("0000000000"),)), {}, "ds-digest", "asks for deletion"),
        (delegation(ds=(bytes.fromhex("30390502") + b"d" * 32,)), {}, "ds-algorithm", "algorithm 5; accepted are 8,"),
        (delegation(ds=(bytes.fromhex("3039fd02") + b"d" * 32,)), {}, "ds-algorithm", "algorithm 253"),
    ],
)
def test_a_broken_rule_is_named_with_the_record(
    after: Delegation, settings: dict[str, object], rule: str, words: str
) -> None:
    found, reason = broken_rule(after, GOOD, **settings)
    assert found == rule
    assert words in reason


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.1.1",
        "192.0.2.1",
        "198.51.100.7",
        "203.0.113.9",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "2001:db8::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "2002:7f00:1::1",
    ],
)
def test_special_purpose_addresses_are_no_glue_unless_allowed(address: str) -> None:
    after = delegation(addresses=(glue(NS1, address),))
    rule, reason = broken_rule(after, GOOD)
    assert rule == "glue-global"
    assert "special-purpose" in reason
    check(rules(glue_addresses="any"), GOOD, after)


SHA1 = bytes.fromhex("30390d01") + b"d" * 20
RSASHA1 = bytes.fromhex("30390502") + b"d" * 32
UNDERSCORE = b"\x03n_s\x07example\0"


def many_ns(count: int) -> tuple[bytes, ...]:
    return tuple(b"\x03n%02d\x07example\0" % number for number in range(count))


def many_ds(count: int) -> tuple[bytes, ...]:
    return tuple(bytes([0, tag]) + DS[2:] for tag in range(count))


@pytest.mark.parametrize(
    ("before", "mended", "worse", "settings"),
    [
        (delegation(ds=(SHA1,)), delegation(ds=(SHA1, DS)), delegation(ds=(SHA1, b"\0\1" + SHA1[2:])), {}),
        (delegation(ds=(RSASHA1,)), delegation(ds=(RSASHA1, DS)), delegation(ds=(b"\0\1" + RSASHA1[2:],)), {}),
        (
            delegation(addresses=(glue(NS1, "10.0.0.1"),)),
            delegation(addresses=(glue(NS1, "10.0.0.1"), glue(NS1, "1.1.1.1"))),
            delegation(addresses=(glue(NS1, "10.0.0.1"), glue(NS1, "10.0.0.2"))),
            {},
        ),
        (
            delegation(ns=(NS1, NS2, OUTSIDE), addresses=()),
            delegation(ns=(NS1, NS2, OUTSIDE), addresses=(glue(NS2, "1.1.1.2"),)),
            delegation(ns=(NS1, NS2, OUTSIDE, CHILD), addresses=()),
            {},
        ),
        (
            delegation(ns=(UNDERSCORE, OUTSIDE)),
            delegation(ns=(UNDERSCORE, OUTSIDE), ds=(DS,)),
            delegation(ns=(UNDERSCORE, b"\0")),
            {},
        ),
        (delegation(ns=(OUTSIDE,)), delegation(ns=(NS1,)), delegation(ns=()), {"min_ns": 2}),
        (delegation(ns=(NS1, OUTSIDE)), delegation(ns=(NS1, OUTSIDE), ds=(DS,)), delegation(ns=(NS1,)), {"min_ns": 3}),
        (delegation(ns=many_ns(15)), delegation(ns=many_ns(14)), delegation(ns=many_ns(16)), {}),
        (delegation(ds=many_ds(8)), delegation(ds=many_ds(7)), delegation(ds=many_ds(9)), {}),
        (
            delegation(addresses=tuple(glue(NS1, f"1.1.1.{number}") for number in range(10))),
            delegation(addresses=tuple(glue(NS1, f"1.1.1.{number}") for number in range(9))),
            delegation(addresses=tuple(glue(NS1, f"1.1.1.{number}") for number in range(11))),
            {},
        ),
    ],
)
def test_what_stood_there_is_noted_and_only_what_gets_worse_is_refused(
    before: Delegation, mended: Delegation, worse: Delegation, settings: dict[str, object]
) -> None:
    assert shortcomings(rules(**settings), before)
    check(rules(**settings), before, before)
    check(rules(**settings), before, mended)
    with pytest.raises(Refusal):
        check(rules(**settings), before, worse)
    with pytest.raises(Refusal):
        check(rules(**settings), GOOD, worse)


def test_a_good_delegation_has_no_shortcomings_and_another_s_are_told_by_rule_and_record() -> None:
    assert shortcomings(rules(), GOOD) == ()
    assert shortcomings(rules(min_ns=2), delegation(ns=(OUTSIDE,), ds=(SHA1,))) == (
        "ns-count: child.parent.example. NS: 1 name server(s) would remain, at least 2 are required",
        f"ds-digest: child.parent.example. DS 12345 13 1 {(b'd' * 20).hex().upper()}: digest type 1; accepted are 2, 4",
    )


@given(delegations, delegations)
def test_what_changes_nothing_is_never_refused(before: Delegation, after: Delegation) -> None:
    for one in (before, after):
        check(rules(min_ns=3), one, one)


def test_going_insecure_may_wait_for_an_operator() -> None:
    secure, hold = delegation(ds=(DS,)), rules(going_insecure="hold")
    check(hold, secure, GOOD)
    assert held_because(hold, secure, GOOD) == "child.parent.example. DS: the last DS is removed"
    for before, after in ((GOOD, GOOD), (GOOD, secure), (secure, secure)):
        assert held_because(hold, before, after) is None
    assert held_because(rules(), secure, GOOD) is None


def test_going_insecure_is_a_policy() -> None:
    secure = delegation(ds=(DS,))
    check(rules(), secure, GOOD)
    assert broken_rule(GOOD, secure, going_insecure="deny")[0] == "going-insecure"
    check(rules(going_insecure="deny"), GOOD, GOOD)


@pytest.mark.parametrize(
    ("child", "rule"),
    [
        ("parent.example.", "child-below-apex"),
        ("example.", "child-below-apex"),
        ("elsewhere.", "child-below-apex"),
        ("notparent.example.", "child-below-apex"),
        ("*.parent.example.", "child-not-wildcard"),
        ("a.*.parent.example.", "child-not-wildcard"),
        ("_dsync.parent.example.", "child-not-reserved"),
        ("child._dsync.parent.example.", "child-not-reserved"),
        ("updater.parent.example.", "child-not-reserved"),
        ("www.parent.example.", "child-not-reserved"),
        ("below.www.parent.example.", "child-not-reserved"),
    ],
)
def test_some_names_are_no_child(child: str, rule: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_child(rules(reserved=["www.parent.example."]), names.from_text(child))
    assert refused.value.rule == rule


def test_a_child_that_holds_the_receiver_s_name_is_no_child() -> None:
    inside = Rules.of(ZONE, b"\x07updater" + CHILD, Policy())
    with pytest.raises(Refusal, match="the receiver's own name"):
        check_child(inside, CHILD)


def test_a_child_below_another_delegation_is_refused() -> None:
    check_place(CHILD, None)
    with pytest.raises(Refusal, match=r"below the delegation of parent\.example\."):
        check_place(CHILD, ZONE)


@given(delegations, delegations)
def test_inherited_glue_goes_with_its_name_server_and_nothing_else_goes(before: Delegation, after: Delegation) -> None:
    kept = without_orphans(before, after)
    gone = set(after.records) - set(kept.records)
    assert set(kept.records) <= set(after.records)
    assert all(record in before.glue and record.owner not in after.in_domain_ns() for record in gone)


@given(delegations, delegations)
def test_what_passes_all_rules_has_the_glue_it_needs_and_no_other(before: Delegation, after: Delegation) -> None:
    try:
        check(rules(), GOOD, after)
    except Refusal as refused:
        assert refused.rule in RULES  # noqa: PT017 (which rule it is depends on the example)
        return
    assert after.ns
    assert {record.owner for record in after.glue} == set(after.in_domain_ns())


UNDER_SCORE = names.from_text("under_score.elsewhere.example.")
PRIVATE, PUBLIC = glue(NS1, "10.0.0.1"), glue(NS1, "11.0.0.9")


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        (delegation(ns=(OUTSIDE, UNDER_SCORE)), delegation(ns=(UNDER_SCORE,)), "ns-good"),
        (
            delegation(ns=(NS1,), addresses=(PRIVATE, PUBLIC)),
            delegation(ns=(NS1,), addresses=(PRIVATE,)),
            "glue-global",
        ),
        (delegation(ns=(NS1, OUTSIDE), addresses=(PRIVATE,)), delegation(ns=(NS1,), addresses=(PRIVATE,)), "ns-good"),
        (delegation(ds=(SHA1, DS)), delegation(ds=(SHA1,)), "going-insecure"),
    ],
)
def test_where_a_good_one_was_what_is_tolerated_beside_it_does_not_remain_alone(
    before: Delegation, after: Delegation, rule: str
) -> None:
    assert broken_rule(after, before, going_insecure="deny")[0] == rule
    # what has no good one can be mended, and is no reason to refuse something else
    check(rules(going_insecure="deny"), after, before)
    check(rules(going_insecure="deny"), after, after)


def test_the_last_good_ds_waits_for_an_operator_like_the_last_one() -> None:
    why = held_because(rules(going_insecure="hold"), delegation(ds=(SHA1, DS)), delegation(ds=(SHA1,)))
    assert why is not None
    assert "only others would remain" in why
    check(rules(), delegation(ds=(SHA1, DS)), delegation(ds=(SHA1,)))
