"""What the store keeps of a zone, read with each entry looked at; and what is left of a document that is damaged. Pure.

Who reads a state from the store reads it here: an entry that nobody can read must not be found in the midst of a step,
where no command clears it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from zonecut.agent.evidence.ds_statement import Origin
from zonecut.agent.state import AgentState, DamagedState
from zonecut.agent.zone.caches import KEPT
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.errors import MalformedMessage
from zonecut.protocol.keys import Key, UnusableKey

_Read = Callable[[str], object]


def _text(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError("it is no text")
    return text


def _delegation(text: str) -> Delegation:
    return Delegation.from_wire(bytes.fromhex(text))


_ENTRIES: Mapping[str, tuple[str, _Read]] = {
    "published": ("KEY record", Key.from_text),
    "receiver_keys": ("KEY record", Key.from_text),
    "announced": ("DSYNC record", Dsync.from_text),
    "copies": ("name", names.from_text),
    "notes": ("text", _text),
    "milestones": ("text", _text),
}
"""What each entry of a list has to be."""
_VALUES: Mapping[str, tuple[str, _Read]] = {
    "announced_in": ("name", names.from_text),
    "last": ("delegation", _delegation),
    "spoke": ("source of DS", Origin),
    **dict.fromkeys(("reason", "advice"), ("text", _text)),
    **dict.fromkeys(("key", "sent", "accepted", "settled", "word", "receiver", "seen_in_zone"), ("text", _text)),
}
"""What a value has to be that is not None."""


def read(document: Mapping[str, Any]) -> AgentState:
    """The state in a document of the store. Raises DamagedState, which names the field, the entry and the rule."""
    state = AgentState.from_json(document)
    for name, entry, kind in _unreadable(state):
        raise DamagedState(f"what is kept of the zone is damaged, or a newer version's: {name}: {entry!r} is no {kind}")
    return state


def salvage(document: object, begun: AgentState) -> AgentState:
    """What can be read of a document, and the rest as in `begun`; of a list, those of its entries that can be.

    Where that leaves out a delegation that caches may have, all is as if caches had it for as long as they may.
    """
    good = begun.to_json()
    for name in (field.name for field in fields(AgentState)):
        if not isinstance(document, Mapping) or name not in document:
            continue
        value = document[name]
        if isinstance(value, list):
            value = [each for each in value if _is_fit({**good, name: [each]})]
        if _is_fit({**good, name: value}):
            good[name] = value
    salvaged = read(good)
    if isinstance(document, Mapping) and any(
        name in document and document[name] != good[name] for name in ("sights", "forgotten_until")
    ):
        return replace(salvaged, forgotten_until=begun.since + KEPT)
    return salvaged


def _is_fit(document: Mapping[str, Any]) -> bool:
    try:
        read(document)
    except DamagedState:
        return False
    return True


def _unreadable(state: AgentState) -> Iterator[tuple[str, object, str]]:
    """Field, entry, and what it should be."""
    for name, (kind, reads) in _ENTRIES.items():
        yield from ((name, entry, kind) for entry in getattr(state, name) if not _can(reads, entry))
    for name, (kind, reads) in _VALUES.items():
        value = getattr(state, name)
        if value is not None and not _can(reads, value):
            yield name, value, kind


def _can(reads: _Read, entry: Any) -> bool:
    try:
        reads(entry)
    except (AttributeError, MalformedMessage, TypeError, UnusableKey, ValueError):
        return False
    return True
