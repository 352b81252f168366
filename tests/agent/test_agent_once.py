"""What was seen once, and may be wrong for seconds, holds no zone for as long as a `check`: it is asked again soon, and
ever more seldom while it stays so (PROTOCOL section 9)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from agent_simulation import HOUR, SETTINGS, Life, Said, living
from agent_support import CHILD
from proof_support import NOW, NS_A, NS_B, UNSIGNED, Shown, parent_server, server, zone
from zonecut.agent import sync
from zonecut.agent.evidence.zone_view import ZoneView
from zonecut.agent.exchange.result import Result
from zonecut.agent.keys.child_keys import OwnKey
from zonecut.agent.parent.parent_view import ParentView
from zonecut.agent.settings import LookSettings
from zonecut.agent.state import Phase
from zonecut.protocol import names
from zonecut.protocol.codepoints import ReceiverState

NS_C = names.from_text("ns.c.example.")
TRUSTED = Said(word=ReceiverState.TRUSTED)


class Receiver:
    """One that says something of the key for so many seconds, refuses meanwhile, and then takes and trusts all."""

    def __init__(self, word: ReceiverState, seconds: float) -> None:
        self.word, self.seconds = word, seconds
        self.life: Life | None = None
        self.done = False

    def __call__(self, kind: str, own: OwnKey) -> Said:
        assert self.life is not None
        is_over = self.life.time >= 1_000_000.0 + self.seconds
        if kind == "inquiry":
            return TRUSTED if is_over else Said(word=self.word)
        self.done = self.done or is_over
        return Said() if is_over else Said(Result.REFUSED)


@pytest.mark.parametrize("word", [ReceiverState.REFUSED, ReceiverState.INVALID])
async def test_a_key_that_is_refused_for_some_seconds_is_asked_about_again_soon(word: ReceiverState) -> None:
    receiver = Receiver(word, 10)
    async with living(receiver, lambda: receiver.done) as simulation:
        receiver.life = simulation.life
        held = await simulation.run(5)
        assert (held.phase, held.resumes) == (Phase.HELD, Phase.ASKING)
        assert (await simulation.run(60)).phase is Phase.IN_SYNC


@pytest.mark.parametrize("word", [ReceiverState.REFUSED, ReceiverState.INVALID])
async def test_a_key_that_stays_refused_is_asked_about_ever_more_seldom(word: ReceiverState) -> None:
    async with living(lambda *_: Said(word=word), phase=Phase.ASKING) as simulation:
        begin = simulation.life.time
        await simulation.run(24 * HOUR)
        assert (await simulation.state()).phase is Phase.HELD
        assert simulation.life.count(since=begin + 4 * HOUR) == pytest.approx(20, abs=2)
        assert simulation.life.count() < 45


def plays(monkeypatch: pytest.MonkeyPatch, life: Life, read: Shown, newcomer: Sequence[tuple[float, Shown]]) -> None:
    """A signed zone that has a name server more than the parent, which shows this and that from some second on."""
    served = [server(NS_A, read), server(NS_B, read, "192.0.2.2")]
    life.time = NOW
    life.content = replace(read.content, serial=None)

    async def servers(*_: object, **__: object) -> ZoneView:
        shown = next(each for since, each in reversed(newcomer) if life.time >= NOW + since)
        return ZoneView(CHILD, (*served, server(NS_C, shown, "192.0.2.3")))

    async def parent(*_: object, **__: object) -> ParentView:
        ns = (NS_A, NS_B, NS_C) if life.shows() else (NS_A, NS_B)
        return ParentView(names.from_text("parent.example."), CHILD, (parent_server("k", ns=ns),))

    monkeypatch.setattr(sync, "view_servers", servers)
    monkeypatch.setattr(sync, "view_parent", parent)


async def test_a_newcomer_that_is_wrong_for_some_seconds_is_looked_at_again_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[Any] = []

    def manner(kind: str, own: OwnKey) -> Said:
        sent.extend([kind] if kind == "update" else [])
        return TRUSTED if kind == "inquiry" else Said()

    settings = SETTINGS.model_copy(update={"looks": LookSettings(again=60)})
    async with living(manner, lambda: bool(sent), settings=settings) as simulation:
        read = zone("k", ns=frozenset((NS_A, NS_B, NS_C)))
        plays(monkeypatch, simulation.life, read, [(0, UNSIGNED), (8, read)])
        await simulation.put(Phase.OUT_OF_SYNC, uploaded=True)
        held = await simulation.run(4)
        assert held.phase is Phase.HELD
        assert "ns.c.example. (192.0.2.3) is not added" in held.reason
        assert (await simulation.run(60)).phase is Phase.IN_SYNC


async def test_a_newcomer_that_stays_wrong_is_looked_at_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    async with living(lambda *_: TRUSTED) as simulation:
        plays(monkeypatch, simulation.life, zone("k", ns=frozenset((NS_A, NS_B, NS_C))), [(0, UNSIGNED)])
        await simulation.put(Phase.OUT_OF_SYNC, uploaded=True)
        assert (await simulation.run(24 * HOUR)).phase is Phase.HELD
        assert len([at for at in simulation.life.steps if at > NOW + 4 * HOUR]) == pytest.approx(20, abs=3)
        assert len(simulation.life.steps) < 45


async def test_a_zone_that_is_bogus_under_its_ds_is_looked_at_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the parent has is what the child says, and all the same it is not well."""
    async with living(lambda *_: TRUSTED, lambda: True) as simulation:
        bogus = zone("evil", ns=frozenset((NS_A, NS_B, NS_C)))
        plays(monkeypatch, simulation.life, bogus, [(0, bogus)])
        await simulation.put(Phase.IN_SYNC, uploaded=True)
        held = await simulation.run(24 * HOUR)
        assert held.phase is Phase.HELD
        assert "is bogus" in held.reason
        assert len(simulation.life.steps) < 45


async def test_who_does_not_answer_while_a_zone_is_held_is_asked_again_soon() -> None:
    silent = True

    def manner(kind: str, own: OwnKey) -> Said:
        return Said(Result.SILENT) if silent else TRUSTED if kind == "inquiry" else Said()

    async with living(manner, lambda: not silent, phase=Phase.HELD, resumes=Phase.ASKING) as simulation:
        assert (await simulation.run(10)).phase is Phase.HELD
        silent = False
        assert (await simulation.run(60)).phase is Phase.IN_SYNC
