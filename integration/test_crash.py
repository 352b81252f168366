"""Killed at random points while children send changes all the time: what was accepted is there, whole, and once.

Each child alternates between two complete delegations that have no record in common; every change names its number in
all its records, so that a mixture of two changes shows.
"""

import os
import random
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from lab.process import LabError, until
from lab.zones import PARENT, ParentZone, Signing
from peer import TcpPeer
from signer import AAAA, DS, NS, A, Signer, ds, name
from world import World
from zonecut.protocol import message

ROUNDS = int(os.environ.get("ZONECUT_ROUNDS", "50"))
CHILDREN = 8

pytestmark = pytest.mark.crash


@dataclass
class Client:
    """A child that always has a change under way, and remembers what it was told."""

    signer: Signer
    number: int = 0
    accepted: int = 0
    """The newest change to which the answer was NOERROR."""
    count: int = 0
    refused: list[str] = field(default_factory=list)
    """Answers that are neither NOERROR nor SERVFAIL."""

    def run(self, port: int, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                with TcpPeer(port) as peer:
                    while not ended.is_set():
                        self.send(peer)
            except (OSError, LabError):
                time.sleep(0.01)  # zonecut is down just now

    def send(self, peer: TcpPeer) -> None:
        number = self.number = self.number + 1
        wire = self.signer.update(*self.delegation(number))
        peer.send(wire)
        answer = peer.receive()
        if answer is None:
            return
        if answer.rcode == "NOERROR":
            self.accepted = number
            self.count += 1
        elif answer.rcode != "SERVFAIL":
            self.refused.append(f"{answer.rcode} {answer.extended_error}")

    def delegation(self, number: int) -> list[bytes]:
        """Updates that replace the whole delegation, whatever it was."""
        child = self.signer.owner
        hosts = [name(f"{place}-{number}.{self.signer.text}") for place in ("a", "b")]
        digest = number.to_bytes(32)
        address = (IPv4Address("11.0.0.0") + number).packed
        records = [message.add(child, NS, 60, host) for host in hosts]
        records += [message.add(host, A, 60, address) for host in hosts]
        records += [message.add(host, AAAA, 60, b"\x26\x10" + number.to_bytes(14)) for host in hosts]
        records += [message.add(child, DS, 60, ds(number % 65536, digest=digest))]
        return [message.delete_rrset(child, NS), message.delete_rrset(child, DS), *records]

    def expected(self, number: int) -> set[str]:
        """The records of a change as the zone has to hold them."""
        child = self.signer.text
        hosts = [f"{place}-{number}.{child}" for place in ("a", "b")]
        ipv4 = IPv4Address("11.0.0.0") + number
        groups = number.to_bytes(14).hex()
        return {
            *(f"{child} NS {host}" for host in hosts),
            *(f"{host} A {ipv4}" for host in hosts),
            *(f"{host} AAAA 2610{groups}" for host in hosts),
            f"{child} DS {number % 65536} 13 2 {number:064x}",
        }

    def held(self, records: set[str]) -> tuple[int, set[str]]:
        """The number of the change that the zone holds, by its DS, and all that it holds for the child."""
        found = set()
        number = 0
        for record in records:
            owner, _, rtype, data = record.split(" ", 3)
            if not f".{owner}".endswith(f".{self.signer.text}"):
                continue
            if rtype == "DS":
                number = int(data.split(" ")[3], 16)
            found.add(f"{owner} {rtype} {_plain(data) if rtype == 'AAAA' else data}")
        return number, found

    def check(self, records: set[str]) -> None:
        """The newest accepted change, or one that was sent after it and whose answer was lost; never half of one."""
        number, found = self.held(records)
        assert self.accepted <= number <= self.number, f"{self.signer.text}: accepted {self.accepted}, holds {number}"
        assert found == self.expected(number)


def _plain(address: str) -> str:
    return IPv6Address(address).packed.hex()


@contextmanager
def _all_the_time(clients: list[Client], port: int) -> Iterator[None]:
    """The clients send in threads until the block ends."""
    ended = threading.Event()
    threads = [threading.Thread(target=client.run, args=(port, ended)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _first_changes(world: World, clients: list[Client]) -> None:
    """Bring every child to a delegation of its client's making."""
    for client in clients:
        with TcpPeer(world.port) as peer:
            client.send(peer)
        assert client.accepted == 1


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
        _first_changes(world, clients)
        caught = 0
        with _all_the_time(clients, world.port):
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
        _first_changes(world, clients)
        with _all_the_time(clients, world.port):
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
        _first_changes(world, clients)
        with _all_the_time(clients, world.port):
            for _ in range(max(3, ROUNDS // 10)):
                time.sleep(random.uniform(0.1, 0.4))
                world.zonecut.kill()
                world.named.kill()
                world.zonecut.start()
                world.named.start()
        _check_end(world, clients, tmp_path, Signing.NONE)
