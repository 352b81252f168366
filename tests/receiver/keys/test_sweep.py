"""The sweep: what became of a delegation is noticed although its child says nothing."""

import asyncio
from pathlib import Path

import pytest

from receiver_support import CHILD, OTHER, ZONE, ZONE_TEXT, Site, replace_ns, site
from trust_support import states
from zonecut.plugin import BackendMisconfigured, BackendUnavailable
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.keys import sweep
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.store import KeyState

HOUR = 3600.0


async def hours(here: Site, count: int) -> None:
    """So many hours pass, with a look in each."""
    for _ in range(count):
        here.clock.now += HOUR
        await here.served_zone.sweep.once()


async def test_trust_ends_with_a_delegation_that_nobody_asks_about(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.trust(CHILD)
        await here.trust(CHILD)
        await here.trust(OTHER)
        assert await here.served_zone.sweep.once() == 2
        zone_file = tmp_path / "parent.zone"
        zone_file.write_text(zone_file.read_text().replace("other NS", "; other NS"))
        await hours(here, 24)
        assert {*(await states(here, OTHER)).values()} == {KeyState.TRUSTED}
        await hours(here, 1)
        assert {*(await states(here, CHILD)).values()} == {KeyState.TRUSTED}
        assert {*(await states(here, OTHER)).values()} == {KeyState.ENDED}
        assert await here.served_zone.sweep.once() == 1


async def test_ns_that_somebody_else_changed_are_noticed(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.trust(CHILD)
        assert (await here.ask(here.signed(*replace_ns(CHILD, "a.ns.example.")))).rcode == 0
        await here.zone.drain(5)
    include = tmp_path / "parent.example.delegations"
    include.write_text(include.read_text().replace("a.ns", "b.ns"))
    async with site(tmp_path) as here:
        await here.served_zone.sweep.once()
        (record,) = await here.store.audit.list(child=CHILD, event="delegation.suspect")
        assert record.entry.detail["found"] == ["b.ns.example."]


async def test_a_server_that_is_away_ends_no_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "AWAY", (0.01, 0.01))
    async with site(tmp_path) as here:
        await here.trust(CHILD)
        (tmp_path / "parent.zone").write_text("no zone")
        await hours(here, 30)
        assert {*(await states(here)).values()} == {KeyState.TRUSTED}
        assert not await here.store.watches.absent(ZONE, b"", 9)


async def test_ns_changed_by_hand_under_a_change_that_was_accepted_are_noticed(tmp_path: Path) -> None:
    async with site(tmp_path, trust=TrustSettings(foreign_ns="alarm")) as here:
        await here.trust(CHILD)
        assert (await here.ask(here.signed(*replace_ns(CHILD, "a.ns.example.")))).rcode == 0
        while (await here.store.changes.latest(CHILD)).applied is None:  # noqa: ASYNC110 (the ledger settles in its time)
            await asyncio.sleep(0.01)
        include = tmp_path / "parent.example.delegations"
        include.write_text(include.read_text().replace("a.ns", "b.ns"))
        here.clock.now += 1
        assert (await here.ask(here.signed(*replace_ns(CHILD, "c.ns.example.")))).rcode == 0
        (record,) = await here.store.audit.list(child=CHILD, event="delegation.foreign-change")
        assert record.entry.detail["found"] == ["b.ns.example."]


@pytest.mark.parametrize("error", [BackendMisconfigured("a row makes no sense"), ZeroDivisionError()])
async def test_children_that_cannot_be_read_stop_no_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """More of them in a row than make a server that is away."""
    monkeypatch.setattr(sweep, "AWAY", (0.01, 0.01))
    children = [names.from_text(f"c{number}.parent.example.") for number in range(12)]
    looked = []

    async def look_at(child: bytes) -> Delegation:
        looked.append(child)
        if child in children[2:9]:
            raise error
        return Delegation(child)

    async with site(tmp_path) as here:
        for child in children:
            await here.trust(child)
        monkeypatch.setattr(here.served_zone.sweep, "_look_at", look_at)
        assert await here.served_zone.sweep.once() == len(children)
        assert set(looked) == set(children)


async def test_a_server_that_is_away_is_waited_for_and_the_round_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "AWAY", (0.01, 0.01))
    children = [names.from_text(f"c{number}.parent.example.") for number in range(20)]
    seen = []
    asked = 0

    async def look_at(child: bytes) -> Delegation:
        nonlocal asked
        asked += 1
        if 3 <= asked < 3 + sweep.IN_A_ROW:
            raise BackendUnavailable("it is being restarted")
        seen.append(child)
        return Delegation(child)

    async with site(tmp_path) as here:
        for child in children:
            await here.trust(child)
        monkeypatch.setattr(here.served_zone.sweep, "_look_at", look_at)
        await here.served_zone.sweep.once()
        # that it is away is known after some; who is next is looked at when it is back
        assert len(seen) == len(children) - sweep.IN_A_ROW + 1


async def test_where_trust_has_just_begun_the_delegation_is_looked_at_soon(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        event = await here.served_zone.sweep.begun(None)
        await here.trust(CHILD)
        assert await here.store.watches.of(CHILD) is None
        event = await here.served_zone.sweep.begun(event)
        watch = await here.store.watches.of(CHILD)
        assert watch is not None
        assert watch.began == await here.served()
        (tmp_path / "parent.zone").write_text(ZONE_TEXT.format(directory=tmp_path).replace("ns1.child", "ns2.child"))
        await here.served_zone.sweep.begun(event)
        assert await here.store.watches.of(CHILD) == watch
