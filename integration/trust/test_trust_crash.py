"""A receiver that is killed in the middle of bootstraps goes on with them after its next start."""

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.process import until
from signer import Signer
from trust_child import AUTO, FAILED, MANUAL, TRUSTED, UNKNOWN, TrustChild
from trust_tree import OTHER, Hosted, key_text
from trust_world import TrustWorld
from world import stop_cleanly

HOLD, APEX, BOTH = "hold.test.", "apex.test.", "both.test."
SECONDS = 3.0
PARENTS: dict[str, dict[str, Any]] = {
    HOLD: {"bootstrap": [{"method": "unsigned", "hold": SECONDS, "rounds": 3, "min_vantage_points": 2}]},
    APEX: {"bootstrap": ["at-apex"], "trust": {"attempts": 7}},
    BOTH: {"bootstrap": ["at-apex", "manual"]},
}
HELD = Signer.generate(f"held.{HOLD}")
HANGING = Signer.generate(f"hanging.{HOLD}")
LATE = Signer.generate(f"late.{APEX}")
NEVER = Signer.generate(f"never.{APEX}")
WAITING = Signer.generate(f"waiting.{BOTH}")
HOSTED = [
    Hosted(HELD.text, key_text(HELD)),
    Hosted(HANGING.text, key_text(HANGING)),
    Hosted(LATE.text, signing=()),
    Hosted(NEVER.text, signing=()),
    Hosted(WAITING.text),
]


@pytest.fixture
def world(tmp_path: Path, server: str) -> Iterator[TrustWorld]:
    with TrustWorld(tmp_path, PARENTS, HOSTED, server=server) as world:
        yield world
        stop_cleanly(world)


def test_bootstraps_survive_kills_at_any_time(world: TrustWorld) -> None:
    held, late, never, waiting = (TrustChild(world, signer) for signer in (HELD, LATE, NEVER, WAITING))
    for child in (held, late, never, waiting):
        assert child.ask().state == UNKNOWN
        assert child.upload().rcode == "NOERROR"
    began = time.time()
    waiting.wait_for(MANUAL)
    until(lambda: len(world.events_of("bootstrap.attempt", HELD)) > 0, timeout=5, what="the first look")
    for _ in range(2):
        world.zonecut.kill()
        world.zonecut.start()
        assert held.ask().state == AUTO
        assert late.ask().state == AUTO
        assert never.ask().state == AUTO
        assert waiting.ask().state == MANUAL
    world.tree.change(LATE.text, key_text(LATE))
    late.wait_for(TRUSTED, since=AUTO)
    held.wait_for(TRUSTED, since=AUTO)
    # what was seen before the kills counts: the hold period went on
    took = time.time() - began
    lasted = re.search(r"agree, \d times in (\d+) s", world.key_of(HELD)["reason"])
    assert lasted is not None
    assert took >= SECONDS
    assert took - 1.5 < int(lasted[1]) <= took + 0.5
    assert "no KEY of its own there" in never.wait_for(FAILED, since=AUTO, timeout=20).text
    # each of the two kills may have come when an attempt was recorded and not yet logged
    assert 6 - 2 <= len(world.events_of("bootstrap.attempt", NEVER)) <= 8
    for child in (held, late):
        assert child.change().rcode == "NOERROR"
    assert waiting.ask().state == MANUAL


def test_an_attempt_that_is_under_way_when_the_receiver_is_killed_is_made_again(world: TrustWorld) -> None:
    """A name server that accepts connections and says nothing holds it up."""
    child = TrustChild(world, HANGING)
    server = world.tree.servers[OTHER]
    server.send_signal(signal.SIGSTOP)
    try:
        assert child.upload().rcode == "NOERROR"
        time.sleep(0.5)
        assert not world.events_of("bootstrap.attempt", HANGING)
        assert child.ask().state == AUTO
        world.zonecut.kill()
    finally:
        server.send_signal(signal.SIGCONT)
    world.zonecut.start()
    restarted = time.time()
    child.wait_for(TRUSTED, since=AUTO)
    # the first look was made again at once
    assert time.time() - restarted < SECONDS + 3
    assert child.change().rcode == "NOERROR"
