"""The order of a zone's versions: a serial that goes back is a server that has not caught up (RFC 1982). Pure."""

from dataclasses import replace

from zonecut.agent.settings import ChildSettings
from zonecut.agent.state import AgentState
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol import names

_HALF = 1 << 31
_ALL = 1 << 32


def precedes(one: int, other: int) -> bool:
    """True if a serial is of an earlier version than another one (RFC 1982 section 3.2)."""
    return 0 < (other - one) % _ALL < _HALF


def why_stale(content: ZoneContent, state: AgentState | None, settings: ChildSettings) -> str | None:
    """Why nothing follows from this version of the zone: a later one was acted on before. None if that is not so."""
    if settings.serial == "any" or state is None or state.serial is None or content.serial is None:
        return None
    if not precedes(content.serial, state.serial):
        return None
    zone = names.to_text(content.zone)
    return (
        f"{zone} has the serial {content.serial} where it is read, and {state.serial} was acted on before:"
        " a server that has not caught up (RFC 1982), which is waited for"
    )


def advice_of(zone: bytes) -> str:
    """What to do where a server does not catch up."""
    return (
        "see that server; where the zone was made anew, or is read from another one: "
        f"`zonecut child sync {names.to_text(zone)} --serial-reset`"
    )


def acted_on(state: AgentState, content: ZoneContent) -> AgentState:
    """This version is held against what the parent publishes: earlier ones do not count any more."""
    return state if content.serial is None else replace(state, serial=content.serial)
