"""A zone with two providers that sign it, each with its own keys: nobody notices that one of them rolls."""

import time
from pathlib import Path

from agent_world import CHILD
from providers_world import ProvidersWorld
from rolls_world import LAG, TTL


def trusted(world: ProvidersWorld) -> None:
    """The parent's operator trusts the agent's key."""
    world.wait_for("bootstrapping")
    world.receiver.cli("key", "trust", CHILD)
    world.wait_for("in-sync")


def test_one_of_two_providers_rolls_its_key(tmp_path: Path) -> None:
    """Whose server is asked publishes the new CDS some seconds before the other one even has the key."""
    with ProvidersWorld(tmp_path, bootstrap=["manual"]) as world:
        before = world.all_ksks()
        trusted(world)
        time.sleep(1)
        assert world.ds_tags() == before
        (first,), (old,) = world.keys[0].ksks, world.keys[1].ksks
        new = world.keys[1].add_ksk()

        def publish(cds: list[int]) -> None:
            here, there = world.texts(cds)
            world.serve(0, here)
            time.sleep(LAG)
            world.serve(1, there)

        publish([first, new])
        world.until_ds([first, new], within=10)
        time.sleep(TTL + 1)
        world.keys[1].remove(old)
        publish([])
        world.settled()
        assert world.ds_tags() == sorted([first, new])
