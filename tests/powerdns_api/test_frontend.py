"""What a front end posts goes the way of a child's UPDATE: the same policy, ledger and order, in its own name."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from patch_support import rrset
from receiver_support import CHILD, OTHER, ZONE, Site, ns_of, replace_ns, site
from zonecut.plugin import BackendRejected, Reading, Unreadable
from zonecut.powerdns_api import front_view
from zonecut.powerdns_api.front_end import Reply
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls, rdata_text
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.receiver.message.admission import Limits, Source
from zonecut.store import ChangeState, KeyState, StoreUnavailable

SOURCE = Source("127.0.0.1", 40000, False)
NS = "a.ns.example."


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


async def patch(here: Site, *rrsets: dict[str, Any], zone: bytes = ZONE) -> Reply:
    return await here.front_end.patch(zone, json.dumps({"rrsets": rrsets}).encode(), "hook:portal", SOURCE)


def error(reply: Reply) -> str:
    assert reply.document is not None
    return str(reply.document["error"])


async def events(here: Site, event: str) -> list[dict[str, Any]]:
    await here.receiver.close(5)
    return [record.to_json() for record in await here.store.audit.list(event=event)]


async def test_a_change_is_made_and_recorded_in_the_front_end_s_name(here: Site) -> None:
    reply = await patch(here, rrset("child.parent.example.", "NS", NS))
    assert reply == Reply(HTTPStatus.NO_CONTENT)
    assert await here.served() == ns_of(CHILD, NS)
    (change,) = await here.store.changes.list()
    assert (change.source, change.key_id, change.inception) == ("127.0.0.1#40000 by hook:portal", None, None)
    (accepted,) = await events(here, "change.accepted")
    assert (accepted["actor"], accepted["source"]) == ("hook:portal", "127.0.0.1#40000 by hook:portal")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (rrset("child.parent.example.", "NS"), "child.parent.example. NS: the last name server is removed"),
        (rrset("child.parent.example.", "NS", "ns9.child.parent.example."), "without an address (glue-for-ns)"),
        (rrset("ns1.child.parent.example.", "A", "127.0.0.1"), "special-purpose address (RFC 6890) (glue-global)"),
        (rrset("child.parent.example.", "DS", "1 13 1 " + "ab" * 20), "digest type 1; accepted are 2, 4 (ds-digest)"),
        (rrset("nobody.parent.example.", "NS", NS), "nobody.parent.example. is not delegated (child-delegated)"),
        (rrset("parent.example.", "NS", NS), "not below parent.example. (child-below-apex)"),
        (rrset("ns.parent.example.", "A", "11.0.0.1"), "it lies in no delegation of parent.example. (child-delegated)"),
        (rrset("below.above.parent.example.", "NS", NS), "lies below the delegation of above.parent.example."),
        (rrset("updater.parent.example.", "NS", NS), "the receiver's own name"),
    ],
)
async def test_policy_is_that_of_updates(here: Site, entry: dict[str, Any], words: str) -> None:
    before = await here.served()
    reply = await patch(here, entry)
    assert reply.status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert words in error(reply)
    assert await here.served() == before
    assert await here.store.changes.list() == []
    (refused,) = await events(here, "change.refused")
    assert (refused["actor"], refused["rule"] in error(reply)) == ("hook:portal", True)


async def test_addresses_alone_go_to_the_delegation_around_them(here: Site) -> None:
    assert (await patch(here, rrset("ns1.child.parent.example.", "AAAA", "2610::1"))).status == HTTPStatus.NO_CONTENT
    assert (
        RR(names.from_text("ns1.child.parent.example."), RRType.AAAA, b"\x26\x10" + bytes(13) + b"\1")
        in (await here.served()).records
    )


async def test_one_refused_part_keeps_all_others_from_being_begun(here: Site) -> None:
    reply = await patch(
        here,
        rrset("child.parent.example.", "NS", NS),
        rrset("other.parent.example.", "NS"),
        rrset("x.parent.example.", "DS"),
    )
    assert reply.status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert "other.parent.example. NS" in error(reply)
    assert await here.store.changes.list() == []
    reply = await patch(here, rrset("child.parent.example.", "NS", NS), rrset("other.parent.example.", "NS", NS))
    assert reply.status == HTTPStatus.NO_CONTENT
    assert (await here.served(CHILD), await here.served(OTHER)) == (ns_of(CHILD, NS), ns_of(OTHER, NS))


async def test_the_order_of_a_child_s_own_requests_is_not_disturbed(here: Site) -> None:
    await here.trust(CHILD)
    at = here.clock.now
    assert (await here.ask(here.signed(*replace_ns(CHILD, "one.example."), signed_at=at))).rcode == Rcode.NOERROR
    assert (await patch(here, rrset("child.parent.example.", "NS", NS, "one.example."))).status == HTTPStatus.NO_CONTENT
    stale = here.signed(*replace_ns(CHILD, "old.example."), signed_at=at - 10)
    assert (await here.ask(stale)).rcode != Rcode.NOERROR
    here.clock.now += 1
    fresh = here.signed(*replace_ns(CHILD, "two.example."), signed_at=at + 1)
    assert (await here.ask(fresh)).rcode == Rcode.NOERROR


async def test_a_child_has_one_change_at_a_time_whoever_asks(here: Site) -> None:
    await here.trust(CHILD)
    wires = [here.signed(*replace_ns(CHILD, f"n{number}.example."), identity=number) for number in range(3)]
    posts = [patch(here, rrset("child.parent.example.", "NS", f"p{number}.example.")) for number in range(3)]
    answers = await asyncio.gather(*(here.ask(wire) for wire in wires), *posts)
    assert all(reply.status == HTTPStatus.NO_CONTENT for reply in answers[3:] if isinstance(reply, Reply))
    changes = list(reversed(await here.store.changes.list()))
    for earlier, later in pairwise(changes):
        assert later.before == earlier.after


@pytest.mark.parametrize("foreign_ns", ["keep", "alarm", "suspend"])
async def test_ns_that_a_front_end_changes_are_changed_by_somebody_else(tmp_path: Path, foreign_ns: Any) -> None:
    async with site(tmp_path, trust=TrustSettings(foreign_ns=foreign_ns)) as here:
        pair = await here.trust(CHILD)
        digest = "1 13 2 " + "ab" * 32
        assert (await patch(here, rrset("child.parent.example.", "DS", digest))).status == HTTPStatus.NO_CONTENT
        assert await events(here, "delegation.foreign-change") == []
        for server in (NS, "b.ns.example.", NS):
            assert (await patch(here, rrset("child.parent.example.", "NS", server))).status == HTTPStatus.NO_CONTENT
        told = await events(here, "delegation.foreign-change")
        # once the key is suspended, there is nothing left to tell
        assert [each["actor"] for each in told] == ["hook:portal"] * {"keep": 0, "alarm": 3, "suspend": 1}[foreign_ns]
        (key,) = [key async for key in here.store.keys.list() if key.key == pair.key]
        assert (key.state is KeyState.TRUSTED) is (foreign_ns != "suspend")
        here.clock.now += 1
        answer = await here.ask(here.signed(*replace_ns(CHILD, "mine.example.")))
        assert (answer.rcode == Rcode.NOERROR) is (foreign_ns != "suspend")


async def test_a_front_end_keeps_to_the_limits_of_a_child(tmp_path: Path) -> None:
    async with site(tmp_path, limits=Limits(child_burst=2, child_rate=0.1)) as here:
        replies = [await patch(here, rrset("child.parent.example.", "NS", f"n{i}.example.")) for i in range(3)]
        assert [reply.status for reply in replies] == [204, 204, 429]
        assert error(replies[2]) == "child.parent.example.: too many changes of this child (child-rate)"
        await here.trust(CHILD)
        assert (await here.ask(here.signed(*replace_ns(CHILD, NS)))).rcode == Rcode.REFUSED


async def test_what_a_crash_left_is_written_after_it(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        assert (await patch(here, rrset("child.parent.example.", "NS", NS))).status == HTTPStatus.NO_CONTENT
    include = tmp_path / "parent.example.delegations"
    # as it was when the ledger had the change and the zone had not
    include.write_text(include.read_text().replace(NS, "old.ns.example."))
    with closing(sqlite3.connect(tmp_path / "zonecut.db")) as database, database:
        before = ns_of(CHILD, "old.ns.example.").to_wire()
        database.execute("UPDATE changes SET state = 'accepted', before = ?", (before,))
    database.close()
    async with site(tmp_path) as here:
        async with asyncio.timeout(5):
            await here.zone.writer.drain(5)
        assert await here.served() == ns_of(CHILD, NS)


async def test_what_a_crash_left_is_judged_again_where_somebody_edited(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        assert (await patch(here, rrset("child.parent.example.", "DS", "1 13 2 " + "ab" * 32))).status == 204
        assert (await patch(here, rrset("child.parent.example.", "DS"))).status == 204
    include = tmp_path / "parent.example.delegations"
    include.write_text(include.read_text().replace("ns1.child.parent.example.", "ns2.child.parent.example."))
    with closing(sqlite3.connect(tmp_path / "zonecut.db")) as database, database:
        database.execute("UPDATE changes SET state = 'accepted' WHERE id = 2")
    database.close()
    async with site(tmp_path) as here:
        async with asyncio.timeout(5):
            await here.zone.writer.drain(5)
        await here.zone.close(5)
        (second, _) = await here.store.changes.list()
        assert second.state is ChangeState.APPLIED
        assert (await here.served()).ds == ()


async def test_what_is_no_patch_and_what_is_no_zone_is_told(here: Site) -> None:
    reply = await here.front_end.patch(ZONE, b"{", "hook:portal", SOURCE)
    assert (reply.status, "no JSON" in error(reply)) == (HTTPStatus.BAD_REQUEST, True)
    elsewhere = names.from_text("elsewhere.example.")
    reply = await patch(here, zone=elsewhere)
    assert (reply.status, error(reply)) == (HTTPStatus.NOT_FOUND, "Could not find domain 'elsewhere.example.'")
    assert (await here.front_end.rrsets(elsewhere, elsewhere)).status == HTTPStatus.NOT_FOUND
    assert (await patch(here)).status == HTTPStatus.NO_CONTENT


async def test_what_a_delegation_holds_at_a_name_is_shown(here: Site) -> None:
    host = names.from_text("ns1.child.parent.example.")
    reply = await here.front_end.rrsets(ZONE, host)
    address = {
        "name": "ns1.child.parent.example.",
        "type": "A",
        "ttl": 3600,
        "records": [{"content": "1.1.1.2", "disabled": False}],
        "comments": [],
    }
    assert reply.document == {**front_view.zone(ZONE), "rrsets": [address]}
    for rtype, found in ((RRType.A, [address]), (RRType.AAAA, [])):
        reply = await here.front_end.rrsets(ZONE, host, rtype)
        assert reply.document == {**front_view.zone(ZONE), "rrsets": found}
    for name in ("nobody.parent.example.", "parent.example.", "ns.parent.example."):
        nothing = await here.front_end.rrsets(ZONE, names.from_text(name))
        assert nothing.document is not None
        assert nothing.document["rrsets"] == []
    outside = await here.front_end.rrsets(ZONE, names.from_text("elsewhere.example."))
    assert outside.status == HTTPStatus.UNPROCESSABLE_ENTITY


async def shown(here: Site) -> Reply:
    return await here.front_end.zone(ZONE, with_rrsets=True)


async def test_a_zone_is_shown_with_every_rrset_of_every_delegation_or_not_at_all(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is given an empty list takes what is there for gone, and replaces it."""
    await here.zone.delegated(names.from_text("child.parent.example."))
    reply = await shown(here)
    assert reply.status == HTTPStatus.OK
    assert reply.body is not None
    document = json.loads(reply.body)
    rrsets = document.pop("rrsets")
    assert document == front_view.zone(ZONE)
    listed = await here.zone.listing(1000)
    assert listed is not None
    expected = {
        (names.to_text(owner), RRType(rtype).text): {rdata_text(rtype, rdata).lower() for rdata in rdatas}
        for each in listed
        if isinstance(each, Reading)
        for (owner, rtype), rdatas in each.delegation.rrsets.items()
    }
    assert expected
    assert {
        (each["name"], each["type"]): {record["content"].lower() for record in each["records"]} for each in rrsets
    } == expected
    assert all(each["ttl"] for each in rrsets)
    bare = await here.front_end.zone(ZONE, with_rrsets=False)
    assert bare.document == front_view.zone(ZONE)
    monkeypatch.setattr("zonecut.powerdns_api.front_end.MOST_SHOWN", len(listed) - 1)
    reply = await shown(here)
    assert (reply.status, "more than" in error(reply)) == (HTTPStatus.UNPROCESSABLE_ENTITY, True)
    monkeypatch.undo()

    async def one_makes_no_sense(most: int) -> list[Reading | Unreadable]:
        return [*listed, Unreadable(None, "odd.parent.example.", "an NS that is none")]

    monkeypatch.setattr(here.zone, "listing", one_makes_no_sense)
    reply = await shown(here)
    assert (reply.status, "odd.parent.example." in error(reply)) == (HTTPStatus.UNPROCESSABLE_ENTITY, True)


async def test_a_ttl_that_the_server_does_not_tell_is_the_policy_s() -> None:
    child = names.from_text("child.parent.example.")
    reading = Reading(Delegation(child, (names.from_text("ns.example."),), (b"\0\1\x0d\2" + bytes(32),)))
    found = front_view.document(front_view.rrsets_of([replace(reading, ttls={(child, RRType.NS): 17})], Ttls(ds=300)))
    assert [(each["type"], each["ttl"]) for each in found] == [("NS", 17), ("DS", 300)]


async def test_a_change_that_is_not_written_yet_is_told_as_pending(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()
    write = here.backend.write

    async def late(changes: Any) -> None:
        await gate.wait()
        await write(changes)

    monkeypatch.setattr(here.backend, "write", late)
    here.zone.reconfigure(here.zone.rules, here.zone._settings.model_copy(update={"answer_within": 0.1}))
    reply = await patch(here, rrset("child.parent.example.", "NS", NS))
    assert reply == Reply(HTTPStatus.ACCEPTED, {"pending": ["child.parent.example."], "applied": []})
    # the next one of the child has to wait
    reply = await patch(here, rrset("child.parent.example.", "DS"))
    assert (reply.status, "one-change-at-a-time" in error(reply)) == (HTTPStatus.SERVICE_UNAVAILABLE, True)
    gate.set()
    assert await here.zone.writer.drain(5)
    assert await here.served() == ns_of(CHILD, NS)


async def test_a_posted_change_is_no_message_that_anybody_could_send(here: Site) -> None:
    """What the ledger keeps of it has no signature: nobody can replay it over DNS."""
    await here.trust(CHILD)
    await patch(here, rrset("child.parent.example.", "NS", NS))
    (change,) = await here.store.changes.list()
    answer = await here.ask(change.message)
    assert answer.rcode == Rcode.REFUSED
    assert len(await here.store.changes.list()) == 1
    assert message.delete_rrset(CHILD, RRType.NS) in change.message


async def is_trusted(here: Site) -> bool:
    (stored,) = await here.store.keys.find(CHILD)
    return stored.state is KeyState.TRUSTED


@pytest.mark.parametrize("fails", ["server", "ledger"])
async def test_ns_that_a_front_end_did_not_get_changed_mean_nothing_for_the_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    async with site(tmp_path, trust=TrustSettings(foreign_ns="suspend")) as here:
        await here.trust(CHILD)
        if fails == "server":

            async def rejects(changes: Any) -> None:
                raise BackendRejected("no")

            monkeypatch.setattr(here.backend, "write", rejects)
        else:
            await here.zone.retire()
        before = await here.served()
        assert (await patch(here, rrset("child.parent.example.", "NS", NS))).status >= HTTPStatus.BAD_REQUEST
        assert await here.served() == before
        assert await is_trusted(here)
        assert await events(here, "delegation.foreign-change") == []


async def test_ns_that_a_front_end_got_changed_mean_something_for_the_keys_before_that_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = TrustSettings(foreign_ns="suspend")
    async with site(tmp_path, trust=trust) as here:
        await here.trust(CHILD)

        async def fails(*_: object) -> int:
            raise StoreUnavailable("it is away")

        monkeypatch.setattr("zonecut.receiver.change.ledger.SETTLE_RETRY", 60)
        monkeypatch.setattr(here.store.bootstraps, "suspend_child", fails)
        here.zone.reconfigure(here.zone.rules, here.zone._settings.model_copy(update={"answer_within": 0.2}))
        assert (await patch(here, rrset("child.parent.example.", "NS", NS))).status == HTTPStatus.NO_CONTENT
        # it is there, and until its meaning is recorded the child can do nothing
        assert await here.served() == ns_of(CHILD, NS)
        assert (await here.ask(here.signed(*replace_ns(CHILD, "b.ns.example.")))).rcode == Rcode.SERVFAIL
        await here.zone._ledger.close(0)  # and there we fall
    monkeypatch.undo()
    async with site(tmp_path, trust=trust) as here:
        async with asyncio.timeout(5):
            while await is_trusted(here):  # noqa: ASYNC110 (it is looked for)
                await asyncio.sleep(0.01)
            while (await here.store.changes.list())[0].state is not ChangeState.APPLIED:  # noqa: ASYNC110 (as well)
                await asyncio.sleep(0.01)
        assert await here.served() == ns_of(CHILD, NS)
