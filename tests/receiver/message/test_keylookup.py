"""Keys that must be fetched: together, in bounded number, and each message for itself."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from vectors_of import CHILD, KEYS
from zonecut.receiver.message.key_lookup import MAX_FETCHING, KeyLookup
from zonecut.store import KeyState, RingKey, Store

KEY = KEYS[46020]


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


async def test_a_defect_in_one_message_takes_no_other_with_it(tmp_path: Path) -> None:
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        await store.keys.add(KEY, KeyState.TRUSTED, "manual", "test")
        lookup = KeyLookup(store.ring)
        used: list[tuple[RingKey, ...]] = []
        failed: list[str] = []
        done = asyncio.Event()

        def breaks(keys: tuple[RingKey, ...]) -> None:
            raise ZeroDivisionError

        def use(keys: tuple[RingKey, ...]) -> None:
            used.append(keys)
            done.set()

        lookup.look_up(CHILD, breaks, failed.append)
        lookup.look_up(CHILD, use, failed.append)
        await asyncio.wait_for(done.wait(), 5)
        assert failed == ["internal error"]
        assert [stored.key for keys in used for stored, _ in keys] == [KEY]


async def test_more_than_may_wait_are_told_so(tmp_path: Path) -> None:
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        lookup = KeyLookup(store.ring)
        answers: list[object] = []
        for _ in range(MAX_FETCHING + 1):
            lookup.look_up(CHILD, answers.append, answers.append)
        assert answers == ["too many keys are being looked up; try again"]
        await until(lambda: len(answers) > MAX_FETCHING)
        assert answers[1:] == [()] * MAX_FETCHING


async def test_a_store_that_is_away_is_a_reason_for_each(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/zonecut.db")
    lookup = KeyLookup(store.ring)
    await store.close()
    answers: list[object] = []
    lookup.look_up(CHILD, answers.append, answers.append)
    await until(lambda: bool(answers))
    assert isinstance(answers[0], str)
    assert answers[0].startswith("the key store is not available: ")
