"""The sweep: what became of a delegation is noticed although its child says nothing."""

import asyncio
from pathlib import Path

import pytest

from receiver_support import CHILD, OTHER, replace_ns, site
from zonecut.plugin import BackendError
from zonecut.store import KeyState


async def test_trust_ends_with_a_delegation_that_nobody_asks_about(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.trust(CHILD)
        await here.trust(CHILD)
        await here.trust(OTHER)
        assert await here.served_zone.sweep.once() == 2
        zone_file = tmp_path / "parent.zone"
        zone_file.write_text(zone_file.read_text().replace("other NS", "; other NS"))
        await here.served_zone.sweep.once()
        assert {stored.state for stored in await here.store.keys.find(CHILD)} == {KeyState.TRUSTED}
        assert [stored.state for stored in await here.store.keys.find(OTHER)] == [KeyState.SUPERSEDED]
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
        (record,) = await here.store.audit.list(child=CHILD, event="delegation.foreign-change")
        assert record.entry.detail["found"] == ["b.ns.example."]


async def test_a_server_that_is_away_ends_no_trust(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.trust(CHILD)
        (tmp_path / "parent.zone").write_text("no zone")
        with pytest.raises(BackendError):
            await here.served_zone.sweep.once()
        assert [stored.state for stored in await here.store.keys.find(CHILD)] == [KeyState.TRUSTED]


async def test_ns_changed_by_hand_under_a_change_that_was_accepted_are_noticed(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
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
