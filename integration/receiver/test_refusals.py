"""What a verified child may not do: it is told which record broke which rule, and so are log and audit trail."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from lab.daemons.server import Delete
from refusal_cases import OTHER_ERROR, PROHIBITED, REFUSED
from refusals import (
    ABOVE,
    ABOVE_HIDDEN,
    BELOW,
    CHILD,
    DSYNC,
    GHOST,
    HOLDS_RECEIVER,
    IN_DSYNC,
    RECEIVER,
    WILDCARD,
    Refusals,
    Refused,
    refusals_in,
)
from signer import DS, NS, Signer, name
from zonecut.protocol import message
from zonecut.protocol.envelope import walk

HELD_BACK, VALIDITY = 330, 600
"""Seconds: more than the 300 that a message may lie behind the newest one, and yet not expired."""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[Refusals]:
    yield from refusals_in(tmp_path_factory.mktemp("refusals"), server=server)


@pytest.mark.parametrize("edns", [True, False], ids=["edns", "plain"])
@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_a_change_that_breaks_a_rule_is_refused(refusals: Refusals, refused: Refused, edns: bool) -> None:
    refusals.of_child(refused, CHILD, edns=edns)


@pytest.mark.parametrize("edns", [True, False], ids=["edns", "plain"])
@pytest.mark.parametrize(
    ("signer", "rule"),
    [
        (WILDCARD, "child-not-wildcard"),
        (DSYNC, "child-not-reserved"),
        (IN_DSYNC, "child-not-reserved"),
        (RECEIVER, "child-not-reserved"),
        (HOLDS_RECEIVER, "child-not-reserved"),
    ],
    ids=lambda value: value.text if isinstance(value, Signer) else value,
)
def test_a_name_that_is_no_child_is_refused_although_its_key_is_trusted(
    refusals: Refusals, signer: Signer, rule: str, edns: bool
) -> None:
    def make(edns: bool) -> bytes:
        return signer.update(message.add(signer.owner, NS, 60, name("ns.elsewhere.test.")), edns=edns)

    refusals.of_child(Refused(make, "REFUSED", PROHIBITED, rule, (signer.text,)), signer, edns=edns)


@pytest.mark.parametrize(
    ("signer", "rule"),
    [(GHOST, "child-delegated"), (BELOW, "child-below-delegation"), (ABOVE, "child-delegated")],
    ids=["ghost", "below", "above"],
)
def test_a_request_of_a_name_that_is_not_delegated_is_refused_and_ends_no_trust(
    refusals: Refusals, signer: Signer, rule: str
) -> None:
    def make(edns: bool) -> bytes:
        return signer.update(message.add(signer.owner, NS, 60, name("ns.elsewhere.test.")), edns=edns)

    for edns in (True, False):
        refusals.of_child(Refused(make, "REFUSED", PROHIBITED, rule, (signer.text,)), signer, edns=edns)
    (key,) = refusals.world.zonecut.cli("key", "show", signer.text)
    assert key["state"] == "trusted"


def test_a_child_above_an_occluded_delegation_changes_what_is_its_own(refusals: Refusals) -> None:
    accepted = refusals.world.udp(ABOVE_HIDDEN.update(message.add(ABOVE_HIDDEN.owner, NS, 60, name("ns.new.test."))))
    assert (accepted.rcode, accepted.extended_error) == ("NOERROR", None)


def test_a_stale_message_is_refused_with_our_clock(refusals: Refusals) -> None:
    """It lies behind by more than is tolerated; refused again, it is neither logged nor audited again."""
    held_back, newest = CHILD.fresh(age=HELD_BACK, validity=VALIDITY), CHILD.fresh()
    assert refusals.world.udp(newest).rcode == "NOERROR"
    reason = ("stale", f"key {CHILD.tag} signed at {_when(_inception(newest))}", "more than the 300 s", _now_prefix())
    refused = Refused(lambda _: held_back, "BADTIME", OTHER_ERROR, "signature-order", reason)
    refusals.of_child(refused, CHILD, edns=True)
    logged = len(refusals.world.zonecut.log_events())
    assert refusals.world.udp(held_back).rcode == "BADTIME"
    assert refusals.world.zonecut.log_events()[logged:] == []
    plain = CHILD.fresh(age=HELD_BACK, validity=VALIDITY, edns=False)
    refusals.of_child(Refused(lambda _: plain, "BADTIME", OTHER_ERROR, "signature-order", reason), CHILD, edns=False)


def test_a_message_that_lies_behind_by_less_than_is_tolerated_goes_through(refusals: Refusals) -> None:
    assert refusals.world.udp(CHILD.fresh()).rcode == "NOERROR"
    assert refusals.world.udp(CHILD.fresh(age=200, validity=VALIDITY)).rcode == "NOERROR"


def _inception(wire: bytes) -> int:
    """That of the signature at the end of a message."""
    sig = walk(wire).records[-1]
    # the root as owner, type, class, TTL and length; then what is covered, how, labels, TTL and expiration
    start = sig.start + 11 + 12
    return int.from_bytes(wire[start : start + 4])


def _when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _now_prefix() -> str:
    """What the time here begins with, for the next hours."""
    return f"it is {_when(time.time())[:5]}"


def test_each_refusal_is_in_the_audit_trail_once(refusals: Refusals) -> None:
    """Of all that the tests before had refused."""
    refusals.world.udp(CHILD.fresh())
    found = [
        (entry["child"], entry["key_tag"], entry["rule"], entry["detail"]["rcode"])
        for entry in refusals.world.audit("change.refused")
    ]
    assert found == refusals.audited
    for entry in refusals.world.audit("change.refused"):
        assert entry["zone"] == "parent.test."
        assert entry["actor"] == entry["child"]
        assert entry["source"].startswith("127.0.0.1#")
        assert entry["detail"]["reason"]


def test_a_refused_change_may_be_sent_again_once_it_is_right(refusals: Refusals) -> None:
    """REFUSED is not remembered: the same octets are judged anew."""
    wire = CHILD.update(message.delete_rrset(CHILD.owner, DS), prerequisites=[message.rrset_absent(CHILD.owner, DS)])
    assert refusals.world.udp(wire).rcode == "YXRRSET"
    refusals.audited.append((CHILD.text, CHILD.tag, "prerequisite", "YXRRSET"))
    refusals.world.server.edit(Delete(CHILD.text, "DS"))
    assert refusals.world.udp(wire).rcode == "NOERROR"


def test_what_was_right_around_the_refusals_went_through_and_nothing_else_was_logged(refusals: Refusals) -> None:
    events = refusals.world.zonecut.log_events()
    assert not refusals.world.zonecut.stray_lines()
    assert [event for event in events if event["level"] == "error"] == []
