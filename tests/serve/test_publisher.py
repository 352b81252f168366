"""The daemon's part in what a parent announces: repair, and the roll of the key."""

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from receiver_support import Clock
from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT, Algorithm, RRType
from zonecut.protocol.keys import Key
from zonecut.receiver.announce.key_directory import Identities, KeyDirectory
from zonecut.receiver.announce.publication import Announcement, PublicationSettings
from zonecut.serve.health import Health
from zonecut.serve.publisher import Publisher
from zonecut.serve.serialized_backend import SerializedBackend
from zonefile_support import APEX, PARENT, Parent

TARGET = names.from_text("updater.parent.example.")
OURS = Announcement(PARENT, TARGET, 5354, (ip_address("192.0.2.53"),), settings=PublicationSettings(ttl=600))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass")


def shared_with(parent: Parent) -> SerializedBackend:
    health = Health(PARENT, Clock(), asyncio.Event())
    return SerializedBackend(parent.backend(), PARENT, health, lambda *_: None)


async def test_a_publisher_repairs_what_vanished_and_carries_a_roll_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zonecut.serve.publisher.REPAIR", 0.02)
    parent = Parent(tmp_path).hold(APEX)
    shared = shared_with(parent)
    identities = Identities(KeyDirectory(tmp_path / "keys", DEFAULT), Algorithm.ED25519)
    identities.ensure({TARGET})
    clock = Clock()
    publisher = Publisher(shared, identities, OURS, publish=True, clock=clock, monotonic=clock)
    running = asyncio.create_task(publisher.run())
    await asyncio.sleep(0.05)
    assert not running.done(), "it waits for the backend to be opened"
    await shared.open()

    async def until_keys_are(*keys: Key) -> None:
        async with asyncio.timeout(10):
            while True:
                held = {rrset.rtype: rrset.rdatas for rrset in await shared.read_rrsets([TARGET])}
                if held.get(RRType.KEY) == tuple(sorted(key.rdata for key in keys)):
                    return
                await asyncio.sleep(0.01)

    old = identities.of(TARGET).current
    await until_keys_are(old.key)
    await shared.replace_rrsets(await shared.read_rrsets([TARGET]), ())
    await until_keys_are(old.key)
    new = identities.begin_roll(TARGET, 600).coming
    assert new is not None
    assert identities.refresh() == {TARGET}
    publisher.look()
    await until_keys_are(old.key, new.key)
    await until(lambda: identities.of(TARGET).signs_at is not None)
    assert identities.signer(TARGET, clock()) == old
    clock.now += 600
    assert identities.signer(TARGET, clock()) == new
    await asyncio.sleep(0.1)
    await until_keys_are(old.key, new.key)
    clock.now += 600
    await until_keys_are(new.key)
    await until(lambda: identities.of(TARGET).current == new)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await shared.close()


async def test_a_publisher_that_fails_says_so_once_and_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zonecut.serve.publisher.RETRY", 0.01)
    parent = Parent(tmp_path).hold(APEX + "updater CNAME ns1\n")
    shared = shared_with(parent)
    identities = Identities(KeyDirectory(tmp_path / "keys", DEFAULT), Algorithm.ED25519)
    identities.ensure({TARGET})
    await shared.open()
    publisher = Publisher(shared, identities, OURS, publish=True, clock=Clock(), monotonic=Clock())
    running = asyncio.create_task(publisher.run())
    await asyncio.sleep(0.2)
    assert capsys.readouterr().out.count("publication.failed") == 1
    parent.hold(APEX)
    await until(lambda: "DSYNC ANY UPDATE" in parent.include.read_text())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_clock_that_is_fast_at_a_start_retires_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As before NTP has set it: the old key stays for as long as caches keep it, by the time that has gone by here."""
    monkeypatch.setattr("zonecut.serve.publisher.REPAIR", 0.02)
    shared = shared_with(Parent(tmp_path).hold(APEX))
    identities = Identities(KeyDirectory(tmp_path / "keys", DEFAULT), Algorithm.ED25519)
    identities.ensure({TARGET})
    clock, passed = Clock(), Clock()
    await shared.open()

    async def records() -> set[bytes]:
        held = {rrset.rtype: rrset.rdatas for rrset in await shared.read_rrsets([TARGET])}
        return set(held[RRType.KEY])

    async def run(seconds: float, awaited: set[bytes] | None = None) -> set[bytes]:
        """A process that begins anew; the KEY records that are there in the end, or as soon as they are those awaited.

        In 0.3 s it looks many times at what it publishes, and does nothing.
        """
        publisher = Publisher(shared, identities, OURS, publish=True, clock=clock, monotonic=passed)
        running = asyncio.create_task(publisher.run())
        await asyncio.sleep(0.3)
        passed.now += seconds
        if awaited is None:
            await asyncio.sleep(0.3)
        else:
            for _ in range(200):
                if await records() == awaited:
                    break
                await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return await records()

    await run(0, {identities.of(TARGET).current.key.rdata})
    old = identities.of(TARGET).current
    new = identities.begin_roll(TARGET, 600).coming
    assert new is not None
    identities.refresh()
    both = {old.key.rdata, new.key.rdata}
    assert await run(0, both) == both
    clock.now += 9000
    assert await run(599) == both
    clock.now -= 9000
    assert await run(700) == both
    assert identities.signer(TARGET, clock()) == old
    clock.now += 9000
    assert await run(601, {new.key.rdata}) == {new.key.rdata}
