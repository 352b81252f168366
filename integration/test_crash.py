"""Killed at random points while children send changes all the time: what was accepted is there, whole, and once."""

import os
import random
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from busy_children import Client, all_the_time, first_changes
from lab.process import until
from lab.zones import PARENT, ParentZone, Signing
from signer import Signer
from world import World

ROUNDS = int(os.environ.get("ZONECUT_ROUNDS", "50"))
CHILDREN = 8

pytestmark = pytest.mark.crash


def _unsettled(world: World, directory: Path) -> int:
    """How many changes wait in the ledger of a zonecut that is dead; of a copy, since a look would repair the file."""
    directory.mkdir()
    for file in Path(world.store_url.removeprefix("sqlite:///")).parent.glob("zonecut.db*"):
        shutil.copy(file, directory)
    with closing(sqlite3.connect(directory / "zonecut.db")) as database:
        (count,) = database.execute("SELECT count(*) FROM changes WHERE state = 'accepted'").fetchone()
    shutil.rmtree(directory)
    return int(count)


def _check_end(world: World, clients: list[Client], directory: Path, signing: Signing) -> None:
    """Nothing is left to be written, every child has its last change, and the ledger agrees with the zone."""
    until(lambda: not world.changes("--state", "accepted"), timeout=20, what="the ledger has nothing unsettled")

    def served() -> bool:
        # An inline-signed zone shows a change a moment after the update was answered.
        records = world.records()
        return all(client.held(records)[1] == client.expected(client.held(records)[0]) for client in clients)

    until(served, timeout=5, what="whole delegations are served")
    records = world.records()
    for client in clients:
        client.check(records)
        newest = next(change for change in world.changes("--child", client.signer.text) if change["state"] == "applied")
        number, _ = client.held(records)
        assert newest["after"]["ds"] == [f"{number % 65536} 13 2 {number:064X}"]
        assert client.refused == []
    assert world.changes("--state", "failed") == []
    if signing is not Signing.NONE:
        world.server.verify()


def _world(directory: Path, clients: list[Client], signing: Signing) -> World:
    zone = ParentZone(PARENT, delegations=CHILDREN, signing=signing)
    return World(directory, zone, keys=[client.signer for client in clients])


def _clients() -> list[Client]:
    return [Client(Signer.generate(f"child{number}")) for number in range(CHILDREN)]


def test_zonecut_is_killed_again_and_again(tmp_path: Path) -> None:
    """Between the ledger and the backend, too: the moment is random."""
    clients = _clients()
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    with _world(tmp_path, clients, Signing.IN_PLACE) as world:
        first_changes(clients, world.port)
        caught = 0
        with all_the_time(clients, world.port):
            for round_number in range(ROUNDS):
                time.sleep(moments.uniform(0.05, 0.4))
                world.zonecut.kill()
                caught += _unsettled(world, tmp_path / f"round-{round_number}")
                records = world.records()
                for client in clients:
                    number, found = client.held(records)
                    assert found == client.expected(number), f"half a change: seed {seed}, round {round_number}"
                world.zonecut.start()
        _check_end(world, clients, tmp_path, Signing.IN_PLACE)
        assert world.change_count() >= sum(client.count for client in clients)
        assert caught > 0 or ROUNDS < 10, "no kill came between ledger and backend"
        assert sum(client.count for client in clients) > ROUNDS
        # a line may be cut by a kill; a traceback is something else
        assert not [line for line in world.zonecut.stray_lines() if "Traceback" in line or "Error" in line]


@pytest.mark.parametrize("signing", [Signing.NONE, Signing.IN_PLACE, Signing.INLINE])
def test_named_is_killed_while_changes_arrive(tmp_path: Path, signing: Signing) -> None:
    clients = _clients()
    with _world(tmp_path, clients, signing) as world:
        first_changes(clients, world.port)
        with all_the_time(clients, world.port):
            for _ in range(max(3, ROUNDS // 10)):
                time.sleep(random.uniform(0.2, 0.5))
                world.named.kill()
                time.sleep(random.uniform(0.0, 0.3))
                world.named.start()
            time.sleep(0.5)
        _check_end(world, clients, tmp_path, signing)
        assert not world.zonecut.stray_lines()
        # zonecut lived through all of it
        assert len(world.zonecut.log_events("serve.started")) == 1


def test_both_are_killed_together(tmp_path: Path) -> None:
    clients = _clients()
    with _world(tmp_path, clients, Signing.NONE) as world:
        first_changes(clients, world.port)
        with all_the_time(clients, world.port):
            for _ in range(max(3, ROUNDS // 10)):
                time.sleep(random.uniform(0.1, 0.4))
                world.zonecut.kill()
                world.named.kill()
                world.zonecut.start()
                world.named.start()
        _check_end(world, clients, tmp_path, Signing.NONE)
