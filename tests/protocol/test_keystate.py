"""The KeyState option: draft-berra-dnsop-keystate in its revisions -03 and -02."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zonecut.protocol.codepoints import DEFAULT, CodePoints
from zonecut.protocol.envelope import read_options
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.keystate import (
    MAX_TEXT,
    ChildState,
    Inquiry,
    KeyStateOption,
    Malformed,
    ReceiverState,
    Revision,
    answer,
    inquire,
    read_inquiry,
    state_text,
)

options = st.builds(KeyStateOption, st.integers(0, 0xFFFF), st.integers(0, 0xFF), st.integers(0, 0xFF), st.text())


@given(options)
def test_an_option_comes_back_as_it_went(option: KeyStateOption) -> None:
    assert KeyStateOption.from_data(option.to_data()) == option


@given(st.binary())
def test_any_data_is_an_option_or_malformed(data: bytes) -> None:
    try:
        option = KeyStateOption.from_data(data)
    except MalformedMessage:
        assert len(data) < 4
    else:
        assert option.to_data()[:4] == data[:4]
        assert len(option.to_data()) <= 4 + MAX_TEXT


@given(st.binary(), st.sampled_from(Revision))
def test_any_request_is_an_inquiry_or_can_be_answered_as_malformed(data: bytes, revision: Revision) -> None:
    read = read_inquiry(data, revision)
    if isinstance(read, Malformed):
        assert read.response().receiver_state is ReceiverState.REQUEST_MALFORMED
    else:
        assert read.key_id == int.from_bytes(data[:2])


def test_the_data_is_key_id_state_data_and_text() -> None:
    assert KeyStateOption(0x1234, 7, 9, "nein").to_data() == b"\x12\x34\x07\x09nein"


def test_the_option_code_is_a_setting() -> None:
    option = inquire(0x0102)
    assert option.to_option(DEFAULT) == bytes.fromhex("fdea 0004 0102 02 00")
    assert [*read_options(option.to_option(CodePoints(keystate_option=65111)))] == [(65111, option.to_data())]


@pytest.mark.parametrize(("key_id", "state", "data"), [(-1, 0, 0), (65536, 0, 0), (0, 256, 0), (0, 0, -1)])
def test_numbers_out_of_range_are_refused(key_id: int, state: int, data: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        KeyStateOption(key_id, state, data)


def test_long_text_is_cut_where_a_character_ends() -> None:
    assert KeyStateOption(1, 4, 0, "x" + "é" * 200).extra_text == "x" + "é" * 127
    assert KeyStateOption(1, 4, 0, "€" * 200).extra_text == "€" * 85


def test_invalid_utf8_is_replaced() -> None:
    assert KeyStateOption.from_data(b"\0\1\4\0gut\xff").extra_text == "gut\N{REPLACEMENT CHARACTER}"


def test_an_inquiry_is_read_in_both_revisions() -> None:
    for revision in Revision:
        assert read_inquiry(inquire(4711).to_data(), revision) == Inquiry(4711)


@pytest.mark.parametrize("length", range(4))
def test_an_option_that_is_too_short_is_malformed_with_key_id_0(length: int) -> None:
    read = read_inquiry(b"\x12\x34\x02\x00"[:length])
    assert isinstance(read, Malformed)
    assert read.response().to_data()[:4] == bytes(4)


@pytest.mark.parametrize("state", [0, 1, *range(3, 256)])
def test_revision_03_takes_nothing_but_inquiries_from_a_child(state: int) -> None:
    read = read_inquiry(KeyStateOption(0x1234, state, 5).to_data())
    assert isinstance(read, Malformed)
    response = read.response()
    assert (response.key_id, response.key_state, response.key_data) == (0x1234, 0, 0)
    assert state_text(state) in response.extra_text


@pytest.mark.parametrize("state", range(3, 256))
def test_revision_02_takes_nothing_else_either(state: int) -> None:
    assert isinstance(read_inquiry(KeyStateOption(1, state).to_data(), Revision.KEYSTATE_02), Malformed)


def test_in_revision_02_a_child_asks_for_a_bootstrap_with_0_and_1() -> None:
    automatic = read_inquiry(KeyStateOption(1, 0).to_data(), Revision.KEYSTATE_02)
    manual = read_inquiry(KeyStateOption(1, 1).to_data(), Revision.KEYSTATE_02)
    assert automatic == Inquiry(1, ChildState.BOOTSTRAP_AUTO)
    assert manual == Inquiry(1, ChildState.BOOTSTRAP_MANUAL)


def test_an_answer_echoes_the_key_id() -> None:
    assert answer(Inquiry(77), ReceiverState.TRUSTED, "welcome") == KeyStateOption(77, 4, 0, "welcome")


def test_only_invalid_and_refused_have_a_reason_in_key_data() -> None:
    assert answer(Inquiry(1), ReceiverState.REFUSED, key_data=3).key_data == 3
    assert answer(Inquiry(1), ReceiverState.INVALID, key_data=3).key_data == 3
    with pytest.raises(ValueError, match="KEY_TRUSTED"):
        answer(Inquiry(1), ReceiverState.TRUSTED, key_data=3)


def test_a_child_knows_the_codes_of_receivers_from_others() -> None:
    known = {state for state in range(256) if KeyStateOption(1, state).receiver_state is not None}
    assert known == {0, 1, 4, 5, 6, 7, 8, 9, 10}


def test_codes_have_the_names_of_their_revision() -> None:
    assert state_text(0) == "KEY_REQUEST_MALFORMED"
    assert state_text(0, Revision.KEYSTATE_02) == "request for automatic bootstrap"
    assert state_text(2, Revision.KEYSTATE_02) == "INQUIRY_KEY"
    assert state_text(9) == state_text(9, Revision.KEYSTATE_02) == "KEY_BOOTSTRAP_AUTO"
    assert state_text(200) == "KEY-STATE 200"
