"""A host that another delegation names keeps its addresses, whatever becomes of it in the child in which it lies."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from people_support import People, site_of_people
from receiver_support import CHILD, OTHER, ZONE, ZONE_TEXT, Site, ns_of, replace_ns, site
from zonecut.plugin import Change, Host
from zonecut.powerdns_api.front_end import Reply
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import EdeCode, Rcode, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.receiver.keys.drift import drift
from zonecut.receiver.message.admission import Source
from zonecut.store import ChangeState, Decision

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
    deadline = time.monotonic() + 5
    while await addresses(here):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert (await here.served()).ns == ns_of(CHILD, AWAY).ns


OPERATORS = names.from_text("ns.child.parent.example.")


@pytest.fixture
async def put(tmp_path: Path) -> AsyncIterator[Site]:
    """A site where an operator put the address of a host in `child` there for `other`, which alone names it."""
    text = ZONE_TEXT.replace("other NS ns.elsewhere.example.", "other NS ns.child\nns.child A 1.1.1.7")
    (tmp_path / "parent.zone").write_text(text.format(directory=tmp_path))
    async with site(tmp_path) as found:
        for child in (CHILD, OTHER):
            await found.trust(child)
        yield found


async def move_the_other(here: Site, *, posted: bool) -> None:
    """The last one that names the host does so no more, and it is seen what that means."""
    if posted:
        change = {"name": "other.parent.example.", "type": "NS", "ttl": 1, "changetype": "REPLACE"}
        body = {"rrsets": [{**change, "records": [{"content": AWAY, "disabled": False}]}]}
        reply = await here.front_end.patch(
            ZONE, json.dumps(body).encode(), "hook:portal", Source("127.0.0.1", 1, False)
        )
        assert reply.status == HTTPStatus.NO_CONTENT
    else:
        assert (await here.ask(here.signed(*replace_ns(OTHER, AWAY), child=OTHER))).rcode == Rcode.NOERROR
    await here.zone.drain(5)
    await asyncio.sleep(0.3)


@pytest.mark.parametrize("posted", [False, True])
@pytest.mark.parametrize("changed", [False, True])
async def test_what_an_operator_put_into_a_child_does_not_go_with_another_that_named_it(
    put: Site, changed: bool, posted: bool
) -> None:
    """Also where the child in which it lies has changed other things through us."""
    there = (RR(OPERATORS, RRType.A, IPv4Address("1.1.1.7").packed),)
    if changed:
        assert (await put.ask(put.signed(*replace_ns(CHILD, AWAY)))).rcode == Rcode.NOERROR
    await move_the_other(put, posted=posted)
    assert await addresses(put, OPERATORS) == there
    assert (await put.served(OTHER)).ns == (names.from_text(AWAY),)


async def test_what_the_child_in_which_it_lies_added_goes_and_what_the_operator_put_beside_it_stays(put: Site) -> None:
    there = (RR(OPERATORS, RRType.A, IPv4Address("1.1.1.7").packed),)
    assert (await put.ask(put.signed(message.add(OPERATORS, RRType.AAAA, 1, NEW6)))).rcode == Rcode.NOERROR
    assert await addresses(put, OPERATORS) == (*there, RR(OPERATORS, RRType.AAAA, NEW6))
    await move_the_other(put, posted=False)
    assert await addresses(put, OPERATORS) == there


async def test_what_the_child_in_which_it_lies_once_had_for_its_name_server_goes(put: Site) -> None:
    assert (await put.ask(put.signed(message.add(CHILD, RRType.NS, 1, OPERATORS)))).rcode == Rcode.NOERROR
    put.clock.now += 1
    assert (await put.ask(put.signed(*replace_ns(CHILD, AWAY)))).rcode == Rcode.NOERROR
    await move_the_other(put, posted=False)
    assert await addresses(put, OPERATORS) == ()


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


async def test_no_change_is_refused_on_an_old_listing_of_who_names_a_host(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await here.ask(here.signed(*replace_ns(CHILD, AWAY)))).rcode == Rcode.NOERROR
    hosts = here.backend.hosts

    async def as_listed(
        asked: Sequence[bytes], *, not_before: float | None = None, shared: bool = False
    ) -> Mapping[bytes, Host]:
        if not_before is None:  # the listing is from before somebody made the other delegation
            return {}
        return await hosts(asked, not_before=not_before, shared=shared)

    monkeypatch.setattr(here.backend, "hosts", as_listed)
    update = [message.delete_rrset(HOST, RRType.A), message.add(HOST, RRType.A, 1, NEW)]
    assert (await here.ask(here.signed(*update))).rcode == Rcode.NOERROR
    change = {"name": "ns1.child.parent.example.", "type": "A", "ttl": 1, "changetype": "REPLACE"}
    body = json.dumps({"rrsets": [{**change, "records": [{"content": "1.1.1.2", "disabled": False}]}]}).encode()
    reply = await here.front_end.patch(ZONE, body, "hook:portal", Source("127.0.0.1", 40000, False))
    assert reply.status == HTTPStatus.NO_CONTENT
    monkeypatch.undo()
    assert await addresses(here) == HELD


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


async def test_who_posts_a_change_is_told_too(here: Site) -> None:
    change = {"name": "child.parent.example.", "type": "NS", "ttl": 1, "changetype": "REPLACE"}
    body = {"rrsets": [{**change, "records": [{"content": AWAY, "disabled": False}]}]}
    source = Source("127.0.0.1", 40000, False)
    reply = await here.front_end.patch(ZONE, json.dumps(body).encode(), "hook:portal", source)
    kept = "ns1.child.parent.example. keeps its addresses: other.parent.example. NS names it"
    assert reply == Reply(HTTPStatus.NO_CONTENT, notes=(f"child.parent.example.: {kept}",))
    assert await audited(here) == [kept]
    assert await addresses(here) == HELD


async def has_addresses(here: Site, wanted: bool) -> None:
    deadline = time.monotonic() + 5
    while bool(await addresses(here)) is not wanted:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.fixture
async def by_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Site, People]]:
    async with site_of_people(tmp_path, monkeypatch) as found:
        yield found


@pytest.mark.parametrize("first", [CHILD, OTHER])
async def test_a_host_that_an_accepted_change_names_keeps_its_addresses_before_that_is_written(
    by_people: tuple[Site, People], first: bytes
) -> None:
    here, people = by_people
    asks = {CHILD: replace_ns(CHILD, AWAY), OTHER: replace_ns(OTHER, "ns1.child.parent.example.")}
    for child in (first, *asks.keys() - {first}):
        assert (await here.ask(here.signed(*asks[child], child=child))).rcode == Rcode.NOERROR
    told = await people.told()
    assert HELD[0] in told[CHILD].after.records, "what is to be done is told anew"
    (kept,) = await audited(here)
    assert kept.startswith("ns1.child.parent.example. ")
    for child in (CHILD, OTHER):
        await people.do(told[child])
    assert await people.told() == {}
    assert await addresses(here) == HELD


async def test_who_does_what_was_told_before_another_came_is_told_to_put_the_address_back(
    by_people: tuple[Site, People],
) -> None:
    here, people = by_people
    assert (await here.ask(here.signed(*replace_ns(CHILD, AWAY)))).rcode == Rcode.NOERROR
    old = (await people.told())[CHILD]
    named = replace_ns(OTHER, "ns1.child.parent.example.")
    assert (await here.ask(here.signed(*named, child=OTHER))).rcode == Rcode.NOERROR
    await people.do(old)
    await people.do((await people.told())[OTHER])
    assert await people.told() == {}
    (chore,) = await here.store.chores.all()
    assert (chore.host, chore.event, chore.change_id) == (HOST, "glue.restored", None)
    await people.do(Change(chore.before, chore.after))
    await has_addresses(here, True)


async def test_what_stayed_for_a_change_that_is_rejected_goes(by_people: tuple[Site, People]) -> None:
    here, people = by_people
    named = replace_ns(OTHER, "ns1.child.parent.example.")
    for updates, child in ((named, OTHER), (replace_ns(CHILD, AWAY), CHILD)):
        assert (await here.ask(here.signed(*updates, child=child))).rcode == Rcode.NOERROR
    await people.do((await people.told())[CHILD])
    assert list(await people.told()) == [OTHER]
    (waiting,) = await here.store.changes.list(state=ChangeState.ACCEPTED)
    await here.store.decisions.decide(waiting.id, Decision.REJECTED, "operator", "")
    deadline = time.monotonic() + 15
    while not (chores := await here.store.chores.all()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert [(each.host, each.event) for each in chores] == [(HOST, "glue.freed")]
