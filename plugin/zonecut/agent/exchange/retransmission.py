"""The same octets to a receiver's addresses in turn, until somebody answers, and not for ever.

Repetitions are the same message, so that the receiver recognises them (RFC 2136 section 4: a response may get lost).
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from zonecut.agent.exchange.response import Response
from zonecut.agent.exchange.stream import MAX_STRAYS, NoAnswer
from zonecut.net.endpoint import Endpoint
from zonecut.protocol.errors import MalformedMessage

Exchange = Callable[[bytes, Endpoint, Callable[[bytes], Response]], Awaitable[Response]]
"""Sends a message to an address and reads the first answer: `over_tcp`."""

Read = Callable[[bytes, Endpoint, float], Response]
"""The response in the octets that came from an address after so many seconds. Raises MalformedMessage."""


@dataclass(frozen=True, slots=True)
class Patience:
    """For how many seconds an answer is waited for at first, which doubles each time that the same address is asked,
    and how many tries there are beyond the first of each address."""

    timeout: float = 5.0
    retries: int = 5


USUAL = Patience()


class Retransmission:
    """One message on its way. `tries`, `seconds`, `strays` and `reason` say how it went so far."""

    def __init__(self, addresses: Sequence[Endpoint], patience: Patience, exchange: Exchange) -> None:
        self.tries = 0
        self.strays: list[str] = []
        """What came that was no answer."""
        self._patience = patience
        self._exchange = exchange
        self._waiting = deque((address, 0) for address in addresses)
        self._most = len(addresses) + patience.retries
        self._repeats = True
        self._failures: dict[Endpoint, str] = {}
        self._started = self._ended = time.monotonic()

    @property
    def seconds(self) -> float:
        return self._ended - self._started

    @property
    def reason(self) -> str:
        """Why there is no answer, by address."""
        return "; ".join(f"{address}: {failure}" for address, failure in self._failures.items())

    def repeat_nothing(self) -> None:
        """Ask only those addresses from now on that were not asked yet."""
        self._repeats = False

    async def answer(self, wire: bytes, read: Read) -> Response | None:
        """The next answer, of an address that has given none yet; None when there is nobody left to be asked.

        An address that is silent is asked again.
        """
        while self._waiting and self.tries < self._most:
            address, before = self._waiting.popleft()
            if before and not self._repeats:
                continue
            timeout = self._patience.timeout * 2**before
            self.tries += 1
            try:
                async with asyncio.timeout(timeout):
                    response = await self._ask(wire, address, read)
            except TimeoutError:
                self._fail(address, f"silent for {timeout:g} s")
                self._waiting.append((address, before + 1))
            except NoAnswer as failure:
                self._fail(address, failure.reason)
                # Where nobody listens, whoever wants something comes again later.
                if failure.sent:
                    self._waiting.append((address, before + 1))
                    await asyncio.sleep(timeout / 5)
            else:
                self._ended = time.monotonic()
                return response
        return None

    async def _ask(self, wire: bytes, address: Endpoint, read: Read) -> Response:
        return await self._exchange(wire, address, partial(self._read, read, address, time.monotonic()))

    def _read(self, read: Read, address: Endpoint, since: float, octets: bytes) -> Response:
        try:
            return read(octets, address, time.monotonic() - since)
        except MalformedMessage as error:
            if len(self.strays) < MAX_STRAYS:
                self.strays.append(f"{address} sent something that is no answer: {error.reason}")
            raise

    def _fail(self, address: Endpoint, reason: str) -> None:
        self._failures[address] = reason
        self._ended = time.monotonic()
