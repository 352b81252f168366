"""What comes up where nobody thought of it is a failure of one zone, with its pause, and not the end of its task."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from agent_simulation import HOUR, Said, Simulation, living
from zonecut.agent import sync
from zonecut.agent.defects import ADVICE
from zonecut.agent.evidence.ds_statement import algorithm_of
from zonecut.agent.outlook import Doubt, word_of
from zonecut.agent.state import DamagedState, Phase
from zonecut.cli.child.work import work
from zonecut.protocol.codepoints import ReceiverState

TRUSTED = Said(word=ReceiverState.TRUSTED)


@asynccontextmanager
async def in_sync() -> AsyncIterator[Simulation]:
    async with living(lambda *_: TRUSTED, lambda: True, phase=Phase.IN_SYNC) as simulation:
        yield simulation


async def test_a_defect_of_a_step_is_a_failure_that_is_kept_and_tried_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with in_sync() as simulation:
        with monkeypatch.context() as patched:

            async def view(*_: object, **__: object) -> object:
                raise IndexError("index out of range")

            patched.setattr(sync, "view_parent", view)
            await simulation.run(24 * HOUR)
        state = await simulation.state()
        assert (state.phase, word_of(state), state.advice) == (Phase.IN_SYNC, Doubt.FAILING, ADVICE)
        assert state.reason == "unexpected IndexError: index out of range"
        assert 10 <= state.attempts == len(simulation.life.steps) <= 60
        await simulation.run(2 * HOUR)
        assert word_of(await simulation.state()) is Phase.IN_SYNC


async def test_a_defect_of_a_look_at_the_zone_does_not_end_the_task() -> None:
    async with in_sync() as simulation:

        def cannot_read() -> bool:
            raise ValueError("not a record")

        simulation.life.cannot_read = cannot_read
        state = await simulation.serve(4 * HOUR)
        assert word_of(state) is Doubt.FAILING
        assert "unexpected ValueError: not a record" in state.reason
        reads = simulation.life.reads
        await simulation.serve(4 * HOUR)
        assert simulation.life.reads - reads <= 2 * 4 * HOUR / simulation.life.settings.poll + 20
        simulation.life.cannot_read = lambda: False
        assert word_of(await simulation.serve(2 * HOUR)) is Phase.IN_SYNC


@pytest.mark.parametrize("ds", [b"", b"\0", b"\0\1", b"\0\1\15", b"\0\1\15\2"])
def test_a_ds_that_is_too_short_names_no_algorithm(ds: bytes) -> None:
    assert algorithm_of(ds) == 0


async def test_a_state_that_is_damaged_is_left_as_it_is_until_a_person_begins_anew() -> None:
    async with in_sync() as simulation:
        stored = simulation.table.stored
        assert stored is not None
        damaged = replace(stored, document={**stored.document, "phase": "from-the-future"})
        simulation.table.stored = damaged
        simulation.restart()
        with pytest.raises(DamagedState):
            await simulation.serve(HOUR)
        assert "from-the-future" in (simulation.agent.trouble or "")
        assert (simulation.table.stored, simulation.life.messages) == (damaged, [])
        with pytest.raises(DamagedState):
            await work(simulation.agent, lambda state: state, lambda _: False, lambda _: None)
        begun = await work(simulation.agent, lambda state: state, lambda _: False, lambda _: None, anew=True)
        assert (begun.phase, simulation.table.stored.version) == (Phase.NO_KEY, damaged.version + 1)
