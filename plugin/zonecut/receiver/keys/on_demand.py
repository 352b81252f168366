"""Looks up the KEY of a child that signs with one that is not known here (`trust.on_demand`).

Some children never upload. The message that made us look is answered as without it; which of the keys that are found
is meant is what its signature says. It is worth nothing yet: the methods run on it as on any key.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import structlog

from zonecut.protocol import names
from zonecut.protocol.codepoints import CodePoints
from zonecut.protocol.errors import Refusal
from zonecut.protocol.keys import Key, verifier
from zonecut.protocol.sig0 import Signature, Untimely, check_time, signed_data
from zonecut.receiver.keys.published import Published, Seen
from zonecut.receiver.message.admission import Source
from zonecut.receiver.message.authentication import MAX_CANDIDATES, SignatureSettings
from zonecut.store import StoreError

_log = structlog.get_logger(__name__)

_Keys = tuple[Key, ...]


class OnDemand:
    """The children of one parent zone that sign with keys that nobody uploaded."""

    def __init__(
        self,
        zone: bytes,
        published: Published,
        take_in: Callable[[Key, Source], Awaitable[None]],
        settings: SignatureSettings,
        codepoints: CodePoints,
        *,
        clock: Callable[[], float],
    ) -> None:
        """`take_in` begins a key's way to trust."""
        self._zone = zone
        self._published = published
        self._take_in = take_in
        self._settings = settings
        self._codepoints = codepoints
        self._clock = clock

    def heard(
        self, wire: bytes, signed: Sequence[Signature], child: bytes, source: Source
    ) -> Coroutine[Any, Any, None] | None:
        """What is to be done about a message that no known key made; None if nothing.

        `signed` are its signatures that name the child. A message that is not timely makes nobody look.
        """
        timely = [signature for signature in signed if self._is_timely(signature)]
        if not timely:
            return None
        seen = self._published.latest(child)
        if seen is not None:
            return self._use(wire, timely, source, seen.keys) if self._candidates(timely, seen.keys) else None
        look = self._published.look(child)
        return None if look is None else self._wait(wire, timely, source, look)

    def _is_timely(self, signature: Signature) -> bool:
        settings = self._settings
        try:
            check_time(signature, int(self._clock()), fudge=settings.fudge, max_validity=settings.max_validity)
        except Untimely:
            return False
        return True

    async def _wait(self, wire: bytes, signed: Sequence[Signature], source: Source, look: "asyncio.Task[Seen]") -> None:
        seen = await asyncio.shield(look)
        await self._use(wire, signed, source, seen.keys)

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
