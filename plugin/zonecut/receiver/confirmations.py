"""Whether a server still holds what is believed of some children: one look for all that have come before it begins."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from zonecut.plugin import BackendError, Reading
from zonecut.protocol import names

MOST = 100
"""So many children are looked at in one go; the others are next."""

_log = structlog.get_logger(__name__)


class Server(Protocol):
    """What is needed of a Backend."""

    async def unchanged(self, readings: Sequence[Reading], /) -> frozenset[bytes]: ...


class Confirmations:
    """Of one parent zone."""

    def __init__(self, zone: bytes, server: Server) -> None:
        self._zone = zone
        self._server = server
        self._waiting: list[tuple[Reading, asyncio.Future[bool]]] = []
        self._looking: asyncio.Task[None] | None = None

    def ask(self, reading: Reading) -> asyncio.Future[bool]:
        """True if the server is seen to hold, at a moment after this call, what was read of a child.

        False where it does not, or cannot be asked: who has to know reads it.
        """
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((reading, answer))
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return answer

    async def _look(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                same = await self._unchanged([reading for reading, _ in asked])
                for reading, answer in asked:
                    if not answer.done():
                        answer.set_result(reading.delegation.child in same)
        finally:
            self._looking = None

    async def _unchanged(self, readings: Sequence[Reading]) -> frozenset[bytes]:
        try:
            return await self._server.unchanged(readings)
        except BackendError:
            return frozenset()
        except Exception:
            # a defect of an adapter: each child is read by itself
            _log.exception("backend.defect", zone=names.to_text(self._zone))
            return frozenset()
