"""The order of a child's changes: who is late by his clock's fault, and what was held back on the way."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import pytest

from receiver_support import CHILD, NOW, ZONE, Answer, Site, ns_of, replace_ns, site
from trust_support import key_record, new_pair
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRType
from zonecut.protocol.errors import Refusal
from zonecut.receiver.change.ordering import AHEAD_AT_MOST, check_floor, dated
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.receiver.message.admission import Limits, Source
from zonecut.receiver.zone_settings import ZoneSettings
from zonecut.store import KeyState

A, B, C = "a.ns.example.", "b.ns.example.", "c.ns.example."
PORTAL = "portal.ns.example."


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    # a portal is somebody else to a child's keys, which is none of the matter here
    async with site(tmp_path, trust=TrustSettings(foreign_ns="keep")) as opened:
        await opened.trust(CHILD)
        yield opened


def at(seconds: float) -> str:
    """A time as a child is told it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


async def change(here: Site, server: str, back: float = 0) -> Answer:
    """A child's change, sent now and dated back by so many seconds."""
    return await here.ask(here.signed(*replace_ns(CHILD, server), signed_at=here.clock.now - back))


async def post(here: Site, server: str = PORTAL) -> None:
    """A change through the hook."""
    record = {"content": server, "disabled": False}
    rrset = {"name": "child.parent.example.", "type": "NS", "changetype": "REPLACE", "ttl": 1, "records": [record]}
    body = json.dumps({"rrsets": [rrset]}).encode()
    reply = await here.front_end.patch(ZONE, body, "hook:portal", Source("127.0.0.1", 1, udp=False))
    assert reply.status == HTTPStatus.NO_CONTENT


def text_of(answer: Answer) -> str:
    assert answer.rcode == Rcode.BADTIME
    assert answer.error is not None
    return answer.error.text


async def test_a_client_that_dates_back_by_chance_is_never_stale(here: Site) -> None:
    # as the prototype does: from one to two minutes, differently each time
    for number, back in enumerate((60, 116, 62, 120, 75, 119, 60, 118)):
        assert (await change(here, f"ns{number}.example.", back)).rcode == Rcode.NOERROR
        here.clock.now += 2
    assert await here.served() == ns_of(CHILD, "ns7.example.")


async def test_nsupdate_that_dates_back_by_300_s_goes_beside_a_client_that_does_not(here: Site) -> None:
    assert (await change(here, A)).rcode == Rcode.NOERROR
    assert (await change(here, B, 300)).rcode == Rcode.NOERROR
    assert (await change(here, C, 301)).rcode == Rcode.BADTIME
    assert await here.served() == ns_of(CHILD, B)


async def test_a_client_whose_clock_is_fast_locks_out_no_other_key_nor_itself(here: Site) -> None:
    other = new_pair()
    await here.add(other.key, KeyState.TRUSTED)
    assert (await change(here, A, -200)).rcode == Rcode.NOERROR
    here.clock.now += 1
    slow = here.signed(*replace_ns(CHILD, B), signed_at=here.clock.now - 290, pair=other)
    assert (await here.ask(slow)).rcode == Rcode.NOERROR
    # and once its clock is right
    assert (await change(here, C, 299)).rcode == Rcode.NOERROR


async def test_what_is_dated_ahead_counts_as_now_where_order_is_strict(tmp_path: Path) -> None:
    async with site(tmp_path, settings=ZoneSettings(ordering="strict")) as here:
        await here.trust(CHILD)
        assert (await change(here, A, -250)).rcode == Rcode.NOERROR
        assert (await change(here, B, 1)).rcode == Rcode.BADTIME
        here.clock.now += 1
        assert (await change(here, B)).rcode == Rcode.NOERROR


async def test_the_tolerance_is_a_setting(tmp_path: Path) -> None:
    async with site(tmp_path, settings=ZoneSettings(ordering_tolerance=20)) as here:
        await here.trust(CHILD)
        assert (await change(here, A)).rcode == Rcode.NOERROR
        assert (await change(here, B, 20)).rcode == Rcode.NOERROR
        text = text_of(await change(here, C, 21))
    tag = here.pairs[CHILD].key.tag
    assert text == (
        f"stale: signed at {at(NOW - 21)}, 21 s before a change that key {tag} signed at {at(NOW)} and that was"
        f" accepted at {at(NOW)}, more than the 20 s that are tolerated; it is {at(NOW)} here"
    )


async def test_the_newest_counts_and_not_the_last(here: Site) -> None:
    here.clock.now += 300
    assert (await change(here, A)).rcode == Rcode.NOERROR
    assert (await change(here, B, 250)).rcode == Rcode.NOERROR
    assert (await change(here, C, 301)).rcode == Rcode.BADTIME


async def signed_by_a_fast_clock(here: Site) -> None:
    assert (await change(here, A, -200)).rcode == Rcode.NOERROR


@pytest.mark.parametrize(("newer", "back"), [(signed_by_a_fast_clock, 301), (post, 0)])
async def test_the_order_survives_a_restart_whatever_the_channel(
    tmp_path: Path, newer: Callable[[Site], Awaitable[None]], back: int
) -> None:
    trust = TrustSettings(foreign_ns="keep")
    async with site(tmp_path, trust=trust) as here:
        pair = await here.trust(CHILD)
        await newer(here)
    async with site(tmp_path, trust=trust) as here:
        here.pairs[CHILD] = pair
        here.clock.now += 10
        assert (await change(here, C, 10 + back)).rcode == Rcode.BADTIME
        assert (await change(here, C, 10 + back - 1)).rcode == Rcode.NOERROR


async def test_a_message_held_back_over_a_change_through_the_hook_does_not_undo_it(here: Site) -> None:
    held_back = here.signed(*replace_ns(CHILD, A))
    here.clock.now += 120
    await post(here)
    here.clock.now += 60
    text = text_of(await here.ask(held_back))
    assert text == (
        f"stale: signed at {at(NOW)}, 120 s before a change through the hook, accepted at {at(NOW + 120)}, and without"
        f" prerequisites that say what it starts from; it is {at(NOW + 180)} here"
    )
    assert await here.served() == ns_of(CHILD, PORTAL)
    # nor with a signed change in between, which is newer than both
    assert (await change(here, B)).rcode == Rcode.NOERROR
    assert (await here.ask(held_back)).rcode == Rcode.BADTIME
    assert (await change(here, C)).rcode == Rcode.NOERROR


async def test_prerequisites_let_a_message_that_is_dated_back_go_over_the_hook_s_change_and_void_one_held_back(
    here: Site,
) -> None:
    def starting_from(*servers: str, to: str) -> bytes:
        holds = [message.rrset_holds(CHILD, RRType.NS, names.from_text(server)) for server in servers]
        return here.signed(*replace_ns(CHILD, to), prerequisites=holds, signed_at=here.clock.now - 200)

    held_back = starting_from("ns1.child.parent.example.", to=A)
    await post(here)
    here.clock.now += 60
    assert (await here.ask(held_back)).rcode == Rcode.NXRRSET
    assert (await here.ask(starting_from(PORTAL, to=B))).rcode == Rcode.NOERROR
    assert await here.served() == ns_of(CHILD, B)


async def test_prerequisites_about_something_else_say_nothing(here: Site) -> None:
    await post(here)
    about_ds = [message.rrset_absent(CHILD, RRType.DS)]
    wire = here.signed(*replace_ns(CHILD, A), prerequisites=about_ds, signed_at=NOW - 10)
    assert (await here.ask(wire)).rcode == Rcode.BADTIME


async def test_a_roll_of_keys_that_is_dated_back_goes_beside_a_change_through_the_hook(here: Site) -> None:
    await post(here)
    assert (await here.ask(here.signed(key_record(new_pair().key), signed_at=NOW - 100))).rcode == Rcode.NOERROR


def test_an_inception_is_a_time_near_now() -> None:
    assert dated(NOW - 10, NOW) == NOW - 10
    assert dated(NOW + 10, NOW) == NOW
    assert dated(None, NOW) == NOW
    wrapped = 2**32 + 5
    assert dated(2**32 - 10, wrapped) == 2**32 - 10
    assert dated(20, wrapped) == wrapped


# Clocks, ties, and trust that begins anew


async def test_a_change_that_was_accepted_while_our_clock_was_fast_locks_nobody_out(tmp_path: Path) -> None:
    day = 86400
    trust = TrustSettings(foreign_ns="keep")
    # both clocks of a site are one, and the monotonic one goes back with it here
    limits = Limits(source_burst=10**8, child_burst=10**8)
    async with site(tmp_path, trust=trust, limits=limits) as here:
        pair = await here.trust(CHILD)
        here.clock.now += day
        await post(here)
        here.clock.now += 1
        assert (await change(here, A)).rcode == Rcode.NOERROR
        here.clock.now -= day - 600
        assert (await change(here, B)).rcode == Rcode.NOERROR
        # what was signed before counts as before all the same
        assert (await change(here, C, 1)).rcode == Rcode.BADTIME
    async with site(tmp_path, trust=trust) as here:
        here.pairs[CHILD] = pair
        here.clock.now += 1200
        assert (await change(here, C)).rcode == Rcode.NOERROR


async def test_a_message_of_the_second_of_a_change_through_the_hook_may_be_older_than_that(here: Site) -> None:
    held_back = here.signed(*replace_ns(CHILD, A))
    here.clock.now += 0.8
    await post(here)
    here.clock.now += 280
    text = text_of(await here.ask(held_back))
    assert text.startswith(
        f"stale: signed at {at(NOW)}, in the same second as a change through the hook, accepted at {at(NOW)}"
    )
    assert await here.served() == ns_of(CHILD, PORTAL)


async def test_what_was_signed_before_an_operator_trusted_a_suspended_key_anew_is_stale(here: Site) -> None:
    held_back = here.signed(*replace_ns(CHILD, A))
    roll = here.signed(key_record(new_pair().key))
    (stored,) = await here.store.keys.find(CHILD)
    await here.store.bootstraps.suspend_child(CHILD, "zonecut", "moved")
    here.clock.now += 100
    await here.store.bootstraps.decide(stored.id, "operator:ann", "asked them")
    await here.store.ring.fetch([CHILD])
    here.clock.now += 100
    for wire in (held_back, roll):
        text = text_of(await here.ask(wire))
        assert text.startswith(f"stale: signed at {at(NOW)}, before an operator trusted key {stored.key.tag} anew")
    assert (await change(here, B, 100)).rcode == Rcode.NOERROR


@pytest.mark.parametrize("back", [300, 0, -10, -290, -299])
def test_what_a_fast_clock_signed_before_a_restore_is_stale_however_far_ahead_it_is_dated(back: int) -> None:
    with pytest.raises(Refusal, match=r"stale: signed at .* was restored from a backup") as refused:
        check_floor(NOW + 300.0, NOW - back, NOW)
    assert refused.value.rcode == Rcode.BADTIME


@pytest.mark.parametrize("back", [-300, -310])
def test_what_is_signed_from_the_floor_on_is_taken(back: int) -> None:
    check_floor(NOW + 300.0, NOW - back, NOW)
    check_floor(NOW + 300.0, NOW - back, NOW + 301)


def test_a_floor_of_a_clock_that_was_set_back_counts_as_now() -> None:
    check_floor(NOW + AHEAD_AT_MOST + 1.0, NOW, NOW)
    with pytest.raises(Refusal):
        check_floor(NOW + AHEAD_AT_MOST + 1.0, NOW - 1, NOW)
