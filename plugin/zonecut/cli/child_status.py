"""`zonecut child status`: where the agents of the child zones stand."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from zonecut.cli import output, session
from zonecut.cli.failures import Exit
from zonecut.cli.options import ConfigOption, JsonOption, OptionalChildZoneArgument
from zonecut.protocol import names

if TYPE_CHECKING:
    from zonecut.agent.state import AgentState
    from zonecut.config import ChildSection, Loaded

_NOBODY = "no agent has looked after this zone yet"
_BEGIN = "zonecut serve, or zonecut child bootstrap"


def command(zone: OptionalChildZoneArgument = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show where the agent of a child zone stands, and why; without ZONE a line for each.

    Exit code 3: a zone is not in sync with its parent.

    Example: zonecut child status child.parent.example.
    """
    loaded = session.load(config)
    sections = loaded.configuration.children if zone is None else (session.child_at(loaded, zone),)
    states = session.run(states_of(loaded, sections))
    if as_json:
        documents = [to_json(apex, state) for apex, state in states.items()]
        output.say_json(documents if zone is None else documents[0])
    elif zone is None:
        _say_all(states)
    else:
        say(zone, states[zone])
    raise typer.Exit(code_of(states.values()))


async def states_of(loaded: "Loaded", sections: "tuple[ChildSection, ...]") -> "dict[bytes, AgentState | None]":
    """Where each of them stands; None: no agent has looked after it."""
    from zonecut.agent.state import AgentState

    if not session.has_store(loaded):
        return dict.fromkeys(section.apex for section in sections)
    async with session.open_store(loaded) as store:
        found = {}
        for section in sections:
            stored = await store.agents.get(section.apex)
            found[section.apex] = None if stored is None else AgentState.from_json(stored.document)
        return found


def code_of(states: "Iterable[AgentState | None]") -> Exit:
    """DONE if all are in sync."""
    from zonecut.agent.state import Phase

    done = all(state is not None and state.phase is Phase.IN_SYNC for state in states)
    return Exit.DONE if done else Exit.DIFFERENT


def to_json(zone: bytes, state: "AgentState | None") -> dict[str, object]:
    """The state with times for people."""
    if state is None:
        return {"zone": names.to_text(zone), "phase": None, "reason": _NOBODY, "advice": _BEGIN}
    document = state.to_json()
    del (
        document["announced"],
        document["announced_in"],
        document["receiver_keys"],
        document["published"],
        document["copies"],
    )
    for name in ("since", "next_at", "key_since", "sent_at", "differs_since", "synced_at", "checked_at", "word_at"):
        document[name] = _time(document[name])
    return {"zone": names.to_text(zone), **document}


def _time(seconds: float | None) -> str | None:
    from zonecut.store.timestamps import to_text

    return to_text(seconds) if seconds else None


def _ago(seconds: float | None) -> str | None:
    if not seconds:
        return None
    ago = time.time() - seconds
    return f"{_time(seconds)} ({ago:.0f} s ago)" if ago >= 0 else f"{_time(seconds)} (in {-ago:.0f} s)"


def _say_all(states: "dict[bytes, AgentState | None]") -> None:
    with output.Table("ZONE", "PHASE", "SINCE", "REASON") as table:
        for zone, state in states.items():
            if state is None:
                table.add(names.to_text(zone), "-", None, _NOBODY)
            else:
                table.add(names.to_text(zone), state.phase.value, _time(state.since), state.reason)


def say(zone: bytes, state: "AgentState | None") -> None:
    """The state in full."""
    title = names.to_text(zone)
    if state is None:
        output.say(f"{title}: {_NOBODY}: {_BEGIN}")
        return
    roll = None if state.roll is None else f"{state.roll.stage.value}, since {_ago(state.roll.since)}"
    output.say_fields(
        title,
        {
            "phase": state.phase.value
            + (f", tries again: {state.does.value}" if state.does is not state.phase else ""),
            "since": _ago(state.since),
            "reason": state.reason,
            "advice": state.advice.split("\n") if state.advice else None,
            "attempts": f"{state.attempts} in vain" if state.attempts else None,
            "next step": _ago(state.next_at),
            "serial": None if state.serial is None else f"{state.serial}, of the version that was acted on last",
            "key": state.key,
            "receiver": state.receiver,
            "it says": None if state.word is None else f"{state.word}, {_ago(state.word_at)}",
            "roll": roll,
            "note": list(state.notes),
            "differs since": _ago(state.differs_since),
            "in sync at": _ago(state.synced_at),
            "took": None if state.took is None else f"{state.took:.1f} s",
        },
    )
