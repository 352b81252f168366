"""Replay memory: of accepted UPDATEs, that they were accepted, for as long as their signatures are valid.

The same signed data may arrive again: a retry after a lost response, or an attacker's copy. Either gets the answer of
the first and changes nothing. What was refused is not remembered, nor what failed once the ledger says so: it may be
sent again.
"""

import asyncio
from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from zonecut.receiver.outcome import APPLIED, Outcome


class ReplayMemory:
    """Identities of accepted requests, and of those in work with the future that tells their outcome."""

    def __init__(self, accepted: Iterable[tuple[bytes, float]] = ()) -> None:
        """`accepted`: identities and the time, in seconds since the epoch, until which each is remembered."""
        self._expiry = [(expires, identity) for identity, expires in accepted]
        heapify(self._expiry)
        self._accepted = {identity: expires for expires, identity in self._expiry}
        self._answers: dict[bytes, Outcome] = {}
        self._in_work: dict[bytes, asyncio.Future[Outcome]] = {}

    def answer(self, identity: bytes, now: float) -> Outcome | None:
        """How the same request ended that was accepted before, as far as that is known; None if none was."""
        self._forget(now)
        return self._answers.get(identity, APPLIED) if identity in self._accepted else None

    def in_work(self, identity: bytes) -> asyncio.Future[Outcome] | None:
        """The outcome of the same request, if it is in work; wait for it shielded."""
        return self._in_work.get(identity)

    def begin(self, identity: bytes) -> asyncio.Future[Outcome]:
        """Note that a request is in work; whoever begins it sets the outcome and calls `end`."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._in_work[identity] = future
        return future

    def end(self, identity: bytes) -> None:
        self._in_work.pop(identity, None)

    def accept(self, identity: bytes, expires: float) -> None:
        """Remember an accepted request until `expires`, seconds since the epoch."""
        self._accepted[identity] = expires
        heappush(self._expiry, (expires, identity))

    def tell(self, identity: bytes, outcome: Outcome) -> None:
        """Answer a repetition of an accepted request with this: it failed, say, and the ledger is about to say so."""
        if identity in self._accepted:
            self._answers[identity] = outcome

    def settle(self, identity: bytes) -> None:
        """Answer a repetition of an accepted request with NOERROR, as at first."""
        self._answers.pop(identity, None)

    def reject(self, identity: bytes) -> None:
        """Forget one that was accepted and that failed in the end, as the ledger says."""
        self._accepted.pop(identity, None)
        self._answers.pop(identity, None)

    def _forget(self, now: float) -> None:
        while self._expiry and self._expiry[0][0] < now:
            expires, identity = heappop(self._expiry)
            if self._accepted.get(identity) == expires:
                self.reject(identity)
