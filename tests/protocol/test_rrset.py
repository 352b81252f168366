"""RRsets as values, their presentation, and the difference of two sets of them."""

import pytest

from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.announced.svcb import Method, Svcb
from zonecut.protocol.codepoints import CodePoints, RRType
from zonecut.protocol.rrset import RRset, RRsetDifference, rdata_text

OWNER = names.from_text("updater.parent.example.")
TARGET = names.from_text("ns.example.")
A = RRset(OWNER, RRType.A, 60, (b"\xc0\x00\x02\x01", b"\xc0\x00\x02\x02"))


def test_the_records_of_an_rrset_are_sorted_and_each_there_once() -> None:
    assert RRset(OWNER, RRType.A, 60, (b"\2" * 4, b"\1" * 4, b"\2" * 4)).rdatas == (b"\1" * 4, b"\2" * 4)


def test_an_rrset_without_records_does_not_exist() -> None:
    with pytest.raises(ValueError, match=r"updater.parent.example. A: an RRset has at least one record"):
        RRset(OWNER, RRType.A, 60, ())


@pytest.mark.parametrize(
    ("rtype", "rdata", "text"),
    [
        (RRType.A, b"\xc0\x00\x02\x01", "192.0.2.1"),
        (RRType.AAAA, bytes(15) + b"\1", "::1"),
        (RRType.NS, TARGET, "ns.example."),
        (RRType.CNAME, TARGET, "ns.example."),
        (RRType.KEY, b"\2\0\3\x0fabc", "512 3 15 YWJj"),
        (RRType.DS, b"\0\1\x0d\2\xab\xcd", "1 13 2 ABCD"),
        (RRType.CDS, b"\0\0\0\0\0", "0 0 0 00"),
        (RRType.DSYNC, Dsync(RRType.ANY, 2, 5354, OWNER).to_wire(), "ANY UPDATE 5354 updater.parent.example."),
        (RRType.SVCB, Svcb.announcing([Method.AT_NS]).to_wire(), '1 . key65282="at-ns"'),
        (RRType.SOA, TARGET + OWNER + bytes(19) + b"\5", "ns.example. updater.parent.example. 0 0 0 0 5"),
        (16, b"\4mine", r"\# 5 046D696E65"),
    ],
)
def test_rdata_is_shown_as_zone_files_have_it(rtype: int, rdata: bytes, text: str) -> None:
    assert rdata_text(rtype, rdata) == text


@pytest.mark.parametrize(
    ("rtype", "rdata"),
    [
        (RRType.A, b"\1"),
        (RRType.NS, b""),
        (RRType.NS, TARGET + b"\0"),
        (RRType.KEY, b"\2\0\3"),
        (RRType.KEY, b"\2\0\3\x0f"),
        (RRType.DSYNC, b"\0\1\2"),
        (RRType.SVCB, b"\0"),
        (RRType.SOA, TARGET + OWNER + bytes(5)),
        (RRType.SOA, b""),
    ],
)
def test_what_is_no_such_rdata_is_shown_in_the_generic_form(rtype: int, rdata: bytes) -> None:
    assert rdata_text(rtype, rdata) == f"\\# {len(rdata)} {rdata.hex().upper()}".rstrip()


def test_the_scheme_is_named_after_the_number_that_the_operator_set() -> None:
    rdata = Dsync(RRType.ANY, 130, 1, OWNER).to_wire()
    assert rdata_text(RRType.DSYNC, rdata).startswith("ANY 130 ")
    assert rdata_text(RRType.DSYNC, rdata, CodePoints(dsync_update=130)).startswith("ANY UPDATE ")


def test_the_difference_of_equal_sets_is_false() -> None:
    assert not RRsetDifference.between([A], [A])
    assert RRsetDifference.between([A], [A]).to_text() == ""


def test_the_difference_holds_whole_rrsets_and_shows_single_records() -> None:
    other = RRset(OWNER, RRType.KEY, 60, (b"\2\0\3\x0fabc",))
    after = RRset(OWNER, RRType.A, 60, (b"\xc0\x00\x02\x02", b"\xc0\x00\x02\x03"))
    difference = RRsetDifference.between([A, other], [after, other])
    assert (difference.before, difference.after) == ((A,), (after,))
    assert difference.to_text() == (
        "- updater.parent.example. 60 IN A 192.0.2.1\n+ updater.parent.example. 60 IN A 192.0.2.3\n"
    )
    assert difference.to_json() == {
        "removed": ["updater.parent.example. 60 IN A 192.0.2.1"],
        "added": ["updater.parent.example. 60 IN A 192.0.2.3"],
    }


def test_a_ttl_alone_makes_a_difference() -> None:
    difference = RRsetDifference.between([A], [RRset(OWNER, RRType.A, 61, A.rdatas)])
    assert difference
    assert (len(difference.removed), len(difference.added)) == (2, 2)


def test_what_comes_and_what_goes_is_shown_name_by_name_in_canonical_order() -> None:
    apex = RRset(names.from_text("parent.example."), RRType.A, 60, (b"\1" * 4,))
    lines = RRsetDifference.between([A], [apex]).to_text().splitlines()
    assert [line[:2] + line.split()[1] for line in lines] == [
        "+ parent.example.",
        "- updater.parent.example.",
        "- updater.parent.example.",
    ]
