"""The index of who names which host counts on a serial only as far as the server told it."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from zonecut.plugin import BackendUnavailable, Change, Reading
from zonecut.plugin.naming import Naming
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation

ZONE, X, Y = map(names.from_text, ("p.", "x.p.", "y.p."))
HOST, AWAY = names.from_text("ns.y.p."), names.from_text("ns.away.")


class Server:
    """A zone that we and an operator write; a listing takes a moment, or fails."""

    def __init__(self) -> None:
        self.held: dict[bytes, tuple[bytes, ...]] = {X: (AWAY,), Y: (HOST, AWAY)}
        self.serial = 1
        self.fails = False
        self.takes = 0.0
        self.naming = Naming(ZONE, self.look, self.scan, self.cut, self.read)

    async def look(self) -> tuple[int | None, Sequence[bytes]]:
        return self.serial, ()

    async def scan(self) -> None:
        listed, serial, seen = self.naming.begin(), self.serial, dict(self.held)
        await asyncio.sleep(self.takes)
        if self.fails:
            raise BackendUnavailable("no transfer just now")
        for child, targets in seen.items():
            listed.take_reading(Reading(Delegation(child, tuple(sorted(targets)))))
        self.naming.adopt(listed, serial)

    async def cut(self, places: Sequence[bytes]) -> bytes | None:
        return next((place for place in places if place in self.held), None)

    async def read(self, child: bytes) -> Reading:
        return Reading(Delegation(child, tuple(sorted(self.held[child]))))

    def edit(self, child: bytes, *targets: bytes) -> None:
        """By an operator."""
        self.held[child] = targets
        self.serial += 1

    async def write(self, child: bytes, *targets: bytes, taken: bool = True) -> None:
        """By us; a server may answer and not take it."""
        before = Delegation(child, tuple(sorted(self.held[child])))
        if taken:
            self.edit(child, *targets)
        await self.naming.wrote([Change(before, Delegation(child, tuple(sorted(targets))))])

    async def named_by(self) -> set[bytes]:
        return set((await self.naming.hosts([HOST]))[HOST].named_by)


@pytest.fixture
def server() -> Server:
    return Server()


async def rested(server: Server) -> None:
    """The next listing is worth its cost again."""
    await asyncio.sleep(0.05)


async def test_what_the_server_did_not_take_hides_no_edit_of_an_operator(server: Server) -> None:
    await server.scan()
    await server.write(X, AWAY, taken=False)
    server.edit(X, HOST)
    await rested(server)
    assert await server.named_by() == {X, Y}


async def test_a_listing_that_failed_leaves_nothing_for_the_next_one(server: Server) -> None:
    await server.scan()
    server.fails = True
    with pytest.raises(BackendUnavailable):
        await server.scan()
    server.fails = False
    await server.write(X, HOST)
    await server.write(X, AWAY)
    server.edit(X, HOST)
    await server.scan()
    assert await server.named_by() == {X, Y}


async def test_each_of_two_listings_at_once_has_what_was_written_meanwhile(server: Server) -> None:
    await server.scan()
    server.takes = 0.1
    first = asyncio.create_task(server.scan())
    await asyncio.sleep(0.05)
    second = asyncio.create_task(server.scan())
    await first
    await server.write(X, HOST)
    await second
    assert await server.named_by() == {X, Y}


async def test_a_write_that_was_taken_needs_no_listing(server: Server) -> None:
    await server.scan()
    await server.write(X, HOST)
    server.fails = True
    await rested(server)
    assert await server.named_by() == {X, Y}


async def test_proof_is_a_listing_that_began_later_whatever_it_costs(server: Server) -> None:
    server.takes = 0.05
    await server.scan()
    server.edit(X, HOST)
    # not worth its cost again so soon
    assert await server.named_by() == {Y}
    now = time.monotonic()
    found = await server.naming.hosts([HOST], not_before=now)
    assert set(found[HOST].named_by) == {X, Y}
    # which proves the same of all that happened before it
    server.fails = True
    assert await server.naming.hosts([HOST], not_before=now) == found


async def test_a_serial_that_has_not_moved_is_proof(server: Server) -> None:
    await server.scan()
    await server.write(X, HOST)
    server.fails = True
    found = await server.naming.hosts([HOST], not_before=time.monotonic())
    assert set(found[HOST].named_by) == {X, Y}


async def test_without_need_of_proof_nobody_waits_long_for_a_listing(server: Server) -> None:
    await server.scan()
    server.takes = 5.0
    server.edit(X, HOST)
    await rested(server)
    began = time.monotonic()
    assert await server.named_by() == {Y}
    assert time.monotonic() - began < 2


async def test_of_those_that_nobody_shares_nothing_is_read(server: Server) -> None:
    await server.scan()
    assert await server.naming.hosts([HOST, names.from_text("ns.x.p.")], shared=True) == {}
    await server.write(X, HOST)
    assert set(await server.naming.hosts([HOST, names.from_text("ns.x.p.")], shared=True)) == {HOST}
