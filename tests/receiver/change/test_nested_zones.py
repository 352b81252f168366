"""Of two parent zones of ours, one inside the other, only the nearest one above a child speaks for it."""

import asyncio
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest

from patch_support import rrset
from receiver_support import SOURCE, ZONE, ZONE_TEXT, Site, ns_of, replace_ns, site
from trust_support import Scripted, accepts, becomes, key_record, new_pair, state_of, states, upload
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.envelope import walk
from zonecut.protocol.errors import Refusal
from zonecut.receiver.message.admission import Limits, admit
from zonecut.store import KeyState

INNER = names.from_text("inner.parent.example.")
CHILD = names.from_text("x.inner.parent.example.")
PAIR = new_pair(CHILD)
METHOD = Scripted(accepts(PAIR.key))
LEFT = "x.inner NS ns.formerholder.example.\n"
"""What the outer zone still holds."""
RULE = "nearer to it than parent.example.: send it to that zone"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    (tmp_path / "parent.zone").write_text(ZONE_TEXT.format(directory=tmp_path) + LEFT)
    async with site(tmp_path, methods=[("at-ns", METHOD)], zones=(ZONE, INNER)) as here:
        yield here


async def refused(here: Site, wire: bytes) -> None:
    answer = await here.ask(wire)
    assert answer.rcode == Rcode.REFUSED
    assert answer.error is not None
    assert answer.error.text.endswith(RULE)
    assert "is a child of inner.parent.example." in answer.error.text


async def test_no_key_is_taken_in_or_judged_on_what_the_outer_zone_has_left(here: Site) -> None:
    await refused(here, upload(here, PAIR))
    assert await states(here, CHILD) == {}
    assert not METHOD.looks


async def test_no_change_and_no_roll_of_an_inner_child_goes_through_the_outer_zone(here: Site) -> None:
    pair, new = await here.trust(CHILD), new_pair(CHILD)
    await refused(here, here.signed(*replace_ns(CHILD, "new.example."), child=CHILD))
    await refused(here, here.signed(key_record(new.key), child=CHILD))
    assert (await here.served(CHILD)).ns == (names.from_text("ns.formerholder.example."),)
    assert await states(here, CHILD) == {pair.key.rdata: KeyState.TRUSTED}


async def test_a_front_end_does_not_suspend_an_inner_child_through_the_outer_zone(here: Site) -> None:
    pair = await here.trust(CHILD)
    body = json.dumps({"rrsets": [rrset("x.inner.parent.example.", "NS", "portal.example.")]}).encode()
    reply = await here.front_end.patch(ZONE, body, "hook:portal", SOURCE)
    assert reply.status is HTTPStatus.UNPROCESSABLE_ENTITY
    assert "child-of-nearest-zone" in json.dumps(reply.document)
    assert await state_of(here, pair.key) is KeyState.TRUSTED


async def test_a_key_that_waits_when_the_inner_zone_comes_is_not_judged_on_the_outer_one(tmp_path: Path) -> None:
    (tmp_path / "parent.zone").write_text(ZONE_TEXT.format(directory=tmp_path) + LEFT)
    async with site(tmp_path) as before:
        await before.ask(upload(before, PAIR))
        assert await state_of(before, PAIR.key) is KeyState.KNOWN
    method = Scripted(accepts(PAIR.key))
    async with site(tmp_path, methods=[("at-ns", method)], zones=(ZONE, INNER)) as here:
        assert not (await here.zone.delegation_of(CHILD)).is_delegated
        here.clock.now += 86_400
        here.served_zone.bootstrapper.wake()
        await asyncio.sleep(0.2)
        assert not method.looks
        assert await state_of(here, PAIR.key) is KeyState.KNOWN


async def test_the_inner_zone_itself_is_a_child_of_the_outer_one(tmp_path: Path) -> None:
    (tmp_path / "parent.zone").write_text(ZONE_TEXT.format(directory=tmp_path) + "inner NS ns.elsewhere.example.\n")
    pair = new_pair(INNER)
    async with site(tmp_path, methods=[("at-ns", Scripted(accepts(pair.key)))], zones=(ZONE, INNER)) as here:
        here.pairs[INNER] = pair
        assert (await here.ask(upload(here, pair))).rcode == Rcode.NOERROR
        await becomes(here, pair.key, KeyState.TRUSTED)
        answer = await here.ask(here.signed(*replace_ns(INNER, "new1.example.", "new2.example."), child=INNER))
        assert answer.rcode == Rcode.NOERROR
        assert await here.served(INNER) == ns_of(INNER, "new1.example.", "new2.example.")


def test_a_zone_section_that_names_the_child_is_told_the_nearest_zone_of_ours() -> None:
    sent = walk(message.update(1, CHILD, (), ()))
    for zones in ((ZONE, INNER), (INNER, ZONE), (ZONE, INNER, names.from_text("child.x.inner.parent.example."))):
        with pytest.raises(Refusal, match=r"the zone section names the parent, inner\.parent\.example\.$") as refused:
            admit(sent, frozenset(zones), Limits(), RRType.SIG)
        assert refused.value.rcode == Rcode.NOTAUTH
