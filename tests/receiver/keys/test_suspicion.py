"""Name servers that somebody else changed suspend nothing at one look: a wrong copy may be there for a moment."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from receiver_support import CHILD, OTHER, ZONE, Site, replace_ns, site, strict
from suspicion_support import FOREIGN, change, children, looks, zone
from trust_support import Scripted, accepts, becomes, new_pair, state_of, states, stored_of, upload
from zonecut.plugin import BackendUnavailable, Change
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.store import ChangeState, KeyState

TRUSTED, SUSPENDED = KeyState.TRUSTED, KeyState.SUSPENDED
PERIOD = TrustSettings().suspend_after


async def found(here: Site, count: int) -> Counter[KeyState]:
    return Counter([state for child in children(count) for state in (await states(here, child)).values()])


@pytest.mark.parametrize("pauses", [(0.0,), (0.0, 1.0, PERIOD - 2)])
async def test_a_wrong_copy_for_a_moment_costs_nobody_a_key(tmp_path: Path, pauses: tuple[float, ...]) -> None:
    zone(tmp_path, "ns.example.", 9)
    async with site(tmp_path, trust=TrustSettings(gone_at_most=9)) as here:
        for child in children(9):
            await here.trust(child)
        await looks(here, 1)
        for _ in range(3):
            zone(tmp_path, FOREIGN, 9)
            await looks(here, *pauses)
            assert len(await here.store.watches.suspects(ZONE, b"", 99)) == 9
            zone(tmp_path, "ns.example.", 9)
            await looks(here, 3600)
            assert not await here.store.watches.suspects(ZONE, b"", 99)
        assert await found(here, 9) == {TRUSTED: 9}
        assert await change(here) == Rcode.NOERROR


async def test_what_is_seen_over_the_period_suspends(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        pair = await here.trust(OTHER)
        await looks(here, 1)
        zone(tmp_path, FOREIGN)
        await looks(here, 1)
        (told,) = await here.store.audit.list(child=OTHER, event="delegation.suspect")
        assert (told.entry.detail["found"], told.entry.detail["suspended"]) == ([FOREIGN], False)
        here.clock.now += PERIOD - 1
        assert await here.served_zone.sweep.suspects() == 1
        assert await state_of(here, pair.key) is TRUSTED
        here.clock.now += 1
        assert await here.served_zone.sweep.suspects() == 1
        assert await state_of(here, pair.key) is SUSPENDED
        assert await here.served_zone.sweep.suspects() == 0
        (told,) = await here.store.audit.list(child=OTHER, event="delegation.foreign-change")
        assert told.entry.detail["suspended"] is True


async def test_a_suspicion_survives_a_restart(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        pair = await here.trust(OTHER)
        await looks(here, 1)
        zone(tmp_path, FOREIGN)
        await looks(here, 1)
        now = here.clock.now
    async with site(tmp_path) as here:
        here.clock.now = now
        await looks(here, PERIOD)
        assert await state_of(here, pair.key) is SUSPENDED


async def test_nothing_signed_is_accepted_from_a_suspect(tmp_path: Path) -> None:
    """Neither at the first look nor on what that has left behind as a belief."""
    async with site(tmp_path) as here:
        pair = await here.trust(OTHER)
        await looks(here, 1)
        zone(tmp_path, FOREIGN)
        for number in range(3):
            await looks(here, 1)
            answer = await here.ask(here.signed(*replace_ns(OTHER, "a.example."), child=OTHER, identity=number))
            assert answer.rcode == Rcode.REFUSED
            assert answer.error is not None
            assert "try again later; if they stay, an operator has to trust its keys anew" in answer.error.text
        assert await here.store.changes.list() == []
        zone(tmp_path, "ns.elsewhere.example.")
        # what is read for a change that is fit ends it
        assert await change(here, identity=9) == Rcode.NOERROR
        assert await state_of(here, pair.key) is TRUSTED


@pytest.mark.parametrize("stays", [False, True])
async def test_a_change_that_waits_is_not_written_over_it_and_outlives_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stays: bool
) -> None:
    async with site(tmp_path) as here:
        pair = await here.trust(OTHER)
        await looks(here, 1)
        really_write = here.backend.write
        writes = 0

        async def write(changes: list[Change]) -> None:
            nonlocal writes
            writes += 1
            if writes == 1:
                zone(tmp_path, FOREIGN)
                raise BackendUnavailable("it is away")
            await really_write(changes)

        monkeypatch.setattr(here.backend, "write", write)
        # judged on what was there before
        assert await change(here) == Rcode.NOERROR
        async with asyncio.timeout(20):
            while not await here.store.watches.suspects(ZONE, b"", 1):  # noqa: ASYNC110 (the writer takes its time)
                await asyncio.sleep(0.02)
        (accepted,) = await here.store.changes.list(child=OTHER)
        assert accepted.state is ChangeState.ACCEPTED
        assert [names.to_text(server) for server in (await here.served(OTHER)).ns] == [FOREIGN]
        if stays:
            await looks(here, PERIOD)
            assert await state_of(here, pair.key) is SUSPENDED
        else:
            zone(tmp_path, "ns.elsewhere.example.")
        here.zone.writer.hurry(OTHER)
        async with asyncio.timeout(20):
            while accepted.state is ChangeState.ACCEPTED:
                (accepted,) = await here.store.changes.list(child=OTHER)
                await asyncio.sleep(0.02)
        assert accepted.state is (ChangeState.FAILED if stays else ChangeState.APPLIED)
        servers = [names.to_text(server) for server in (await here.served(OTHER)).ns]
        assert servers == ([FOREIGN] if stays else ["mine.example."])


async def test_where_too_many_are_suspect_nobody_s_keys_are_suspended(tmp_path: Path) -> None:
    zone(tmp_path, "ns.example.", 11)
    async with site(tmp_path) as here:
        for child in children(11):
            await here.trust(child)
        await looks(here, 1)
        zone(tmp_path, FOREIGN, 11)
        await looks(here, 1, PERIOD, PERIOD, 3600)
        assert await found(here, 11) == {TRUSTED: 11}
        assert await here.store.watches.all_suspect() == {ZONE: 11}
        (told,) = await here.store.audit.list(event="trust.too-many-suspect")
        assert told.entry.detail == {"away": 11, "most": 3, "watched": 11, "held": 11}
        assert await change(here) == Rcode.REFUSED
        # an operator says of one that these are meant: that is what its trust begins with
        (stored,) = await here.store.keys.find(OTHER)
        here.clock.now += 1
        await here.store.bootstraps.decide(stored.id, "ann", "asked them")
        await looks(here, 1)
        assert (await stored_of(here, stored.key)).state is TRUSTED
        assert await change(here, identity=2) == Rcode.NOERROR


async def test_what_was_suspended_lately_counts_for_the_bound(tmp_path: Path) -> None:
    """A zone that is looked at slowly: they do not become suspect all at once."""
    zone(tmp_path, "ns.example.", 15)
    async with site(tmp_path, trust=TrustSettings(suspend_after=0, gone_at_most=10)) as here:
        for child in children(15):
            await here.trust(child)
        await looks(here, 1)
        zone(tmp_path, FOREIGN, 15)
        for child in children(15):
            here.clock.now += 1
            await here.zone.look_at(child)
        assert await found(here, 15) == {SUSPENDED: 10, TRUSTED: 5}


async def test_a_change_of_somebody_whose_word_counts_means_what_it_builds_on(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        pair = await here.trust(OTHER)
        await looks(here, 1)
        zone(tmp_path, FOREIGN)
        await looks(here, 1)
        held = await here.served(OTHER)
        await here.served_zone.watching.displaced(Change(held, held), "hook:portal", False)
        assert await state_of(here, pair.key) is SUSPENDED


async def test_a_key_that_is_validated_with_the_new_name_servers_does_not_clear_the_old_ones(tmp_path: Path) -> None:
    method = Scripted()
    async with site(tmp_path, methods=[("at-apex", method)]) as here:
        old, new = await here.trust(OTHER), new_pair(OTHER)
        await looks(here, 1)
        zone(tmp_path, FOREIGN)
        await looks(here, 1)
        method.finding = accepts(new.key)
        await here.ask(upload(here, new, replace=False))
        await becomes(here, new.key, TRUSTED)
        assert await state_of(here, old.key) is SUSPENDED


async def test_a_look_at_which_it_is_there_is_no_absence(tmp_path: Path) -> None:
    async with site(tmp_path, trust=TrustSettings(gone_after=40, suspend_after=50)) as here:
        pair = await here.trust(OTHER)
        await looks(here, 1)
        for _ in range(4):
            zone(tmp_path, "; nobody")
            file = tmp_path / "parent.zone"
            file.write_text(file.read_text().replace("other NS", "; other NS"))
            await looks(here, 1, 10, 10, 10)
            zone(tmp_path, FOREIGN)
            await looks(here, 9)
        assert await state_of(here, pair.key) is TRUSTED
        assert CHILD not in {watch.child for watch in await here.store.watches.absent(ZONE, b"", 9)}


@pytest.mark.parametrize("conflicts", [True, False])
async def test_an_old_holder_who_asks_for_the_new_holder_s_name_servers_does_not_make_them_his_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conflicts: bool
) -> None:
    """What is believed of the delegation is his own last change still, and the server holds what he asks for.

    Some servers call that a conflict, others take it as done.
    """
    async with site(tmp_path) as here:
        if conflicts:
            strict(here, monkeypatch)
        await here.trust(OTHER)
        await here.zone.look_at(OTHER)
        assert await change(here) == Rcode.NOERROR
        await asyncio.sleep(0.1)  # until it is recorded that it was applied
        include = tmp_path / "parent.example.delegations"
        include.write_text(include.read_text().replace("mine.example.", FOREIGN))
        here.clock.now += 1
        assert await change(here, FOREIGN) == Rcode.REFUSED
        for server in ("mine.example.", "others.example."):
            here.clock.now += 1
            assert await change(here, server) == Rcode.REFUSED
        assert (await here.served(OTHER)).ns == (names.from_text(FOREIGN),)
        await looks(here, 1, PERIOD)
        assert await found(here, 1) == {SUSPENDED: 1}
