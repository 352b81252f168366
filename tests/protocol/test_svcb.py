"""SVCB records that announce how keys come to be trusted (RFC 9460)."""

import dns.exception
import dns.rdata
import dns.rdatatype
import pytest
from dns.rdataclass import IN
from hypothesis import given
from hypothesis import strategies as st

from zonecut.protocol import names
from zonecut.protocol.announced.svcb import Method, Svcb, announced
from zonecut.protocol.codepoints import CodePoints
from zonecut.protocol.errors import MalformedMessage

ALL_BUT_UNSIGNED = (Method.AT_APEX, Method.AT_NS, Method.MANUAL)

labels = st.binary(min_size=1, max_size=20).map(lambda label: bytes((len(label),)) + label.lower())
wire_names = st.lists(labels, max_size=6).map(lambda found: b"".join(found) + b"\0")
params = st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=40), max_size=5).map(
    lambda found: tuple(sorted(found.items()))
)
# keys that dnspython has no rules for
private = st.dictionaries(st.integers(60000, 65534), st.binary(min_size=1, max_size=40), max_size=5).map(
    lambda found: tuple(sorted(found.items()))
)
records = st.builds(Svcb, st.integers(0, 0xFFFF), wire_names, params)


def bootstrap(value: bytes, priority: int = 1) -> Svcb:
    return Svcb(priority, names.ROOT, ((65282, value),))


@given(records)
def test_a_record_comes_back_from_wire_text_and_generic_text(record: Svcb) -> None:
    assert Svcb.from_wire(record.to_wire()) == record
    assert Svcb.from_text(record.to_text()) == record
    assert Svcb.from_text(record.to_generic_text()) == record


@given(st.builds(Svcb, st.integers(1, 0xFFFF), wire_names, private))
def test_dnspython_reads_the_same_from_octets_and_from_text(record: Svcb) -> None:
    wire = record.to_wire()
    assert dns.rdata.from_wire(IN, dns.rdatatype.SVCB, wire, 0, len(wire)).to_wire() == wire
    assert dns.rdata.from_text(IN, dns.rdatatype.SVCB, record.to_text()).to_wire() == wire


@given(st.integers(1, 0xFFFF), wire_names, private)
def test_we_read_what_dnspython_writes(priority: int, target: bytes, params: tuple[tuple[int, bytes], ...]) -> None:
    wire = Svcb(priority, target, params).to_wire()
    text = dns.rdata.from_wire(IN, dns.rdatatype.SVCB, wire, 0, len(wire)).to_text()
    assert Svcb.from_text(text).to_wire() == wire


@given(st.binary(max_size=60))
def test_any_octets_are_a_record_or_malformed(rdata: bytes) -> None:
    try:
        record = Svcb.from_wire(rdata)
    except MalformedMessage:
        return
    assert Svcb.from_wire(record.to_wire()) == record
    record.methods()
    record.interval()


@given(st.one_of(st.text(max_size=60), st.text(st.sampled_from('01 .key=65282"\\,at-x'), max_size=60)))
def test_any_text_is_a_record_or_a_value_error(text: str) -> None:
    try:
        record = Svcb.from_text(text)
        wire = record.to_wire()
    except ValueError:
        return
    assert Svcb.from_wire(wire) == record


def test_what_a_receiver_publishes() -> None:
    record = Svcb.announcing(ALL_BUT_UNSIGNED)
    assert record.to_text() == '1 . key65282="at-apex,at-ns,manual"'
    assert record.methods() == ALL_BUT_UNSIGNED
    assert record.to_generic_text() == "\\# 27 000100FF02001461742D617065782C61742D6E732C6D616E75616C"


def test_interval_is_seconds_in_digits() -> None:
    record = Svcb.announcing([Method.MANUAL], priority=7, interval=86400)
    assert record.to_text() == '7 . key65282="manual" key65283="86400"'
    assert record.interval() == 86400
    assert Svcb(1, names.ROOT, ((65283, b"\0\x01\x51\x80"),)).interval() == 86400
    assert Svcb(1, names.ROOT, ((65283, b"soon"),)).interval() == int.from_bytes(b"soon")
    assert Svcb(1, names.ROOT, ((65283, b"daily"),)).interval() is None
    assert bootstrap(b"manual").interval() is None


@pytest.mark.parametrize("methods", [[], [Method.MANUAL, Method.MANUAL], ["at-home"]])
def test_methods_are_written_strictly(methods: list[Method]) -> None:
    with pytest.raises(ValueError, match=r"at least one|at-home"):
        Svcb.announcing(methods)


@pytest.mark.parametrize(
    "value",
    [
        b"at-apex,at-ns,manual",
        b" at-apex , at-ns\t,manual ",
        b"at-apex>at-ns > manual",
        b"At-Apex,AT-NS,MANUAL",
        b"at-apex,at-home,at-ns,rfc8078,\xff\xfe,manual,at-apex",
        b",,at-apex at-ns,,manual,",
    ],
)
def test_methods_are_read_liberally(value: bytes) -> None:
    assert bootstrap(value).methods() == ALL_BUT_UNSIGNED


def test_no_method_that_we_know_is_not_the_same_as_no_announcement() -> None:
    assert bootstrap(b"at-home").methods() == ()
    assert Svcb(1, names.ROOT).methods() is None


def test_priority_0_with_parameters_is_read_as_the_drafts_write_it() -> None:
    record = bootstrap(b"manual", priority=0)
    wire = record.to_wire()
    with pytest.raises(dns.exception.DNSException):
        dns.rdata.from_wire(IN, dns.rdatatype.SVCB, wire, 0, len(wire))
    assert Svcb.from_wire(wire).methods() == (Method.MANUAL,)


def test_the_most_preferred_record_that_announces_anything_counts() -> None:
    found = [bootstrap(b"manual", 5), Svcb(1, names.ROOT), bootstrap(b"at-ns", 2)]
    assert announced(found) == (Method.AT_NS,)
    assert announced([Svcb(1, names.ROOT)]) is None
    assert announced([]) is None


def test_the_keys_are_settings() -> None:
    codepoints = CodePoints(svcb_bootstrap=65400, svcb_interval=65300)
    record = Svcb.announcing([Method.MANUAL], interval=60, codepoints=codepoints)
    assert record.params == ((65300, b"60"), (65400, b"manual"))
    assert Svcb.from_text("1 . bootstrap=manual interval=60", codepoints) == record
    assert record.methods(codepoints) == (Method.MANUAL,)
    assert record.methods() is None


@pytest.mark.parametrize(
    "text",
    [
        '1 . bootstrap="at-apex,at-ns,manual"',
        "1 . key65282=at-apex,at-ns,manual",
        '1  .\tKEY65282="at-apex\\044at-ns,m\\097nual" ',
    ],
)
def test_presentations_of_one_record(text: str) -> None:
    assert Svcb.from_text(text) == Svcb.announcing(ALL_BUT_UNSIGNED)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "x .",
        "65536 .",
        "1 a..b",
        "1 . alpn=h2",
        "1 . key065282=a",
        "1 . key65536=a",
        "1 . key1=a key1=b",
        '1 . key1="a',
        "1 . key1=\\",
        "1 . key1=\\999",
        "\\# 2 0001",
        "\\# 4 000100",
    ],
)
def test_wrong_text_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Svcb.from_text(text)


@pytest.mark.parametrize(
    ("rdata", "reason"),
    [
        ("", "no SVCB"),
        ("0001", "no SVCB"),
        ("000101", "within a name"),
        ("00010161c000", "compressed"),
        ("000100ff02", "head of a parameter"),
        ("000100ff02000161" + "ff02000161", "follows"),
        ("000100ff020001", "within parameter"),
        ("000100ff02000161" + "0001000161", "follows"),
    ],
)
def test_wrong_octets_are_malformed(rdata: str, reason: str) -> None:
    with pytest.raises(MalformedMessage, match=reason):
        Svcb.from_wire(bytes.fromhex(rdata))


def test_what_would_be_malformed_cannot_be_written() -> None:
    for record in (
        Svcb(65536, names.ROOT),
        Svcb(1, names.ROOT, ((2, b""), (1, b""))),
        Svcb(1, names.ROOT, ((1, bytes(65536)),)),
    ):
        with pytest.raises(ValueError, match=r".+"):
            record.to_wire()
