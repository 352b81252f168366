"""Children that send changes all the time, whatever dies, and remember what they were told."""

import shutil
import sqlite3
import threading
import time
from base64 import b64encode
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from lab.ports import LOOPBACK
from lab.process import LabError, find_command, run, until
from numbered import NumberedChanges
from peer import TcpPeer
from world import World
from zonecut.protocol.delegation import Delegation


@dataclass
class Client(NumberedChanges):
    """A child that always has a change under way."""

    accepted: list[int] = field(default_factory=list)
    """The changes to which the answer was NOERROR."""
    refused: list[str] = field(default_factory=list)
    """Answers that are neither NOERROR nor SERVFAIL."""
    tried_later: int = 0
    """Answers of SERVFAIL."""

    waits: threading.Event = field(default_factory=threading.Event)
    """It has nothing under way, and sends nothing."""

    def run(self, port: int, going: threading.Event, ended: threading.Event) -> None:
        """Send while `going` is set, until the end."""
        while not ended.is_set():
            try:
                with TcpPeer(port) as peer:
                    while going.is_set() and not ended.is_set():
                        self.send(peer)
            except (OSError, LabError):
                time.sleep(0.01)  # zonecut is down just now
            if not going.is_set():
                self.waits.set()
                going.wait()
                self.waits.clear()

    def send(self, peer: TcpPeer) -> None:
        peer.send(self.next_message())
        answer = peer.receive()
        if answer is None:
            return
        if answer.rcode == "NOERROR":
            self.accepted.append(self.number)
        elif answer.rcode == "SERVFAIL":
            self.tried_later += 1
        else:
            self.refused.append(f"{answer.rcode} {answer.extended_error}")

    def is_whole(self, records: set[str]) -> bool:
        """True if the zone holds one change of this child, and nothing of another."""
        number, found = self.held(records)
        return number <= self.number and found == self.expected(number)


@dataclass
class Ledger:
    """The ledger of a zonecut as its database has it: of each child, by state, the numbers of its changes."""

    changes: dict[bytes, dict[str, list[int]]]

    @classmethod
    def of(cls, database: Path) -> "Ledger":
        changes: dict[bytes, dict[str, list[int]]] = {}
        with closing(sqlite3.connect(database)) as connection:
            for child, state, after in connection.execute('SELECT child, state, "after" FROM changes ORDER BY id'):
                number = int.from_bytes(Delegation.from_wire(after).ds[0][4:])
                changes.setdefault(child, {}).setdefault(state, []).append(number)
        return cls(changes)

    @classmethod
    def of_the_dead(cls, database: Path, directory: Path) -> "Ledger":
        """As it was when its zonecut died; of a copy, since a look would repair the file."""
        copy = directory / "ledger-of-the-dead"
        copy.mkdir()
        try:
            for file in database.parent.glob(f"{database.name}*"):
                shutil.copy(file, copy)
            return cls.of(copy / database.name)
        finally:
            shutil.rmtree(copy)

    def numbers(self, child: bytes, state: str) -> list[int]:
        return self.changes.get(child, {}).get(state, [])


class Children:
    """Clients that send in threads from `go` until `wait`; to be used as a context manager."""

    def __init__(self, clients: Sequence[Client], port: int) -> None:
        self._clients = clients
        self._going = threading.Event()
        self._ended = threading.Event()
        arguments = (port, self._going, self._ended)
        self._threads = [threading.Thread(target=client.run, args=arguments) for client in clients]

    def go(self) -> None:
        self._going.set()

    def stop(self) -> None:
        """Send nothing any more; what is under way may still be answered."""
        self._going.clear()

    def wait(self) -> None:
        """Return once all have stopped."""
        for client in self._clients:
            if not client.waits.wait(60):
                raise LabError(f"{client.signer.text} is never answered")

    def __enter__(self) -> Self:
        self.go()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._going.set()
        for thread in self._threads:
            thread.join()


def first_changes(world: World, clients: Sequence[Client]) -> None:
    """Bring every child to a delegation of its client's making."""
    for client in clients:
        with TcpPeer(world.port) as peer:
            client.send(peer)
        assert client.accepted == [1]


def check_validates(world: World, clients: Sequence[Client]) -> None:
    """A validating resolver that knows the zone's keys takes what the zone says of each child, and of none."""
    server = world.server
    keys = [key for rrset in server.query(server.name_of(None), "DNSKEY", tcp=True).answer for key in rrset]
    anchors = server.directory / "anchors.conf"
    known = "".join(
        f'{server.name_of(None)} static-key {int(key.flags)} 3 {int(key.algorithm)} "{b64encode(key.key).decode()}"; '
        for key in keys
        if key.flags & 1
    )
    anchors.write_text(f"trust-anchors {{ {known} }};\n")
    options: list[str | Path] = [f"@{LOOPBACK}", "-p", str(server.port), "-a", anchors, f"+root={server.name_of(None)}"]
    for asked in (*(client.signer.text for client in clients), f"nobody.{server.name_of(None)}"):
        said = run([find_command("delv"), *options, asked, "DS"])
        assert "fully validated" in said, f"{asked}: {said}"


def check_settled(world: World, clients: Sequence[Client]) -> None:
    """While nobody sends: what was accepted is there, the newest of it in its final form, and nothing else in half."""
    database = Path(world.store_url.removeprefix("sqlite:///"))

    def settled() -> bool:
        return not any(Ledger.of(database).numbers(client.signer.owner, "accepted") for client in clients)

    def served() -> bool:
        # an inline-signed zone shows a change a moment after the update was answered
        ledger, records = Ledger.of(database), world.records()
        return all(client.held(records)[0] == ledger.numbers(client.signer.owner, "applied")[-1] for client in clients)

    until(settled, timeout=60, what="the ledger has nothing unsettled")
    with suppress(LabError):  # what is wrong, the assertions say
        until(served, timeout=5, what="what is applied is served")
    ledger, records = Ledger.of(database), world.records()
    for client in clients:
        number, found = client.held(records)
        child = client.signer.text
        applied = ledger.numbers(client.signer.owner, "applied")
        # applied in the order in which they were sent, none twice, and the last one is what the zone holds
        assert applied == sorted(set(applied)), child
        assert applied[-1] == number, child
        assert found == client.expected(number), child
        assert set(client.accepted) <= set(applied), child
        assert number <= client.number, child
        assert ledger.numbers(client.signer.owner, "failed") == [], child
        assert client.refused == [], child
