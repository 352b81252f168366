"""Children that change their delegations all the time, and can tell afterwards whether what they were told is so."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab.process import LabError
from numbered import NumberedChanges
from peer import TcpPeer


@dataclass
class Client(NumberedChanges):
    """A child that always has a change under way, and remembers what it was told."""

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
        peer.send(self.next_message())
        answer = peer.receive()
        if answer is None:
            return
        if answer.rcode == "NOERROR":
            self.accepted = self.number
            self.count += 1
        elif answer.rcode != "SERVFAIL":
            self.refused.append(f"{answer.rcode} {answer.extended_error}")

    def check(self, records: set[str]) -> None:
        """The newest accepted change, or one that was sent after it and whose answer was lost; never half of one."""
        number, found = self.held(records)
        assert self.accepted <= number <= self.number, f"{self.signer.text}: accepted {self.accepted}, holds {number}"
        assert found == self.expected(number)


@contextmanager
def all_the_time(clients: list[Client], port: int) -> Iterator[None]:
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


def first_changes(clients: list[Client], port: int) -> None:
    """Bring every child to a delegation of its client's making."""
    for client in clients:
        with TcpPeer(port) as peer:
            client.send(peer)
        assert client.accepted == 1
