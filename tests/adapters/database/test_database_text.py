"""Records as the tables have them, and back."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zonecut.plugin import BackendRejected
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.announced.svcb import Method, Svcb
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR
from zonecut_database.text import columns_of, owner_of, record_of

OWNER = names.from_text("child.parent.test.")

_labels = st.lists(st.binary(min_size=1, max_size=20), min_size=0, max_size=4)
_names = _labels.map(lambda labels: b"".join(bytes((len(label),)) + label for label in labels).lower() + b"\0")
_rdata = st.one_of(
    st.tuples(st.just(RRType.NS), _names),
    st.tuples(st.just(RRType.A), st.binary(min_size=4, max_size=4)),
    st.tuples(st.just(RRType.AAAA), st.binary(min_size=16, max_size=16)),
    st.tuples(st.just(RRType.DS), st.binary(min_size=5, max_size=70)),
    st.tuples(st.just(RRType.KEY), st.binary(min_size=1, max_size=70).map(lambda key: b"\2\0\3\x0f" + key)),
    st.tuples(st.integers(min_value=300, max_value=65000), st.binary(max_size=40)),
)


@given(_names, _rdata)
@example(b"\1\x20\0", (RRType.NS, b"\3\\.;\0"))
@example(OWNER, (RRType.DSYNC, Dsync(RRType.ANY, 2, 5354, OWNER).to_wire()))
@example(OWNER, (RRType.SVCB, Svcb.announcing([Method.AT_APEX, Method.MANUAL]).to_wire()))
@example(OWNER, (RRType.CNAME, b"\3www\0"))
@example(OWNER, (RRType.AAAA, bytes(10) + b"\xff\xff\1\2\3\4"))
def test_a_record_is_read_back_as_it_was_written(owner: bytes, record: tuple[int, bytes]) -> None:
    rtype, rdata = record
    columns = columns_of(owner, rtype, rdata)
    assert all(column.isascii() and column.isprintable() for column in columns)
    assert columns[0] == columns[0].lower()
    assert columns[0].endswith(".")
    assert record_of(*columns) == RR(owner, rtype, rdata)


def test_dsync_is_written_so_that_every_server_takes_it() -> None:
    rdata = Dsync(RRType.ANY, 2, 5354, names.from_text("updater.test.")).to_wire()
    assert columns_of(OWNER, RRType.DSYNC, rdata)[1:] == ("TYPE66", f"\\# {len(rdata)} {rdata.hex().upper()}")
    assert record_of("child.parent.test.", "DSYNC", "ANY UPDATE 5354 updater.test.").rdata == rdata


@pytest.mark.parametrize(
    ("rtype", "rdata"),
    [
        (RRType.NS, b"\3not-a-name"),
        (RRType.NS, b""),
        (RRType.NS, b"\xc0\x0c"),
        (RRType.A, b"123"),
        (RRType.AAAA, b"1234"),
        (RRType.DS, b"1234"),
    ],
)
def test_what_is_no_data_of_its_type_is_rejected(rtype: int, rdata: bytes) -> None:
    with pytest.raises(BackendRejected, match=f"is no data of {RRType(rtype).text}"):
        columns_of(OWNER, rtype, rdata)


@pytest.mark.parametrize(
    ("rtype", "rdata"),
    [
        ("A", "11.0.0"),
        ("A", "2610::1"),
        ("AAAA", "11.0.0.1"),
        ("DS", "1 13"),
        ("DS", "70000 13 2 AB"),
        ("DS", "1 13 2 ABC"),
        ("NS", f"{'x' * 64}.test."),
        ("MX", "mail.test."),
        ("NOTYPE", "x"),
        ("TYPE66", "\\# 3 00"),
    ],
)
def test_a_row_that_makes_no_sense_is_told(rtype: str, rdata: str) -> None:
    with pytest.raises(ValueError, match="is no "):
        record_of("child.parent.test.", rtype, rdata)


@pytest.mark.parametrize("text", ["Child.test.", "child.test", "ch\\105ld.test.", "child..test.", ""])
def test_names_by_which_rows_are_found_are_written_in_one_way(text: str) -> None:
    with pytest.raises(ValueError, match=r"is written|empty label"):
        owner_of(text)
