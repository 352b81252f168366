"""Whether a server still holds what is believed of some children: one look for all that have come before it begins."""

import asyncio
from collections import deque
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


class _Together:
    """What is asked together, with one timer for all: each has so many seconds at most."""

    def __init__(self, patience: float) -> None:
        self._asked: list[tuple[Reading, asyncio.Future[bool]]] = []
        self._timer = asyncio.get_running_loop().call_later(patience, self.answer, frozenset())

    def __len__(self) -> int:
        return len(self._asked)

    @property
    def readings(self) -> list[Reading]:
        return [reading for reading, _ in self._asked]

    def add(self, reading: Reading) -> asyncio.Future[bool]:
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked.append((reading, answer))
        return answer

    def answer(self, same: frozenset[bytes]) -> None:
        """Answer whom nothing was answered yet: True to these children."""
        self._timer.cancel()
        for reading, answer in self._asked:
            if not answer.done():
                answer.set_result(reading.delegation.child in same)


class Confirmations:
    """Of one parent zone."""

    def __init__(self, zone: bytes, server: Server) -> None:
        self._zone = zone
        self._server = server
        self._waiting: deque[_Together] = deque()
        """For looks that have yet to begin."""
        self._looking: asyncio.Task[None] | None = None

    def ask(self, reading: Reading, patience: float) -> asyncio.Future[bool]:
        """True if the server is seen to hold, at a moment after this call, what was read of a child.

        False where it does not, cannot be asked, or does not answer for `patience` seconds: who has to know reads it.
        """
        if not self._waiting or len(self._waiting[-1]) >= MOST:
            self._waiting.append(_Together(patience))
        answer = self._waiting[-1].add(reading)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return answer

    async def _look(self) -> None:
        try:
            while self._waiting:
                together = self._waiting.popleft()
                together.answer(await self._unchanged(together.readings))
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
