"""What `store check` tells and `store accept` goes by: the store, and what waits in it beside what the servers hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from zonecut.cli import session
from zonecut.config import Loaded
from zonecut.plugin import BackendError
from zonecut.protocol import names
from zonecut.store import ChangeState, KeyState, Restored, Store, StoredChange


class Held(StrEnum):
    """What a server holds for the child of a change that waits."""

    AFTER = "what it asks for"
    BEFORE = "what it started from"
    OTHER = "something else"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A change that waits, and what the server holds; `why` says why that is not known."""

    change: StoredChange
    held: Held
    why: str = ""

    @property
    def is_there(self) -> bool:
        return self.held is Held.AFTER

    @property
    def once_accepted(self) -> ChangeState:
        """What becomes of it when a store that was restored is accepted: nothing is written unseen.

        Where the server holds what it started from, an operator may still approve it.
        """
        states = {Held.AFTER: ChangeState.APPLIED, Held.BEFORE: ChangeState.HELD}
        return states.get(self.held, ChangeState.FAILED)

    def to_json(self, outcome: str) -> dict[str, Any]:
        return {
            **self.change.to_json(),
            "server_holds": self.held.value,
            "unknown_because": self.why or None,
            "outcome": outcome,
        }


@dataclass(frozen=True, slots=True)
class Findings:
    """What there is to be known of a store."""

    damage: Sequence[str]
    restored: Restored | None
    floor: float | None
    keys: dict[KeyState, int]
    waiting: Sequence[Waiting]
    held: Sequence[StoredChange]
    """What waits for an operator."""


MOST_HELD = 1000
"""Changes that wait for an operator, of which a check tells: the latest ones."""


async def find(loaded: Loaded, store: Store) -> Findings:
    """Read the store, and for what waits in it the servers. Raises StoreUnavailable."""
    return Findings(
        await store.statistics.damage(),
        store.restored,
        await store.restores.floor(),
        dict(await store.statistics.keys()),
        await waiting(loaded, store),
        await store.changes.list(state=ChangeState.HELD, limit=MOST_HELD),
    )


async def waiting(loaded: Loaded, store: Store) -> list[Waiting]:
    """The changes that wait, oldest first, each beside what its server holds. Raises StoreUnavailable."""
    unsettled = await store.changes.unsettled()
    found: dict[int, Waiting] = {}
    for zone in dict.fromkeys(change.zone for change in unsettled):
        of_zone = [change for change in unsettled if change.zone == zone]
        found |= {each.change.id: each for each in await _beside(loaded, zone, of_zone)}
    return [found[change.id] for change in unsettled]


async def _beside(loaded: Loaded, zone: bytes, changes: Sequence[StoredChange]) -> list[Waiting]:
    section = next((each for each in loaded.configuration.parents if each.apex == zone), None)
    if section is None:
        why = f"{names.to_text(zone)} is no configured parent zone"
        return [Waiting(change, Held.UNKNOWN, why) for change in changes]
    found = []
    try:
        async with session.open_backend(loaded, section) as backend:
            for change in changes:
                held = (await backend.read(change.child)).delegation
                if held == change.after:
                    found.append(Waiting(change, Held.AFTER))
                else:
                    found.append(Waiting(change, Held.BEFORE if held == change.before else Held.OTHER))
    except BackendError as error:
        found += [Waiting(change, Held.UNKNOWN, error.reason) for change in changes[len(found) :]]
    return found
