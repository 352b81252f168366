"""A key is looked at again when there is a reason to, and accepted on the delegation that the zone has then."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from lab.daemons.server import Add
from lab.process import until
from signer import Signer
from trust_cases import HOSTILE
from trust_child import AUTO, FAILED, MANUAL, TRUSTED, UNKNOWN, TrustChild
from trust_tree import Hosted, key_text
from trust_world import TrustWorld
from world import stop_cleanly
from zonecut.demo.loopback import LoopbackAuthority, LoopbackZone, faults

APEX, HOLD = "apex.test.", "hold.test."
SOON = 8.0
"""Seconds within which a child that mended its fault is trusted: the second attempt would come after an hour."""
SLOW = 2.0
PARENTS: dict[str, dict[str, Any]] = {
    APEX: {
        "bootstrap": ["at-apex", "manual"],
        "trust": {"retry_first": 3600, "retry_longest": 3600, "on_demand": True},
    },
    HOLD: {"bootstrap": [{"method": "unsigned", "hold": 0.5, "rounds": 2, "min_vantage_points": 2}]},
}

MENDED, RETRIED, SIGNED, NOTICED, DEMANDING, FORGING, FORGED = (
    Signer.generate(f"{label}.{APEX}")
    for label in ("mended", "retried", "signed", "noticed", "demanding", "forged", "forged")
)
OVERTAKEN = Signer.generate(f"overtaken.{HOLD}")
_LATE = (MENDED, RETRIED)
"""They publish their keys only after they have uploaded them."""
_UNSIGNED = (SIGNED, NOTICED)
"""Signed, and without DS at first."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[TrustWorld]:
    hosted = [
        *(Hosted(signer.text, "", signing=()) for signer in _LATE),
        *(Hosted(signer.text, key_text(signer), signing=(), ds=()) for signer in _UNSIGNED),
        *(Hosted(signer.text, key_text(signer), signing=()) for signer in (DEMANDING, FORGED)),
    ]
    name = OVERTAKEN.text
    slow = LoopbackZone(name, f"@ NS ns\nns A {HOSTILE}\n{key_text(OVERTAKEN)}", signed=False)
    authority = LoopbackAuthority([slow], [HOSTILE], 53)
    authority.override(name, "KEY", faults.slow(SLOW))
    elsewhere = {HOLD: f"{name} NS ns.{name}\nns.{name} A {HOSTILE}\n"}
    with ExitStack() as running:
        running.enter_context(authority)
        world = TrustWorld(tmp_path_factory.mktemp("looks"), PARENTS, hosted, server=server, elsewhere=elsewhere)
        running.enter_context(world)
        yield world
        stop_cleanly(world)


def _in_vain(world: TrustWorld, signer: Signer) -> TrustChild:
    """A child whose key was looked at in vain; the next attempt is an hour away."""
    child = TrustChild(world, signer)
    assert child.upload().rcode == "NOERROR"
    until(lambda: bool(world.events_of("bootstrap.attempt", signer)), timeout=10, what="a look in vain")
    assert child.ask().state == AUTO
    return child


def test_a_child_that_mended_its_fault_is_trusted_soon_after_it_uploads_again(world: TrustWorld) -> None:
    child = _in_vain(world, MENDED)
    world.tree.change(MENDED.text, key_text(MENDED))
    world.finds_key(MENDED.text)
    assert child.upload().rcode == "NOERROR"
    child.wait_for(TRUSTED, since=AUTO, timeout=SOON)
    assert child.change().rcode == "NOERROR"


def test_an_operator_has_a_key_looked_at_again_beside_the_daemon(world: TrustWorld) -> None:
    child = _in_vain(world, RETRIED)
    world.tree.change(RETRIED.text, key_text(RETRIED))
    world.finds_key(RETRIED.text)
    retried = world.zonecut.cli("key", "retry", RETRIED.text)
    assert [key["tag"] for key in retried["keys"]] == [RETRIED.tag]
    assert "at-apex run within a second" in retried["next"]
    child.wait_for(TRUSTED, since=AUTO, timeout=SOON)


def test_a_child_that_waits_for_an_operator_and_becomes_signed_is_trusted_when_it_uploads_again(
    world: TrustWorld,
) -> None:
    child = TrustChild(world, SIGNED)
    assert child.upload().rcode == "NOERROR"
    assert "the child has no DS" in child.wait_for(MANUAL).text
    world.server.edit(*(Add(SIGNED.text, 60, "DS", ds) for ds in world.tree.ds[SIGNED.text]), zone=APEX)
    world.finds_key(SIGNED.text)
    assert child.upload().rcode == "NOERROR"
    child.wait_for(TRUSTED, timeout=SOON)


def test_a_ds_that_appears_is_noticed_without_an_upload(world: TrustWorld) -> None:
    child = TrustChild(world, NOTICED)
    assert child.upload().rcode == "NOERROR"
    child.wait_for(MANUAL)
    world.server.edit(*(Add(NOTICED.text, 60, "DS", ds) for ds in world.tree.ds[NOTICED.text]), zone=APEX)
    child.wait_for(TRUSTED, timeout=2 * SOON)


def test_a_ds_that_appears_while_an_unsigned_child_is_looked_at_keeps_its_key_from_being_trusted(
    world: TrustWorld,
) -> None:
    child = TrustChild(world, OVERTAKEN)
    assert child.upload().rcode == "NOERROR"
    until(lambda: bool(world.events_of("bootstrap.attempt", OVERTAKEN)), timeout=10, what="the first look")
    time.sleep(0.5 + SLOW / 2)  # in the middle of the second, which would be the last
    world.server.edit(Add(OVERTAKEN.text, 60, "DS", "12345 13 2 " + "5A" * 32), zone=HOLD)
    assert "the child has a DS" in child.wait_for(FAILED, since=AUTO, timeout=20).text
    found = [event["reason"] for event in world.events_of("bootstrap.attempt", OVERTAKEN)]
    assert "the delegation changed while it was looked at" in found
    assert world.events_of("bootstrap.trusted", OVERTAKEN) == []


def test_a_child_that_never_uploads_is_trusted_when_it_signs(world: TrustWorld) -> None:
    child = TrustChild(world, DEMANDING)
    assert child.change().rcode == "BADKEY"
    child.wait_for(TRUSTED, timeout=SOON)
    assert world.key_of(DEMANDING)["method"] == "at-apex"
    assert child.change().rcode == "NOERROR"


def test_whoever_signs_with_a_key_that_the_child_does_not_publish_gets_nowhere(world: TrustWorld) -> None:
    forger = TrustChild(world, FORGING)
    for _ in range(3):
        assert forger.change().rcode == "BADKEY"
        assert forger.ask().state == UNKNOWN
        time.sleep(0.5)
    assert all(key["owner"] != FORGING.text for key in world.zonecut.cli("key", "list"))
