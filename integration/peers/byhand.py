"""An operator who edits the zone at random while children change it, and remembers what must be there."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from lab.daemons.pdns import PowerDns
from lab.daemons.server import Add, Delete, Edit
from lab.process import LabError, until
from lab.zones import PARENT
from signer import DS, NS, A, Signer, address, ds, name
from torture import Client
from world import World
from zonecut.protocol import message

_NOTES = 4
"""How many names the operator has for text, and how many for delegations."""
_LATER_SECONDS = 0.05
"""Between two attempts at an edit that the server did not take: it is dead, or busy."""


@dataclass
class Sibling(Client):
    """A child whose only name server lies in a sibling, and in which the only one of that sibling lies.

    RFC 9471 section 2.3. Each change gives it another DS and the host below it, which the sibling names, another
    address.
    """

    sibling: Signer = field(kw_only=True)

    def delegation(self, number: int) -> list[bytes]:
        host = name(f"ns.{self.signer.text}")
        return [
            message.delete_rrset(self.signer.owner, DS),
            message.delete_rrset(host, A),
            message.add(self.signer.owner, NS, 60, name(f"ns.{self.sibling.text}")),
            message.add(self.signer.owner, DS, 60, ds(number % 65536, digest=number.to_bytes(32))),
            message.add(host, A, 60, address(_address(number))),
        ]

    def expected(self, number: int) -> set[str]:
        child = self.signer.text
        return {
            f"{child} NS ns.{self.sibling.text}",
            f"{child} DS {number % 65536} 13 2 {number:064x}",
            f"ns.{child} A {_address(number)}",
        }


def siblings(*labels: str) -> list[Client]:
    """Two children that have their name servers in each other."""
    one, two = (Signer.generate(label) for label in labels)
    return [Sibling(one, sibling=two), Sibling(two, sibling=one)]


def delegate_siblings(world: World, *labels: str) -> None:
    """Somebody delegates them by hand, with the addresses that they need."""
    for label, other in (labels, labels[::-1]):
        world.server.edit(
            Add(f"{label}.{PARENT}", 60, "NS", f"ns.{other}.{PARENT}"),
            Add(f"ns.{other}.{PARENT}", 60, "A", _address(1)),
        )


class Operator:
    """Edits at random, in a thread, from `go` until `wait`; what an edit could not be made for is made later.

    He has text, delegations with glue and, where there are such, records that are switched off; nothing of a child's.
    To be used as a context manager.
    """

    def __init__(self, world: World, moments: random.Random) -> None:
        self._world = world
        self._moments = random.Random(moments.random())
        self._notes: dict[str, str] = {}
        self._delegations: dict[str, str] = {}
        self._switched_off: dict[str, str] = {}
        self._going = threading.Event()
        self._ended = threading.Event()
        self._waits = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.edits = 0

    def go(self) -> None:
        self._waits.clear()
        self._going.set()

    def stop(self) -> None:
        """Begin nothing any more; what is begun is brought to its end, which needs the server."""
        self._going.clear()

    def wait(self) -> None:
        """Return once nothing is half done."""
        if not self._waits.wait(60):
            raise LabError("the operator's edit is never taken")

    def switch_off_beside(self, child: Signer) -> None:
        """A name server that the child has in the beginning is switched off, where that can be: it stays so."""
        server = self._world.server
        if isinstance(server, PowerDns):
            off = f"off.{PARENT}"
            served = [f"{host}.{child.text}" for host in ("ns1", "ns2")]
            server.set_rrset(child.text, "NS", [*served, off], ttl=86400, disabled=[off])
            self._switched_off[child.text] = off

    def check(self) -> None:
        """What the operator made is there as it was made, and nothing else of it."""
        records = {tuple(record.split(" ", 3)) for record in self._world.records()}
        names_of_ours = (*self._notes, *self._delegations)
        found = {
            f"{owner} {rtype} {data}"
            for owner, _, rtype, data in records
            if any(f".{owner}".endswith(f".{ours}") for ours in names_of_ours)
        }
        notes = {f'{owner} TXT "{text}"' for owner, text in self._notes.items() if text}
        delegations = {
            record
            for owner, ipv4 in self._delegations.items()
            if ipv4
            for record in (f"{owner} NS ns.{owner}", f"ns.{owner} A {ipv4}")
        }
        assert found == notes | delegations
        assert self._off() == {f"{owner} {text}" for owner, text in self._switched_off.items()}

    def __enter__(self) -> Self:
        self.go()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._going.set()
        self._thread.join()

    def _run(self) -> None:
        kinds: list[Callable[[str], None]] = [self._note, self._delegate]
        if isinstance(self._world.server, PowerDns):
            kinds.append(self._switch_off)
        while not self._ended.is_set():
            if not self._going.is_set():
                self._waits.set()
                self._going.wait()
                continue
            self._moments.choice(kinds)(str(self._moments.randrange(_NOTES)))
            time.sleep(self._moments.uniform(0, 0.1))

    def _note(self, number: str) -> None:
        owner = f"note{number}.{PARENT}"
        # an edit that is made twice changes nothing more
        self._notes[owner] = text = self._moments.choice(["", f"{self._moments.random()}"])
        self._edit(Delete(owner, "TXT"), *([Add(owner, 60, "TXT", f'"{text}"')] if text else []))

    def _delegate(self, number: str) -> None:
        owner = f"byhand{number}.{PARENT}"
        host = f"ns.{owner}"
        self._delegations[owner] = ipv4 = self._moments.choice(["", _address(self._moments.randrange(1, 2**16))])
        if ipv4:
            self._edit(Add(owner, 60, "NS", host), Delete(host, "A"), Add(host, 60, "A", ipv4))
        else:
            self._edit(Delete(owner, "NS"), Delete(host, "A"))

    def _switch_off(self, number: str) -> None:
        """A record that is switched off beside one that is served: a GET of its name hides it."""
        owner = f"off{number}.{PARENT}"
        text = f'"{self._moments.random()}"'
        self._switched_off[owner] = text
        server = self._world.server
        assert isinstance(server, PowerDns)
        self._persist(lambda: server.set_rrset(owner, "TXT", ['"on"', text], disabled=[text]))

    def _off(self) -> set[str]:
        """What is switched off, as the whole zone's document has it."""
        server = self._world.server
        if not isinstance(server, PowerDns):
            return set()
        return {
            f"{rrset['name']} {record['content']}"
            for rrset in server.api("GET")["rrsets"]
            for record in rrset["records"]
            if record["disabled"]
        }

    def _edit(self, *edits: Edit) -> None:
        self._persist(lambda: self._world.server.edit(*edits))

    def _persist(self, act: Callable[[], None]) -> None:
        def done() -> bool:
            try:
                act()
            except (LabError, OSError):
                time.sleep(_LATER_SECONDS)
                return self._ended.is_set()
            return True

        until(done, timeout=60, what="an edit is taken")
        self.edits += 1


def _address(number: int) -> str:
    return f"11.2.{number // 256 % 256}.{number % 256}"
