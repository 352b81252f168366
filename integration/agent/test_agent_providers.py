"""A zone with two providers that sign it, and one that moves from one provider to another: nobody notices."""

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


def test_a_zone_moves_to_another_provider(tmp_path: Path) -> None:
    """The operator wants it all at once: DS of both and the new name server, and then the DS of the new one alone.

    They have each other's keys, and the losing one goes on for a while. The rest is in the times between: RFC 6781
    section 4.3.5.
    """
    ttl = 6
    with ProvidersWorld(
        tmp_path, ns=["ns1"], ns_ttl=ttl, ds_ttl=ttl, shares=False, alone={}, bootstrap=["manual"]
    ) as world:
        trusted(world)
        (losing,), (gaining,) = world.keys[0].ksks, world.keys[1].ksks
        for which, text in enumerate(world.texts([], shares=True)):
            world.serve(which, text)
        time.sleep(2)
        for which, text in enumerate(world.texts([losing, gaining], ns=["ns2"])):
            world.serve(which, text)
        world.until_ds([losing, gaining], within=10)
        world.holds({f"{CHILD} ns ns2.{CHILD}"}, without={f"{CHILD} ns ns1.{CHILD}"}, within=20)
        world.read_from_other()
        world.serve(1, world.texts([gaining])[1])
        world.until_ds([gaining], within=20)
        world.child.stop()
        world.serve(1, world.texts([gaining], shares=False)[1])
        world.settled()
