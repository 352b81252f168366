"""A host that another delegation names keeps its addresses, whatever becomes of it in the child in which it lies."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from receiver_support import CHILD, OTHER, ZONE, ZONE_TEXT, Site, ns_of, replace_ns, site
from zonecut.plugin import BackendUnavailable, Change, Host
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import EdeCode, Rcode, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.receiver.drift import drift
from zonecut.receiver.neighbours import Neighbours

HOST = names.from_text("ns1.child.parent.example.")
HELD = (RR(HOST, RRType.A, IPv4Address("1.1.1.2").packed),)
AWAY = "ns.away.example."
NEW = IPv4Address("1.1.1.9").packed
NEW6 = IPv6Address("2606:4700::9").packed


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    """A site where `other` has a name server in `child`, and both have trusted keys."""
    text = ZONE_TEXT.replace("other NS ns.elsewhere.example.", "other NS ns1.child.parent.example.")
    (tmp_path / "parent.zone").write_text(text.format(directory=tmp_path))
    async with site(tmp_path) as found:
        for child in (CHILD, OTHER):
            await found.trust(child)
        yield found


async def addresses(here: Site, host: bytes = HOST) -> tuple[RR, ...]:
    return (await here.backend.hosts([host]))[host].addresses


async def audited(here: Site) -> list[str]:
    await asyncio.sleep(0.05)
    return [each.entry.detail["reason"] for each in await here.store.audit.list(event="change.address-kept")]


@pytest.mark.parametrize("said", ["nothing", "the name", "the type"])
async def test_an_address_that_another_delegation_uses_stays_and_the_child_is_told(here: Site, said: str) -> None:
    updates = replace_ns(CHILD, AWAY)
    if said == "the name":
        updates.append(message.delete_name(HOST))
    elif said == "the type":
        updates.append(message.delete_rrset(HOST, RRType.A))
    answer = await here.ask(here.signed(*updates))
    assert answer.rcode == Rcode.NOERROR
    assert answer.error is not None
    assert answer.error.code == EdeCode.OTHER
    assert answer.error.text == "ns1.child.parent.example. keeps its addresses: other.parent.example. NS names it"
    assert await audited(here) == [answer.error.text]
    assert await here.served() == ns_of(CHILD, AWAY)
    assert await addresses(here) == HELD


async def test_it_goes_when_the_last_delegation_that_names_it_does(here: Site) -> None:
    assert (await here.ask(here.signed(*replace_ns(CHILD, AWAY)))).rcode == Rcode.NOERROR
    # a change in between leaves it where it is
    ds = message.add(CHILD, RRType.DS, 1, bytes.fromhex("30390d02") + b"d" * 32)
    assert (await here.ask(here.signed(ds))).rcode == Rcode.NOERROR
    assert await addresses(here) == HELD
    answer = await here.ask(here.signed(*replace_ns(OTHER, AWAY), child=OTHER))
    assert (answer.rcode, answer.error) == (Rcode.NOERROR, None)
    await here.zone.drain(5)
    assert await addresses(here) == ()
    assert (await here.served()).ns == ns_of(CHILD, AWAY).ns


async def test_it_stays_where_the_child_still_names_it(here: Site) -> None:
    assert (await here.ask(here.signed(*replace_ns(OTHER, AWAY), child=OTHER))).rcode == Rcode.NOERROR
    await here.zone.drain(5)
    assert await addresses(here) == HELD


async def test_a_host_that_only_siblings_use_is_given_other_addresses_by_the_child_that_it_lies_in(here: Site) -> None:
    assert (await here.ask(here.signed(*replace_ns(CHILD, AWAY)))).rcode == Rcode.NOERROR
    more = here.signed(message.add(HOST, RRType.AAAA, 1, NEW6))
    assert (await here.ask(more)).rcode == Rcode.NOERROR
    assert await addresses(here) == (*HELD, RR(HOST, RRType.AAAA, NEW6))
    other = here.signed(message.delete_rrset(HOST, RRType.A), message.add(HOST, RRType.A, 1, NEW))
    answer = await here.ask(other)
    assert (answer.rcode, answer.error) == (Rcode.NOERROR, None)
    assert await addresses(here) == (RR(HOST, RRType.A, NEW), RR(HOST, RRType.AAAA, NEW6))
    assert await here.served() == ns_of(CHILD, AWAY)


@pytest.mark.parametrize(
    ("host", "address", "rule"),
    [
        (HOST, b"\x0a\0\0\1", "special-purpose"),
        (names.from_text("nobody.child.parent.example."), NEW, "no NS of"),
        (names.from_text("ns.other.parent.example."), NEW, "not a name in"),
    ],
)
async def test_but_not_any_address_and_not_to_any_host(here: Site, host: bytes, address: bytes, rule: str) -> None:
    assert (await here.ask(here.signed(*replace_ns(CHILD, AWAY)))).rcode == Rcode.NOERROR
    answer = await here.ask(here.signed(message.add(host, RRType.A, 1, address)))
    assert answer.rcode in (Rcode.REFUSED, Rcode.NOTZONE)
    assert await addresses(here) == HELD


async def test_what_stays_for_others_is_no_drift(here: Site) -> None:
    applied = Delegation.of(CHILD, [*ns_of(CHILD, AWAY).records, *HELD])
    for held in (applied, ns_of(CHILD, AWAY)):
        difference = drift(applied, (), held)
        assert difference is not None
        assert not difference


async def test_an_address_that_went_while_somebody_began_to_name_its_host_comes_back(here: Site) -> None:
    """Two at once: each was judged on a zone without the other."""
    alone = Delegation.of(CHILD, [*(await here.served()).records])
    moved = ns_of(CHILD, AWAY)
    other = ns_of(OTHER, "ns1.child.parent.example.")
    elsewhere = ns_of(OTHER, AWAY)
    neighbours = Neighbours(names.from_text("parent.example."), here.backend)
    await here.backend.write([Change(other, elsewhere)])
    # before it, after it, and in the same transaction
    for order in ([[0], [1]], [[1], [0]], [[0, 1]]):
        changes = [Change(alone, moved), Change(elsewhere, other)]
        for batch in order:
            await here.backend.write([changes[each] for each in batch])
            await neighbours.after([changes[each] for each in batch])
        assert await addresses(here) == HELD
        await here.backend.write([Change(other, elsewhere), Change(moved, alone)])


async def _moved(here: Site) -> tuple[Change, Change]:
    """The child gives its host up, and the other comes to name it: neither knows of the other."""
    alone = await here.served()
    moved, elsewhere = ns_of(CHILD, AWAY), ns_of(OTHER, AWAY)
    other = ns_of(OTHER, "ns1.child.parent.example.")
    await here.backend.write([Change(other, elsewhere)])
    return Change(alone, moved), Change(elsewhere, other)


async def test_two_looks_at_once_put_an_address_back_one_after_the_other(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, named = await _moved(here)
    listed, write, at_once = here.backend.hosts, here.backend.write, [0]

    async def slow(hosts: Sequence[bytes]) -> Mapping[bytes, Host]:
        found = await listed(hosts)
        await asyncio.sleep(0.1)
        return found

    async def counted(changes: Sequence[Change]) -> None:
        at_once.append(at_once[-1] + 1)
        await asyncio.sleep(0.05)
        await write(changes)
        at_once.append(at_once[-1] - 1)

    neighbours = Neighbours(ZONE, here.backend)
    await write([gone])
    await neighbours.after([gone])
    monkeypatch.setattr(here.backend, "hosts", slow)
    monkeypatch.setattr(here.backend, "write", counted)
    await write([named])
    await asyncio.gather(neighbours.after([gone, named]), neighbours.after([gone, named]))
    neighbours.close()
    assert max(at_once) == 1
    assert await addresses(here) == HELD


async def test_an_address_comes_back_although_the_server_was_away_for_a_moment(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, named = await _moved(here)
    write, failures = here.backend.write, [BackendUnavailable("away"), KeyError("a defect")]

    async def failing(changes: Sequence[Change]) -> None:
        if failures:
            raise failures.pop()
        await write(changes)

    neighbours = Neighbours(ZONE, here.backend, again=(0.01, 0.01))
    await write([gone, named])
    monkeypatch.setattr(here.backend, "write", failing)
    await neighbours.after([gone, named])
    assert await addresses(here) == ()
    await asyncio.sleep(0.3)
    neighbours.close()
    assert await addresses(here) == HELD


async def test_an_address_that_nobody_needed_comes_back_when_somebody_names_its_host(here: Site) -> None:
    gone, named = await _moved(here)
    kept = Delegation.of(CHILD, [*gone.after.records, *HELD])
    await here.backend.write([Change(gone.before, kept), named])
    neighbours = Neighbours(ZONE, here.backend)
    dropped = Change(named.after, named.before)
    await here.backend.write([dropped])
    await neighbours.after([dropped])
    assert await addresses(here) == ()
    await here.backend.write([named])
    await neighbours.after([named])
    neighbours.close()
    assert await addresses(here) == HELD


async def test_an_address_stays_while_a_change_waits_that_names_its_host(here: Site) -> None:
    gone, named = await _moved(here)
    kept = Delegation.of(CHILD, [*gone.after.records, *HELD])
    await here.backend.write([Change(gone.before, kept), named])
    waiting = {HOST}
    neighbours = Neighbours(ZONE, here.backend, again=(0.02,), coming=waiting.__contains__)
    dropped = Change(named.after, named.before)
    await here.backend.write([dropped])
    await neighbours.after([dropped])
    assert await addresses(here) == HELD
    # it ended in vain
    waiting.clear()
    await asyncio.sleep(0.3)
    neighbours.close()
    assert await addresses(here) == ()


async def test_a_child_that_names_a_host_of_others_adds_to_the_addresses_that_stand_there(here: Site) -> None:
    assert (await here.ask(here.signed(*replace_ns(CHILD, AWAY)))).rcode == Rcode.NOERROR
    back = message.add(CHILD, RRType.NS, 1, HOST)
    answer = await here.ask(here.signed(back, message.add(HOST, RRType.AAAA, 1, NEW6)))
    assert answer.rcode == Rcode.NOERROR
    assert await addresses(here) == (*HELD, RR(HOST, RRType.AAAA, NEW6))


async def test_a_child_names_a_host_of_others_without_its_addresses_once_more(here: Site) -> None:
    assert (await here.ask(here.signed(*replace_ns(CHILD, AWAY)))).rcode == Rcode.NOERROR
    assert (await here.ask(here.signed(message.add(CHILD, RRType.NS, 1, HOST)))).rcode == Rcode.NOERROR
    assert await addresses(here) == HELD


@pytest.mark.parametrize("named", [False, True])
async def test_the_address_of_a_host_of_a_nested_delegation_is_not_the_upper_childs(
    tmp_path: Path, named: bool
) -> None:
    text = ZONE_TEXT + "x.child NS ns.x.child\nns.x.child A 1.1.1.7\n"
    (tmp_path / "parent.zone").write_text(text.format(directory=tmp_path))
    host = names.from_text("ns.x.child.parent.example.")
    async with site(tmp_path) as here:
        await here.trust(CHILD)
        update = [message.delete_rrset(host, RRType.A), message.add(host, RRType.A, 1, NEW)]
        if named:
            update = [message.add(CHILD, RRType.NS, 1, host), message.add(host, RRType.A, 1, NEW)]
        answer = await here.ask(here.signed(*update))
        assert answer.rcode == Rcode.REFUSED
        assert (await addresses(here, host)) == (RR(host, RRType.A, IPv4Address("1.1.1.7").packed),)


async def test_a_prerequisite_about_a_host_of_others_is_held_against_what_stands_there(here: Site) -> None:
    assert (await here.ask(here.signed(*replace_ns(CHILD, AWAY)))).rcode == Rcode.NOERROR
    more = message.add(HOST, RRType.AAAA, 1, NEW6)
    absent = here.signed(more, prerequisites=[message.rrset_absent(HOST, RRType.A)])
    assert (await here.ask(absent)).rcode == Rcode.YXRRSET
    exists = here.signed(more, prerequisites=[message.rrset_exists(HOST, RRType.A)])
    assert (await here.ask(exists)).rcode == Rcode.NOERROR
