"""Changes of which a person has said that they are made: `zonecut change done` has seen them there, and that counts.

What it saw there and is gone by now was taken out since, by somebody else, and is told as such by the next look.
"""

import time
from collections.abc import Sequence

import structlog

from zonecut.plugin import Backend
from zonecut.receiver.change.serials import Serials
from zonecut.receiver.writer.waits import about
from zonecut.receiver.writer.write_queue import Pending

_UNDONE = (
    "it was there when somebody said that it is made, and is not any more: that was changed by somebody else since"
)

_log = structlog.get_logger(__name__)


class SaidDone:
    """Of one parent zone."""

    def __init__(self, zone: bytes, backend: Backend, serials: Serials) -> None:
        self._zone = zone
        self._backend = backend
        self._serials = serials

    async def missing(self, batch: Sequence[Pending]) -> set[bytes]:
        """The children of those changes that the server does not hold. Raises BackendError.

        Where a person says that one is made, the zone is looked at as it is now, whatever its serial says.
        """
        changes = [pending.change for pending in batch]
        said = [pending for pending in batch if pending.done_as == pending.change.after]
        serial = await self._backend.serial() if said else None
        missing = set(await self._backend.verify(changes))
        late = {pending.child for pending in said if pending.child in missing}
        if not late:
            return missing
        await self._backend.hosts((), not_before=time.monotonic())
        missing = set(await self._backend.verify(changes))
        if late - missing and serial is not None and serial == await self._backend.serial():
            self._serials.stayed(serial)
        for pending in said:
            if pending.child in missing:
                _log.warning("change.undone", **about(self._zone, pending), reason=_UNDONE)
                missing.remove(pending.child)
        return missing
