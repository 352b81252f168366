"""Can a receiver be talked to, over UDP and over TCP? Asked without a signature, and of nothing that changes anything.

The question is what the receiver makes of a KEY that the child publishes (KeyState): whoever answers at all is
reached, and who signs the answer tells the state of the key as well.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zonecut.agent.evidence.zone_view import has_route
from zonecut.agent.exchange.datagram import over_udp
from zonecut.agent.exchange.response import Response, read_response
from zonecut.agent.exchange.result import explain
from zonecut.agent.exchange.retransmission import Exchange, Patience, Retransmission
from zonecut.agent.exchange.stream import over_tcp
from zonecut.agent.parent.receiver import UpdateReceiver
from zonecut.net.endpoint import Endpoint
from zonecut.protocol import message
from zonecut.protocol.codepoints import DEFAULT, CodePoints, RRType, rcode_text
from zonecut.protocol.foreigntext import quoted
from zonecut.protocol.keystate import KeyStateOption, inquire, state_text

PATIENCE = Patience(timeout=2.5, retries=1)
MAX_KEYS = 4
"""Keys of the child about which a receiver is asked."""

_WAYS: tuple[tuple[str, Exchange], ...] = (("udp", over_udp), ("tcp", over_tcp))


@dataclass(frozen=True, slots=True)
class Reached:
    """What came back from one address over `udp` or `tcp`; None and a reason: nothing. `routed`: there is a way."""

    address: Endpoint
    transport: str
    response: Response | None
    reason: str
    routed: bool = True

    def to_json(self) -> dict[str, Any]:
        return {
            "address": str(self.address),
            "transport": self.transport,
            "reached": self.response is not None,
            "rcode": None if self.response is None else rcode_text(self.response.rcode, of_signed=True),
            "signed": None if self.response is None else self.response.signed.value,
            "by": None if self.response is None or self.response.by is None else self.response.by.tag,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class KeyWord:
    """What the receiver says of the child's key with this tag; `signed`: one of its keys vouches for it."""

    tag: int
    told: KeyStateOption
    signed: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "tag": self.tag,
            "code": self.told.key_state,
            "state": state_text(self.told.key_state),
            "text": quoted(self.told.extra_text),
            "signed": self.signed,
        }


async def reach(
    party: UpdateReceiver,
    child: bytes,
    *,
    codepoints: CodePoints = DEFAULT,
    patience: Patience = PATIENCE,
    clock: Callable[[], float] = time.time,
) -> tuple[Reached, ...]:
    """Ask each address of a receiver over UDP and over TCP, at the same time. Raises nothing."""
    ways = [(address, transport, exchange) for address in party.addresses for transport, exchange in _WAYS]
    talk = _Talk(party, child, codepoints, patience, clock)
    return tuple(await asyncio.gather(*(talk.reached(*way) for way in ways)))


async def words(
    party: UpdateReceiver,
    child: bytes,
    tags: Sequence[int],
    *,
    codepoints: CodePoints = DEFAULT,
    patience: Patience = PATIENCE,
    clock: Callable[[], float] = time.time,
) -> tuple[KeyWord, ...]:
    """What the receiver says of the child's keys with these tags; nothing of those of which it says nothing."""
    talk = _Talk(party, child, codepoints, patience, clock)
    found = [await talk.word(tag) for tag in tags[:MAX_KEYS]]
    return tuple(word for word in found if word is not None)


class _Talk:
    def __init__(
        self,
        party: UpdateReceiver,
        child: bytes,
        codepoints: CodePoints,
        patience: Patience,
        clock: Callable[[], float],
    ) -> None:
        self._party = party
        self._child = child
        self._codepoints = codepoints
        self._patience = patience
        self._clock = clock

    async def reached(self, address: Endpoint, transport: str, exchange: Exchange) -> Reached:
        if not has_route(address.address):
            return Reached(address, transport, None, "this machine has no way to that address", routed=False)
        response, reason = await self._ask(0, (address,), exchange)
        return Reached(address, transport, response, reason)

    async def word(self, tag: int) -> KeyWord | None:
        routed = tuple(address for address in self._party.addresses if has_route(address.address))
        response, _ = await self._ask(tag, routed, over_tcp)
        if response is None or response.keystate is None or response.keystate.key_id != tag:
            return None
        return KeyWord(tag, response.keystate, response.signed.is_good)

    async def _ask(self, tag: int, addresses: Sequence[Endpoint], exchange: Exchange) -> tuple[Response | None, str]:
        opt = message.opt_record(inquire(tag).to_option(self._codepoints))
        wire = message.query(secrets.randbits(16), self._child, RRType.KEY, additional=[opt])

        def read(octets: bytes, address: Endpoint, seconds: float) -> Response:
            keys, now = self._party.keys, int(self._clock())
            return read_response(octets, wire, keys, now, self._codepoints, address=address, seconds=seconds)

        delivery = Retransmission(addresses, self._patience, exchange)
        response = await delivery.answer(wire, read)
        if response is None:
            reasons = (delivery.reason or "there is no address", *dict.fromkeys(delivery.strays))
            return None, "; ".join(reasons)
        return response, explain(response, self._codepoints)
