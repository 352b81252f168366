"""The checks by look-up against real servers: what is right, stale, away, an alias, and what a child is told of it."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from checks_world import ALIAS, NOBODY, ONE, OUTSIDE, PARENTS, TIME_LIMIT, TWO, ChecksWorld, Child
from lab.daemons.server import Add
from lab.process import until
from signer import ds, name
from world import stop_cleanly
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import RRType

GOOD = Child("good")
HOSTED = Child("hosted", ns=("ns1", OUTSIDE))
WRONG_DS = Child("wrongds")
STALE = Child("stale", has={TWO: ("ns1",)})
REKEYED = Child("rekeyed", rekeyed=TWO)
AWAY = Child("away", second=NOBODY)
ALIASED = Child("aliased", aliased=True)
ELSEWHERE = Child("elsewhere", ns=("ns1", ALIAS))
JOINED = Child("joined")
BROKEN = Child("broken", rekeyed=TWO)

FAILS = {
    WRONG_DS: ("ds-continuity", f"ns1.wrongds.{{parent}} ({ONE}) breaks the chain of trust: no DNSKEY of"),
    STALE: ("ns-consistency", f"ns2.stale.{{parent}} ({TWO}) has the NS ns1.stale.{{parent}}, and the parent would"),
    REKEYED: ("ds-continuity", f"ns2.rekeyed.{{parent}} ({TWO}) breaks the chain of trust: no DNSKEY of"),
    ALIASED: ("ns-consistency", f"ns2.aliased.{{parent}} ({TWO}) is an alias"),
    ELSEWHERE: ("ns-consistency", f"{ALIAS}: it is an alias"),
}
PASSES = (GOOD, HOSTED)
_FAILING = [pytest.param(child, rule, text, id=child.label) for child, (rule, text) in FAILS.items()]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[ChecksWorld]:
    directory = tmp_path_factory.mktemp("checks") / "world"
    with ChecksWorld(directory, [*PASSES, *FAILS, AWAY, JOINED, BROKEN], server=server) as world:
        yield world
        stop_cleanly(world, ["change.failed"])


def change(world: ChecksWorld, mode: str, child: Child) -> bytes:
    return world.change(mode, child, ds=ds(algorithm=15) if child is WRONG_DS else None)


def of_child(world: ChecksWorld, event: str, mode: str, child: Child) -> list[dict[str, Any]]:
    text = f"{child.label}.{PARENTS[mode]}"
    return [each for each in world.zonecut.log_events(event) if each.get("child") == text]


def served_ns(world: ChecksWorld, mode: str, child: Child) -> int:
    """How many name servers the parent's server has for the child."""
    zone = PARENTS[mode]
    return len([record for record in world.records(f"{child.label}.{zone}", zone) if " NS " in record])


@pytest.mark.parametrize("child", PASSES, ids=lambda child: child.label)
def test_what_is_right_at_every_server_is_accepted_and_served(world: ChecksWorld, child: Child) -> None:
    answer = world.tcp(change(world, "enforce", child))
    assert (answer.rcode, answer.extended_error) == ("NOERROR", None)
    assert served_ns(world, "enforce", child) == 2


@pytest.mark.parametrize(("child", "rule", "text"), _FAILING)
def test_what_is_wrong_somewhere_is_refused_and_the_child_is_told_what_was_seen_where(
    world: ChecksWorld, child: Child, rule: str, text: str
) -> None:
    count = world.change_count()
    wire = change(world, "enforce", child)
    for answer in (world.udp(wire), world.tcp(wire)):
        assert answer.rcode == "REFUSED"
        assert answer.extended_error is not None
        code, told = answer.extended_error
        assert code == 18
        assert text.format(parent=PARENTS["enforce"]) in told
    event = of_child(world, "change.refused", "enforce", child)[-1]
    assert event["rule"] == rule
    assert (world.change_count(), served_ns(world, "enforce", child)) == (count, 1)
    # the same message again is one request, and gets the answer that is known
    (entry,) = [each for each in world.audit("change.refused") if each["child"] == event["child"]]
    assert (entry["rule"], entry["detail"]["reason"]) == (rule, event["reason"])


def test_a_server_that_cannot_be_reached_is_tried_until_the_time_is_up_and_the_child_may_come_again(
    world: ChecksWorld,
) -> None:
    started = time.monotonic()
    answer = world.tcp(change(world, "enforce", AWAY))
    assert TIME_LIMIT - 0.1 < time.monotonic() - started < TIME_LIMIT + 2
    assert answer.rcode == "SERVFAIL"
    assert answer.extended_error is not None
    assert f"ns2.away.{PARENTS['enforce']} ({NOBODY})" in answer.extended_error[1]
    assert served_ns(world, "enforce", AWAY) == 1


@pytest.mark.parametrize(("child", "rcode"), [(JOINED, "NOERROR"), (BROKEN, "REFUSED")], ids=("joined", "broken"))
def test_what_is_judged_again_since_an_operator_edits_before_the_write_is_checked_again(
    world: ChecksWorld, child: Child, rcode: str
) -> None:
    zone = PARENTS["enforce"]
    text = f"{child.label}.{zone}"
    signer, owner = world.signers[zone, child.label], names.from_text(text)
    nothing = message.add(owner, RRType.NS, 60, name(f"ns1.{text}"))
    assert world.tcp(signer.update(nothing, zone=names.from_text(zone))).rcode == "NOERROR"
    # on what was read then the next change is judged, and its DS is right at ns1; ns2 of the one has other keys
    world.server.edit(Add(text, 60, "NS", f"ns2.{text}"), Add(f"ns2.{text}", 60, "A", TWO), zone=zone)
    with_ds = message.add(owner, RRType.DS, 60, world.ds[text])
    answer = world.tcp(signer.update(with_ds, zone=names.from_text(zone)))
    assert answer.rcode == rcode
    assert of_child(world, "change.conflict", "enforce", child)
    has_ds = any(" DS " in record for record in world.records(text, zone))
    assert (has_ds, served_ns(world, "enforce", child)) == (rcode == "NOERROR", 2)
    world.wait_until_recorded()
    change, _ = world.changes("--child", text)
    if rcode == "NOERROR":
        assert change["state"] == "applied"
    else:
        assert change["state"] == "failed"
        assert change["reason"].startswith(f"ds-continuity: ns2.{text} ({TWO}) breaks the chain of trust")


@pytest.mark.parametrize("child", PASSES, ids=lambda child: child.label)
def test_what_is_right_is_logged_where_checks_warn(world: ChecksWorld, child: Child) -> None:
    assert world.tcp(change(world, "warn", child)).rcode == "NOERROR"
    until(lambda: len(of_child(world, "check.passed", "warn", child)) == 2, timeout=10, what="both checks are done")
    assert of_child(world, "check.warning", "warn", child) == []


@pytest.mark.parametrize(("child", "rule", "text"), _FAILING)
def test_a_warning_is_logged_and_audited_while_the_change_is_accepted(
    world: ChecksWorld, child: Child, rule: str, text: str
) -> None:
    assert world.tcp(change(world, "warn", child)).rcode == "NOERROR"
    assert served_ns(world, "warn", child) == 2
    until(
        lambda: any(each["check"] == rule for each in of_child(world, "check.warning", "warn", child)),
        timeout=10,
        what="the check has warned",
    )
    (event,) = [each for each in of_child(world, "check.warning", "warn", child) if each["check"] == rule]
    (stored,) = world.changes("--child", event["child"])
    assert (event["change"], event["conclusion"], event["level"]) == (stored["id"], "failed", "warning")
    assert text.format(parent=PARENTS["warn"]) in event["reason"]
    until(lambda: bool(_audited(world, event["child"], rule)), timeout=5, what="the audit trail has it")
    (entry,) = _audited(world, event["child"], rule)
    assert entry["detail"] == {"changes": [stored["id"]], "conclusion": "failed", "reason": event["reason"]}


def test_a_warning_about_an_unreachable_server_does_not_delay_the_answer(world: ChecksWorld) -> None:
    started = time.monotonic()
    assert world.tcp(change(world, "warn", AWAY)).rcode == "NOERROR"
    assert time.monotonic() - started < TIME_LIMIT / 2
    assert of_child(world, "check.warning", "warn", AWAY) == []
    until(lambda: len(of_child(world, "check.warning", "warn", AWAY)) == 1, timeout=10, what="the time is up")
    (event,) = of_child(world, "check.warning", "warn", AWAY)
    assert (event["check"], event["conclusion"]) == ("ns-consistency", "undecided")
    assert f"({NOBODY})" in event["reason"]
    # that the chain of trust holds, the other server proves
    (passed,) = of_child(world, "check.passed", "warn", AWAY)
    assert passed["check"] == "ds-continuity"
    assert f"({NOBODY})" in passed["reason"]


def _audited(world: ChecksWorld, child: str, rule: str) -> list[dict[str, Any]]:
    return [each for each in world.audit("check.warning") if (each["child"], each["rule"]) == (child, rule)]
