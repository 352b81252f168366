"""What knotd's text means, and which commands a change takes on what is held."""

from ipaddress import IPv6Address

import pytest

from zonecut.plugin import BackendRejected, BackendUnavailable, Change
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls
from zonecut_knot import held as rules
from zonecut_knot.below import DeepCuts
from zonecut_knot.control import Command, Item
from zonecut_knot.held import Held
from zonecut_knot.text import any_rdata, checked_rdata_text, delegation_rdata, name, type_number

ZONE = names.from_text("parent.test.")
CHILD = names.from_text("child.parent.test.")
NS1 = names.from_text("ns1.child.parent.test.")
OLD = names.from_text("old.child.parent.test.")
AWAY = names.from_text("ns.elsewhere.test.")
TTLS = Ttls(ns=3, ds=2, glue=1)
A = RR(NS1, RRType.A, b"\x0b\0\0\1")
AAAA = RR(NS1, RRType.AAAA, IPv6Address("2610::1").packed)
DS = bytes((18, 103, 13, 2)) + bytes(32)


_TTLS = {"NS": "3", "DS": "2", "A": "1", "AAAA": "1"}


def item(rtype: str, data: str, owner: str = "x.") -> Item:
    return Item(owner, _TTLS.get(rtype, "60"), rtype, data)


STANDING = Held.of(
    [
        (CHILD, [item("NS", "NS1.Child.parent.test."), item("NS", "ns.elsewhere.test."), item("TXT", '"x"')]),
        (NS1, [item("A", "11.0.0.1"), item("AAAA", "2610::1"), item("RRSIG", "A 13 ...")]),
        (OLD, [item("A", "11.7.7.7")]),
    ]
)
DELEGATION = Delegation.of(CHILD, [RR(CHILD, RRType.NS, NS1), RR(CHILD, RRType.NS, AWAY), A, AAAA])
ORPHAN = RR(OLD, RRType.A, b"\x0b\7\7\7")


def test_capitals_are_folded_and_orphan_glue_is_left_out() -> None:
    assert STANDING.delegation(CHILD) == DELEGATION


@pytest.mark.parametrize("text", [".", "a.b.", r"a\;b\032\"\(\007.test.", r"x\.y.test.", r"a\\b.", "CAPITALS.Test."])
def test_names_are_read_as_the_protocol_reads_them(text: str) -> None:
    assert name(text) == names.from_text(text)


@pytest.mark.parametrize(
    ("rtype", "text", "rdata"),
    [
        (RRType.DS, "4711 13 2 " + "00" * 32, DS),
        (RRType.DS, "4711 13 2 0000 0000", DS[:8]),
        (RRType.DS, r"\# 4 12670D02", DS[:4]),
        (RRType.A, "11.0.0.1", A.rdata),
        (RRType.AAAA, "2610::1", AAAA.rdata),
    ],
)
def test_rdata_is_read(rtype: int, text: str, rdata: bytes) -> None:
    assert delegation_rdata(rtype, text) == rdata


def test_types_that_knot_or_dnspython_lack_are_read() -> None:
    assert any_rdata(type_number("TYPE66"), r"\# 3 00FF02") == b"\0\xff\2"
    assert any_rdata(type_number("SVCB"), '1 . key65282="manual"') == b"\0\1\0\xff\2\0\6manual"
    assert any_rdata(type_number("KEY"), "512 3 15 AAAA") == b"\2\0\3\x0f\0\0\0"
    with pytest.raises(ValueError, match="no RR type"):
        type_number("NONSENSE")


def test_a_record_that_makes_no_sense_is_told() -> None:
    with pytest.raises(BackendUnavailable, match=r"at x\. that makes no sense"):
        Held.of([(CHILD, [item("DS", "what")])])


@pytest.mark.parametrize(
    "record",
    [
        RR(CHILD, RRType.NS, b"\3not-a-name"),
        RR(CHILD, RRType.NS, b""),
        RR(CHILD, RRType.DS, DS[:4]),
        RR(CHILD, RRType.A, b"\1\2\3"),
        RR(CHILD, RRType.AAAA, bytes(4)),
    ],
)
def test_octets_that_are_no_rdata_are_rejected_before_knot_takes_them(record: RR) -> None:
    with pytest.raises(BackendRejected, match="no such data"):
        checked_rdata_text(record)


def test_every_part_but_orphan_glue_is_a_condition() -> None:
    assert rules.agrees(STANDING, DELEGATION)
    assert rules.agrees(STANDING, Delegation.of(CHILD, [*DELEGATION.records, ORPHAN]))
    assert not rules.agrees(STANDING, Delegation(CHILD))
    for record in DELEGATION.records:
        assert not rules.agrees(STANDING, Delegation.of(CHILD, set(DELEGATION.records) - {record}))
    for record in (RR(CHILD, RRType.DS, DS), RR(NS1, RRType.A, b"\x0b\0\0\2")):
        assert not rules.agrees(STANDING, Delegation.of(CHILD, [*DELEGATION.records, record]))


def test_what_is_so_already_takes_no_command() -> None:
    change = Change(Delegation(CHILD), DELEGATION)
    assert rules.holds(STANDING, change)
    assert rules.commands(STANDING, change, TTLS) == []


def test_rrsets_that_change_are_set_as_a_whole() -> None:
    """Knot 3.4 brings back what was unset record by record."""
    after = Delegation.of(CHILD, [RR(CHILD, RRType.NS, AWAY), RR(CHILD, RRType.DS, DS)])
    assert rules.commands(STANDING, Change(DELEGATION, after), TTLS) == [
        Command("unset", "child.parent.test.", rtype="TYPE2"),
        Command("set", "child.parent.test.", "3", "TYPE2", rf"\# {len(AWAY)} {AWAY.hex().upper()}"),
        Command("set", "child.parent.test.", "2", "TYPE43", rf"\# 36 {DS.hex().upper()}"),
        Command("unset", "ns1.child.parent.test.", rtype="TYPE1"),
        Command("unset", "ns1.child.parent.test.", rtype="TYPE28"),
    ]


def test_orphan_glue_goes_when_a_change_names_it() -> None:
    change = Change(Delegation.of(CHILD, [*DELEGATION.records, ORPHAN]), DELEGATION)
    assert not rules.holds(STANDING, change)
    assert rules.commands(STANDING, change, TTLS) == [Command("unset", "old.child.parent.test.", rtype="TYPE1")]


def test_nothing_goes_beside_a_cname() -> None:
    there = Held.of([(CHILD, [item("CNAME", "www.elsewhere.test.")])])
    with pytest.raises(BackendRejected, match=r"child\.parent\.test\. is a CNAME"):
        rules.commands(there, Change(Delegation(CHILD), DELEGATION), TTLS)


def test_only_what_is_below_the_apex_and_the_child_has_a_place() -> None:
    for child, glue in ((ZONE, ()), (AWAY, ()), (CHILD, (RR(AWAY, RRType.A, A.rdata),))):
        with pytest.raises(BackendRejected, match=r"is not below|is no glue"):
            rules.check_place(Change(Delegation(child), Delegation(child, (AWAY,), (), glue)), ZONE)
    rules.check_place(Change(Delegation(CHILD), DELEGATION), ZONE)


def test_deep_cuts_are_found_by_the_names_above_them() -> None:
    deep = names.from_text("x.y.child.parent.test.")
    cuts = DeepCuts(ZONE, [CHILD, OLD, deep])
    assert cuts.below(CHILD) == tuple(sorted((OLD, deep)))
    assert cuts.below(names.from_text("y.child.parent.test.")) == (deep,)
    assert cuts.below(deep) == cuts.below(names.from_text("other.parent.test.")) == ()
    cuts.discard(OLD)
    cuts.discard(CHILD)
    assert cuts.below(CHILD) == (deep,)


@pytest.mark.parametrize("removed", [False, True])
def test_an_rrset_with_another_ttl_is_unset_and_set_as_a_whole(removed: bool) -> None:
    """Knot 3.4 writes a journal that it cannot load where single records get another TTL than their RRset has."""
    held = Held.of([(CHILD, [Item("x.", "60", "NS", "NS1.Child.parent.test."), item("TXT", '"x"')])])
    before = Delegation.of(CHILD, [RR(CHILD, RRType.NS, NS1)])
    after = Delegation.of(CHILD, [RR(CHILD, RRType.NS, AWAY), *([] if removed else before.records)])
    unset, *rest = rules.commands(held, Change(before, after), TTLS)
    assert unset == Command("unset", "child.parent.test.", rtype="TYPE2")
    assert {(each.name, each.ttl) for each in rest} == {("set", "3")}
    assert len(rest) == len(after.ns)


def test_an_rrset_that_stays_as_it_is_keeps_the_ttl_that_it_has() -> None:
    held = Held.of([(CHILD, [Item("x.", "60", "NS", "ns.elsewhere.test.")])])
    before = Delegation(CHILD, (AWAY,))
    found = rules.commands(held, Change(before, Delegation(CHILD, (AWAY,), (DS,))), TTLS)
    assert [(each.name, each.rtype) for each in found] == [("set", "TYPE43")]
