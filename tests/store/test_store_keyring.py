"""The key ring: what is in memory, what was changed elsewhere, and that it fails closed."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT, Algorithm
from zonecut.protocol.keys import Key, KeyPair
from zonecut.store import KeyRing, KeyState, Store, StoreUnavailable
from zonecut.store.keys import keyring as store_keyring
from zonecut.store.keys.owners import OwnerFilter

CHILD = names.from_text("child.parent.example.")
OTHER = names.from_text("other.parent.example.")
NOBODY = names.from_text("nobody.parent.example.")
PAIR = KeyPair.generate(CHILD, Algorithm.ED25519, DEFAULT)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/zonecut.db"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url, ring_owners=8) as store:
        yield store


def key(number: int, owner: bytes = CHILD) -> Key:
    return Key(owner, 512, 3, Algorithm.RSASHA256, number.to_bytes(32, "big"))


def _execute(connection: Connection, statements: Sequence[str]) -> Sequence[str]:
    for statement in statements:
        connection.execute(text(statement))
    return statements


async def test_an_owner_without_keys_is_known_to_have_none(store: Store) -> None:
    assert store.ring.lookup(NOBODY) is None
    await store.ring.start()
    assert store.ring.lookup(NOBODY) == ()


async def test_a_fetched_owner_is_answered_from_memory_with_trusted_keys_first(store: Store) -> None:
    await store.keys.add(key(1), KeyState.KNOWN, "upload", "child")
    await store.keys.add(key(2), KeyState.REVOKED, "upload", "child")
    await store.keys.add(PAIR.key, KeyState.TRUSTED, "manual", "somebody")
    await store.ring.start()
    assert store.ring.lookup(CHILD) is None
    await store.ring.fetch([CHILD, NOBODY])
    found = store.ring.lookup(CHILD)
    assert found is not None
    assert [ring_key.stored.state for ring_key in found] == [KeyState.TRUSTED, KeyState.KNOWN, KeyState.REVOKED]
    assert found[0].verify is not None
    assert found[0].verify(PAIR.sign(b"data"), b"data")
    assert found[1].verify is None  # no RSA key: kept, so that somebody can be told why
    assert store.ring.lookup(NOBODY) == ()


async def test_memory_is_bounded_and_keeps_who_is_asked_for(store: Store) -> None:
    owners = [names.from_text(f"c{number}.example.") for number in range(100)]
    await store.keys.add_many((key(1, owner) for owner in [CHILD, *owners]), KeyState.KNOWN, "import", "x")
    await store.ring.start()
    await store.ring.fetch([CHILD])
    for owner in owners:
        await store.ring.fetch([owner])
        assert store.ring.lookup(owner)
        assert store.ring.lookup(CHILD)
    assert len(store.ring._young) + len(store.ring._old) <= 8
    assert store.ring.lookup(owners[0]) is None


async def test_what_another_process_changes_is_effective_within_a_second(store: Store, url: str) -> None:
    stored, _ = await store.keys.add(key(1), KeyState.TRUSTED, "manual", "somebody")
    await store.ring.start()
    refresher = asyncio.create_task(store.ring.run())
    await store.ring.fetch([CHILD])
    async with Store.open(url) as elsewhere:
        await elsewhere.keys.set_state(stored.id, KeyState.REVOKED, "somebody", "lost")
        await elsewhere.keys.add(key(7, OTHER), KeyState.KNOWN, "manual", "somebody")
    await asyncio.sleep(0.9)
    assert store.ring.lookup(CHILD) is None
    assert store.ring.lookup(OTHER) is None
    await store.ring.fetch([CHILD, OTHER])
    (found,) = store.ring.lookup(CHILD) or ()
    assert found.stored.state is KeyState.REVOKED
    assert len(store.ring.lookup(OTHER) or ()) == 1
    refresher.cancel()


async def test_a_late_refresh_makes_every_answer_a_question(store: Store) -> None:
    clock = Clock()
    ring = KeyRing(store.thread, DEFAULT, 8, monotonic=clock)
    await store.keys.add(key(1), KeyState.TRUSTED, "manual", "somebody")
    await ring.fetch([CHILD])
    assert ring.lookup(CHILD)
    assert ring.lookup(NOBODY) == ()
    clock.now += 1.001
    assert ring.lookup(CHILD) is None
    assert ring.lookup(NOBODY) is None
    await ring.fetch([])
    assert ring.lookup(CHILD)
    assert ring.lookup(NOBODY) == ()


async def test_an_unreadable_store_fails_closed_and_recovers(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_keyring, "PERIOD", 0.02)
    await store.keys.add(key(1), KeyState.TRUSTED, "manual", "somebody")
    await store.ring.start()
    refresher = asyncio.create_task(store.ring.run())
    await store.ring.fetch([CHILD])

    async def rename(old: str, new: str) -> None:
        await store.thread.write(_execute, f"ALTER TABLE {old} RENAME TO {new}")

    await rename("key_events", "away")
    begun = time.monotonic()
    while store.ring.lookup(CHILD) is not None:
        assert time.monotonic() - begun < 1.5
        await asyncio.sleep(0.02)
    assert store.ring.problem is not None
    assert "no such table" in store.ring.problem
    with pytest.raises(StoreUnavailable):
        await store.ring.fetch([CHILD])
    assert store.ring.lookup(CHILD) is None
    await rename("away", "key_events")
    await asyncio.sleep(0.2)
    assert store.ring.problem is None
    assert store.ring.lookup(CHILD)
    refresher.cancel()


async def test_a_fetch_that_was_overtaken_by_a_revocation_puts_nothing_back(store: Store) -> None:
    stored, _ = await store.keys.add(key(1), KeyState.TRUSTED, "manual", "somebody")
    ring = store.ring
    await ring.fetch([OTHER])
    stale = await store.thread.read(lambda connection: ring._read([CHILD], connection))
    await store.keys.set_state(stored.id, KeyState.REVOKED, "somebody", "lost")
    await ring.fetch([OTHER])
    assert not ring._apply(stale)
    assert ring.lookup(CHILD) is None


async def test_a_ring_that_missed_events_reads_all_owners_anew(store: Store, url: str) -> None:
    stored, _ = await store.keys.add(key(1), KeyState.TRUSTED, "manual", "somebody")
    await store.ring.fetch([CHILD])
    async with Store.open(url) as elsewhere:
        await elsewhere.keys.set_state(stored.id, KeyState.REVOKED, "somebody", "lost")
        await elsewhere.keys.add(key(2, OTHER), KeyState.KNOWN, "manual", "somebody")
        await elsewhere.keys.add(key(3, OTHER), KeyState.KNOWN, "manual", "somebody")
        await elsewhere.thread.write(_execute, "DELETE FROM key_events WHERE seq < 4")
    await store.ring.fetch([])
    assert store.ring.lookup(CHILD) is None
    assert store.ring.lookup(OTHER) is None
    assert store.ring.lookup(NOBODY) == ()


async def test_more_events_than_one_refresh_takes_are_taken_before_it_counts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_keyring, "EVENTS", 10)
    monkeypatch.setattr(store_keyring, "_EVENTS_SINCE", store_keyring._EVENTS_SINCE.limit(11))
    monkeypatch.setattr(store_keyring, "LOAD_PAGE", 7)
    monkeypatch.setattr(store_keyring, "_OWNERS_AFTER", store_keyring._OWNERS_AFTER.limit(7))
    owners = [names.from_text(f"c{number}.example.") for number in range(100)]
    await store.keys.add_many((key(1, owner) for owner in owners[:50]), KeyState.KNOWN, "import", "x")
    await store.ring.fetch([])
    assert len(store.ring) == 50
    await store.keys.add_many((key(1, owner) for owner in owners[50:]), KeyState.KNOWN, "import", "x")
    await store.ring.fetch([])
    assert all(store.ring.lookup(owner) is None for owner in owners)
    assert store.ring.lookup(NOBODY) == ()


@given(st.lists(st.binary(max_size=20), max_size=3000))
def test_the_filter_forgets_no_owner(owners: list[bytes]) -> None:
    known = OwnerFilter(owners)
    assert all(owner in known for owner in owners)
    assert len(known) == len(set(owners))


def test_the_filter_grows_without_losing_anybody_and_takes_nobody_for_another() -> None:
    known = OwnerFilter()
    known.update(b"%d" % number for number in range(20_000))
    assert all(b"%d" % number in known for number in range(20_000))
    assert not any(b"x%d" % number in known for number in range(20_000))
