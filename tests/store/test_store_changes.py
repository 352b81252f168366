"""The ledger and the audit trail."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, select

from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.store import (
    Attempt,
    ChangeState,
    Decision,
    InvalidTransition,
    NewChange,
    NotInStore,
    Store,
    StoreConflict,
)
from zonecut.store.audit import AuditEntry
from zonecut.store.ledger import changes as store_changes
from zonecut.store.ledger.changes import _IS_UNSETTLED, _LATEST
from zonecut.store.ledger.decisions import _IS_DECIDED, _IS_HELD
from zonecut.store.tables import changes

ZONE = names.from_text("parent.example.")
CHILD = names.from_text("child.parent.example.")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/zonecut.db"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url, clock=lambda: 1_700_000_000.0) as store:
        yield store


def delegation(*servers: str, child: bytes = CHILD) -> Delegation:
    return Delegation.of(child, [RR(child, RRType.NS, names.from_text(server)) for server in servers])


def change(number: int, *, child: bytes = CHILD, zone: bytes = ZONE, inception: int | None = None) -> NewChange:
    return NewChange(
        zone,
        delegation(child=child),
        delegation(f"ns{number}.example.", child=child),
        "192.0.2.1#5300",
        names.to_text(child),
        b"message %d" % number,
        key_tag=4711,
        identity=number.to_bytes(32, "big"),
        expires_at=2_000.0 + number,
        inception=number if inception is None else inception,
    )


async def test_changes_that_wait_together_are_numbered_in_order_by_one_statement(store: Store) -> None:
    statements: list[str] = []

    @event.listens_for(store.thread._engine, "before_cursor_execute")
    def executed(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO changes"):
            statements.append(statement)

    children = [names.from_text(f"c{number}.parent.example.") for number in range(50)]
    await store.thread.read(lambda connection: None)
    numbers = await asyncio.gather(*(store.changes.append(change(n, child=c)) for n, c in enumerate(children)))
    assert numbers == list(range(1, 51))
    assert [stored.child for stored in await store.changes.unsettled()] == children
    assert len(statements) <= 2


async def test_a_change_survives_as_it_was_recorded(store: Store, url: str) -> None:
    number = await store.changes.append(change(7))
    async with Store.open(url) as again:
        stored = await again.changes.get(number)
        assert stored is not None
        assert (stored.before, stored.after) == (change(7).before, change(7).after)
        assert (stored.state, stored.attempts, stored.settled_at) == (ChangeState.ACCEPTED, 0, None)
        assert stored.accepted_at == 1_700_000_000.0
        assert await again.changes.get(number + 1) is None


async def test_settled_changes_wait_no_longer(store: Store) -> None:
    for number in range(4):
        await store.changes.append(change(number, child=names.from_text(f"c{number}.parent.example.")))
    await store.changes.settle(1, ChangeState.APPLIED)
    await store.changes.settle(2, ChangeState.FAILED, "the server refuses", attempts=3)
    # what is noted of a settled one comes too late
    await store.changes.note_attempts(
        [Attempt(3, 5, "the server is away", 30), Attempt(2, 9, "the server is away", 30)]
    )
    waiting = await store.changes.unsettled(ZONE)
    assert [(change.id, change.reason, change.attempts, change.next_at) for change in waiting] == [
        (3, "the server is away", 5, 1_700_000_030.0),
        (4, None, 0, None),
    ]
    await store.changes.settle(3, ChangeState.APPLIED, attempts=6)
    applied = await store.changes.get(3)
    assert applied is not None
    assert (applied.reason, applied.attempts, applied.next_at) == (None, 6, None)
    assert await store.changes.unsettled(names.from_text("elsewhere.")) == []
    failed = await store.changes.get(2)
    assert failed is not None
    assert (failed.state, failed.reason, failed.attempts) == (ChangeState.FAILED, "the server refuses", 3)
    assert failed.settled_at == 1_700_000_000.0


async def test_a_change_is_settled_once(store: Store) -> None:
    first, second = await store.changes.append(change(1)), await store.changes.append(change(2))
    results = await asyncio.gather(
        store.changes.settle(first, ChangeState.APPLIED),
        store.changes.settle(first, ChangeState.FAILED, "too late"),
        store.changes.settle(99, ChangeState.APPLIED),
        store.changes.settle(second, ChangeState.APPLIED),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), InvalidTransition, NotInStore, type(None)]
    with pytest.raises(InvalidTransition, match=r"child\.parent\.example\. is settled already: applied"):
        await store.changes.rebase(first, delegation(), delegation())
    with pytest.raises(ValueError, match="applied or failed"):
        await store.changes.settle(first, ChangeState.ACCEPTED)


async def test_a_change_that_was_judged_again_says_what_became_of_it(store: Store) -> None:
    number = await store.changes.append(change(1))
    await store.changes.rebase(number, delegation("old.example."), delegation("new.example."))
    rebased = await store.changes.get(number)
    assert rebased is not None
    assert (rebased.before, rebased.after) == (delegation("old.example."), delegation("new.example."))
    await store.changes.settle(number, ChangeState.APPLIED, after=delegation("last.example."))
    assert (await store.changes.latest(CHILD)).applied == delegation("last.example.")


async def test_the_latest_of_a_child_is_what_was_applied_and_what_waits(store: Store) -> None:
    record = await store.changes.latest(CHILD)
    assert (record.applied, record.unsettled) == (None, None)
    for number in (1, 2, 3):
        await store.changes.append(change(number, inception=100 * number))
        state = ChangeState.FAILED if number == 3 else ChangeState.APPLIED
        await store.changes.settle(number, state)
    await store.changes.append(change(9, child=names.from_text("other.parent.example.")))
    record = await store.changes.latest(CHILD)
    assert (record.applied, record.unsettled) == (change(2).after, None)
    number = await store.changes.append(change(4, inception=400))
    record = await store.changes.latest(CHILD)
    assert record.applied == change(2).after
    assert record.unsettled == await store.changes.get(number)


async def test_look_ups_on_the_way_of_a_change_use_indexes(store: Store) -> None:
    def plans(connection: Connection) -> str:
        lines: list[str] = []
        for query in (_LATEST, select(changes).where(_IS_UNSETTLED)):
            compiled = query.compile(connection)
            values = tuple(b"x" if name == "child" else 1 for name in compiled.positiontup or ())
            lines += [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values)]
        return "\n".join(lines)

    plan = await store.thread.read(plans)
    assert "SCAN changes\n" not in plan + "\n"
    assert "ix_changes_unsettled" in plan
    assert "ix_changes_child" in plan


async def test_identities_are_remembered_until_they_expire(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_changes, "PAGE", 2)
    for number in range(7):
        await store.changes.append(change(number, child=names.from_text(f"c{number}.parent.example.")))
    await store.changes.settle(7, ChangeState.FAILED, "refused")
    found = [remembered async for remembered in store.changes.identities(2001.0)]
    assert [remembered.change_id for remembered in found] == [3, 4, 5, 6, 7]
    assert found[0].identity == (2).to_bytes(32, "big")
    assert found[-1].state is ChangeState.FAILED


async def test_the_same_signed_data_is_accepted_once_unless_it_failed(store: Store) -> None:
    results = await asyncio.gather(*(store.changes.append(change(n)) for n in (1, 1, 2)), return_exceptions=True)
    assert [type(result) for result in results] == [int, StoreConflict, int]
    await store.changes.settle(1, ChangeState.FAILED, "refused")
    assert await store.changes.append(change(1))


async def test_an_operator_decides_about_what_is_open_and_about_nothing_else(store: Store) -> None:
    # one that was posted: no key has to be trusted for it
    held = await store.changes.append(replace(change(1), held_because="the last DS", inception=None))
    waits = await store.changes.append(change(2))
    done = await store.changes.append(change(3))
    await store.changes.settle(done, ChangeState.APPLIED)
    assert [stored.id for stored in await store.decisions.held(ZONE)] == [held]
    assert [stored.id for stored in await store.changes.unsettled()] == [waits]
    for number, decision, words in (
        (done, Decision.REJECTED, "is applied already: there is nothing to decide"),
        (waits, Decision.APPROVED, "waits for the server, not for an operator"),
    ):
        with pytest.raises(InvalidTransition, match=words):
            await store.decisions.decide(number, decision, "ann", "")
    with pytest.raises(NotInStore):
        await store.decisions.decide(99, Decision.REJECTED, "ann", "")
    approved = await store.decisions.decide(held, Decision.APPROVED, "ann", "by telephone")
    assert (approved.state, approved.verdict, approved.reason) == (
        ChangeState.ACCEPTED,
        "approved by ann: by telephone",
        None,
    )
    rejected = await store.decisions.decide(waits, Decision.REJECTED, "ann", "")
    assert (rejected.state, rejected.verdict) == (ChangeState.ACCEPTED, "rejected by ann")
    assert [stored.id for stored in await store.decisions.since(ZONE, held)] == [held, waits]
    assert [stored.id for stored in await store.decisions.since(ZONE, waits)] == [waits]
    # what was judged again may have to wait after all, and an approval was not of this
    await store.decisions.hold(held, delegation("a.example."), delegation("b.example."), "the last DS")
    again = await store.changes.get(held)
    assert again is not None
    assert (again.state, again.before, again.reason) == (ChangeState.HELD, delegation("a.example."), "the last DS")
    assert again.verdict is None
    with pytest.raises(InvalidTransition, match="is held, and cannot be held"):
        await store.decisions.hold(held, delegation(), delegation(), "again")
    await store.decisions.hold(waits, delegation("a.example."), delegation("b.example."), "the last DS")
    ended = await store.changes.get(waits)
    assert ended is not None
    assert (ended.state, ended.reason) == (ChangeState.FAILED, "rejected by ann")
    events = [(record.entry.event, record.entry.actor) for record in reversed(await store.audit.list(child=CHILD))]
    assert [each for each in events if each[0] not in ("change.accepted", "change.applied")] == [
        ("change.held", "zonecut"),
        ("change.approved", "ann"),
        ("change.rejected", "ann"),
        ("change.held", "zonecut"),
        ("change.failed", "zonecut"),
    ]


async def test_a_held_change_ends_in_the_transaction_of_the_one_that_replaces_it(store: Store) -> None:
    held = await store.changes.append(replace(change(1), held_because="the last DS"))
    later = await store.changes.append(replace(change(2), replaces=held))
    replaced = await store.changes.get(held)
    assert replaced is not None
    assert (replaced.state, replaced.reason) == (ChangeState.FAILED, f"replaced by change {later}")
    await store.changes.settle(later, ChangeState.APPLIED)
    # what has ended stays as it is
    last = await store.changes.append(replace(change(3), replaces=later))
    applied = await store.changes.get(later)
    assert applied is not None
    assert (applied.state, last) == (ChangeState.APPLIED, 3)


async def test_what_is_held_and_decided_is_found_by_indexes(store: Store) -> None:
    def plans(connection: Connection) -> str:
        lines: list[str] = []
        for condition in (_IS_HELD, _IS_DECIDED):
            query = select(changes).where(changes.c.zone == ZONE, condition).order_by(changes.c.id)
            compiled = query.compile(connection)
            lines += [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", (ZONE,))]
        return "\n".join(lines)

    plan = await store.thread.read(plans)
    assert "ix_changes_held" in plan
    assert "ix_changes_decided" in plan


async def test_changes_are_listed_newest_first(store: Store) -> None:
    for number in range(6):
        await store.changes.append(change(number, child=names.from_text(f"c{number % 2}.parent.example.")))
    await store.changes.settle(1, ChangeState.APPLIED)
    assert [listed.id for listed in await store.changes.list(limit=2)] == [6, 5]
    assert [listed.id for listed in await store.changes.list(limit=2, before_id=5)] == [4, 3]
    child = names.from_text("c0.parent.example.")
    assert [listed.id for listed in await store.changes.list(child=child, zone=ZONE)] == [5, 3, 1]
    assert [listed.id for listed in await store.changes.list(state=ChangeState.APPLIED)] == [1]
    assert [listed.id for listed in await store.changes.list(state=ChangeState.ACCEPTED, child=child)] == [5, 3]
    shown = (await store.changes.list(state=ChangeState.APPLIED))[0].to_json()
    assert shown["child"] == "c0.parent.example."
    assert shown["after"]["ns"] == ["ns0.example."]
    assert shown["settled_at"] == "2023-11-14T22:13:20.000Z"


async def test_acceptance_and_outcome_are_in_the_audit_trail(store: Store) -> None:
    number = await store.changes.append(change(1))
    await store.changes.settle(number, ChangeState.FAILED, "the server refuses", attempts=2)
    outcome, acceptance = await store.audit.list(child=CHILD)
    assert (acceptance.entry.event, acceptance.entry.key_tag, acceptance.entry.actor) == (
        "change.accepted",
        4711,
        "child.parent.example.",
    )
    assert acceptance.entry.detail == {"change": number, "kind": "delegation"}
    assert outcome.to_json() == {
        "id": 2,
        "at": "2023-11-14T22:13:20.000Z",
        "event": "change.failed",
        "zone": "parent.example.",
        "child": "child.parent.example.",
        "key_tag": None,
        "actor": "zonecut",
        "source": "192.0.2.1#5300",
        "rule": None,
        "detail": {"change": 1, "attempts": 2, "reason": "the server refuses"},
    }


async def test_a_change_whose_audit_entry_cannot_be_written_is_not_accepted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no trail today")

    with monkeypatch.context() as patch:
        patch.setattr("zonecut.store.ledger.appending.insert_entries", broken)
        with pytest.raises(OSError, match="no trail today"):
            await store.changes.append(change(1))
    assert await store.changes.unsettled() == []


async def test_audit_entries_are_found_by_child_event_and_time(url: str) -> None:
    now = iter(range(100, 200))
    async with Store.open(url, clock=lambda: float(next(now))) as store:
        for number in range(4):
            rule = "min_ns" if number % 2 else None
            entry = AuditEntry("refused", "x", "y", ZONE, CHILD if number else None, 1, rule, {"n": number})
            await store.audit.record(entry)
        await store.audit.record(AuditEntry("started", "zonecut"))
        assert [found.entry.detail["n"] for found in await store.audit.list(event="refused")] == [3, 2, 1, 0]
        assert [found.entry.detail["n"] for found in await store.audit.list(child=CHILD, limit=1)] == [3]
        assert [found.at for found in await store.audit.list(since=103.0)] == [104.0, 103.0]
        assert [found.id for found in await store.audit.list(before_id=3)] == [2, 1]
