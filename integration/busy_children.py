"""Children that change their delegations all the time, and can tell afterwards whether what they were told is so.

Every change replaces the whole delegation and names its number in all of the records, so that a mixture of two shows.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from lab.process import LabError
from peer import TcpPeer
from signer import AAAA, DS, NS, A, Signer, ds, name
from zonecut.protocol import message


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
