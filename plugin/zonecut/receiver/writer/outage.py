"""While a parent zone's server takes nothing: how long it is left alone, and what is told of it."""

import asyncio
from collections.abc import Sequence

import structlog

from zonecut.protocol import names
from zonecut.receiver.writer.waits import Waits
from zonecut.receiver.writer.write_queue import Pending

_log = structlog.get_logger(__name__)


class Outage:
    """Of one parent zone."""

    def __init__(self, zone: bytes, waits: Waits) -> None:
        self._zone = zone
        self._waits = waits
        self.trouble: str | None = None
        """Why the server does not take anything now; None while it does."""

    async def pause(self, left: Sequence[Pending], failures: int, waiting: int) -> None:
        """Leave it alone for a while, after so many failures in a row; `waiting` changes are to be written."""
        reason = left[0].trouble
        if self.trouble != reason:
            _log.error("backend.unavailable", zone=names.to_text(self._zone), reason=reason, waiting=waiting)
        self.trouble = reason
        pause = self._waits.backoff(failures)
        self._waits.note(left, pause)
        await asyncio.sleep(pause)

    def over(self) -> None:
        """It has taken something, or said of something that it does not."""
        if self.trouble is not None:
            _log.info("backend.recovered", zone=names.to_text(self._zone))
        self.trouble = None
