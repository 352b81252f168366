"""A move is judged on a look that begins after its message came: one look for all that wait, and none before them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from receiver_support import OTHER, ZONE, looked_at, ns_of, replace_ns, site
from suspicion_support import FOREIGN, change, children, looks, zone
from zonecut.plugin import BackendUnavailable, Reading
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode
from zonecut.receiver.change.confirmations import MOST, Confirmations
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.receiver.zone_settings import ZoneSettings

MANY = 20


def reading(number: int, server: str = "ns.example.") -> Reading:
    return Reading(ns_of(names.from_text(f"c{number}.parent.example."), server))


class Slow:
    """A server that answers with what it held when it was asked, and only once it is let."""

    def __init__(self, *held: Reading) -> None:
        self.held = set(held)
        self.asked: list[list[Reading]] = []
        self.fails: list[Exception] = []
        self.came = asyncio.Event()
        self._let = asyncio.Semaphore(0)

    async def unchanged(self, readings: Sequence[Reading]) -> frozenset[bytes]:
        self.asked.append(list(readings))
        self.came.set()
        same = frozenset(each.delegation.child for each in readings if each in self.held)
        await self._let.acquire()
        if self.fails:
            raise self.fails.pop()
        return same

    async def let(self, count: int = 1) -> None:
        for _ in range(count):
            self._let.release()
            await asyncio.sleep(0.01)


async def test_who_comes_while_a_look_is_under_way_waits_for_the_next_one() -> None:
    first, moved = reading(1), reading(2)
    server = Slow(first, moved)
    confirmations = Confirmations(ZONE, server)
    early = [confirmations.ask(first, 9), confirmations.ask(moved, 9)]
    await asyncio.sleep(0.01)
    server.held.discard(moved)
    late = [confirmations.ask(moved, 9), confirmations.ask(first, 9)]
    await server.let()
    # they came before it was changed
    assert [each.result() for each in early] == [True, True]
    assert not any(each.done() for each in late)
    await server.let()
    assert [each.result() for each in late] == [False, True]
    assert server.asked == [[first, moved], [moved, first]]


async def test_so_many_are_looked_at_in_one_go_and_nobody_is_forgotten() -> None:
    everybody = [reading(number) for number in range(2 * MOST + 1)]
    server = Slow(*everybody)
    confirmations = Confirmations(ZONE, server)
    answers = [confirmations.ask(each, 9) for each in everybody]
    await server.let(3)
    assert [each.result() for each in answers] == [True] * len(everybody)
    assert [len(each) for each in server.asked] == [MOST, MOST, 1]


async def test_nothing_is_confirmed_by_a_look_that_fails_and_the_next_one_is_as_good_as_any() -> None:
    one = reading(1)
    server = Slow(one)
    confirmations = Confirmations(ZONE, server)
    for error in (BackendUnavailable("away"), KeyError("a defect")):
        server.fails = [error]
        answer, given_up = confirmations.ask(one, 9), confirmations.ask(one, 9)
        given_up.cancel()
        await server.let()
        assert answer.result() is False
    again = confirmations.ask(one, 9)
    await server.let()
    assert again.result() is True


async def test_many_moves_at_once_cost_a_few_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone(tmp_path, "ns.example.", MANY)
    async with site(tmp_path) as here:
        for child in children(MANY):
            await here.trust(child)
            await here.zone.look_at(child)
        looked = looked_at(here, monkeypatch)
        for server in ("a.example.", "b.example."):
            here.clock.now += 1
            moves = [here.signed(*replace_ns(child, server), child=child) for child in children(MANY)]
            answers = await asyncio.gather(*map(here.ask, moves))
            assert {answer.rcode for answer in answers} == {Rcode.NOERROR}
        assert sorted(child for each in looked for child in each) == sorted(2 * children(MANY))
        assert len(looked) <= MANY / 2


async def test_a_move_does_not_wait_for_a_look_that_does_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone(tmp_path, "ns.example.")
    async with site(tmp_path, settings=ZoneSettings(answer_within=0.2)) as here:
        await here.trust(OTHER)
        await here.zone.look_at(OTHER)
        monkeypatch.setattr(here.backend, "unchanged", Slow().unchanged)
        assert await change(here) == Rcode.NOERROR
        await asyncio.sleep(0.1)
        assert (await here.served(OTHER)).ns == (names.from_text("mine.example."),)


async def test_what_a_look_confirms_counts_for_nothing_once_another_one_saw_somebody_else_s_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone(tmp_path, "ns.example.")
    async with site(tmp_path, trust=TrustSettings()) as here:
        await here.trust(OTHER)
        await looks(here, 1)
        server = Slow(Reading(await here.served(OTHER)))
        monkeypatch.setattr(here.backend, "unchanged", server.unchanged)
        asked = asyncio.create_task(change(here))
        await server.came.wait()
        zone(tmp_path, FOREIGN)
        await looks(here, 1)
        await server.let()
        assert await asked == Rcode.REFUSED
        assert await here.store.changes.list() == []
        assert (await here.served(OTHER)).ns == (names.from_text(FOREIGN),)
