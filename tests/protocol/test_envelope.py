"""The walk over raw messages: exact about lengths, calm about anything (RFC 1035 section 4.1)."""

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.update
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectors_of import VECTORS, Vector
from zonecut.protocol import names
from zonecut.protocol.envelope import read_name, read_options, walk
from zonecut.protocol.errors import MalformedMessage

HEADER = b"\x12\x34\x28\x00"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_a_real_message_is_walked_to_its_end(vector: Vector) -> None:
    envelope = vector.envelope
    assert envelope.opcode == 5
    assert envelope.records[-1].end == len(vector.wire)
    assert envelope.records[-1].rtype == 24


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_every_truncation_and_every_trailing_octet_is_malformed(vector: Vector) -> None:
    for length in range(len(vector.wire)):
        with pytest.raises(MalformedMessage):
            walk(vector.wire[:length])
    with pytest.raises(MalformedMessage, match="1 octets follow"):
        walk(vector.wire + b"\0")


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (b"", "header"),
        (HEADER + b"\0" * 7, "header"),
        (HEADER + b"\0\1" + b"\0" * 6, "ends within"),
        (HEADER + b"\0\0" * 3 + b"\xff\xff", "ends within"),
        (HEADER + b"\0\1" + b"\0" * 6 + b"\xc0\x0c\0\6\0\1", "backwards"),
        (HEADER + b"\0\1" + b"\0" * 6 + b"\xc0\x20\0\6\0\1", "backwards"),
        (HEADER + b"\0\1" + b"\0" * 6 + b"\x41a\0\0\6\0\1", "label type"),
        (HEADER + b"\0\1" + b"\0" * 6 + b"\x80a\0\0\6\0\1", "label type"),
        (HEADER + b"\0\1\0\0\0\1\0\0" + b"\0\0\6\0\1" + b"\0\0\x29\0\1\0\0\0\0\0\0", "OPT"),
        (HEADER + b"\0\0\0\0\0\0\0\2" + b"\0\0\x29\0\1\0\0\0\0\0\0" * 2, "more than one OPT"),
        (HEADER + b"\0\0\0\0\0\0\0\1" + b"\1x\0\0\x29\0\1\0\0\0\0\0\0", "owner of its OPT"),
    ],
)
def test_malformed_messages_are_told_apart(wire: bytes, reason: str) -> None:
    with pytest.raises(MalformedMessage, match=reason):
        walk(wire)


def test_64_kib_of_zeros_are_a_header_and_rubbish() -> None:
    with pytest.raises(MalformedMessage, match="65523 octets follow"):
        walk(bytes(65535))


@given(st.binary(max_size=600))
@settings(max_examples=500)
def test_any_octets_are_walked_or_malformed(octets: bytes) -> None:
    for wire in (octets, HEADER + octets):
        try:
            envelope = walk(wire)
        except MalformedMessage:
            continue
        for record in envelope.records:
            assert 0 <= record.start < record.rdata <= record.end <= len(wire)
            try:
                envelope.name(record.start)
            except MalformedMessage:
                continue


@given(st.binary(max_size=80), st.integers(0, 80))
def test_any_octets_are_a_name_or_malformed(octets: bytes, at: int) -> None:
    try:
        name, after = read_name(octets, at)
    except MalformedMessage:
        return
    assert len(name) <= 255
    assert at < after <= len(octets)
    expected, length = dns.name.from_wire(octets, at)
    assert (expected.to_wire(), at + length) == (name, after)


labels = st.binary(min_size=1, max_size=12)
dns_names = st.lists(labels, max_size=5).map(lambda parts: dns.name.Name([*parts, b""]))
rdatas = st.one_of(
    st.tuples(st.just(dns.rdatatype.NS), dns_names.map(lambda name: name.to_text())),
    st.tuples(st.just(dns.rdatatype.A), st.ip_addresses(v=4).map(str)),
    st.tuples(st.just(dns.rdatatype.AAAA), st.ip_addresses(v=6).map(str)),
    st.tuples(st.just(dns.rdatatype.DS), st.binary(min_size=32, max_size=32).map(lambda data: "1 8 2 " + data.hex())),
)


@st.composite
def updates(draw: st.DrawFn) -> bytes:
    """UPDATE messages as dnspython writes them, with compressed names."""
    message = dns.update.UpdateMessage(draw(dns_names))
    for _ in range(draw(st.integers(0, 6))):
        rtype, text = draw(rdatas)
        owner = dns.name.Name([*draw(dns_names).labels[:-1], b"c", b""])
        where = [message.update, message.prerequisite][draw(st.integers(0, 1))]
        rrset = message.find_rrset(where, owner, dns.rdataclass.IN, rtype, force_unique=True, create=True)
        rrset.add(dns.rdata.from_text(dns.rdataclass.IN, rtype, text), draw(st.integers(0, 2**31 - 1)))
    if draw(st.booleans()):
        message.use_edns(0, payload=draw(st.integers(512, 4096)))
    return message.to_wire()


@given(updates(), st.data())
@settings(max_examples=300)
def test_the_walk_agrees_with_dnspython_on_what_it_can_parse(wire: bytes, data: st.DataObject) -> None:
    if data.draw(st.booleans()):
        altered = bytearray(wire)
        altered[data.draw(st.integers(0, len(wire) - 1))] ^= data.draw(st.integers(1, 255))
        wire = bytes(altered)
    try:
        parsed = dns.message.from_wire(wire, one_rr_per_rrset=True)
    except (dns.exception.DNSException, ValueError):
        return
    envelope = walk(wire)
    assert envelope.id == parsed.id
    assert (envelope.opt is None) == (parsed.opt is None)
    for number in (1, 2, 3):
        theirs = [
            (rrset.name.canonicalize().to_wire(), rrset.rdtype)
            for rrset in parsed.sections[number]
            if rrset.rdtype not in (dns.rdatatype.OPT, dns.rdatatype.TSIG)
        ]
        ours = [
            (envelope.name(record.start), record.rtype)
            for record in envelope.section(number)
            if record.rtype not in (dns.rdatatype.OPT, dns.rdatatype.TSIG)
        ]
        assert ours == theirs


def test_options_are_read_in_order_and_overlong_ones_are_malformed() -> None:
    assert list(read_options(b"\0\x0f\0\2ab\0\3\0\0")) == [(15, b"ab"), (3, b"")]
    for broken in (b"\0", b"\0\x0f\0", b"\0\x0f\0\3ab"):
        with pytest.raises(MalformedMessage):
            list(read_options(broken))


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=3))
def test_names_in_text_form_are_the_same_name_again(parts: list[bytes]) -> None:
    wire = b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
    assert names.from_text(names.to_text(wire)) == wire.lower()
    assert dns.name.from_text(names.to_text(wire)).to_wire() == wire
