"""DSYNC records and discovery (RFC 9859)."""

import dns.exception
import dns.rdata
import dns.rdatatype
import pytest
from dns.rdataclass import IN
from hypothesis import given
from hypothesis import strategies as st

from zonecut.protocol import names
from zonecut.protocol.announced.dsync import (
    Dsync,
    candidate_names,
    first_name,
    for_update,
    from_generic_text,
    generic_text,
    next_name,
    parent_name,
    per_child_name,
    usable,
)
from zonecut.protocol.codepoints import CodePoints
from zonecut.protocol.errors import MalformedMessage

N = names.from_text
TARGET = N("updater.parent.example.")
UPDATE = Dsync(255, 2, 5354, TARGET)

labels = st.binary(min_size=1, max_size=20).map(lambda label: bytes((len(label),)) + label.lower())
wire_names = st.lists(labels, max_size=6).map(lambda found: b"".join(found) + b"\0")
records = st.builds(Dsync, st.integers(0, 0xFFFF), st.integers(0, 0xFF), st.integers(0, 0xFFFF), wire_names)


@given(records)
def test_a_record_comes_back_from_wire_text_and_generic_text(record: Dsync) -> None:
    assert Dsync.from_wire(record.to_wire()) == record
    assert Dsync.from_text(record.to_text()) == record
    assert Dsync.from_text(record.to_generic_text()) == record


@given(records)
def test_dnspython_reads_and_writes_the_same_octets(record: Dsync) -> None:
    wire = record.to_wire()
    assert dns.rdata.from_wire(IN, dns.rdatatype.DSYNC, wire, 0, len(wire)).to_wire() == wire


@given(st.binary(max_size=40))
def test_any_octets_are_a_record_or_malformed_as_dnspython_finds(rdata: bytes) -> None:
    try:
        record = Dsync.from_wire(rdata)
    except MalformedMessage:
        # dnspython accepts a pointer within the RDATA
        if not any(octet >= 0xC0 for octet in rdata[5:]):
            with pytest.raises(dns.exception.DNSException):
                dns.rdata.from_wire(IN, dns.rdatatype.DSYNC, rdata, 0, len(rdata))
    else:
        assert record.to_wire() == rdata[:5] + rdata[5:].lower()


@given(st.text(max_size=60))
def test_any_text_is_a_record_or_a_value_error(text: str) -> None:
    try:
        record = Dsync.from_text(text)
    except ValueError:
        return
    assert Dsync.from_text(record.to_text()) == record


def test_the_example_of_the_protocol() -> None:
    assert UPDATE.to_text() == "ANY UPDATE 5354 updater.parent.example."
    assert UPDATE.to_wire() == bytes.fromhex("00ff 02 14ea") + TARGET
    assert UPDATE.to_generic_text() == f"\\# 29 00FF0214EA{TARGET.hex().upper()}"


@pytest.mark.parametrize(
    "text",
    [
        "ANY UPDATE 5354 updater.parent.example.",
        "any update 5354 UPDATER.parent.example",
        "255 2 5354 updater.parent.example.",
        "TYPE255 2 5354 updater.parent.example.",
        "\\# 29 00FF0214EA 07757064617465720670617265 6e74076578616d706c6500",
    ],
)
def test_all_presentations_are_one_record(text: str) -> None:
    assert Dsync.from_text(text) == UPDATE


def test_schemes_and_types_have_their_mnemonics() -> None:
    assert Dsync.from_text("CDS NOTIFY 53 a.") == Dsync(59, 1, 53, N("a."))
    assert Dsync.from_text("CSYNC SCANNER 0 .") == Dsync(62, 3, 0, names.ROOT)
    assert Dsync(59, 1, 53, N("a.")).to_text() == "CDS NOTIFY 53 a."
    assert Dsync(62, 3, 0, names.ROOT).to_text() == "CSYNC SCANNER 0 ."
    assert Dsync(1234, 99, 1, N("a.")).to_text() == "TYPE1234 99 1 a."


def test_experimental_schemes_are_settings() -> None:
    codepoints = CodePoints(dsync_update=128)
    record = Dsync.from_text("ANY UPDATE 53 a.", codepoints)
    assert record.scheme == 128
    assert for_update([record, UPDATE], codepoints) == (record,)
    assert record.to_text() == "ANY 128 53 a."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ANY UPDATE 5354",
        "ANY UPDATE 5354 a. b.",
        "ANY UPDATE 65536 a.",
        "ANY UPDATE -1 a.",
        "ANY 256 1 a.",
        "ANY NOTHING 1 a.",
        "NOTHING 1 1 a.",
        "TYPE 1 1 a.",
        "TYPE65536 1 1 a.",
        "ANY UPDATE 1 a..b.",
        "ANY UPDATE \u0665 a.",
        "\\#",
        "\\# 5 00FF0214EA",
        "\\# 6 00FF0214EA",
        "\\# 6 00FF0214EA0",
        "\\# 6 00FF0214EAzz",
    ],
)
def test_wrong_text_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Dsync.from_text(text)


@pytest.mark.parametrize(
    "rdata",
    ["", "00ff0214ea", "00ff0214ea0161", "00ff0214ea016100ff", "00ff0214eac000", "00ff0214ea0161c005", "00ff0214ea40"],
)
def test_wrong_octets_are_malformed(rdata: str) -> None:
    with pytest.raises(MalformedMessage):
        Dsync.from_wire(bytes.fromhex(rdata))


def test_numbers_out_of_range_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="Dsync"):
        Dsync(65536, 2, 1, TARGET).to_wire()


def test_the_null_scheme_and_port_0_are_ignored_except_for_a_scanner() -> None:
    scanner = Dsync(59, 3, 0, names.ROOT)
    assert usable([Dsync(255, 0, 53, TARGET), Dsync(255, 2, 0, TARGET), scanner, UPDATE]) == (scanner, UPDATE)


def test_for_update_are_the_records_with_scheme_update_and_type_any() -> None:
    others = [
        Dsync(59, 1, 53, TARGET),
        Dsync(59, 2, 53, TARGET),
        Dsync(255, 2, 0, TARGET),
        Dsync(255, 2, 1, names.ROOT),
    ]
    second = Dsync(255, 2, 5355, TARGET)
    assert for_update([*others, second, UPDATE, second]) == (UPDATE, second)


# RFC 9859 section 4.1


def test_the_first_name_has_dsync_after_the_first_label() -> None:
    assert first_name(N("child.parent.example.")) == N("child._dsync.parent.example.")
    assert first_name(N("tld.")) == N("tld._dsync.")


def test_a_parent_one_label_up_is_asked_for_all_its_children_next() -> None:
    child, first = N("child.parent.example."), N("child._dsync.parent.example.")
    assert next_name(child, first, N("parent.example.")) == N("_dsync.parent.example.")
    assert next_name(child, N("_dsync.parent.example."), N("parent.example.")) is None


def test_a_parent_further_up_is_asked_for_this_child_first() -> None:
    child = N("city.ise.mie.jp.")
    first = first_name(child)
    second = next_name(child, first, N("jp."))
    assert second == N("city.ise.mie._dsync.jp.")
    assert second is not None
    third = next_name(child, second, N("jp."))
    assert third == N("_dsync.jp.")
    assert third is not None
    assert next_name(child, third, N("jp.")) is None


def test_a_zone_of_its_own_for_dsync_names_the_parent_too() -> None:
    child, first = N("child.parent.example."), N("child._dsync.parent.example.")
    assert next_name(child, first, N("_dsync.parent.example.")) == N("_dsync.parent.example.")


@pytest.mark.parametrize("soa", [None, "other.example.", "child.parent.example.", "x.child.parent.example."])
def test_a_soa_that_is_not_above_the_child_ends_the_search(soa: str | None) -> None:
    child = N("child.parent.example.")
    assert next_name(child, first_name(child), None if soa is None else N(soa)) is None


@given(wire_names.filter(lambda name: name != names.ROOT), st.data())
def test_the_search_ends_after_three_names_whatever_the_answers_say(child: bytes, data: st.DataObject) -> None:
    ancestors = [child]
    while ancestors[-1] != names.ROOT:
        ancestors.append(names.parent(ancestors[-1]))
    asked = [first_name(child)]
    while (name := next_name(child, asked[-1], data.draw(st.sampled_from(ancestors)))) is not None:
        asked.append(name)
    assert len(asked) <= 3
    assert len(set(asked)) == len(asked)


def test_the_candidates_under_a_known_parent() -> None:
    assert candidate_names(N("child.parent.example."), N("parent.example.")) == (
        N("child._dsync.parent.example."),
        N("_dsync.parent.example."),
    )
    assert candidate_names(N("a.b.parent.example."), N("parent.example.")) == (
        N("a._dsync.b.parent.example."),
        N("a.b._dsync.parent.example."),
        N("_dsync.parent.example."),
    )


def test_names_that_cannot_be_made_are_value_errors() -> None:
    long = N(".".join(["a" * 63] * 3 + ["b" * 61]))
    with pytest.raises(ValueError, match="longer"):
        first_name(long)
    with pytest.raises(ValueError, match="root"):
        first_name(names.ROOT)
    with pytest.raises(ValueError, match="longer"):
        parent_name(long)
    with pytest.raises(ValueError, match="not below"):
        per_child_name(N("child.example."), N("other.example."))


@given(st.binary(max_size=64))
def test_generic_text_comes_back(rdata: bytes) -> None:
    assert from_generic_text(generic_text(rdata)) == rdata
