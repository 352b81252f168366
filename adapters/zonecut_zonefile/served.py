"""Whether the server serves what stands in the zone file: by the serial (RFC 1982)."""

import asyncio
import time

from zonecut.net.endpoint import Endpoint
from zonecut.plugin import BackendUnavailable
from zonecut.plugin.dns.served_serial import served_serial
from zonecut.protocol.sig0 import later

_PATIENCE = 2.0
"""Seconds for one answer."""
_PAUSE = 0.05
"""Seconds between looks."""


class Served:
    """What one server serves of one zone. Methods raise BackendUnavailable when it does not answer for the zone."""

    def __init__(self, zone: bytes, server: str, within: float) -> None:
        self._zone = zone
        self._server = Endpoint.parse(server)
        self.within = within

    async def serial(self) -> int:
        return await served_serial(self._zone, self._server, _PATIENCE)

    async def follows(self, former: int, before: int, serial: int) -> bool:
        """True as soon as a file is served whose serial rose from `former` to this one, False if it is not in time.

        `before` was served until then. Where that was ahead of the file, the server counts by itself, since it signs:
        then any rise is the one that is waited for.
        """
        deadline = time.monotonic() + self.within
        signs = later(before, former)
        while True:
            trouble = None
            try:
                served = await self.serial()
                if later(served, before) if signs else not later(serial, served):
                    return True
            except BackendUnavailable as error:
                # it may be loading; a server that has gone refuses nothing
                trouble = error
            if time.monotonic() > deadline:
                if trouble is not None:
                    raise trouble
                return False
            await asyncio.sleep(_PAUSE)
