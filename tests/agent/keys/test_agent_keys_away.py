"""No key takes the place of one that the parent trusts by itself: not where files are away, nor where a roll turns out
to be built on a key that the parent has forgotten (PROTOCOL section 9).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent_simulation import HOUR, SETTINGS, Said, Simulation, living
from agent_support import CHILD
from zonecut.agent.exchange.result import Result
from zonecut.agent.keys.child_keys import ChildKeys, OwnKey
from zonecut.agent.outlook import KEY_AWAY, Doubt, word_of
from zonecut.agent.state import Phase, Roll, Stage
from zonecut.protocol.announced.svcb import Method
from zonecut.protocol.codepoints import DEFAULT, ReceiverState

TRUSTED, UNKNOWN = Said(word=ReceiverState.TRUSTED), Said(word=ReceiverState.UNKNOWN)
BY_HAND = SETTINGS.model_copy(update={"methods": (Method.MANUAL,)})


class Parent:
    """A receiver that trusts some keys."""

    def __init__(self) -> None:
        self.trusted: list[OwnKey] = []
        self.vouches = True
        self.refusal = Result.KEY_UNKNOWN
        self.uploads = 0

    def __call__(self, kind: str, own: OwnKey) -> Said:
        is_trusted = own in self.trusted
        if kind == "inquiry":
            return TRUSTED if is_trusted else UNKNOWN
        if kind == "upload":
            self.uploads += 1
            return Said(Result.MANUAL)
        return Said(Result.ACCEPTED if is_trusted else self.refusal, vouched=self.vouches)


@asynccontextmanager
async def rolling(parent: Parent, stage: Stage) -> AsyncIterator[tuple[Simulation, OwnKey]]:
    """A zone in sync whose roll has come to a stage, and the key of the roll that does not sign."""
    async with living(parent, lambda: True, phase=Phase.IN_SYNC) as simulation:
        other, now = simulation.keys.make(), simulation.life.clock()
        published = tuple(own.key.to_text() for own in simulation.keys.all())
        roll = Roll(stage, now, other.fingerprint)
        await simulation.put(
            Phase.IN_SYNC, uploaded=True, synced_at=now, checked_at=now, roll=roll, published=published
        )
        yield simulation, other


# Files that are away


@pytest.mark.parametrize("phase", [Phase.IN_SYNC, Phase.OUT_OF_SYNC, Phase.TRUSTED, Phase.ASKING, Phase.BOOTSTRAPPING])
async def test_a_key_whose_files_are_away_is_waited_for_and_none_is_made(phase: Phase) -> None:
    parent = Parent()
    async with living(parent, lambda: True, phase=phase) as simulation:
        parent.trusted = [simulation.own]
        simulation.keys.lose(simulation.own)
        await simulation.run(24 * HOUR)
        state = await simulation.state()
        assert (state.key, state.phase, state.advice) == (simulation.own.fingerprint, phase, KEY_AWAY)
        assert state.reason == f"the files of key {simulation.own.fingerprint} are not in keys"
        assert phase is not Phase.IN_SYNC or word_of(state) is Doubt.FAILING
        assert (simulation.keys.all(), simulation.life.messages, simulation.life.published) == ((), [], [])
        assert len(simulation.life.steps) < 60
        simulation.keys.find_again(simulation.own)
        await simulation.run(2 * HOUR)
        state = await simulation.state()
        assert (state.phase, state.attempts, state.key) == (Phase.IN_SYNC, 0, simulation.own.fingerprint)
        assert parent.uploads == 0


async def test_a_bootstrap_that_finds_no_keys_makes_none_in_the_place_of_one_that_there_was() -> None:
    async with living(Parent(), lambda: True, phase=Phase.NO_KEY, settings=BY_HAND) as simulation:
        simulation.keys.lose(simulation.own)
        await simulation.run(HOUR)
        state = await simulation.state()
        assert (state.phase, state.key, state.advice) == (Phase.NO_KEY, simulation.own.fingerprint, KEY_AWAY)
        assert simulation.keys.all() == ()
        # a person has made another one
        made = simulation.keys.make()
        await simulation.run(2 * HOUR)
        assert (await simulation.state()).key == made.fingerprint


async def test_a_key_that_was_put_aside_is_followed_by_another_one() -> None:
    async with living(Parent(), lambda: True, phase=Phase.IN_SYNC, settings=BY_HAND) as simulation:
        simulation.keys.retire(simulation.own)
        await simulation.run(HOUR)
        (made,) = simulation.keys.all()
        assert (await simulation.state()).key == made.fingerprint != simulation.own.fingerprint


@pytest.mark.parametrize("stage", [Stage.PUBLISH, Stage.ADD, Stage.ASK, Stage.WAIT])
async def test_a_roll_whose_new_key_is_away_waits_for_it(stage: Stage) -> None:
    parent = Parent()
    async with rolling(parent, stage) as (simulation, other):
        parent.trusted = [simulation.own, other]
        simulation.keys.lose(other)
        await simulation.run(6 * HOUR)
        state = await simulation.state()
        assert state.roll is not None
        assert (state.roll.stage, state.roll.other, state.key) == (stage, other.fingerprint, simulation.own.fingerprint)
        assert "`zonecut child roll --abandon`" in state.advice
        assert simulation.keys.all() == (simulation.own,)
        assert not simulation.life.count("roll")


async def test_an_old_key_whose_files_are_away_is_deleted_at_the_parent_all_the_same() -> None:
    parent = Parent()
    async with rolling(parent, Stage.DELETE) as (simulation, other):
        parent.trusted = [simulation.own, other]
        simulation.keys.lose(other)
        await simulation.run(HOUR)
        assert (await simulation.state()).roll is None
        assert simulation.life.count("roll") == 1


def test_a_directory_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    keys = ChildKeys(tmp_path, CHILD, DEFAULT)
    assert keys.all() == ()
    keys.path.parent.mkdir()
    keys.path.touch()
    with pytest.raises(OSError, match="Not a directory"):
        keys.all()


# A roll under way


async def test_a_roll_asks_again_before_it_changes_over_and_keeps_the_key_that_is_trusted() -> None:
    """The parent's store is restored while the roll waits: the new key is unknown, the old one trusted."""
    parent = Parent()
    async with rolling(parent, Stage.WAIT) as (simulation, other):
        parent.trusted = [simulation.own]
        await simulation.run(simulation.life.settings.key.roll_wait + HOUR)
        state = await simulation.state()
        assert state.key == simulation.own.fingerprint
        assert simulation.own in simulation.keys.all()
        assert parent.uploads == 0
        parent.trusted.append(other)
        await simulation.run(24 * HOUR)
        state = await simulation.state()
        assert (state.roll, state.key) == (None, other.fingerprint)


@pytest.mark.parametrize("refusal", [Result.KEY_UNKNOWN, Result.KEY_PENDING, Result.MANUAL, Result.REFUSED])
@pytest.mark.parametrize("vouches", [True, False])
@pytest.mark.parametrize("stage", [Stage.ADD, Stage.DELETE])
async def test_a_key_that_is_not_trusted_any_more_gives_way_to_the_other_one_of_the_roll(
    stage: Stage, vouches: bool, refusal: Result
) -> None:
    parent = Parent()
    parent.vouches, parent.refusal = vouches, refusal
    async with rolling(parent, stage) as (simulation, other):
        parent.trusted = [other]
        before = simulation.own
        for _ in range(48):
            await simulation.run(600)
            if (await simulation.state()).key == other.fingerprint:
                break
        state = await simulation.state()
        assert state.key == other.fingerprint
        assert stage is Stage.ADD or before in simulation.keys.all()
        assert parent.uploads == 0


async def test_a_roll_neither_key_of_which_is_known_ends_in_an_upload() -> None:
    parent = Parent()
    async with rolling(parent, Stage.DELETE) as (simulation, _):
        await simulation.run(HOUR)
        assert (await simulation.state()).roll is None
        assert parent.uploads >= 1
