"""`unsigned` over its hold period: what changes starts it over or ends it, and no trusted key is replaced by it."""

import time
from collections.abc import Iterator

import pytest

from lab.daemons.server import Add
from lab.process import until
from signer import Signer
from trust_child import AUTO, FAILED, TRUSTED, TrustChild
from trust_tree import ONE, OTHER, Hosted, key_text
from trust_world import TrustWorld
from world import stop_cleanly

HOLD = "hold.test."
SECONDS = 1.5
ENTRY = {"bootstrap": [{"method": "unsigned", "hold": SECONDS, "rounds": 3, "min_vantage_points": 2}]}
ALONE = "alone.test."
ENTRY_ALONE = {"bootstrap": [{"method": "unsigned", "hold": SECONDS, "rounds": 3, "min_vantage_points": 3}]}

STEADY = Signer.generate(f"steady.{HOLD}")
CHANGING, CHANGED = Signer.generate(f"changing.{HOLD}"), Signer.generate(f"changing.{HOLD}")
GROWING, GROWN = Signer.generate(f"growing.{HOLD}"), Signer.generate(f"growing.{HOLD}")
MOVING = Signer.generate(f"moving.{HOLD}")
SECURED = Signer.generate(f"secured.{HOLD}")
REPLACING, REPLACED = Signer.generate(f"replacing.{HOLD}"), Signer.generate(f"replacing.{HOLD}")
UNSEEN = Signer.generate(f"unseen.{ALONE}")
_ALL = (STEADY, CHANGING, GROWING, MOVING, SECURED, REPLACING, UNSEEN)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[TrustWorld]:
    hosted = [Hosted(signer.text, key_text(signer)) for signer in _ALL]
    parents = {HOLD: ENTRY, ALONE: ENTRY_ALONE}
    with TrustWorld(tmp_path_factory.mktemp("hold"), parents, hosted, server=server, keys=[REPLACED]) as world:
        yield world
        stop_cleanly(world)


def _begin(world: TrustWorld, signer: Signer) -> TrustChild:
    """A child whose key has been seen everywhere for the first time."""
    child = TrustChild(world, signer)
    assert child.upload().rcode == "NOERROR"
    until(lambda: bool(world.events_of("bootstrap.attempt", signer)), timeout=5, what="the first look")
    event, *_ = world.events_of("bootstrap.attempt", signer)
    assert (event["method"], event["attempts"]) == ("unsigned", 0)
    assert "4 answers agree for 0 s" in event["reason"]
    return child


def test_a_key_is_trusted_no_sooner_than_the_hold_period_ends(world: TrustWorld) -> None:
    began = time.monotonic()
    child = _begin(world, STEADY)
    child.wait_for(TRUSTED, since=AUTO)
    assert SECONDS <= time.monotonic() - began < SECONDS + 1.5
    assert "agree, 3 times" in world.key_of(STEADY)["reason"]


def test_a_key_that_is_replaced_during_the_hold_period_is_never_trusted(world: TrustWorld) -> None:
    child = _begin(world, CHANGING)
    world.tree.change(CHANGING.text, key_text(CHANGED))
    told = child.wait_for(FAILED, since=AUTO)
    assert "the key is not there" in told.text


def test_a_key_that_is_gone_from_one_server_for_a_while_starts_over(world: TrustWorld) -> None:
    """Also when it is back before the hold period ends."""
    child = _begin(world, GROWING)
    world.tree.change(GROWING.text, key_text(GROWING), at={OTHER: key_text(GROWN)})
    looked = len(world.events_of("bootstrap.attempt", GROWING))
    until(lambda: len(world.events_of("bootstrap.attempt", GROWING)) > looked, timeout=5, what="another look")
    assert "the key is not there" in world.events_of("bootstrap.attempt", GROWING)[-1]["reason"]
    back = time.monotonic()
    world.tree.change(GROWING.text, key_text(GROWING))
    child.wait_for(TRUSTED, since=AUTO)
    assert time.monotonic() - back >= SECONDS


def test_another_key_beside_it_starts_the_hold_period_over(world: TrustWorld) -> None:
    child = _begin(world, MOVING)
    time.sleep(0.5)
    changed = time.monotonic()
    world.tree.change(MOVING.text, key_text(MOVING, CHANGED))
    child.wait_for(TRUSTED, since=AUTO)
    assert time.monotonic() - changed >= SECONDS


def test_a_change_of_the_delegation_starts_the_hold_period_over(world: TrustWorld) -> None:
    signer = SECURED
    child = _begin(world, signer)
    time.sleep(0.5)
    changed = time.monotonic()
    added = f"ns3.{signer.text}"
    world.server.edit(Add(signer.text, 60, "NS", added), Add(added, 60, "A", ONE), zone=HOLD)
    child.wait_for(TRUSTED, since=AUTO)
    assert time.monotonic() - changed >= SECONDS
    assert "6 answers from 2 places agree" in world.key_of(signer)["reason"]


def test_it_never_replaces_a_trusted_key(world: TrustWorld) -> None:
    trusted = TrustChild(world, REPLACED)
    child = TrustChild(world, REPLACING)
    assert child.upload().rcode == "NOERROR"
    assert "a key of the child is trusted already" in child.wait_for(FAILED).text
    assert trusted.ask().state == TRUSTED
    assert trusted.change().rcode == "NOERROR"


def test_it_does_not_apply_with_too_few_vantage_points(world: TrustWorld) -> None:
    child = TrustChild(world, UNSEEN)
    assert child.upload().rcode == "NOERROR"
    assert "2 vantage point(s), 3 are required" in child.wait_for(FAILED).text
