"""What ends the trust in a child's keys when its delegation does, and what does not (PROTOCOL section 4)."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection

from receiver_support import CHILD, OTHER, ZONE, ZONE_TEXT, ns_of, replace_ns, site
from trust_support import Scripted, accepts, becomes, new_pair, state_of, states, stored_of, upload
from watching_support import DAY, ENDED, HOUR, SUSPENDED, TRUSTED, looks, whole, without
from zonecut.plugin import Reading
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import DEFAULT, Rcode, RRType
from zonecut.protocol.sig0 import sign_request
from zonecut.receiver.keys.absence import PART, away, is_proven, there
from zonecut.receiver.keys.trust import TrustSettings
from zonecut.receiver.message.admission import Source
from zonecut.store import KeyState, Watch
from zonecut.store.keys.keys import forget_watches

INNER = names.from_text("inner.parent.example.")
STRANGER = Source("198.51.100.66", 4444, udp=True)


# one look is no proof


async def test_fifty_delegations_that_are_away_for_a_moment_cost_nobody_a_key(tmp_path: Path) -> None:
    """A zone file that is saved in two writes, an old copy, a server that has not loaded its zone yet."""
    children = [names.from_text(f"c{number}.parent.example.") for number in range(50)]
    text = ZONE_TEXT.format(directory=tmp_path) + "".join(
        f"c{number} NS ns.elsewhere.example.\n" for number in range(50)
    )
    zone_file = tmp_path / "parent.zone"
    zone_file.write_text(text)
    async with site(tmp_path) as here:
        for child in children:
            await here.trust(child)
        await looks(here, 1)
        zone_file.write_text(ZONE_TEXT.format(directory=tmp_path))
        await looks(here, 1, 0.001, 0.001)
        zone_file.write_text(text)
        await looks(here, 1)
        found = Counter([state for child in children for state in (await states(here, child)).values()])
        assert found == {TRUSTED: 50}
        assert not await here.store.watches.absent(ZONE, b"", 100)


async def test_a_key_whose_delegation_is_away_changes_nothing_and_is_not_ended(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        pair = await here.trust(OTHER)
        await looks(here, 1)
        without(tmp_path, "other")
        await looks(here, 1, 1)
        answer = await here.ask(here.signed(*replace_ns(OTHER, "a.ns.example."), child=OTHER))
        assert answer.rcode == Rcode.REFUSED
        assert answer.error is not None
        assert "is not delegated" in answer.error.text
        assert await state_of(here, pair.key) is TRUSTED
        whole(tmp_path)
        assert (await here.ask(here.signed(*replace_ns(OTHER, "a.ns.example."), child=OTHER))).rcode == Rcode.NOERROR


async def test_all_keys_of_a_child_go_when_its_delegation_was_away_over_the_period(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        owner, pending = await here.trust(OTHER), new_pair(OTHER)
        await here.ask(upload(here, pending))
        await looks(here, 1)
        without(tmp_path, "other")
        await looks(here, *[1] * 24)
        assert {*(await states(here, OTHER)).values()} == {TRUSTED, KeyState.KNOWN}
        await looks(here, 1)
        assert {*(await states(here, OTHER)).values()} == {ENDED}
        assert (await stored_of(here, owner.key)).reason == "the delegation was gone over the whole period"
        # the name comes back with another holder: the old one's key is unknown, and may be uploaded
        whole(tmp_path)
        await here.store.ring.fetch([OTHER])
        assert (await here.ask(here.signed(*replace_ns(OTHER, "a.ns.example."), child=OTHER))).rcode == Rcode.BADKEY
        assert (await here.ask(upload(here, owner, identity=2))).rcode == Rcode.NOERROR
        assert await state_of(here, owner.key) is KeyState.KNOWN


async def test_an_absence_that_nobody_looked_at_does_not_count(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        pair = await here.trust(OTHER)
        await looks(here, 1)
        without(tmp_path, "other")
        # two looks, a year apart; then two more
        await looks(here, 1, 365 * 24, 1, 1)
        assert await state_of(here, pair.key) is TRUSTED


async def test_many_looks_in_a_moment_are_one(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        pair = await here.trust(OTHER)
        await looks(here, 1)
        without(tmp_path, "other")
        await looks(here, *[0.001] * 50)
        assert await state_of(here, pair.key) is TRUSTED


async def test_a_look_at_which_it_is_there_begins_the_period_anew(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        pair = await here.trust(OTHER)
        for _ in range(3):
            await looks(here, 1)
            without(tmp_path, "other")
            await looks(here, *[1] * 23)
            whole(tmp_path)
        assert await state_of(here, pair.key) is TRUSTED


async def test_an_absence_survives_a_restart(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        pair = await here.trust(OTHER)
        await looks(here, 1)
        without(tmp_path, "other")
        await looks(here, *[1] * 20)
        now = here.clock.now
    async with site(tmp_path) as here:
        here.clock.now = now
        await here.store.ring.fetch([OTHER])
        await looks(here, *[1] * 3)
        assert await state_of(here, pair.key) is TRUSTED
        await looks(here, 1, 1)
        assert await state_of(here, pair.key) is ENDED


def test_the_period_is_seen_in_five_looks_at_least() -> None:
    watch = Watch(OTHER, ZONE, None, 0.0)
    for number in range(PART + 1):
        assert not is_proven(watch, DAY)
        watch = away(watch, number * DAY, DAY)
    assert (watch.looks, watch.absent_for) == (PART + 1, DAY)
    assert is_proven(watch, DAY)
    assert not is_proven(there(watch, ns_of(CHILD), PART * DAY, 0), DAY)


def test_a_clock_that_is_set_back_proves_nothing() -> None:
    watch = Watch(OTHER, ZONE, None, 0.0)
    for number in range(100):
        watch = away(watch, -number * DAY, DAY)
    assert watch.absent_for == 0


# it comes back


async def test_a_delegation_that_comes_back_with_others_has_another_holder_perhaps(tmp_path: Path) -> None:
    """Whatever `foreign_ns` says."""
    async with site(tmp_path, trust=TrustSettings(foreign_ns="keep")) as here:
        pair = await here.trust(OTHER)
        await looks(here, 1)
        without(tmp_path, "other")
        await looks(here, 1)
        whole(tmp_path, other="ns.newholder.example.")
        # before anybody has looked: it does not get past
        answer = await here.ask(here.signed(*replace_ns(OTHER, "a.ns.example."), child=OTHER))
        assert answer.rcode == Rcode.REFUSED
        await looks(here, 1)
        assert await state_of(here, pair.key) is TRUSTED
        await looks(here, 1)
        assert await state_of(here, pair.key) is SUSPENDED
        assert (await stored_of(here, pair.key)).reason.startswith("the delegation was away and came back")
        here.clock.now += 1
        await here.store.bootstraps.decide((await stored_of(here, pair.key)).id, "ann", "asked them")
        await here.store.ring.fetch([OTHER])
        await looks(here, 1, 1)
        assert await state_of(here, pair.key) is TRUSTED


async def test_a_delegation_that_comes_back_as_our_last_change_left_it_is_the_same(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        pair = await here.trust(CHILD)
        await looks(here, 1)
        here.clock.now += 1
        assert (await here.ask(here.signed(*replace_ns(CHILD, "a.ns.example.")))).rcode == Rcode.NOERROR
        await here.zone.drain(5)
        include = tmp_path / "parent.example.delegations"
        text = include.read_text()
        include.write_text("".join(line for line in text.splitlines(keepends=True) if "a.ns" not in line))
        await looks(here, 1, 1)
        assert [watch.child for watch in await here.store.watches.absent(ZONE, b"", 9)] == [CHILD]
        include.write_text(text)
        await looks(here, 1)
        assert await state_of(here, pair.key) is TRUSTED


# whose look it is


async def test_a_stranger_s_upload_in_an_outer_zone_ends_nothing_in_an_inner_one(tmp_path: Path) -> None:
    child = names.from_text("child.inner.parent.example.")
    async with site(tmp_path, zones=(ZONE, INNER)) as here:
        pair, evil = await here.trust(child), new_pair(child)
        for _ in range(40):
            here.clock.now += HOUR
            plain = message.update(7, ZONE, (), [message.add(child, RRType.KEY, 60, evil.key.rdata)])
            at = int(here.clock.now)
            wire = sign_request(plain, evil, at, at + 300, signature_type=DEFAULT.signature_type)
            assert (await here.ask(wire, STRANGER)).rcode == Rcode.REFUSED
            assert await here.served_zone.sweep.once() == 0
        assert await state_of(here, pair.key) is TRUSTED
        assert await here.store.watches.of(child) is None


async def test_what_a_refused_message_made_us_read_is_no_look(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        pair = await here.trust(OTHER)
        await looks(here, 1)
        watch = await here.store.watches.of(OTHER)
        without(tmp_path, "other")
        for number in range(40):
            here.clock.now += HOUR
            assert (await here.ask(upload(here, new_pair(OTHER), identity=number), STRANGER)).rcode == Rcode.REFUSED
            changed = here.signed(*replace_ns(OTHER, "a.ns.example."), child=OTHER, identity=number)
            assert (await here.ask(changed)).rcode == Rcode.REFUSED
        assert await here.store.watches.of(OTHER) == watch
        assert await state_of(here, pair.key) is TRUSTED


async def test_below_another_delegation_there_is_nothing_to_be_seen(tmp_path: Path) -> None:
    below = names.from_text("nobody.above.parent.example.")
    async with site(tmp_path) as here:
        pair = await here.trust(below)
        await looks(here, *[6] * 10)
        assert await state_of(here, pair.key) is TRUSTED


async def test_a_zone_in_which_a_child_was_never_seen_does_not_miss_it(tmp_path: Path) -> None:
    """The inner zone is taken out of the configuration, and the outer one is the nearest from then on."""
    child = names.from_text("child.inner.parent.example.")
    async with site(tmp_path) as here:
        pair = await here.trust(child)
        held = ns_of(child, "ns.example.")
        await here.store.watches.begin(Watch(child, INNER, held, here.clock.now, held.ns, here.clock.now))
        await looks(here, *[6] * 10)
        assert await state_of(here, pair.key) is TRUSTED


# what trust began with


@pytest.mark.parametrize(
    ("policy", "server", "expected"),
    [
        ("auto", "ns.newholder.example.", SUSPENDED),
        ("auto", "ns.elsewhere.example.\nother NS ns.second.example.", TRUSTED),
        ("alarm", "ns.newholder.example.", TRUSTED),
        ("suspend", "ns.elsewhere.example.\nother NS ns.second.example.", SUSPENDED),
        ("keep", "ns.newholder.example.", TRUSTED),
    ],
)
async def test_a_name_that_is_given_to_somebody_else_is_noticed_without_any_change_through_us(
    tmp_path: Path, policy: str, server: str, expected: KeyState
) -> None:
    async with site(tmp_path, trust=TrustSettings.model_validate({"foreign_ns": policy})) as here:
        pair = await here.trust(OTHER)
        await looks(here, 1)
        whole(tmp_path, other=server)
        change = here.signed(*replace_ns(OTHER, "mine.example."), child=OTHER)
        if expected is SUSPENDED:
            assert (await here.ask(change)).rcode == Rcode.REFUSED
        await looks(here, 1, 1)
        assert await state_of(here, pair.key) is expected
        told = await here.store.audit.list(child=OTHER, event="delegation.foreign-change")
        assert len(told) == (policy != "keep")
        change = here.signed(*replace_ns(OTHER, "mine.example."), child=OTHER)
        assert (await here.ask(change)).rcode == (Rcode.REFUSED if expected is SUSPENDED else Rcode.NOERROR)


async def test_a_bootstrap_that_is_accepted_begins_trust_with_the_delegation_of_then(tmp_path: Path) -> None:
    method = Scripted()
    async with site(tmp_path, methods=[("at-apex", method)]) as here:
        event = await here.served_zone.sweep.begun(None)
        pair = new_pair(OTHER)
        method.finding = accepts(pair.key)
        await here.ask(upload(here, pair))
        await becomes(here, pair.key, TRUSTED)
        await here.served_zone.sweep.begun(event)
        watch = await here.store.watches.of(OTHER)
        assert watch is not None
        assert watch.began == await here.served(OTHER)


async def test_a_rollover_does_not_begin_trust_anew(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        old, new = await here.trust(OTHER), new_pair(OTHER)
        await looks(here, 1)
        whole(tmp_path, other="ns.newholder.example.")
        record = message.add(OTHER, RRType.KEY, 60, new.key.rdata)
        await looks(here, 1)
        # nor does one by a suspect help it: all keys of the child are suspended
        assert (await here.ask(here.signed(record, child=OTHER))).rcode == Rcode.NOERROR
        await looks(here, 1)
        assert (await states(here, OTHER)) == {old.key.rdata: SUSPENDED, new.key.rdata: SUSPENDED}


async def test_what_was_changed_between_our_last_change_and_the_first_look_is_somebody_else_s(tmp_path: Path) -> None:
    """A store of before there were watches: trusted and changed long ago, and changed by hand since."""
    async with site(tmp_path) as here:
        pair = await here.trust(CHILD)
        here.clock.now += 1
        assert (await here.ask(here.signed(*replace_ns(CHILD, "a.ns.example.")))).rcode == Rcode.NOERROR
        await here.zone.drain(5)
    include = tmp_path / "parent.example.delegations"
    include.write_text(include.read_text().replace("a.ns", "b.ns"))
    async with site(tmp_path) as here:
        here.clock.now += 100
        await here.store.ring.fetch([CHILD])
        await here.store.thread.write(_without_watches, None)
        await looks(here, 0, 1)
        assert await state_of(here, pair.key) is SUSPENDED


def _without_watches(connection: Connection, items: Sequence[None]) -> Sequence[None]:
    forget_watches(connection, [CHILD])
    return items


async def test_a_suspended_key_is_told_to_wait_for_an_operator(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        pair = await here.trust(OTHER)
        await here.store.bootstraps.suspend_child(OTHER, "zonecut", "so it is")
        await here.store.ring.fetch([OTHER])
        for wire in (here.signed(*replace_ns(OTHER, "a.example."), child=OTHER), upload(here, pair, identity=2)):
            answer = await here.ask(wire)
            assert answer.rcode == Rcode.REFUSED
            assert answer.error is not None
            assert answer.error.code == DEFAULT.ede_manual_bootstrap_required
            assert "so it is" in answer.error.text


async def test_a_reading_is_nothing_to_keys_until_it_is_noticed(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.trust(OTHER)
        reading = Reading(ns_of(OTHER, "ns.newholder.example."))
        assert not await here.served_zone.watching.suspends(OTHER, reading)
        await here.served_zone.sweep.once()
        assert await here.served_zone.watching.suspends(OTHER, reading)
        assert {*(await states(here, OTHER)).values()} == {TRUSTED}
