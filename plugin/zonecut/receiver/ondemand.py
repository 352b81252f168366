"""Looks up the KEY of a child that signs with one that is not known here (`trust.on_demand`).

Some children never upload. The message that made us look is answered as without it; which of the keys that are found
is meant is what its signature says. It is worth nothing yet: the methods run on it as on any key.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import structlog

from zonecut.plugin import BackendError
from zonecut.plugin.bootstrap import Lookups, Presence
from zonecut.protocol import names
from zonecut.protocol.codepoints import CodePoints
from zonecut.protocol.errors import Refusal
from zonecut.protocol.keys import Key, UnusableKey, check_usable, verifier
from zonecut.protocol.sig0 import Signature, Untimely, check_time, signed_data
from zonecut.receiver.admission import Source, TokenBuckets
from zonecut.receiver.authentication import MAX_CANDIDATES, SignatureSettings
from zonecut.receiver.bounded import Bounded
from zonecut.store import StoreError

MAX_FETCHING = 16
"""Children whose keys are looked up at once."""
MAX_WAITING = 8
"""Messages of one child that wait for a look-up; what is sent again is seen then."""
BURST, RATE = 50.0, 5.0
"""Look-ups at once, and a second after that, whoever makes us look."""
REMEMBERED = 4096
"""Children of whom it is remembered what was found."""

_log = structlog.get_logger(__name__)

_Keys = tuple[Key, ...]


class OnDemand:
    """The children of one parent zone that sign with keys that nobody uploaded."""

    def __init__(
        self,
        zone: bytes,
        lookups: Lookups,
        check_delegated: Callable[[bytes], Awaitable[None]],
        take_in: Callable[[Key, Source], Awaitable[None]],
        cool_down: float,
        settings: SignatureSettings,
        codepoints: CodePoints,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """`check_delegated` raises Refusal for what is no child; `take_in` begins a key's way to trust. A child's keys
        are looked up once in `cool_down` seconds."""
        self._zone = zone
        self._lookups = lookups
        self._check_delegated = check_delegated
        self._take_in = take_in
        self._cool_down = cool_down
        self._settings = settings
        self._codepoints = codepoints
        self._clock = clock
        self._monotonic = monotonic
        self._found: Bounded[bytes, tuple[float, _Keys]] = Bounded(REMEMBERED)
        self._fetching: dict[bytes, asyncio.Task[_Keys]] = {}
        self._waiting: dict[bytes, int] = {}
        self._all = TokenBuckets(BURST, RATE)

    def heard(
        self, wire: bytes, signed: Sequence[Signature], child: bytes, source: Source
    ) -> Coroutine[Any, Any, None] | None:
        """What is to be done about a message that no known key made; None if nothing.

        `signed` are its signatures that name the child. A message that is not timely makes nobody look.
        """
        timely = [signature for signature in signed if self._is_timely(signature)]
        if not timely:
            return None
        found = self._found.get(child)
        if found is not None and self._monotonic() - found[0] < self._cool_down:
            return self._use(wire, timely, source, found[1]) if self._candidates(timely, found[1]) else None
        if child in self._fetching:
            if self._waiting[child] >= MAX_WAITING:
                return None
        elif len(self._fetching) >= MAX_FETCHING or not self._all.take(self._zone, self._monotonic()):
            return None
        else:
            task = asyncio.create_task(self._fetch(child))
            self._fetching[child], self._waiting[child] = task, 0
            task.add_done_callback(partial(self._fetched, child))
        self._waiting[child] += 1
        return self._wait(wire, timely, source, self._fetching[child])

    def _is_timely(self, signature: Signature) -> bool:
        settings = self._settings
        try:
            check_time(signature, int(self._clock()), fudge=settings.fudge, max_validity=settings.max_validity)
        except Untimely:
            return False
        return True

    def _fetched(self, child: bytes, task: "asyncio.Task[_Keys]") -> None:
        del self._fetching[child], self._waiting[child]

    async def _fetch(self, child: bytes) -> _Keys:
        """The keys that stand at a child's apex, whatever that is worth. Raises nothing."""
        keys: list[Key] = []
        try:
            await self._check_delegated(child)
            seen = await self._lookups.keys_at(child)
            if seen.presence is Presence.FOUND:
                for rdata in sorted(seen.keys):
                    try:
                        key = Key.from_rdata(child, rdata)
                        check_usable(key, self._codepoints)
                    except UnusableKey:
                        continue
                    keys.append(key)
            self._tell(child, found=len(keys), where=seen.where, reason=seen.reason)
        except (Refusal, BackendError, StoreError) as error:
            self._tell(child, found=0, reason=error.reason)
        except Exception:
            _log.exception("on-demand.defect", child=names.to_text(child))
        self._found[child] = self._monotonic(), tuple(keys)
        return tuple(keys)

    async def _wait(
        self, wire: bytes, signed: Sequence[Signature], source: Source, task: "asyncio.Task[_Keys]"
    ) -> None:
        await self._use(wire, signed, source, await asyncio.shield(task))

    async def _use(self, wire: bytes, signed: Sequence[Signature], source: Source, keys: _Keys) -> None:
        """Take in the key that made one of the signatures."""
        for signature, key in self._candidates(signed, keys):
            if not verifier(key, self._codepoints)(signature.signature, signed_data(wire, signature)):
                continue
            try:
                await self._take_in(key, source)
            except (Refusal, StoreError) as error:
                self._tell(key.owner, key=key.tag, reason=error.reason)
            return

    def _candidates(self, signed: Sequence[Signature], keys: _Keys) -> list[tuple[Signature, Key]]:
        """Keys that may have made one of the signatures."""
        pairs = [
            (signature, key)
            for signature in signed
            for key in keys
            if (key.tag, key.algorithm) == (signature.key_tag, signature.algorithm)
        ]
        return pairs[:MAX_CANDIDATES]

    def _tell(self, child: bytes, **details: object) -> None:
        _log.info("on-demand.looked", zone=names.to_text(self._zone), child=names.to_text(child), **details)
