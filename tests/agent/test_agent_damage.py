"""What is damaged in a state is told with its name before anything is done, and costs nothing else of it."""

from dataclasses import replace
from typing import Any

import pytest

from agent_simulation import HOUR, SETTINGS, Said, living
from agent_support import CHILD, pair
from zonecut.agent import damage, transitions
from zonecut.agent.state import AgentState, DamagedState, Phase, Roll, Stage
from zonecut.agent.transitions import Now
from zonecut.agent.zone.caches import KEPT, Sight
from zonecut.cli.child.work import work
from zonecut.protocol.codepoints import ReceiverState
from zonecut.protocol.delegation import Delegation

KEY = pair(CHILD).key.to_text()
FULL = AgentState(
    Phase.IN_SYNC,
    1000.0,
    key="AAAA",
    published=(KEY,),
    receiver_keys=(KEY,),
    announced=("ANY UPDATE 5354 updater.parent.example.",),
    announced_in="parent.example.",
    copies=("_sig0key.child.parent.example._signal.ns.example.",),
    notes=("so it is",),
    spoke="cds",
    serial=7,
    roll=Roll(Stage.WAIT, 900.0, "BBBB"),
)
SIGHT = Sight(Delegation(CHILD, ns=(CHILD,)), 60, 60, 900.0)
BEGUN = transitions.begin(Now(2000.0, 0.5, SETTINGS))


def damaged(**fields: object) -> dict[str, Any]:
    return {**FULL.to_json(), **fields}


def test_a_state_that_is_right_is_read() -> None:
    assert damage.read(FULL.to_json()) == FULL
    assert damage.salvage(FULL.to_json(), BEGUN) == FULL


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"receiver_keys": [KEY, "junk"]}, "receiver_keys: 'junk' is no KEY record"),
        ({"receiver_keys": [7]}, "receiver_keys: 7 is no KEY record"),
        ({"published": ["junk"]}, "published: 'junk' is no KEY record"),
        ({"announced": ["junk"]}, "announced: 'junk' is no DSYNC record"),
        ({"announced_in": "a..b"}, "announced_in: 'a..b' is no name"),
        ({"copies": ["a..b."]}, "copies: 'a..b.' is no name"),
        ({"notes": [7]}, "notes: 7 is no text"),
        ({"last": "xyz"}, "last: 'xyz' is no delegation"),
        ({"spoke": "oracle"}, "spoke: 'oracle' is no source of DS"),
        ({"key": 7}, "key: 7 is no text"),
    ],
)
def test_an_entry_that_nobody_can_read_is_named_and_costs_nothing_else(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(DamagedState) as caught:
        damage.read(damaged(**fields))
    assert caught.value.reason.endswith(told)
    ((name, value),) = fields.items()
    left = KEY in value if isinstance(value, list) else False
    kept: Any = ((KEY,) if left else ()) if isinstance(value, list) else None
    assert damage.salvage(damaged(**fields), BEGUN) == replace(FULL, **{name: kept})


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({"phase": "from-the-future"}, {"phase": BEGUN.phase}),
        ({"roll": []}, {"roll": None}),
        ({"watch": {"subject": "x"}}, {}),
        ({"next_at": None}, {"next_at": BEGUN.next_at}),
        ({"announced": 7}, {"announced": ()}),
        ({"from-the-future": 1}, {}),
    ],
)
def test_what_else_is_damaged_costs_itself_alone(fields: dict[str, Any], left: dict[str, Any]) -> None:
    assert damage.salvage(damaged(**fields), BEGUN) == replace(FULL, **left)


@pytest.mark.parametrize("fields", [{"sights": [SIGHT.to_json(), "junk"]}, {"sights": 7}, {"forgotten_until": "junk"}])
def test_where_what_caches_may_have_is_damaged_they_may_have_anything(fields: dict[str, Any]) -> None:
    left = damage.salvage(damaged(**fields), BEGUN)
    assert left.forgotten_until == BEGUN.since + KEPT
    assert left.sights == ((SIGHT,) if isinstance(fields.get("sights"), list) else ())


@pytest.mark.parametrize("document", [[], None, "junk", {}])
def test_of_no_document_nothing_is_left(document: object) -> None:
    assert damage.salvage(document, BEGUN) == BEGUN


async def test_junk_in_a_list_is_told_by_the_agent_and_gone_after_a_bootstrap() -> None:
    async with living(
        lambda *_: Said(word=ReceiverState.TRUSTED), lambda: True, phase=Phase.IN_SYNC, serial=5, published=(KEY,)
    ) as simulation:
        stored = simulation.table.stored
        assert stored is not None
        bad = replace(stored, document={**stored.document, "receiver_keys": ["junk"], "published": [KEY, "junk"]})
        simulation.table.stored = bad
        simulation.restart()
        with pytest.raises(DamagedState):
            await simulation.serve(HOUR)
        assert "published: 'junk' is no KEY record" in (simulation.agent.trouble or "")
        assert (simulation.table.stored, simulation.life.messages) == (bad, [])
        simulation.restart()
        left = await work(simulation.agent, lambda state: state, lambda _: False, lambda _: None, anew=True)
        assert (left.phase, left.serial, left.published, left.receiver_keys) == (Phase.IN_SYNC, 5, (KEY,), ())
        simulation.restart()
        assert (await simulation.serve(HOUR)).phase is Phase.IN_SYNC
