"""Which of several announced receivers an agent talks to."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent_support import CHILD, INSECURE, Question, Told, found, pair
from zonecut.agent.context import BRIEF, PASSED_OVER, AgentContext, Left
from zonecut.agent.exchange.result import Result
from zonecut.agent.exchange.retransmission import USUAL
from zonecut.agent.exchange.update_client import UpdateClient
from zonecut.agent.keys.child_keys import OwnKey
from zonecut.agent.pace.backoff import Courtesy
from zonecut.agent.settings import ChildSettings, PrimarySettings
from zonecut.agent.state import AgentState, Phase
from zonecut.agent.transitions import Heard
from zonecut.agent.zone.zone_content import SourceError, ZoneContent
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.codepoints import DEFAULT, RRType
from zonecut.resolve import Answer

FIRST, SECOND, THIRD = (f"{name}.parent.example." for name in ("a", "b", "c"))
OWN = cast(OwnKey, SimpleNamespace(pair=pair(CHILD)))
STATE = AgentState(Phase.IN_SYNC, 0.0)


class World:
    """Three receivers, and who of them is silent; counts who was asked, and with how much patience."""

    def __init__(
        self,
        *silent: str,
        insecure: tuple[str, ...] = (),
        result: Result = Result.SILENT,
        announced: tuple[str, ...] = (f"5354 {FIRST}", f"5354 {SECOND}", f"5354 {THIRD}"),
    ) -> None:
        self.now = 1000.0
        self.asked: list[str] = []
        self.patience: list[Any] = []
        self.result = result
        self.silent = set(silent)
        records = [Dsync.from_text(f"ANY UPDATE {each}").to_wire() for each in announced]
        answers: dict[Question, Answer] = {("child._dsync.parent.example.", RRType.DSYNC): found(*records)}
        for number, name in enumerate((FIRST, SECOND, THIRD)):
            key = pair(names.from_text(name)).key.rdata
            answers[name, RRType.A] = found(bytes((1, 1, 1, number)))
            answers[name, RRType.KEY] = found(key, verdict=INSECURE) if name in insecure else found(key)
        parts = SimpleNamespace()
        self.place = AgentContext(
            CHILD,
            ChildSettings(primary=PrimarySettings(server="127.0.0.1:53")),
            cast(Any, parts),
            cast(Any, parts),
            cast(Any, parts),
            cast(Any, parts),
            cast(Any, Told(answers)),
            Courtesy(5.0, 60.0, lambda: 0.5),
            DEFAULT,
            cast(Any, None),
            lambda: self.now,
            lambda: 0.5,
            lambda: self.now,
        )

    async def step(self) -> Result:
        """One message to whom it is the turn of. Raises Left."""
        parent = await self.place.parent(STATE)
        assert parent.party is not None

        async def talk(conversation: UpdateClient) -> tuple[Heard, None]:
            target, port = names.to_text(conversation.party.target), conversation.party.addresses[0].port
            target = target if port == 5354 else f"{target} {port}"
            self.asked.append(target)
            self.patience.append(conversation._patience)
            return Heard(self.result if target in self.silent else Result.ACCEPTED, ""), None

        heard, _ = await self.place.say(parent.party, OWN, talk)
        return heard.result


@pytest.mark.parametrize("result", [Result.SILENT, Result.UNBELIEVABLE, Result.FAILED, Result.NOT_OURS])
async def test_the_next_receiver_is_asked_where_one_does_not_answer(result: Result) -> None:
    world = World(FIRST, SECOND, result=result)
    assert [await world.step() for _ in range(4)] == [result, result, Result.ACCEPTED, Result.ACCEPTED]
    assert world.asked == [FIRST, SECOND, THIRD, THIRD]
    # the last one that is left is given time
    assert world.patience == [BRIEF, BRIEF, USUAL, USUAL]
    world.silent.clear()
    world.now += PASSED_OVER
    await world.step()
    assert world.asked[-1] == FIRST


async def test_one_name_may_have_receivers_at_several_ports() -> None:
    world = World(FIRST, announced=(f"5354 {FIRST}", f"5355 {FIRST}"))
    assert [await world.step() for _ in range(3)] == [Result.SILENT, Result.ACCEPTED, Result.ACCEPTED]
    assert world.asked == [FIRST, f"{FIRST} 5355", f"{FIRST} 5355"]


async def test_a_refusal_leads_to_no_other_receiver() -> None:
    world = World(FIRST, result=Result.REFUSED)
    await world.step()
    await world.step()
    assert world.asked == [FIRST, FIRST]


async def test_where_nobody_answers_each_is_asked_in_turn_and_left_alone_meanwhile() -> None:
    world = World(FIRST, SECOND, THIRD)
    for _ in range(3):
        await world.step()
    waits = []
    for _ in range(6):
        with pytest.raises(Left) as left:
            await world.step()
        waits.append(left.value.seconds)
    # the others are looked at, and then it waits: never more often than there are receivers
    assert sum(wait > 0 for wait in waits) >= 2
    world.now += 10
    assert await world.step() is Result.SILENT
    assert world.asked[:3] == [FIRST, SECOND, THIRD]


async def test_one_that_nobody_vouches_for_does_not_stand_in_for_one_that_is_validated() -> None:
    world = World(FIRST, insecure=(SECOND, THIRD))
    await world.step()
    with pytest.raises(Left) as left:
        await world.step()
    assert left.value.seconds > 0
    assert world.asked == [FIRST]
    alone = World(FIRST, insecure=(FIRST, SECOND, THIRD))
    assert [await alone.step() for _ in range(2)] == [Result.SILENT, Result.ACCEPTED]


async def test_nothing_is_published_for_the_name_servers_of_a_version_that_is_stale() -> None:
    """Copies below _signal would come and go with a server that has not caught up."""
    world = World()

    class Stale:
        async def content(self) -> ZoneContent:
            return ZoneContent(CHILD, 90)

    world.place.source = cast(Any, Stale())
    world.place.keys = cast(Any, SimpleNamespace(ever=tuple, all=lambda: (OwnKey(pair(CHILD), Path("K")),)))
    with pytest.raises(SourceError, match="serial 90"):
        await world.place.publish(replace(STATE, serial=100))
    state, hindered, wrote = await world.place.restore(replace(STATE, serial=100))
    assert (state.serial, wrote) == (100, False)
    assert "serial 90" in hindered[0]
