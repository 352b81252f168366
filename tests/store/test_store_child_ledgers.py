"""What the ledger says of many children at once."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.store import ChangeKind, ChangeState, ChildLedger, NewChange, Store
from zonecut.store.ledger import child_ledgers

ZONE = names.from_text("parent.example.")
OTHER_ZONE = names.from_text("other.example.")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db", clock=lambda: 1_700_000_000.0) as store:
        yield store


def child(label: str, zone: bytes = ZONE) -> bytes:
    return names.from_text(f"{label}.{names.to_text(zone)}")


def change(owner: bytes, server: str, zone: bytes = ZONE) -> NewChange:
    after = Delegation.of(owner, [RR(owner, RRType.NS, names.from_text(server))])
    return NewChange(zone, Delegation(owner), after, "192.0.2.1#5300", "test", b"message")


async def put(store: Store, new: NewChange, state: ChangeState) -> int:
    number = await store.changes.append(new)
    if state is not ChangeState.ACCEPTED:
        await store.changes.settle(number, state)
    return number


async def test_a_child_s_latest_applied_change_and_all_that_waits_are_found(store: Store) -> None:
    owner = child("a")
    await put(store, change(owner, "ns1.example."), ChangeState.APPLIED)
    second = await put(store, change(owner, "ns2.example."), ChangeState.APPLIED)
    await put(store, change(owner, "ns3.example."), ChangeState.FAILED)
    keys = replace(change(owner, "ns4.example."), after=Delegation(owner), kind=ChangeKind.KEYS)
    await put(store, keys, ChangeState.APPLIED)
    waiting = [await put(store, change(owner, f"ns{n}.example."), ChangeState.ACCEPTED) for n in (5, 6)]
    found = (await store.ledgers.of([owner]))[owner]
    assert found.applied is not None
    assert (found.applied.id, found.applied.at) == (second, 1_700_000_000.0)
    assert found.applied.after.ns == (names.from_text("ns2.example."),)
    assert [each.id for each in found.unsettled] == waiting
    assert found.waiting is not None
    assert found.waiting.id == waiting[-1]
    assert ChildLedger().waiting is None


async def test_of_what_the_ledger_knows_nothing_nothing_is_said(store: Store) -> None:
    await put(store, change(child("failed"), "ns1.example."), ChangeState.FAILED)
    assert await store.ledgers.of([child("failed"), child("nobody")]) == {}
    assert await store.ledgers.of([]) == {}
    assert [page async for page in store.ledgers.children(ZONE)] in ([[]], [[], []])


async def test_many_children_are_looked_up_and_listed_in_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_ledgers, "PAGE", 3)
    owners = [child(f"c{number}") for number in range(10)]
    for owner in owners:
        for server in ("ns1.example.", "ns2.example."):
            await put(store, change(owner, server), ChangeState.APPLIED)
    await put(store, change(child("x", OTHER_ZONE), "ns.example.", OTHER_ZONE), ChangeState.APPLIED)
    await put(store, change(child("waits"), "ns.example."), ChangeState.ACCEPTED)
    listed = [owner async for page in store.ledgers.children(ZONE) for owner in page]
    assert sorted(listed) == sorted([*owners, child("waits")])
    found = await store.ledgers.of([*owners, child("nobody")])
    assert set(found) == set(owners)
    assert {each.applied.after.ns for each in found.values() if each.applied} == {(names.from_text("ns2.example."),)}
