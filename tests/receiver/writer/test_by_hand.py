"""Where people write the zone: what they do by half, what they say is done, and what they are told of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from people_support import People, site_of_people
from receiver_support import CHILD, OTHER, Site, ns_of, replace_ns
from zonecut.plugin import Change
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.store import ChangeState, Decision, StoredChange

NEW = ("a.new.example.", "b.new.example.")
DS = bytes.fromhex("30390d02") + b"d" * 32


@pytest.fixture
async def by_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Site, People]]:
    async with site_of_people(tmp_path, monkeypatch) as found:
        yield found


async def asked(here: Site, *, prerequisites: Sequence[bytes] = ()) -> StoredChange:
    """A change that waits for somebody's hand: all new name servers, and a DS."""
    updates = [*replace_ns(CHILD, *NEW), message.add(CHILD, RRType.DS, 60, DS)]
    assert (await here.ask(here.signed(*updates, prerequisites=prerequisites))).rcode == Rcode.NOERROR
    (change,) = await here.store.changes.list(state=ChangeState.ACCEPTED)
    return change


async def latest(here: Site, state: ChangeState) -> StoredChange:
    """The change once it is in this state."""
    deadline = time.monotonic() + 5
    while (change := (await here.store.changes.list())[0]).state is not state:
        assert time.monotonic() < deadline, change
        await asyncio.sleep(0.05)
    return change


async def accusations(here: Site) -> list[str]:
    events = [each.entry.event for each in await here.store.audit.list()]
    return [each for each in events if each.startswith(("delegation.", "trust.", "change.withdrawn"))]


async def rest(here: Site) -> Change:
    """What is left to be done, as people are told."""
    await asyncio.sleep(0.4)
    (chore,) = await here.store.chores.all()
    assert (chore.change_id, chore.host) == ((await here.store.changes.list())[0].id, b"")
    return Change(chore.before, chore.after)


async def test_half_of_what_people_were_told_is_no_edit_of_somebody_else_and_the_rest_is_told(
    by_people: tuple[Site, People],
) -> None:
    here, people = by_people
    server = names.from_text("ns1.child.parent.example.")
    change = await asked(here, prerequisites=[message.rrset_holds(CHILD, RRType.NS, server)])
    with capture_logs() as logs:
        half = ns_of(CHILD, *NEW)
        await people.do(Change(change.before, half))
        await here.zone.look_at(CHILD)
        left = await rest(here)
        assert (left.before, left.after) == (half, change.after)
        await here.zone.look_at(CHILD)
        await people.do(left)
        assert (await latest(here, ChangeState.APPLIED)).after == change.after
    assert await accusations(here) == []
    assert not [each for each in logs if each["log_level"] in ("warning", "error")]
    await asyncio.sleep(0.1)
    assert not await here.store.chores.all()


async def test_people_may_take_as_many_steps_as_they_like(by_people: tuple[Site, People]) -> None:
    here, people = by_people
    change = await asked(here)
    held = change.before
    steps = [*(set(change.after.records) - set(held.records)), *(set(held.records) - set(change.after.records))]
    for record in sorted(steps, key=lambda each: (each.owner != CHILD, each in held.records, each)):
        step = Delegation.of(CHILD, set(held.records) ^ {record})
        await people.do(Change(held, step))
        held = step
        await asyncio.sleep(0.3)
    assert (await latest(here, ChangeState.APPLIED)).after == change.after == held
    assert await accusations(here) == []


async def test_what_somebody_else_does_beside_it_is_told_as_such(by_people: tuple[Site, People]) -> None:
    here, people = by_people
    change = await asked(here)
    foreign = names.from_text("ns.foreign.example.")
    await people.do(Change(change.before, Delegation.of(CHILD, [RR(CHILD, RRType.NS, foreign)])))
    await here.zone.look_at(CHILD)
    assert "delegation.suspect" in await accusations(here)


async def test_what_was_seen_as_done_counts_and_what_is_taken_out_later_is_an_edit_of_somebody_else(
    by_people: tuple[Site, People],
) -> None:
    here, _ = by_people
    change = await asked(here)
    # `change done` has seen it, and somebody took it out before the daemon looked
    with capture_logs() as logs:
        await here.store.decisions.decide(change.id, Decision.DONE, "operator", "")
        await latest(here, ChangeState.APPLIED)
    assert [each["event"] for each in logs if each["event"] == "change.undone"]
    await here.zone.look_at(CHILD)
    assert await accusations(here)


async def test_who_says_that_it_is_done_has_the_zone_looked_at_although_its_serial_stays(
    by_people: tuple[Site, People], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, people = by_people
    verify, hosts = here.backend.verify, here.backend.hosts
    transferred = (await here.backend.read(CHILD)).delegation
    looked: list[float] = []

    async def by_serial(changes: Sequence[Change]) -> tuple[bytes, ...]:
        """As it was transferred last."""
        if looked:
            return await verify(changes)
        return tuple(each.child for each in changes if each.after != transferred)

    async def transfer(wanted: Sequence[bytes], *, not_before: float | None = None, shared: bool = False) -> Any:
        if not_before is not None:
            looked.append(not_before)
        return await hosts(wanted, not_before=not_before, shared=shared)

    async def serial() -> int:
        return 7

    for name, stand_in in (("verify", by_serial), ("hosts", transfer), ("serial", serial)):
        monkeypatch.setattr(here.backend, name, stand_in)
    change = await asked(here)
    await people.do(Change(change.before, change.after))
    await asyncio.sleep(0.3)
    assert (await here.store.changes.list())[0].state is ChangeState.ACCEPTED
    with capture_logs() as logs:
        await here.store.decisions.decide(change.id, Decision.DONE, "operator", "")
        await latest(here, ChangeState.APPLIED)
    assert len(looked) == 1
    (told,) = (each for each in logs if each["event"].startswith("zone.serial.stays"))
    assert "it is 7 before and after a change" in str(told)


async def test_what_is_rejected_is_told_in_words_about_people(by_people: tuple[Site, People]) -> None:
    here, _ = by_people
    change = await asked(here)
    with capture_logs() as logs:
        await here.store.decisions.decide(change.id, Decision.REJECTED, "operator", "")
        reason = (await latest(here, ChangeState.FAILED)).reason
    assert str(reason).endswith("whoever has read what was to be done by hand may do it still")
    (told,) = (each for each in logs if each["event"] == "change.may-follow")
    assert "the server" not in told["advice"]
    assert await accusations(here) == []


async def other_names_it(here: Site, people: People) -> None:
    """The other child comes to name the child's host, and people make it so."""
    server = "ns1.child.parent.example."
    assert (await here.ask(here.signed(*replace_ns(OTHER, server), child=OTHER))).rcode == Rcode.NOERROR
    await people.do((await people.told())[OTHER])
    await asyncio.sleep(0.5)


async def put_back(here: Site, people: People) -> None:
    """People are told to put the address of the child's host back, and it counts as done when it is there."""
    host = names.from_text("ns1.child.parent.example.")
    await asyncio.sleep(0.5)
    (chore,) = await here.store.chores.all()
    assert (chore.host, chore.event) == (host, "glue.restored")
    await people.do(Change(chore.before, chore.after))
    assert (await here.backend.hosts([host]))[host].addresses
    await asyncio.sleep(0.5)
    assert not await here.store.chores.all()


@pytest.mark.parametrize("first", ["the old lines", "what needs the address", "a rejection"])
async def test_who_carries_out_what_does_not_count_any_more_is_told_what_another_one_needs_back(
    by_people: tuple[Site, People], first: str
) -> None:
    here, people = by_people
    assert (await here.ask(here.signed(*replace_ns(CHILD, *NEW)))).rcode == Rcode.NOERROR
    noted = (await people.told())[CHILD]
    if first == "a rejection":
        (change,) = await here.store.changes.list(state=ChangeState.ACCEPTED)
        await here.store.decisions.decide(change.id, Decision.REJECTED, "operator", "")
        await latest(here, ChangeState.FAILED)
    if first == "the old lines":
        server = "ns1.child.parent.example."
        assert (await here.ask(here.signed(*replace_ns(OTHER, server), child=OTHER))).rcode == Rcode.NOERROR
        lines = (await people.told())[OTHER]
        await people.do(noted)
        await asyncio.sleep(0.5)
        await people.do(lines)
    else:
        await other_names_it(here, people)
        await people.do(noted)
    await put_back(here, people)
    # and once more, by whatever hand
    host = names.from_text("ns1.child.parent.example.")
    held = (await here.backend.read(CHILD)).delegation
    (address,) = (await here.backend.hosts([host]))[host].addresses
    await people.do(Change(Delegation.of(CHILD, [*held.records, address]), ns_of(CHILD, *NEW)))
    await put_back(here, people)
