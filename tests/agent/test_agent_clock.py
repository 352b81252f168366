"""The clock is set while a step is under way: what the agent remembers moves along, as it does between two steps."""

from dataclasses import replace

import pytest

from agent_simulation import HOUR, Said, Simulation, living
from agent_support import CHILD, PARENT
from proof_support import NOW, NS_A, NS_B, parent_server, server, zone
from zonecut.agent import sync
from zonecut.agent.evidence.zone_view import ZoneView
from zonecut.agent.exchange.result import Result
from zonecut.agent.keys.child_keys import OwnKey
from zonecut.agent.parent.parent_view import ParentView
from zonecut.agent.settings import ChildSettings, PrimarySettings
from zonecut.agent.state import Phase
from zonecut.agent.zone.caches import Sight
from zonecut.protocol.codepoints import ReceiverState
from zonecut.protocol.delegation import Delegation

DAY = 24 * HOUR
JUMPS = [-DAY, -60.0, 60.0, DAY]


class Setter:
    """A receiver that says `said`, while whose first message the clock is set."""

    def __init__(self, jump: float, said: Said) -> None:
        self.jump, self.said = jump, said
        self.simulation: Simulation | None = None

    def __call__(self, kind: str, own: OwnKey) -> Said:
        if self.simulation is not None:
            self.simulation.life.wall += self.jump
            self.simulation = None
        return Said(word=ReceiverState.TRUSTED) if kind == "inquiry" else self.said


@pytest.mark.parametrize("jump", JUMPS)
async def test_what_is_waited_for_stays_as_far_away_though_the_clock_is_set_within_a_step(jump: float) -> None:
    receiver = Setter(jump, Said())
    async with living(receiver) as simulation:
        at = simulation.life.clock()
        past = Sight(Delegation(CHILD), 600, 600, at - 10)
        moments = {"unsigned_until": at + DAY, "forgotten_until": at - 10, "key_since": at - HOUR}
        await simulation.put(Phase.OUT_OF_SYNC, uploaded=True, sights=(past,), **moments)
        receiver.simulation = simulation
        await simulation.agent.step(await simulation.state())
        assert simulation.life.wall == jump
        for place in ("this process", "another one"):
            state, now = await simulation.state(), simulation.life.clock()
            assert {name: getattr(state, name) - now for name in moments} == pytest.approx(
                {name: moment - at for name, moment in moments.items()}
            ), place
            assert [sight.gone for sight in state.sights if sight.gone] == pytest.approx([now - 10])
            assert state.sent_at == pytest.approx(now)
            assert state.decided_at == pytest.approx(now)
            simulation.restart()


@pytest.mark.parametrize("jump", JUMPS)
async def test_what_was_in_vain_while_the_clock_was_set_is_tried_at_once(jump: float) -> None:
    receiver = Setter(jump, Said(Result.FAILED))
    async with living(receiver) as simulation:
        receiver.simulation = simulation
        after = await simulation.agent.step(await simulation.state())
        assert after.attempts == 1
        assert after.next_at == pytest.approx(simulation.life.clock())
        assert (await simulation.state()).next_at == pytest.approx(simulation.life.clock())


async def test_a_message_is_signed_by_the_clock_as_it_is() -> None:
    async with living(lambda *_: Said()) as simulation:
        place = simulation.agent.place
        await simulation.state()
        before = place.now().time
        simulation.life.wall += DAY
        simulation.life.time += 1
        assert place.now().time == before + 1
        assert place.clock() == before + 1 + DAY
        await simulation.state()
        assert place.now().time == place.clock()


@pytest.mark.parametrize("look", [1, 2, 3])
async def test_no_first_ds_goes_early_because_the_clock_was_set_within_a_look(
    look: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = zone("new", cds=["new"])
    settings = ChildSettings(primary=PrimarySettings(server="127.0.0.1:53"))
    async with living(lambda *_: Said(word=ReceiverState.TRUSTED), settings=settings) as simulation:
        life = simulation.life
        life.time, life.content = NOW, read.content
        simulation.restart()
        looks: list[float] = []

        async def parents(*_: object, **__: object) -> ParentView:
            looks.append(life.time)
            if len(looks) == look:
                life.wall += DAY
            return ParentView(PARENT, CHILD, (replace(parent_server(), ds_ttl=3600, ns_ttl=3600),))

        async def servers(*_: object, **__: object) -> ZoneView:
            return ZoneView(CHILD, (server(NS_A, read), server(NS_B, read, "192.0.2.2")))

        monkeypatch.setattr(sync, "view_parent", parents)
        monkeypatch.setattr(sync, "view_servers", servers)
        await simulation.put(Phase.OUT_OF_SYNC, uploaded=True, unsigned_until=NOW + DAY)
        await simulation.run(DAY - 1, most=20000)
        assert life.wall == DAY
        assert life.count("update") == 0
        await simulation.run(HOUR, most=20000)
        assert life.count("update") > 0
