"""Responses read from hostile octets: nothing but a response or a clear no, and no forged word ever counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_support import CHILD, TARGET, pair
from zonecut.agent.exchange.response import Response, Signed, read_response
from zonecut.agent.exchange.result import Result, explain, judge
from zonecut.net.endpoint import Endpoint
from zonecut.protocol import message
from zonecut.protocol.codepoints import DEFAULT, RRType
from zonecut.protocol.ede import ExtendedError
from zonecut.protocol.envelope import walk
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.foreigntext import MAX_QUOTED
from zonecut.protocol.keystate import KeyStateOption
from zonecut.protocol.sig0 import sign_request, sign_response

NOW = 1_800_000_000
OWN, RECEIVER = pair(CHILD), pair(TARGET)
REQUEST = sign_request(
    message.query(4711, CHILD, RRType.KEY, additional=[message.opt_record()]), OWN, NOW, NOW + 300,
    signature_type=DEFAULT.signature_type,
)  # fmt: skip
OPTIONS = KeyStateOption(OWN.key.tag, 8, 0, "no").to_option(DEFAULT) + ExtendedError(49161, "no").to_option()


def signed(*, request: bytes = REQUEST) -> bytes:
    wire = REQUEST[:2] + bytes((0x80, 5)) + REQUEST[4:10] + b"\0\1" + REQUEST[12 : walk(REQUEST).questions[0].end]
    wire += message.opt_record(OPTIONS)
    signature_type = DEFAULT.signature_type
    return sign_response(wire, RECEIVER, NOW, NOW + 300, request=request, signature_type=signature_type)


GENUINE = {Signed.VALID: signed(), Signed.MESSAGE_ONLY: signed(request=b"")}


def read(wire: bytes) -> Response:
    return read_response(wire, REQUEST, [RECEIVER.key], NOW, DEFAULT, address=Endpoint("192.0.2.1", 53), seconds=0.0)


@pytest.mark.parametrize("form", GENUINE)
def test_a_genuine_response_is_read_with_all_that_it_says(form: Signed) -> None:
    response = read(GENUINE[form])
    assert (response.signed, response.by, response.rcode) == (form, RECEIVER.key, 5)
    assert response.errors == (ExtendedError(49161, "no"),)
    assert response.keystate == KeyStateOption(OWN.key.tag, 8, 0, "no")
    assert judge(response, DEFAULT) is Result.KEY_FAILED


@given(st.binary(max_size=600))
def test_any_octets_are_a_response_or_a_clear_no(octets: bytes) -> None:
    try:
        response = read(REQUEST[:2] + octets)
    except MalformedMessage:
        return
    assert not response.signed.is_good
    judge(response, DEFAULT)


@pytest.mark.parametrize("form", GENUINE)
@given(
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 40),
    more=st.binary(max_size=20),
)
def test_an_altered_response_never_says_something_else_and_counts(
    form: Signed, changes: list[tuple[int, int]], cut: int, more: bytes
) -> None:
    genuine = GENUINE[form]
    altered = bytearray(genuine[: len(genuine) - cut] + more)
    for place, value in changes:
        altered[place % len(altered)] = value
    try:
        response = read(bytes(altered))
    except MalformedMessage:
        return
    if response.signed.is_good:
        original = read(genuine)
        said = ("rcode", "by", "errors", "keystate", "truncated", "edns")
        assert [getattr(response, each) for each in said] == [getattr(original, each) for each in said]


@given(st.text(max_size=2000))
def test_the_sentence_about_a_response_is_printable_and_bounded(text: str) -> None:
    response = Response(
        Endpoint("192.0.2.1", 53), 5, Signed.NONE, None, (ExtendedError(0, text),) * 8, None, False, True, 0.0
    )
    sentence = explain(response, DEFAULT)
    assert sentence.isprintable()
    assert len(sentence) < 8 * 2 * (MAX_QUOTED + 100)
