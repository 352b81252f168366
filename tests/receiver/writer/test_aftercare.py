"""What becomes of hosts of others after a change: nothing is given up before somebody has seen that nobody needs it."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from receiver_support import CHILD, OTHER, ZONE, ZONE_TEXT, Site, ns_of, replace_ns, site
from zonecut.plugin import BackendLater, BackendUnavailable, Change, Host
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.change.released import KEPT, Released
from zonecut.receiver.writer.aftercare import Aftercare
from zonecut.receiver.writer.by_hand import ByHand
from zonecut.store import AuditEntry, Chore, StoreUnavailable

HOST = names.from_text("ns1.child.parent.example.")
HELD = (RR(HOST, RRType.A, IPv4Address("1.1.1.2").packed),)
AWAY = "ns.away.example."
SOON = (0.05, 0.05)
"""Pauses for tests."""


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    """A site where `other` has a name server in `child`, and both have trusted keys."""
    text = ZONE_TEXT.replace("other NS ns.elsewhere.example.", "other NS ns1.child.parent.example.")
    (tmp_path / "parent.zone").write_text(text.format(directory=tmp_path))
    async with site(tmp_path) as found:
        for child in (CHILD, OTHER):
            await found.trust(child)
        yield found


async def addresses(here: Site) -> tuple[RR, ...]:
    return (await here.backend.hosts([HOST]))[HOST].addresses


async def until(here: Site, wanted: tuple[RR, ...]) -> None:
    """Return when these addresses stand there; fail if they do not in a while."""
    deadline = time.monotonic() + 5
    while (found := await addresses(here)) != wanted:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.01)


async def moved(here: Site) -> tuple[Change, Change]:
    """The child gives its host up, and the other comes to name it: neither knows of the other."""
    alone = await here.served()
    gone, elsewhere = ns_of(CHILD, AWAY), ns_of(OTHER, AWAY)
    other = ns_of(OTHER, "ns1.child.parent.example.")
    await here.backend.write([Change(other, elsewhere)])
    return Change(alone, gone), Change(elsewhere, other)


async def kept(here: Site) -> tuple[Change, Change]:
    """The child names its host no more, and the other does: what takes it out of the other, and brings it back."""
    gone, named = await moved(here)
    await here.backend.write([Change(gone.before, Delegation.of(CHILD, [*gone.after.records, *HELD])), named])
    return Change(named.after, named.before), named


def listing(here: Site, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Have the backend tell who names a host by a listing that was made now, unless a later one is asked for.

    What is returned grows by the moment of each listing.
    """
    ask, made = here.backend.hosts, [time.monotonic()]
    known: dict[bytes, Host] = {}

    async def by_listing(
        hosts: Sequence[bytes], *, not_before: float | None = None, shared: bool = False
    ) -> Mapping[bytes, Host]:
        if not known or (not_before is not None and made[-1] < not_before):
            made.append(time.monotonic())
            known.update(await ask([HOST]))
        return {host: known[host] for host in hosts if host in known}

    monkeypatch.setattr(here.backend, "hosts", by_listing)
    return made


async def given(child: bytes, host: bytes) -> Sequence[RR]:
    """The child had its host for a name server."""
    return HELD if (child, host) == (CHILD, HOST) else ()


def aftercare(here: Site, **options: object) -> Aftercare:
    return Aftercare(ZONE, here.backend, here.store.audit.record, given, **{"again": SOON, **options})  # type: ignore[arg-type]


async def test_an_address_that_went_while_somebody_began_to_name_its_host_comes_back(here: Site) -> None:
    """Two at once: each was judged on a zone without the other."""
    gone, named = await moved(here)
    care = aftercare(here, again=(60.0,))
    # before it, after it, and in the same transaction
    for order in ([[gone], [named]], [[named], [gone]], [[gone, named]]):
        for batch in order:
            await here.backend.write(batch)
            care.note(batch)
        await until(here, HELD)
        await here.backend.write([Change(named.after, named.before), Change(gone.after, gone.before)])
    care.close()


async def test_what_an_operator_wrote_after_the_last_listing_brings_the_address_back(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, named = await moved(here)
    look = here.backend.hosts
    listing(here, monkeypatch)
    assert (await here.backend.hosts([HOST]))[HOST].named_by == (CHILD,)
    # by hand, so that nobody is told
    await here.backend.write([named])
    care = aftercare(here)
    await here.backend.write([gone])
    care.note([gone])
    deadline = time.monotonic() + 5
    while (await look([HOST]))[HOST].addresses != HELD:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    care.close()


async def test_the_proof_that_nobody_needs_an_address_is_looked_for_once(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, _ = await moved(here)
    made = listing(here, monkeypatch)
    await here.backend.hosts([HOST])
    await here.backend.write([gone])
    went, before = time.monotonic(), len(made)
    care = aftercare(here)
    care.note([gone])
    await asyncio.sleep(0.5)
    care.close()
    assert len(made) == before + 1
    assert made[-1] > went


async def test_an_address_is_not_taken_away_by_a_listing_that_may_lack_somebody(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped, named = await kept(here)
    look = here.backend.hosts
    await here.backend.write([dropped])
    listing(here, monkeypatch)
    assert not (await here.backend.hosts([HOST]))[HOST].named_by
    # by hand, so that nobody is told
    await here.backend.write([named])
    care = aftercare(here)
    care.note([dropped])
    await asyncio.sleep(0.3)
    care.close()
    assert (await look([HOST]))[HOST].addresses == HELD


async def test_what_went_before_a_kill_is_proven_by_the_next_process(here: Site) -> None:
    assert (await here.ask(here.signed(*replace_ns(OTHER, AWAY), child=OTHER))).rcode == Rcode.NOERROR
    assert (await here.ask(here.signed(*replace_ns(CHILD, AWAY)))).rcode == Rcode.NOERROR
    assert await addresses(here) == ()
    # by hand, a moment before it went
    here.zone.writer.aftercare.close()
    await here.backend.write([Change(ns_of(OTHER, AWAY), ns_of(OTHER, "ns1.child.parent.example."))])
    ledger = Ledger(here.store, ZONE)
    await asyncio.sleep(0.3)  # until it is recorded that they were applied
    care = aftercare(here)
    care.resume(await ledger.last_applied(), await ledger.last_freed())
    await until(here, HELD)
    care.close()


async def test_what_was_taken_away_before_a_kill_is_proven_by_the_next_process(here: Site) -> None:
    dropped, named = await kept(here)
    await here.backend.write([dropped])
    killed = aftercare(here, again=(60.0,))
    killed.note([dropped])
    await until(here, ())
    killed.close()
    # by hand, a moment before it went
    await here.backend.write([named])
    ledger = Ledger(here.store, ZONE)
    care = aftercare(here)
    care.resume([], await ledger.last_freed())
    await until(here, HELD)
    care.close()


async def test_nothing_is_taken_away_that_cannot_be_recorded(here: Site) -> None:
    dropped, _ = await kept(here)
    await here.backend.write([dropped])
    failures = [StoreUnavailable("away")]

    async def record(entry: AuditEntry) -> None:
        if failures:
            assert await addresses(here) == HELD
            raise failures.pop()

    care = Aftercare(ZONE, here.backend, record, given, again=SOON)
    care.note([dropped])
    await until(here, ())
    care.close()
    assert not failures


async def test_one_mends_at_a_time(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, named = await moved(here)
    write, at_once = here.backend.write, [0]

    async def counted(changes: Sequence[Change]) -> None:
        at_once.append(at_once[-1] + 1)
        await asyncio.sleep(0.05)
        await write(changes)
        at_once.append(at_once[-1] - 1)

    await write([gone, named])
    monkeypatch.setattr(here.backend, "write", counted)
    care = aftercare(here)
    care.note([gone, named])
    await asyncio.sleep(0.02)
    care.note([gone, named])
    await until(here, HELD)
    care.close()
    assert max(at_once) == 1


async def test_an_address_comes_back_although_the_server_was_away_for_a_moment(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, named = await moved(here)
    write, failures = here.backend.write, [BackendUnavailable("away"), KeyError("a defect")]

    async def failing(changes: Sequence[Change]) -> None:
        if failures:
            raise failures.pop()
        await write(changes)

    await write([gone, named])
    monkeypatch.setattr(here.backend, "write", failing)
    care = aftercare(here)
    care.note([gone, named])
    await until(here, HELD)
    care.close()
    assert not failures


async def test_an_address_that_nobody_needed_comes_back_when_somebody_names_its_host(here: Site) -> None:
    dropped, named = await kept(here)
    care = aftercare(here)
    await here.backend.write([dropped])
    care.note([dropped])
    await until(here, ())
    await here.backend.write([named])
    care.note([named])
    await until(here, HELD)
    care.close()


async def test_an_address_stays_while_a_change_waits_that_names_its_host(here: Site) -> None:
    dropped, _ = await kept(here)
    waiting = {HOST}
    care = aftercare(here, coming=lambda hosts: dict.fromkeys(waiting.intersection(hosts), (OTHER,)))
    await here.backend.write([dropped])
    care.note([dropped])
    await asyncio.sleep(0.2)
    assert await addresses(here) == HELD
    # it ended in vain
    waiting.clear()
    await until(here, ())
    care.close()


async def test_a_change_does_not_wait_for_a_look(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(hosts: Sequence[bytes], **_: object) -> Mapping[bytes, Host]:
        await asyncio.sleep(60)
        return {}

    monkeypatch.setattr(here.backend, "hosts", endless)
    # with the first, somebody may name the child's host no more, which is looked at
    for server in (AWAY, "ns2.away.example.", "ns3.away.example."):
        assert (await here.ask(here.signed(*replace_ns(OTHER, server), child=OTHER))).rcode == Rcode.NOERROR
        assert (await here.served(OTHER)) == ns_of(OTHER, server)


class People:
    """Who writes the zone, where zonecut does not."""

    def __init__(self, here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self._write = here.backend.write
        monkeypatch.setattr(here.backend, "write", self.tell)
        monkeypatch.setattr(here.backend, "by_hand", lambda changes: "")
        self._here = here

    async def tell(self, changes: Sequence[Change]) -> None:
        if waiting := await self._here.backend.verify(changes):
            raise BackendLater("it is to be made by hand", waiting, again_in=0.02)

    async def do(self, *changes: Change) -> None:
        await self._write(changes)

    async def do_told(self) -> None:
        (chore,) = await told(self._here)
        await self.do(Change(chore.before, chore.after))


async def told(here: Site) -> list[Chore]:
    """What people are told to do about hosts."""
    await asyncio.sleep(0.3)
    return [each for each in await here.store.chores.all() if each.host]


async def audited(here: Site) -> list[str]:
    await asyncio.sleep(0.1)
    records = await here.store.audit.list()
    return [each.entry.event for each in records if each.entry.event.startswith("glue.")]


def for_people(here: Site, **options: object) -> Aftercare:
    by_hand = ByHand(ZONE, here.backend, Ledger(here.store, ZONE).note_chores)
    return aftercare(here, by_hand=by_hand, **options)


async def test_people_are_told_of_an_address_that_nobody_needs_and_it_is_audited_once_when_it_is_gone(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped, _ = await kept(here)
    await here.backend.write([dropped])
    people, care = People(here, monkeypatch), for_people(here)
    care.note([dropped])
    (chore,) = await told(here)
    assert (chore.host, chore.event) == (HOST, "glue.freed")
    assert set(chore.before.records) - set(chore.after.records) == set(HELD)
    assert await audited(here) == [], "it is there, whatever was tried"
    await people.do_told()
    assert await told(here) == []
    assert await audited(here) == ["glue.freed"]
    care.close()


async def test_people_are_told_of_an_address_that_somebody_needs_and_it_is_audited_once_when_it_is_back(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, named = await moved(here)
    await here.backend.write([gone, named])
    people, care = People(here, monkeypatch), for_people(here)
    care.note([gone, named])
    (chore,) = await told(here)
    assert set(chore.after.records) - set(chore.before.records) == set(HELD)
    assert await audited(here) == []
    await people.do_told()
    assert (await told(here), await addresses(here)) == ([], HELD)
    assert await audited(here) == ["glue.restored"]
    care.close()


async def test_what_people_were_told_does_not_count_any_more_once_a_change_is_accepted_that_needs_the_address(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped, named = await kept(here)
    await here.backend.write([dropped])
    waiting: set[bytes] = set()
    people, care = (
        People(here, monkeypatch),
        for_people(here, coming=lambda hosts: dict.fromkeys(waiting.intersection(hosts), (OTHER,))),
    )
    care.note([dropped])
    assert len(await told(here)) == 1
    waiting.add(HOST)
    care.named([HOST])
    assert await told(here) == []
    await people.do(named)
    waiting.clear()
    care.note([named])
    assert (await told(here), await audited(here), await addresses(here)) == ([], [], HELD)
    care.close()


async def test_what_people_were_told_outlives_the_process(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped, _ = await kept(here)
    await here.backend.write([dropped])
    people, killed = People(here, monkeypatch), for_people(here)
    killed.note([dropped])
    assert len(await told(here)) == 1
    killed.close()
    ledger = Ledger(here.store, ZONE)
    by_hand = ByHand(ZONE, here.backend, ledger.note_chores)
    by_hand.recall(await ledger.chores())
    care = aftercare(here, by_hand=by_hand)
    await people.do_told()
    care.resume([], [])
    assert (await told(here), await audited(here)) == ([], ["glue.freed"])
    care.close()


async def test_nobody_is_asked_about_a_host_that_a_change_which_waits_is_to_name(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, _ = await moved(here)
    await here.backend.write([gone])
    made, waiting = listing(here, monkeypatch), {HOST}
    care = aftercare(here, coming=lambda hosts: dict.fromkeys(waiting.intersection(hosts), (OTHER,)))
    care.note([gone])
    await asyncio.sleep(0.1)
    asked = len(made)
    await asyncio.sleep(0.3)
    assert len(made) == asked
    waiting.clear()
    await asyncio.sleep(0.3)
    assert len(made) == asked + 1, "it ended in vain: now it counts that nobody names it"
    care.close()


async def test_an_address_that_somebody_may_take_still_is_put_back_if_it_goes_while_another_one_names_its_host(
    here: Site,
) -> None:
    gone, named = await moved(here)
    await here.backend.write([named])
    # by a process before us
    await here.store.audit.record(next(Released.by(gone)).to_entry(ZONE, KEPT))
    care = aftercare(here)
    assert care.watch(await Ledger(here.store, ZONE).last_kept(), 0.05)
    for _ in range(2):
        await asyncio.sleep(0.2)
        assert await addresses(here) == HELD
        held = Delegation.of(CHILD, [*(await here.served()).records, *HELD])
        await here.backend.write([Change(held, gone.after)])
        await until(here, HELD)
    care.close()


async def test_an_address_that_somebody_may_take_still_is_put_back_if_an_accepted_change_needs_it(here: Site) -> None:
    gone, _ = await moved(here)
    care = aftercare(here, coming=lambda hosts: dict.fromkeys(hosts, (OTHER,)))
    care.watch(Released.by(gone), 0.05)
    await here.backend.write([gone])
    await until(here, HELD)
    care.close()


async def test_an_address_that_nobody_names_is_watched_no_more(here: Site) -> None:
    gone, named = await moved(here)
    only = Change(gone.before, Delegation.of(CHILD, [*gone.after.records, *HELD]))
    await here.backend.write([only])
    care = aftercare(here)
    care.watch(Released.by(gone), 0.05)
    await asyncio.sleep(0.2)
    await here.backend.write([Change(only.after, gone.after), named])
    await asyncio.sleep(0.3)
    assert await addresses(here) == (), "who named it later is answered for by the operator who took it"
    care.close()


async def test_what_a_child_s_own_change_that_failed_leaves_of_its_hosts_stays(here: Site) -> None:
    """Somebody took its NS out by hand, and left the address."""
    dropped, _ = await kept(here)
    await here.backend.write([dropped])
    care = aftercare(here)
    care.failed([Change(ns_of(CHILD, AWAY), ns_of(CHILD, "ns1.child.parent.example."))])
    await asyncio.sleep(0.3)
    assert (await addresses(here), await audited(here)) == (HELD, [])
    # what was to be named in another child is another matter
    care.failed([Change(ns_of(OTHER, AWAY), ns_of(OTHER, "ns1.child.parent.example."))])
    await until(here, ())
    care.close()
