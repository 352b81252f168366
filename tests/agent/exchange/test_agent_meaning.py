"""What each response means to a child."""

import pytest

from agent_support import TARGET, pair
from zonecut.agent.exchange.response import Response, Signed
from zonecut.agent.exchange.result import Result, explain, judge
from zonecut.net.endpoint import Endpoint
from zonecut.protocol.codepoints import DEFAULT, CodePoints
from zonecut.protocol.ede import ExtendedError

KEY = pair(TARGET).key
MEANINGS = {
    (0, None): Result.ACCEPTED,
    (1, None): Result.MALFORMED,
    (2, None): Result.FAILED,
    (2, 0): Result.FAILED,
    (3, None): Result.PREREQUISITE,
    (4, None): Result.UNSUPPORTED,
    (5, None): Result.REFUSED,
    (5, 18): Result.REFUSED,
    (5, 31): Result.RATE_LIMITED,
    (5, 32): Result.RATE_LIMITED,
    (5, 49160): Result.KEY_PENDING,
    (5, 49161): Result.KEY_FAILED,
    (5, 49162): Result.MANUAL,
    # the prototype's, by number where the text tells nothing
    (5, 513): Result.KEY_UNKNOWN,
    (17, 513): Result.KEY_UNKNOWN,
    (5, 514): Result.KEY_PENDING,
    (17, 514): Result.KEY_PENDING,
    (5, 515): Result.NOT_OFFERED,
    (5, 541): Result.KEY_FAILED,
    (5, 542): Result.MANUAL,
    (5, 543): Result.REFUSED,
    (5, 544): Result.FAILED,
    (5, 545): Result.LOOKED_UP,
    (6, None): Result.PREREQUISITE,
    (7, None): Result.PREREQUISITE,
    (8, None): Result.PREREQUISITE,
    (9, None): Result.NOT_OURS,
    (10, None): Result.NOT_OURS,
    (11, None): Result.FAILED,
    (16, None): Result.BAD_SIGNATURE,
    (17, None): Result.KEY_UNKNOWN,
    (18, 0): Result.BAD_TIME,
    (23, None): Result.FAILED,
    (4095, 65535): Result.FAILED,
    # an acceptance is one, whatever else is said
    (0, 515): Result.ACCEPTED,
}


def response(
    rcode: int, *errors: ExtendedError, edns: bool = True, truncated: bool = False, signed: Signed = Signed.VALID
) -> Response:
    by = KEY if signed.is_good else None
    return Response(Endpoint("192.0.2.1", 53), rcode, signed, by, errors, None, truncated, edns, 0.1)


PROTOTYPE = {
    # until August 2026, as recorded
    (17, 514, "SIG(0) key not known"): Result.KEY_UNKNOWN,
    (5, 515, "SIG(0) key known, but not yet trusted"): Result.KEY_PENDING,
    # since then
    (17, 513, "SIG(0) key not known"): Result.KEY_UNKNOWN,
    (5, 514, "SIG(0) key known, but not yet trusted"): Result.KEY_PENDING,
    (5, 515, "Delegation sync via DNS UPDATE not supported"): Result.NOT_OFFERED,
    (5, 541, "automatic bootstrap: validation failed"): Result.KEY_FAILED,
    (5, 542, "manual bootstrap required"): Result.MANUAL,
    (5, 543, "delegation is incoherent: DS 12345 matches no DNSKEY"): Result.REFUSED,
    (5, 544, "delegation could not be verified, try later"): Result.FAILED,
    (5, 545, "unvalidated key upload not accepted; publish the KEY at the zone apex"): Result.LOOKED_UP,
}
"""What both revisions of `tdns` say, by RCODE, extended error and text."""


@pytest.mark.parametrize(("rcode", "code", "text"), PROTOTYPE)
def test_the_prototype_is_read_by_number_and_text(rcode: int, code: int, text: str) -> None:
    answer = response(rcode, ExtendedError(code, text), signed=Signed.NONE)
    assert judge(answer, DEFAULT) is PROTOTYPE[rcode, code, text]
    assert f"tdns ({code}) '{text}'" in explain(answer, DEFAULT)


@pytest.mark.parametrize(("rcode", "error"), MEANINGS)
def test_the_meaning_of(rcode: int, error: int | None) -> None:
    errors = () if error is None else (ExtendedError(error, "text"),)
    assert judge(response(rcode, *errors), DEFAULT) is MEANINGS[rcode, error]


def test_without_edns_notauth_stands_for_a_key_that_is_not_known() -> None:
    assert judge(response(9, edns=False), DEFAULT) is Result.KEY_UNKNOWN
    assert judge(response(5, edns=False), DEFAULT) is Result.REFUSED


def test_what_is_truncated_is_no_acceptance() -> None:
    assert judge(response(0, truncated=True), DEFAULT) is Result.FAILED
    assert judge(response(5, truncated=True), DEFAULT) is Result.REFUSED


def test_the_first_extended_error_that_means_something_counts() -> None:
    errors = ExtendedError(18, ""), ExtendedError(49162, ""), ExtendedError(31, "")
    assert judge(response(5, *errors), DEFAULT) is Result.MANUAL


def test_the_numbers_are_settings() -> None:
    codepoints = CodePoints(ede_manual_bootstrap_required=60000)
    assert judge(response(5, ExtendedError(60000)), codepoints) is Result.MANUAL
    assert judge(response(5, ExtendedError(49162)), codepoints) is Result.REFUSED


def test_the_sentence_names_address_rcode_error_text_and_key() -> None:
    text = explain(response(5, ExtendedError(49160, "wait for it")), DEFAULT)
    assert text == (
        f"192.0.2.1:53 answers REFUSED, Key Known, Not Trusted (49160) 'wait for it'; signed by key {KEY.tag}"
    )
    assert "BADSIG" in explain(response(16), DEFAULT)
    assert "RCODE99" in explain(response(99), DEFAULT)
    assert "truncated" in explain(response(0, truncated=True), DEFAULT)
    assert "not signed" in explain(response(0, signed=Signed.NONE), DEFAULT)
    assert "does not verify" in explain(response(0, signed=Signed.WRONG), DEFAULT)
    assert "without the request" in explain(response(0, signed=Signed.MESSAGE_ONLY), DEFAULT)


def test_a_receivers_text_moves_no_cursor() -> None:
    assert "\x1b" not in explain(response(5, ExtendedError(0, "\x1b[2J")), DEFAULT)
