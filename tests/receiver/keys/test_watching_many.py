"""Where many delegations vanish at a time, none ends by itself (PROTOCOL section 4, "Trust ends")."""

from collections import Counter
from pathlib import Path

import pytest

from receiver_support import CHILD, OTHER, ZONE, ZONE_TEXT, site
from trust_support import state_of, states
from watching_support import ENDED, TRUSTED, looks, without
from zonecut.protocol import names
from zonecut.receiver.keys.absence import away
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.store.keys.watches import may_be_away


async def test_where_too_many_are_away_nothing_ends_and_a_person_is_told_once(tmp_path: Path) -> None:
    children = [names.from_text(f"c{number}.parent.example.") for number in range(11)]
    text = ZONE_TEXT.format(directory=tmp_path) + "".join(
        f"c{number} NS ns.elsewhere.example.\n" for number in range(11)
    )
    zone_file = tmp_path / "parent.zone"
    zone_file.write_text(text)
    async with site(tmp_path) as here:
        for child in children:
            await here.trust(child)
        await looks(here, 1)
        without(tmp_path)
        await looks(here, *[6] * 10)
        assert {*[state for child in children for state in (await states(here, child)).values()]} == {TRUSTED}
        (told,) = await here.store.audit.list(event="trust.too-many-gone")
        assert told.entry.detail == {"away": 11, "most": 3, "watched": 11, "held": 11}
        # all but two come back: what is left vanished with too many, and is no less an operator's matter
        zone_file.write_text("".join(line for line in text.splitlines(keepends=True) if line[:2] not in ("c1", "c2")))
        await looks(here, *[6] * 10)
        gone = await here.store.watches.absent(ZONE, b"", 99)
        assert [names.to_text(watch.child)[:2] for watch in gone if watch.is_held] == ["c1", "c2", "c1"]
        assert {*[state for child in children for state in (await states(here, child)).values()]} == {TRUSTED}
        # one that was seen again may vanish alone
        zone_file.write_text(text)
        await looks(here, 1)
        assert not await here.store.watches.absent(ZONE, b"", 99)
        zone_file.write_text(text.replace("c2 NS", ";"))
        await looks(here, *[6] * 10)
        found = Counter([state for child in children for state in (await states(here, child)).values()])
        assert found == {TRUSTED: 10, ENDED: 1}


async def test_what_is_held_is_an_operator_s_to_end(tmp_path: Path) -> None:
    async with site(tmp_path, trust=TrustSettings(gone_at_most=1)) as here:
        pairs = [await here.trust(CHILD), await here.trust(OTHER)]
        await looks(here, 1)
        without(tmp_path, "child", "other")
        await looks(here, *[6] * 10)
        assert [await state_of(here, pair.key) for pair in pairs] == [TRUSTED, TRUSTED]
        await here.store.watches.end_by_operator(CHILD, "op", "it moved away")
        await looks(here, *[6] * 10)
        assert [await state_of(here, pair.key) for pair in pairs] == [ENDED, TRUSTED]


@pytest.mark.parametrize(
    ("watched", "most"),
    [(0, 1), (1, 1), (2, 1), (5, 1), (6, 2), (10, 3), (29, 9), (30, 10), (1000, 10), (5000, 50), (10**6, 10**4)],
)
def test_by_default_no_more_than_a_third_of_a_small_zone_ends_by_itself(watched: int, most: int) -> None:
    assert may_be_away(watched) == most


async def test_who_is_held_stays_so_when_a_look_that_began_before_ends_after(tmp_path: Path) -> None:
    async with site(tmp_path, trust=TrustSettings(gone_at_most=0)) as here:
        await here.trust(OTHER)
        await looks(here, 1)
        without(tmp_path, "other")
        await here.zone.look_at(OTHER)
        watch = await here.store.watches.of(OTHER)
        assert watch is not None
        assert not watch.is_held
        assert (await here.store.watches.away(ZONE, 0)).held == 1
        await here.store.watches.update(away(watch, here.clock.now + 1, 86_400))
        assert (await here.store.watches.away(ZONE, 9)).held == 1


async def test_how_many_may_end_is_a_setting(tmp_path: Path) -> None:
    async with site(tmp_path, trust=TrustSettings(gone_at_most=0)) as here:
        pair = await here.trust(OTHER)
        await looks(here, 1)
        without(tmp_path, "other")
        await looks(here, *[6] * 10)
        assert await state_of(here, pair.key) is TRUSTED
