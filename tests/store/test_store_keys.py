"""Child keys in the store: identity, transitions, bulk import, the trail that every mutation leaves."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from zonecut.protocol import names
from zonecut.protocol.keys import Key
from zonecut.store import InvalidTransition, KeyState, NotInStore, Store, StoreUnavailable, tables
from zonecut.store.keys import keys as store_keys

CHILD = names.from_text("child.parent.example.")
OTHER = names.from_text("other.parent.example.")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db", clock=lambda: 1_700_000_000.25) as store:
        yield store


def key(number: int, owner: bytes = CHILD) -> Key:
    return Key(owner, 512, 3, 15, number.to_bytes(32, "big"))


def same_tag(number: int) -> Key:
    """Keys whose octets differ and whose sums, and so key tags, do not."""
    octets = bytearray(32)
    octets[2 * number] = 7
    return Key(CHILD, 512, 3, 15, bytes(octets))


async def test_a_key_is_added_once_and_stays_as_it_is(store: Store) -> None:
    stored, created = await store.keys.add(key(1), KeyState.KNOWN, "upload", "child.parent.example.", "bootstrap")
    assert created
    again, created = await store.keys.add(key(1), KeyState.TRUSTED, "manual", "somebody")
    assert not created
    assert again == stored == await store.keys.get(stored.id)
    assert stored.state is KeyState.KNOWN
    assert await store.keys.get(stored.id + 1) is None


async def test_keys_with_the_same_tag_live_side_by_side(store: Store) -> None:
    pair = [same_tag(0), same_tag(1)]
    assert pair[0].tag == pair[1].tag
    for one in pair:
        assert (await store.keys.add(one, KeyState.KNOWN, "upload", "child"))[1]
    await store.keys.add(key(5), KeyState.KNOWN, "upload", "child")
    assert [stored.key for stored in await store.keys.find(CHILD, pair[0].tag)] == pair
    assert len(await store.keys.find(CHILD)) == 3


async def test_the_same_octets_under_another_owner_are_another_key(store: Store) -> None:
    await store.keys.add(key(1), KeyState.TRUSTED, "manual", "somebody")
    assert (await store.keys.add(key(1, OTHER), KeyState.KNOWN, "manual", "somebody"))[1]
    assert len(await store.keys.find(OTHER)) == 1


async def test_revocation_is_final(store: Store) -> None:
    stored, _ = await store.keys.add(key(1), KeyState.KNOWN, "upload", "child")
    trusted = await store.keys.set_state(stored.id, KeyState.TRUSTED, "somebody", "compared", method="manual")
    assert (trusted.state, trusted.method, trusted.reason) == (KeyState.TRUSTED, "manual", "compared")
    revoked = await store.keys.set_state(stored.id, KeyState.REVOKED, "somebody", "lost")
    assert await store.keys.set_state(stored.id, KeyState.REVOKED, "somebody else", "again") == revoked
    for state in (KeyState.KNOWN, KeyState.TRUSTED):
        with pytest.raises(InvalidTransition, match=r"child\.parent\.example\. is revoked and cannot become"):
            await store.keys.set_state(stored.id, state, "somebody", "found")
    assert (await store.keys.add(key(1), KeyState.TRUSTED, "manual", "somebody"))[0] == revoked
    with pytest.raises(NotInStore):
        await store.keys.set_state(99, KeyState.TRUSTED, "somebody", "")


async def test_every_mutation_leaves_an_event_and_an_audit_entry(store: Store) -> None:
    stored, _ = await store.keys.add(key(1), KeyState.KNOWN, "upload", "child")
    await store.keys.add(key(1), KeyState.KNOWN, "upload", "child")
    await store.keys.set_state(stored.id, KeyState.TRUSTED, "somebody", "compared")
    trail = [(record.entry.event, record.entry.actor) for record in await store.audit.list(child=CHILD)]
    assert trail == [("key.trusted", "somebody"), ("key.added", "child")]
    events = await store.thread.read(lambda connection: connection.execute(select(tables.key_events)).all())
    assert [tuple(row) for row in events] == [(1, CHILD), (2, CHILD)]


async def test_a_mutation_whose_trail_cannot_be_written_does_not_happen(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no trail today")

    with monkeypatch.context() as patch:
        patch.setattr(store_keys, "insert_entries", broken)
        with pytest.raises(OSError, match="no trail today"):
            await store.keys.add(key(1), KeyState.KNOWN, "upload", "child")
    assert await store.keys.find(CHILD) == ()


async def test_many_keys_are_imported_and_listed_page_by_page(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_keys, "BULK", 100)
    monkeypatch.setattr(store_keys, "PAGE", 64)
    await store.keys.add(key(3), KeyState.REVOKED, "manual", "somebody")
    seen: list[tuple[int, int]] = []
    keys = [key(number, CHILD if number % 2 else OTHER) for number in range(250)]
    counted = await store.keys.add_many(
        iter([*keys, keys[0]]), KeyState.KNOWN, "import", "somebody", progress=lambda *counts: seen.append(counts)
    )
    assert counted == (249, 2)
    assert seen == [(99, 1), (199, 1), (249, 2)]
    assert len([stored async for stored in store.keys.list()]) == 250
    assert len([stored async for stored in store.keys.list(owner=OTHER)]) == 125
    assert [stored.key async for stored in store.keys.list(state=KeyState.REVOKED)] == [key(3)]
    assert len(await store.audit.list(event="key.added", limit=1000)) == 250


async def test_old_events_are_forgotten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        await store.keys.add(key(number), KeyState.KNOWN, "upload", "child")
    seq = tables.key_events.c.seq
    monkeypatch.setattr(store_keys, "_FORGET_EVENTS", delete(tables.key_events).where(seq < 2))
    await store.keys.add(key(9), KeyState.KNOWN, "upload", "child")
    events = await store.thread.read(lambda connection: connection.execute(select(seq)).scalars().all())
    assert events == [2, 3, 4]


async def test_a_stored_key_reads_well_as_json(store: Store) -> None:
    stored, _ = await store.keys.add(key(1), KeyState.KNOWN, "upload", "child", "bootstrap")
    shown = stored.to_json()
    assert shown["owner"] == "child.parent.example."
    assert shown["created_at"] == "2023-11-14T22:13:20.250Z"
    assert shown["fingerprint"] == key(1).fingerprint()
    assert shown["state"] == "known"


async def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/closed.db")
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.keys.find(CHILD)
