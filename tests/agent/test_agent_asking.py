"""An agent asks where it would give up (PROTOCOL section 9): after refusals, before it is held and while it is.

What nobody vouches for, a clock that is set, and somebody else with its key lead it nowhere.
"""

from dataclasses import replace
from itertools import chain, cycle, pairwise

import pytest

from agent_simulation import HOUR, Life, Manner, Said, Simulation, living
from agent_support import CHILD, pair
from zonecut.agent.exchange.result import Result
from zonecut.agent.keys.child_keys import OwnKey
from zonecut.agent.outlook import Doubt, word_of
from zonecut.agent.state import Phase, Roll, Stage
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol.codepoints import ReceiverState

DAY = 24 * HOUR
TRUSTED, UNKNOWN = Said(word=ReceiverState.TRUSTED), Said(word=ReceiverState.UNKNOWN)
REFUSED = Said(Result.REFUSED)


class Receiver:
    """A receiver that trusts some keys, publishes what it accepts, and may be made to refuse."""

    def __init__(self) -> None:
        self.trusted: set[int] = set()
        self.refusing: Said | None = None
        self.published = False
        self.vouches = True
        self.takes_uploads = True

    def __call__(self, kind: str, own: OwnKey) -> Said:
        is_trusted = own.key.tag in self.trusted
        if kind == "inquiry":
            return TRUSTED if is_trusted else UNKNOWN
        if kind == "upload":
            if self.takes_uploads:
                self.trusted.add(own.key.tag)
            return Said(Result.ACCEPTED if self.takes_uploads else Result.LOOKED_UP, vouched=self.vouches)
        if self.refusing is not None:
            return self.refusing
        if not is_trusted:
            return Said(Result.KEY_UNKNOWN, vouched=self.vouches)
        self.published = self.published or kind == "update"
        return Said(vouched=self.vouches)

    def shows(self) -> bool:
        return self.published


def saying(updates: Said, inquiries: Said) -> Manner:
    return lambda kind, _: inquiries if kind == "inquiry" else updates


# A person is asked last


async def test_refusals_are_borne_for_hours_with_the_advice_told_from_the_first() -> None:
    async with living(saying(REFUSED, TRUSTED)) as simulation:
        await simulation.run(60)
        early = await simulation.state()
        assert (early.phase, early.reason) == (Phase.OUT_OF_SYNC, "it says refused")
        assert early.advice
        await simulation.run(3.5 * HOUR)
        assert (await simulation.state()).phase is Phase.OUT_OF_SYNC
        await simulation.run(3 * HOUR)
        late = await simulation.state()
        assert late.phase is Phase.HELD
        assert late.reason.startswith("it says refused (refused since 1970-")


async def test_the_receiver_is_asked_about_the_key_after_each_refusal_and_before_a_person_is() -> None:
    async with living(saying(REFUSED, TRUSTED)) as simulation:
        await simulation.run(7 * HOUR)
        kinds = [kind for _, kind in simulation.life.messages]
        for first, second in pairwise(kinds):
            assert (first, second) != ("update", "update")
        assert (await simulation.state()).phase is Phase.HELD


async def test_what_is_refused_while_a_secondary_lags_is_done_within_the_minute() -> None:
    receiver = Receiver()
    async with living(receiver, receiver.shows) as simulation:
        receiver.trusted.add(simulation.own.key.tag)
        receiver.refusing = REFUSED
        await simulation.run(30)
        receiver.refusing = None
        await simulation.run(30)
        assert (await simulation.state()).phase is Phase.IN_SYNC


@pytest.mark.parametrize("resumes", [Phase.OUT_OF_SYNC, Phase.ASKING, Phase.BOOTSTRAPPING])
async def test_a_key_that_is_not_known_any_more_is_found_out_while_it_is_held_and_trusted_again(resumes: Phase) -> None:
    """The delegation was deleted and is back: the parent has forgotten the key, and refuses what it signs."""
    receiver = Receiver()
    receiver.refusing = REFUSED

    def manner(kind: str, own: OwnKey) -> Said:
        receiver.refusing = None if kind == "upload" else receiver.refusing
        return receiver(kind, own)

    async with living(manner, receiver.shows, phase=Phase.HELD, resumes=resumes, rebootstrapped=True) as simulation:
        await simulation.run(1.5 * HOUR)
        state = await simulation.state()
        assert (state.phase, state.word) == (Phase.IN_SYNC, "KEY_TRUSTED")
        assert simulation.life.count("upload") == 1


async def test_what_is_held_costs_one_question_and_one_try_each_check() -> None:
    async with living(saying(REFUSED, TRUSTED)) as simulation:
        begin = simulation.life.time
        await simulation.run(3 * DAY)
        assert (await simulation.state()).phase is Phase.HELD
        late = begin + DAY
        hours = 2 * DAY / HOUR
        assert simulation.life.count("inquiry", since=late) == pytest.approx(hours, abs=2)
        assert simulation.life.count("update", since=late) == pytest.approx(hours, abs=2)


async def test_accepted_and_not_published_three_times_is_held_with_advice() -> None:
    async with living(saying(Said(), TRUSTED)) as simulation:
        await simulation.run(HOUR)
        state = await simulation.state()
        assert state.phase is Phase.HELD
        assert "still not published" in state.reason
        assert "the receiver answers NOERROR and the parent's servers do not follow" in state.advice
        assert simulation.life.count("update") == 3


async def test_a_zone_in_which_nothing_of_the_delegation_changes_is_not_asked_about() -> None:
    """Its serial moves all the time: DHCP, ACME."""
    receiver = Receiver()
    async with living(receiver, receiver.shows) as simulation:
        receiver.trusted.add(simulation.own.key.tag)
        await simulation.run(60)
        changed = simulation.agent._has_changed  # what a poll finds out
        await changed()
        for serial in range(2, 10):
            simulation.life.content = replace(simulation.life.content, serial=serial)
            assert not await changed()
        simulation.life.content = replace(simulation.life.content, ns=(CHILD,), serial=10)
        assert await changed()


# What nobody vouches for


async def test_a_receiver_that_signs_keystate_alone_is_lived_with() -> None:
    receiver = Receiver()
    receiver.vouches = False
    async with living(receiver, receiver.shows, phase=Phase.ASKING, uploaded=False) as simulation:
        await simulation.run(60)
        assert (await simulation.state()).phase is Phase.IN_SYNC
        other = simulation.keys.make()
        old = simulation.own.key.tag
        await simulation.put(
            Phase.IN_SYNC, uploaded=True, roll=Roll(Stage.ADD, simulation.life.clock(), other.fingerprint)
        )
        manner = simulation.life.manner

        def rolling(kind: str, own: OwnKey) -> Said:
            if kind == "roll":
                added = receiver.trusted == {old}
                receiver.trusted = {old, other.key.tag} if added else {other.key.tag}
                return Said(vouched=False)
            return manner(kind, own)

        simulation.life.manner = rolling
        await simulation.run(3 * HOUR)
        state = await simulation.state()
        assert (state.roll, state.key) == (None, other.fingerprint)
        assert receiver.trusted == {other.key.tag}


async def test_a_deletion_that_nobody_vouches_for_is_none_until_the_receiver_says_that_the_key_is_unknown() -> None:
    """The old key is still trusted, whatever the answer to its deletion says."""
    async with living(saying(Said(vouched=False), TRUSTED), lambda: True, phase=Phase.IN_SYNC) as simulation:
        other = simulation.keys.make()
        roll = Roll(Stage.DELETE, simulation.life.clock(), other.fingerprint)
        await simulation.put(Phase.IN_SYNC, uploaded=True, roll=roll)
        await simulation.run(HOUR)
        state = await simulation.state()
        assert state.roll is not None
        assert state.roll.stage is Stage.DELETE
        assert simulation.keys.find(other.fingerprint) is other, "it is not put aside"


async def test_a_refusal_that_nobody_vouches_for_holds_nothing_and_has_the_receiver_asked() -> None:
    refusal = Said(Result.REFUSED, vouched=False)
    async with living(saying(refusal, TRUSTED)) as simulation:
        await simulation.run(DAY)
        state = await simulation.state()
        assert (state.phase, state.refused_since) == (Phase.OUT_OF_SYNC, None)
        assert simulation.life.count("inquiry") >= 10
    async with living(saying(refusal, UNKNOWN)) as simulation:
        await simulation.run(60)
        assert simulation.life.count("upload") >= 1


async def test_a_parent_that_takes_no_uploads_is_asked_on_until_it_trusts_the_key() -> None:
    receiver = Receiver()
    receiver.takes_uploads = False
    async with living(receiver, receiver.shows, phase=Phase.ASKING, uploaded=False) as simulation:
        await simulation.run(10 * HOUR)
        state = await simulation.state()
        assert (state.phase, state.refused_since) == (Phase.BOOTSTRAPPING, None)
        assert "see that it is published" in state.advice
        receiver.trusted.add(simulation.own.key.tag)
        await simulation.run(2 * HOUR)
        assert (await simulation.state()).phase is Phase.IN_SYNC


@pytest.mark.parametrize("result", [Result.KEY_UNKNOWN, Result.REFUSED, Result.KEY_PENDING, Result.BAD_SIGNATURE])
@pytest.mark.parametrize("vouched", [True, False])
async def test_any_refusal_of_both_records_has_the_single_addition_tried(result: Result, vouched: bool) -> None:
    """As the prototype answers the first form once it has lost the key: known, not trusted."""
    answers = chain([Said(result, vouched=vouched), Said(vouched=vouched)], cycle([Said()]))
    words = chain([UNKNOWN], cycle([TRUSTED]))

    def manner(kind: str, _: OwnKey) -> Said:
        return next(words) if kind == "inquiry" else next(answers)

    async with living(manner, lambda: True, phase=Phase.ASKING, uploaded=False) as simulation:
        await simulation.run(30)
        assert simulation.life.count("upload") == 2
        assert (await simulation.state()).phase is Phase.IN_SYNC


# The clock


async def pausing(simulation: Simulation) -> float:
    """The agent is some pauses into its failures; seconds until the next try."""
    await simulation.run(200)
    state = await simulation.state()
    assert state.phase is Phase.OUT_OF_SYNC
    return await due_in(simulation)


async def due_in(simulation: Simulation) -> float:
    """Seconds until the next step by the clock as it is now."""
    return (await simulation.state()).next_at - simulation.life.clock()


@pytest.mark.parametrize("step", [-HOUR, HOUR, -60, 60])
async def test_a_clock_that_is_set_makes_nobody_deaf(step: float) -> None:
    """What was in vain is tried at once, since it may have been so because of the clock; then the pauses go on."""
    async with living(saying(Said(Result.FAILED), TRUSTED)) as simulation:
        wait = await pausing(simulation)
        assert wait > 30
        before = simulation.life.count()
        simulation.life.wall = step
        assert await due_in(simulation) <= 0
        await simulation.run(1)
        assert simulation.life.count() == before + 1
        assert wait < await due_in(simulation) < 8 * wait


@pytest.mark.parametrize("step", [-HOUR, HOUR])
async def test_a_clock_that_was_off_when_the_state_was_written_keeps_a_restart_from_nothing(step: float) -> None:
    async with living(saying(Said(Result.FAILED), TRUSTED)) as simulation:
        wait = await pausing(simulation)
        simulation.life.wall = step
        simulation.restart()
        # for how long it was down, such a clock does not tell
        assert await due_in(simulation) < 2 * wait
        simulation.life.time += 2 * wait
        assert await due_in(simulation) <= 0


async def test_nobody_sleeps_longer_than_a_poll() -> None:
    async with living(saying(Said(Result.FAILED), TRUSTED), phase=Phase.BOOTSTRAPPING) as simulation:
        state = replace(await simulation.state(), next_at=simulation.life.clock() + 3000)
        assert 0 < simulation.agent._wait(state) <= simulation.life.settings.poll


async def test_a_zone_in_sync_does_not_look_again_because_a_clock_was_set() -> None:
    receiver = Receiver()
    async with living(receiver, receiver.shows) as simulation:
        receiver.trusted.add(simulation.own.key.tag)
        await simulation.run(60)
        due = await due_in(simulation)
        simulation.life.wall = HOUR
        assert await due_in(simulation) == pytest.approx(due)


async def test_what_is_stale_is_sent_again_once_it_is_newer_than_what_was_accepted() -> None:
    receiver = Receiver()
    async with living(receiver, receiver.shows) as simulation:
        receiver.trusted.add(simulation.own.key.tag)
        passes_at = simulation.life.clock() + 90
        receiver.refusing = Said(Result.BAD_TIME, not_before=passes_at)
        await simulation.run(89)
        assert simulation.life.count("update") == 1
        assert (await simulation.state()).refused_since is None
        receiver.refusing = None
        await simulation.run(2)
        assert simulation.life.count("update") == 2
        await simulation.run(5)
        assert (await simulation.state()).phase is Phase.IN_SYNC


async def test_a_clock_that_is_wrong_for_a_day_is_no_reason_to_be_deaf_for_an_hour_once_it_is_right() -> None:
    receiver = Receiver()
    async with living(receiver, receiver.shows) as simulation:
        receiver.trusted.add(simulation.own.key.tag)
        simulation.life.wall = HOUR
        receiver.refusing = Said(Result.BAD_TIME)
        await simulation.run(DAY)
        assert (await simulation.state()).phase is Phase.HELD
        simulation.life.wall = 0.0
        receiver.refusing = None
        await simulation.run(5)
        assert (await simulation.state()).phase is Phase.IN_SYNC


# A roll that waits


async def test_a_zone_that_cannot_be_read_is_not_in_sync_because_a_roll_waits() -> None:
    async with living(saying(Said(), TRUSTED), lambda: True, phase=Phase.IN_SYNC) as simulation:
        other = simulation.keys.make()
        roll = Roll(Stage.WAIT, simulation.life.clock(), other.fingerprint)
        now = simulation.life.clock()
        await simulation.put(Phase.IN_SYNC, uploaded=True, roll=roll, synced_at=now, checked_at=now)
        assert word_of(await simulation.serve(60)) is Phase.IN_SYNC
        simulation.life.cannot_read = lambda: True
        await simulation.serve(300)
        for _ in range(20):
            assert word_of(await simulation.serve(20)) is Doubt.FAILING
        simulation.life.cannot_read = lambda: False
        seen = await simulation.serve(HOUR)
        assert word_of(seen) is Phase.IN_SYNC
        assert seen.roll is not None


# Two agents with one key


def taken(life: Life, simulation: Simulation, *, back: bool = False) -> ZoneContent:
    """The zone once another agent has rolled the key: its new one stands in the place of ours."""
    other = pair(CHILD).key.rdata
    return replace(life.content, key=(simulation.own.key.rdata, other) if back else (other,), key_ttl=60)


async def rolled_by_another(simulation: Simulation, receiver: Receiver) -> None:
    """This agent was in sync, and the other one has taken our KEY out of the zone and from the parent."""
    key = simulation.own
    published, seen = (key.key.to_text(),), key.fingerprint
    await simulation.put(Phase.IN_SYNC, uploaded=True, published=published, seen_in_zone=seen, word="KEY_TRUSTED")
    receiver.published = True
    simulation.life.content = taken(simulation.life, simulation)


async def test_who_has_lost_its_key_to_another_agent_says_so_and_does_not_fight() -> None:
    receiver = Receiver()
    async with living(receiver, receiver.shows) as simulation:
        await rolled_by_another(simulation, receiver)
        await simulation.run(DAY)
        state = await simulation.state()
        assert state.phase is Phase.HELD
        assert state.reason.startswith("somebody else uses this key: KEY ")
        assert "stop one of the two agents" in state.advice
        assert simulation.life.count("upload") == 0
        assert simulation.life.published == []


async def test_who_is_trusted_by_the_parent_puts_its_key_back_and_once_only() -> None:
    receiver = Receiver()
    async with living(receiver, receiver.shows) as simulation:
        receiver.trusted.add(simulation.own.key.tag)
        await rolled_by_another(simulation, receiver)
        await simulation.run(3 * HOUR)
        state = await simulation.state()
        assert state.phase is Phase.IN_SYNC
        assert simulation.life.published
        # the other one takes it out again
        simulation.life.published.clear()
        await simulation.run(DAY)
        state = await simulation.state()
        assert (state.phase, simulation.life.published) == (Phase.IN_SYNC, [])
        assert any("somebody else uses this key" in note for note in state.notes)


async def test_a_key_that_is_missing_with_nobody_elses_there_is_put_back_and_uploaded() -> None:
    receiver = Receiver()
    async with living(receiver, receiver.shows) as simulation:
        await rolled_by_another(simulation, receiver)
        simulation.life.content = replace(simulation.life.content, key=())
        await simulation.run(HOUR)
        assert simulation.life.published
        assert simulation.life.count("upload") == 1


async def test_somebody_elses_key_in_a_zone_where_ours_never_was_displaces_nothing() -> None:
    """The KEY is added by hand, by an operator who is slow."""
    receiver = Receiver()
    async with living(receiver, receiver.shows, phase=Phase.ASKING, uploaded=False) as simulation:
        await simulation.put(Phase.ASKING, published=(simulation.own.key.to_text(),))
        simulation.life.content = taken(simulation.life, simulation)
        await simulation.run(HOUR)
        assert simulation.life.count("upload") == 1
        assert (await simulation.state()).phase is Phase.IN_SYNC
