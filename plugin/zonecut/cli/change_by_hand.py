"""What a person is to do for a change, where zonecut does not write the zone itself."""

from contextlib import suppress

from zonecut.cli import session
from zonecut.config import Loaded
from zonecut.plugin import Backend, BackendError, Change
from zonecut.store import ChangeState, Decision, StoredChange


class ByHand:
    """Of the parent zones in a configuration."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._backends: dict[bytes, Backend | None] = {}

    def lines(self, change: StoredChange) -> str | None:
        """Input of nsupdate for a change that waits; None for any other, and where zonecut writes the zone."""
        if change.state is not ChangeState.ACCEPTED or change.decision is Decision.REJECTED:
            return None
        backend = self._backend(change.zone)
        return None if backend is None else backend.by_hand([Change(change.before, change.after)])

    def _backend(self, zone: bytes) -> Backend | None:
        if zone not in self._backends:
            self._backends[zone] = None
            for section in self._loaded.configuration.parents:
                if section.apex == zone:
                    with suppress(BackendError):  # one that cannot be made says so where it is needed
                        self._backends[zone] = session.make_backend(self._loaded, section)
        return self._backends[zone]
