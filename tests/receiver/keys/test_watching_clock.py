"""A clock that is set back, or goes to and fro, ends no trust and suspends none (PROTOCOL section 4)."""

import asyncio
from pathlib import Path

import pytest

from receiver_support import NOW, OTHER, Clock, Site, replace_ns, site
from trust_support import state_of, stored_of
from watching_support import DAY, SUSPENDED, TRUSTED, looks, whole, without
from zonecut.protocol.codepoints import Rcode


async def settled(here: Site) -> None:
    """Returns when the ledger knows of the change of OTHER that it is applied."""
    for _ in range(1000):
        if (await here.store.changes.latest(OTHER)).applied_id:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the change was never applied")


async def test_a_clock_that_goes_to_and_fro_makes_no_day_of_ten_minutes(tmp_path: Path) -> None:
    real = Clock()
    async with site(tmp_path, monotonic=real) as here:
        pair = await here.trust(OTHER)
        await looks(here, 1)
        without(tmp_path, "other")
        for swing in [6, -6] * 10:
            real.now += 60
            await looks(here, swing + 1 / 60)
        watch = await here.store.watches.of(OTHER)
        assert watch is not None
        assert watch.absent_for <= real.now - NOW
        assert await state_of(here, pair.key) is TRUSTED


@pytest.mark.parametrize("trusted_ahead", [True, False])
async def test_a_child_s_own_change_after_the_clock_was_set_back_is_its_own(
    tmp_path: Path, trusted_ahead: bool
) -> None:
    async with site(tmp_path) as here:
        here.clock.now += DAY
        pair = await here.trust(OTHER)
        if not trusted_ahead:
            await looks(here, 0)
        here.clock.now -= DAY - 60
        assert (await here.ask(here.signed(*replace_ns(OTHER, "a.ns.example."), child=OTHER))).rcode == Rcode.NOERROR
        await settled(here)
        await looks(here, 1, 1)
        assert await state_of(here, pair.key) is TRUSTED
        # and it is what a foreign change and an absence are told by
        without(tmp_path, "other")
        (tmp_path / "parent.example.delegations").write_text("")
        await looks(here, 1)
        whole(tmp_path, other="a.ns.example.")
        await looks(here, 1)
        assert await state_of(here, pair.key) is TRUSTED
        whole(tmp_path, other="ns.newholder.example.")
        await looks(here, 1, 1)
        assert await state_of(here, pair.key) is SUSPENDED


async def test_trust_that_an_operator_gives_after_the_clock_was_set_back_is_not_held_against_older_changes(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as here:
        pair = await here.trust(OTHER)
        here.clock.now += DAY
        assert (await here.ask(here.signed(*replace_ns(OTHER, "a.ns.example."), child=OTHER))).rcode == Rcode.NOERROR
        await settled(here)
        (tmp_path / "parent.example.delegations").write_text("")
        whole(tmp_path, other="ns.newholder.example.")
        await looks(here, 1, 1)
        assert await state_of(here, pair.key) is SUSPENDED
        here.clock.now -= DAY
        await here.store.bootstraps.decide((await stored_of(here, pair.key)).id, "ann", "asked them")
        await here.store.ring.fetch([OTHER])
        await looks(here, 1, 1)
        assert await state_of(here, pair.key) is TRUSTED
