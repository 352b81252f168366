"""Strangers may take the places of a child's pending keys, and not the one of a key that the child publishes."""

import asyncio
from pathlib import Path

import pytest

from receiver_support import CHILD, OTHER, Answer, Site, site
from trust_support import (
    Scripted,
    World,
    accepts,
    becomes,
    bootstrap_of,
    delegation,
    eventually,
    found,
    new_pair,
    state_of,
    states,
    upload,
)
from zonecut.plugin.bootstrap import Conclusion, Finding, Presence, Security, Sighting
from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT, EdeCode, Rcode
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.errors import Refusal
from zonecut.protocol.keys import KeyPair
from zonecut.receiver.keys import published as publishing
from zonecut.receiver.keys import trust as trusting
from zonecut.receiver.keys.published import BURST, Published
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.receiver.message.admission import Limits, Source
from zonecut.store import KeyState

ZONE = names.from_text("parent.example.")
LIMITS = Limits(source_burst=100_000, child_burst=100_000, upload_burst=100_000)
PLACES = TrustSettings().pending_per_child


def ede(answer: Answer) -> int | None:
    return None if answer.error is None else answer.error.code


async def strangers(here: Site, count: int = PLACES, child: bytes = CHILD) -> list[KeyPair]:
    """So many strangers take the places of a child."""
    pairs = [new_pair(child) for _ in range(count)]
    for number, pair in enumerate(pairs):
        answer = await here.ask(upload(here, pair), Source(f"192.0.2.{number}", 53, udp=True))
        assert answer.rcode == Rcode.NOERROR
    return pairs


@pytest.mark.parametrize("settings", [TrustSettings(), TrustSettings(pending_in_all=PLACES)])
async def test_where_strangers_were_first_the_key_that_the_child_publishes_becomes_trusted(
    tmp_path: Path, settings: TrustSettings
) -> None:
    genuine, method = new_pair(), Scripted()
    world = World({CHILD: found(genuine.key)})
    async with site(tmp_path, methods=[("at-apex", method)], lookups=world, limits=LIMITS, trust=settings) as here:
        taken = await strangers(here)
        assert (await here.ask(upload(here, genuine))).rcode == Rcode.NOERROR
        # nobody was displaced for it
        assert set(await states(here)) == {pair.key.rdata for pair in (*taken, genuine)}
        unseen = Finding(Conclusion.CONTRADICTED, "it is not there")
        method.finding = lambda candidate: accepts(genuine.key) if candidate.key == genuine.key else unseen
        here.clock.now += 10
        await becomes(here, genuine.key, KeyState.TRUSTED)


async def test_uploads_from_a_forged_address_take_no_place_of_whom_it_belongs_to(tmp_path: Path) -> None:
    settings = TrustSettings(pending_per_source=2)
    async with site(
        tmp_path, methods=[("at-apex", Scripted())], lookups=World(), limits=LIMITS, trust=settings
    ) as here:
        answers = [await here.ask(upload(here, new_pair()), Source("192.0.2.1", 53, udp=True)) for _ in range(3)]
        assert [each.rcode for each in answers] == [Rcode.NOERROR, Rcode.NOERROR, Rcode.REFUSED]
        assert (await here.ask(upload(here, new_pair()), Source("192.0.2.1", 53, udp=False))).rcode == Rcode.NOERROR


async def test_what_the_child_does_not_publish_has_no_place_of_its_own(tmp_path: Path) -> None:
    genuine = new_pair()
    world = World({CHILD: found(genuine.key)})
    async with site(tmp_path, methods=[("at-apex", Scripted())], lookups=world, limits=LIMITS) as here:
        await here.ask(upload(here, genuine))
        await strangers(here, PLACES - 1)
        for number in range(50):
            answer = await here.ask(upload(here, new_pair()), Source(f"198.51.100.{number}", 53, udp=True))
            assert (answer.rcode, ede(answer)) == (Rcode.REFUSED, EdeCode.OVER_QUOTA)
        assert answer.error is not None
        assert "does not publish it" in answer.error.text
        # however many they are: one look, and the genuine key is where it was
        assert world.asked == [CHILD]
        assert await state_of(here, genuine.key) is KeyState.KNOWN
        assert await bootstrap_of(here, genuine.key) is not None
        assert len(await states(here)) == PLACES


async def test_a_key_that_is_published_after_strangers_made_us_look_is_seen_after_the_cool_down(tmp_path: Path) -> None:
    genuine, world = new_pair(), World()
    async with site(tmp_path, methods=[("at-apex", Scripted())], lookups=world, limits=LIMITS) as here:
        await strangers(here)
        assert ede(await here.ask(upload(here, new_pair()))) == EdeCode.OVER_QUOTA
        world.at[CHILD] = found(genuine.key)
        assert ede(await here.ask(upload(here, genuine))) == EdeCode.OVER_QUOTA
        here.clock.now += TrustSettings().cool_down
        assert (await here.ask(upload(here, genuine))).rcode == Rcode.NOERROR


async def test_a_slow_look_is_not_waited_for_and_its_answer_is_there_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trusting, "PATIENCE", 0.05)
    genuine, go = new_pair(), asyncio.Event()

    class Slow(World):
        async def keys_at(self, name: bytes) -> Sighting:
            await go.wait()
            return await super().keys_at(name)

    world = Slow({CHILD: found(genuine.key)})
    async with site(tmp_path, methods=[("at-apex", Scripted())], lookups=world, limits=LIMITS) as here:
        await strangers(here)
        answer = await here.ask(upload(here, genuine))
        assert ede(answer) == EdeCode.OVER_QUOTA
        assert answer.error is not None
        assert "not known yet" in answer.error.text
        go.set()
        await eventually(lambda: world.asked == [CHILD])
        assert (await here.ask(upload(here, genuine, identity=2))).rcode == Rcode.NOERROR


async def test_the_places_of_what_is_published_are_bounded_too(tmp_path: Path) -> None:
    pairs = [new_pair() for _ in range(3 * PLACES)]
    world = World({CHILD: found(*(pair.key for pair in pairs))})
    async with site(tmp_path, methods=[("at-apex", Scripted())], lookups=world, limits=LIMITS) as here:
        await strangers(here)
        answers = [await here.ask(upload(here, pair)) for pair in pairs]
        assert [each.rcode for each in answers] == [Rcode.NOERROR] * 2 * PLACES + [Rcode.REFUSED] * PLACES
        assert ede(answers[-1]) == EdeCode.OVER_QUOTA


async def test_keys_of_a_former_holder_leave_their_places_to_what_the_child_publishes_now(tmp_path: Path) -> None:
    """He took all that there are, those of what he published with them, and has the name no more."""
    former = [new_pair() for _ in range(PLACES)]
    genuine = new_pair()
    world = World({CHILD: found(*(pair.key for pair in former))})
    async with site(tmp_path, methods=[("at-apex", Scripted())], lookups=world, limits=LIMITS) as here:
        taken = await strangers(here)
        assert {(await here.ask(upload(here, pair))).rcode for pair in former} == {Rcode.NOERROR}
        world.at[CHILD] = found(genuine.key)
        here.clock.now += TrustSettings().cool_down
        assert (await here.ask(upload(here, genuine))).rcode == Rcode.NOERROR
        assert await bootstrap_of(here, genuine.key) is not None
        # one place was needed, and one key gave it: the one that had waited longest
        gone = [each.key for each in (*taken, *former) if await bootstrap_of(here, each.key) is None]
        assert gone == [taken[0].key]
        assert await state_of(here, taken[0].key) is KeyState.VALIDATION_FAILED


@pytest.mark.parametrize(
    ("security", "holds"), [(Security.SECURE, True), (Security.INSECURE, False), (Security.BOGUS, False)]
)
async def test_for_a_child_with_ds_only_a_chain_of_trust_vouches(security: Security, holds: bool) -> None:
    pair = new_pair()

    async def delegated(child: bytes) -> Delegation:
        return delegation("ns.example.", ds=True)

    class Stale(World):
        """The chain under the DS of today says this; a cache has another one."""

        async def keys_under(self, delegation: Delegation) -> Sighting:
            return Sighting("under", Presence.FOUND, security, frozenset([pair.key.rdata]), CHILD)

        async def keys_at(self, name: bytes) -> Sighting:
            return found(pair.key, security=Security.SECURE, signer=CHILD)

    published = Published(ZONE, Stale(), delegated, 60, DEFAULT, monotonic=lambda: 0.0)
    assert await published.holds(pair.key, 5) is holds


# names that are no children


async def no_child(child: bytes) -> Delegation:
    if child not in (CHILD, OTHER):
        raise Refusal("child-delegated", "it is not delegated")
    return delegation("ns.example.", child=child)


async def test_names_that_do_not_exist_cost_nothing_of_what_look_ups_at_children_may_cost() -> None:
    pair = new_pair()
    world = World({CHILD: found(pair.key)})
    published = Published(ZONE, world, no_child, 60, DEFAULT, monotonic=lambda: 0.0)
    for number in range(int(BURST) * 4):
        assert await published.holds(new_pair(names.from_text(f"x{number}.parent.example.")).key, 5) is False
    assert world.asked == []
    assert await published.holds(pair.key, 5) is True


async def test_a_name_that_is_no_child_is_read_once_per_cool_down_and_forgets_no_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing, "REMEMBERED", 4)
    pair, reads, now = new_pair(), [], 0.0
    world = World({CHILD: found(pair.key)})

    async def delegated(child: bytes) -> Delegation:
        reads.append(child)
        return await no_child(child)

    published = Published(ZONE, world, delegated, 60, DEFAULT, monotonic=lambda: now)
    assert await published.holds(pair.key, 5) is True
    stranger = new_pair(names.from_text("nobody.parent.example.")).key
    for _ in range(3):
        assert await published.holds(stranger, 5) is False
    assert len(reads) == 2
    for number in range(20):
        await published.holds(new_pair(names.from_text(f"x{number}.parent.example.")).key, 5)
    assert published.latest(CHILD) is not None
    now = 60.0
    assert published.latest(CHILD) is None


async def test_how_many_names_are_found_out_at_once_is_bounded() -> None:
    go = asyncio.Event()

    async def delegated(child: bytes) -> Delegation:
        await go.wait()
        return await no_child(child)

    published = Published(ZONE, World(), delegated, 60, DEFAULT, monotonic=lambda: 0.0)
    looks = [published.look(names.from_text(f"x{number}.parent.example.")) for number in range(200)]
    begun = [each for each in looks if each is not None]
    assert len(begun) == publishing.MAX_CHECKING
    go.set()
    await asyncio.gather(*begun)
    assert published.look(CHILD) is not None
