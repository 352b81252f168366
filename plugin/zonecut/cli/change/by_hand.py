"""What a person is to do in a zone that zonecut does not write itself: for a change, and beside the changes."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from zonecut.cli import session
from zonecut.cli.terminal import output
from zonecut.config import Loaded
from zonecut.plugin import Backend, BackendError, Change
from zonecut.store import ChangeState, Chore, Decision, StoredChange


class ByHand:
    """Of the parent zones in a configuration; `chores` are those of the store."""

    def __init__(self, loaded: Loaded, chores: Sequence[Chore] = ()) -> None:
        self._loaded = loaded
        self._chores = chores
        self._backends: dict[bytes, Backend | None] = {}

    def lines(self, change: StoredChange) -> str | None:
        """Input of nsupdate for a change that waits, or for the rest of it; None for any other, and where zonecut
        writes the zone."""
        if change.state is not ChangeState.ACCEPTED or change.decision is Decision.REJECTED:
            return None
        backend = self._backend(change.zone)
        rests = (each for each in self._chores if each.change_id == change.id and each.after == change.after)
        before = next((each.before for each in rests), change.before)
        return None if backend is None else backend.by_hand([Change(before, change.after)])

    def beside(self, zone: bytes) -> list[dict[str, Any]]:
        """What is to be done in a zone beside its changes, with its lines for nsupdate."""
        return [self._document(each) for each in self._chores if each.zone == zone and each.host and self._lines(each)]

    def around(self, change: StoredChange) -> list[dict[str, Any]]:
        """What is to be done about the hosts of a change's child, and about those that it names."""
        named = (*change.before.ns, *change.after.ns)
        about = [each for each in self._chores if each.zone == change.zone and each.host]
        return [
            self._document(each)
            for each in about
            if (each.child == change.child or each.host in named) and self._lines(each)
        ]

    def _document(self, chore: Chore) -> dict[str, Any]:
        return {**chore.to_json(), "lines": self._lines(chore)}

    def _lines(self, chore: Chore) -> str | None:
        backend = self._backend(chore.zone)
        return None if backend is None else backend.by_hand([Change(chore.before, chore.after)])

    def _backend(self, zone: bytes) -> Backend | None:
        if zone not in self._backends:
            self._backends[zone] = None
            for section in self._loaded.configuration.parents:
                if section.apex == zone:
                    with suppress(BackendError):  # one that cannot be made says so where it is needed
                        self._backends[zone] = session.make_backend(self._loaded, section)
        return self._backends[zone]


def say_beside(document: dict[str, Any]) -> None:
    """What is to be done about a host, for people."""
    host, reason = document["host"], document["reason"]
    head = f"by hand, since {document['since']}: {host} ({reason}); as input of nsupdate, and nobody has to say so"
    output.say_block(f"\n{head}\n{document['lines'].rstrip()}")
