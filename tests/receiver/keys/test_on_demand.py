"""`trust.on_demand`: the key of a child that never uploads is looked up when it signs, and proves nothing by that."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receiver_support import CHILD, NOW, Site, replace_ns, site
from trust_support import (
    Scripted,
    World,
    accepts,
    becomes,
    bootstrap_of,
    eventually,
    found,
    inquiry,
    new_pair,
    state_of,
    state_told,
    states,
    stored_of,
)
from zonecut.plugin.bootstrap import Sighting
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, Rcode, ReceiverState, RRType
from zonecut.protocol.keys import KeyPair
from zonecut.protocol.sig0 import sign_request
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.receiver.message.admission import Limits, Source
from zonecut.store import KeyState

A = "a.ns.example."
SETTINGS = TrustSettings(on_demand=True)
PLENTY = Limits(source_burst=100_000, child_burst=100_000, upload_burst=100_000)
NOTHING_UP_MY_SLEEVE = 0.05


@pytest.fixture
def pair() -> KeyPair:
    return new_pair()


@pytest.fixture
def world(pair: KeyPair) -> World:
    """The child publishes its key beside another one."""
    return World({CHILD: found(new_pair().key, pair.key)})


@pytest.fixture
def method() -> Scripted:
    return Scripted()


@pytest.fixture
async def here(tmp_path: Path, world: World, method: Scripted) -> AsyncIterator[Site]:
    identity = new_pair(names.from_text("updater."))
    async with site(
        tmp_path, methods=[("at-apex", method)], lookups=world, trust=SETTINGS, limits=PLENTY, identity=identity
    ) as opened:
        yield opened


def change(here: Site, pair: KeyPair, *, identity: int = 1) -> bytes:
    return here.signed(*replace_ns(pair.key.owner, A), pair=pair, identity=identity)


async def known(here: Site, pair: KeyPair) -> None:
    async with asyncio.timeout(5):
        while await state_of(here, pair.key) is not KeyState.KNOWN:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await here.store.ring.fetch([CHILD])


async def test_a_change_by_an_unknown_signer_has_its_key_looked_up_and_is_answered_as_ever(
    here: Site, pair: KeyPair, method: Scripted
) -> None:
    assert (await here.ask(change(here, pair))).rcode == Rcode.BADKEY
    await known(here, pair)
    assert await states(here) == {pair.key.rdata: KeyState.KNOWN}
    stored, bootstrap = await stored_of(here, pair.key), await bootstrap_of(here, pair.key)
    assert bootstrap is not None
    assert (stored.method, bootstrap.replaces, bootstrap.source) == ("on-demand", False, "127.0.0.1 (UDP)")
    assert (await here.ask(change(here, pair, identity=2))).rcode == Rcode.REFUSED
    method.finding = accepts(pair.key)
    here.clock.now += 10
    await becomes(here, pair.key, KeyState.TRUSTED)
    assert (await here.ask(change(here, pair, identity=3))).rcode == Rcode.NOERROR


async def test_an_inquiry_by_an_unknown_signer_has_its_key_looked_up(here: Site, pair: KeyPair) -> None:
    assert await state_told(here, pair) == ReceiverState.UNKNOWN
    await known(here, pair)
    assert await state_told(here, pair) == ReceiverState.BOOTSTRAP_AUTO


@pytest.mark.parametrize("inquires", [True, False])
async def test_a_key_that_is_forgotten_here_is_looked_up_like_an_unknown_one(
    here: Site, pair: KeyPair, inquires: bool
) -> None:
    await here.add(pair.key, KeyState.ENDED)
    if inquires:
        assert await state_told(here, pair) == ReceiverState.UNKNOWN
    else:
        assert (await here.ask(change(here, pair))).rcode == Rcode.BADKEY
    await known(here, pair)


async def test_where_an_operator_decides_the_key_waits_for_him(tmp_path: Path, world: World, pair: KeyPair) -> None:
    async with site(tmp_path, lookups=world, trust=SETTINGS) as here:
        await here.ask(change(here, pair))
        await known(here, pair)
        bootstrap = await bootstrap_of(here, pair.key)
        assert bootstrap is not None
        assert bootstrap.manual


async def test_it_is_off_unless_asked_for(tmp_path: Path, world: World, pair: KeyPair) -> None:
    async with site(tmp_path, lookups=world) as here:
        await here.ask(change(here, pair))
        await state_told(here, pair)
        await asyncio.sleep(NOTHING_UP_MY_SLEEVE)
    assert world.asked == []


async def test_only_the_key_that_made_the_signature_is_taken_in(here: Site, pair: KeyPair, world: World) -> None:
    await here.ask(change(here, new_pair()))
    await eventually(lambda: world.asked == [CHILD])
    forged = bytearray(change(here, pair))
    forged[-1] ^= 1
    await here.ask(bytes(forged))
    await asyncio.sleep(NOTHING_UP_MY_SLEEVE)
    assert await states(here) == {}
    await here.ask(change(here, pair))
    await known(here, pair)


@pytest.mark.parametrize("child", ["undelegated.parent.example.", "below.above.parent.example.", "*.parent.example."])
async def test_nothing_is_looked_up_for_who_is_no_child(here: Site, world: World, child: str) -> None:
    await here.ask(change(here, new_pair(names.from_text(child))))
    await asyncio.sleep(NOTHING_UP_MY_SLEEVE)
    assert world.asked == []


async def test_what_is_unsigned_or_out_of_its_time_makes_nobody_look(here: Site, pair: KeyPair, world: World) -> None:
    await here.ask(inquiry(here, None, pair.key.tag))
    await here.ask(here.signed(*replace_ns(CHILD, A), pair=pair, signed_at=NOW - 10_000))
    another = inquiry(here, new_pair(names.from_text("other.parent.example.")), pair.key.tag)
    await here.ask(another)  # about a child that did not sign it
    await asyncio.sleep(NOTHING_UP_MY_SLEEVE)
    assert world.asked == []


async def test_a_child_is_looked_at_once_per_cool_down_and_a_flood_does_not_shut_it_out(
    here: Site, pair: KeyPair, world: World
) -> None:
    async def flood() -> None:
        for number in range(50):
            await here.ask(change(here, new_pair()), Source(f"192.0.2.{number}", 53, udp=True))

    await flood()
    await eventually(lambda: bool(world.asked))
    assert world.asked == [CHILD]
    await here.ask(change(here, pair))
    await known(here, pair)
    assert world.asked == [CHILD]
    here.clock.now += SETTINGS.cool_down
    await flood()
    await eventually(lambda: len(world.asked) > 1)
    assert world.asked == [CHILD, CHILD]


async def test_messages_that_come_during_a_look_up_wait_for_it_but_not_all_of_them(
    tmp_path: Path, pair: KeyPair
) -> None:
    go = asyncio.Event()

    class Slow(World):
        async def keys_at(self, name: bytes) -> Sighting:
            await go.wait()
            return await super().keys_at(name)

    world = Slow({CHILD: found(pair.key)})
    async with site(tmp_path, lookups=world, trust=SETTINGS, limits=PLENTY) as here:
        await here.ask(change(here, new_pair()))
        await here.ask(change(here, pair))
        for _ in range(50):
            await here.ask(change(here, new_pair()))
        assert len(asyncio.all_tasks()) < 30
        go.set()
        await known(here, pair)
        assert world.asked == [CHILD]


async def test_it_is_limited_like_uploads(tmp_path: Path, world: World) -> None:
    limits = Limits(upload_burst=3, upload_rate=0.001)
    async with site(tmp_path, lookups=world, trust=SETTINGS, limits=limits) as here:
        for count in range(1, 7):
            here.clock.now += SETTINGS.cool_down
            assert (await here.ask(change(here, new_pair()))).rcode == Rcode.BADKEY
            if count <= limits.upload_burst:
                await eventually(lambda: len(world.asked) == count)  # noqa: B023
            await asyncio.sleep(NOTHING_UP_MY_SLEEVE)
    assert len(world.asked) == limits.upload_burst


async def test_look_ups_for_many_children_are_bounded_whoever_asks(tmp_path: Path, world: World) -> None:
    directory = tmp_path / "zone"
    directory.mkdir()
    children = [f"c{number}" for number in range(200)]
    async with site(tmp_path, lookups=world, trust=SETTINGS, limits=PLENTY) as here:
        zone_file = tmp_path / "parent.zone"
        zone_file.write_text(
            zone_file.read_text() + "".join(f"{child} NS ns.elsewhere.example.\n" for child in children)
        )
        for child in children:
            await here.ask(change(here, new_pair(names.from_text(f"{child}.parent.example."))))
        await asyncio.sleep(NOTHING_UP_MY_SLEEVE)
    assert len(world.asked) <= 50


async def test_names_that_do_not_exist_keep_nobody_from_being_looked_up(
    here: Site, pair: KeyPair, world: World
) -> None:
    for number in range(100):
        stranger = new_pair(names.from_text(f"x{number}.parent.example."))
        await here.ask(change(here, stranger), Source(f"192.0.2.{number}", 53, udp=True))
        await asyncio.sleep(0.01)
    await here.ask(change(here, pair))
    await known(here, pair)
    assert world.asked == [CHILD]


async def test_a_defect_of_the_look_up_is_no_end(here: Site, pair: KeyPair, world: World, tmp_path: Path) -> None:
    async def fails(name: bytes) -> Sighting:
        raise ZeroDivisionError

    world.keys_at, works = fails, world.keys_at  # type: ignore[method-assign]
    assert (await here.ask(change(here, pair))).rcode == Rcode.BADKEY
    await asyncio.sleep(NOTHING_UP_MY_SLEEVE)
    world.keys_at = works  # type: ignore[method-assign]
    here.clock.now += SETTINGS.cool_down
    await here.ask(change(here, pair))
    await known(here, pair)


async def test_an_upload_needs_no_look_up(here: Site, pair: KeyPair, world: World) -> None:
    wire = message.update(
        1, names.from_text("parent.example."), (), [message.add(CHILD, RRType.KEY, 60, pair.key.rdata)]
    )
    at = int(here.clock.now)
    signed = sign_request(wire, pair, at, at + 300, signature_type=DEFAULT.signature_type)
    assert (await here.ask(signed)).rcode == Rcode.NOERROR
    assert world.asked == []
