"""Where a parent takes no UPDATEs but has a scanner, it is told that there is something to see (RFC 9859 section 4.2).

A NOTIFY causes nothing but an earlier look, so nobody signs it, and an answer is no more than an acknowledgement.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zonecut.agent.exchange.datagram import over_udp
from zonecut.agent.exchange.response import Response, read_response
from zonecut.agent.exchange.result import Result, judge, say
from zonecut.agent.exchange.retransmission import USUAL, Exchange, Patience, Retransmission
from zonecut.agent.exchange.stream import over_tcp
from zonecut.agent.exchange.update_client import Outcome
from zonecut.agent.parent.discovery import Lookups
from zonecut.agent.parent.receiver import NoReceiver, find_addresses
from zonecut.agent.settings import ParentSettings
from zonecut.net.endpoint import Endpoint
from zonecut.protocol import message
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.codepoints import DEFAULT, CodePoints, RRType

NOTIFIED = frozenset((RRType.CDS, RRType.CSYNC))
"""The types that a NOTIFY to a parent may be about."""


@dataclass(frozen=True, slots=True)
class NotifyOutcome:
    """What became of a NOTIFY to the target of one DSYNC record."""

    record: Dsync
    outcome: Outcome

    @property
    def acknowledged(self) -> bool:
        return self.outcome.result is Result.ACCEPTED

    def to_json(self, codepoints: CodePoints = DEFAULT) -> dict[str, Any]:
        return {"record": self.record.to_text(codepoints), **self.outcome.to_json()}


async def send_notify(
    resolver: Lookups,
    child: bytes,
    rrtype: int,
    records: Sequence[Dsync],
    settings: ParentSettings,
    *,
    codepoints: CodePoints = DEFAULT,
    patience: Patience = USUAL,
    datagrams: Exchange = over_udp,
    stream: Exchange = over_tcp,
) -> tuple[NotifyOutcome, ...]:
    """Tell one of these targets that the CDS or CSYNC RRset of the child has changed, in turn until one acknowledges.

    Over UDP, repeated as RFC 1996 section 3.6 has it; where that is not answered, once over TCP. Returned is what
    became of each that was tried. Raises ValueError for another type.
    """
    if rrtype not in NOTIFIED:
        raise ValueError(f"RR type {rrtype}: a parent is notified about CDS or CSYNC (RFC 9859 section 4)")
    outcomes = []
    for record in records:
        try:
            addresses = await find_addresses(resolver, record.target, record.port, settings)
        except NoReceiver as failure:
            outcomes.append(NotifyOutcome(record, Outcome(Result.SILENT, None, failure.reason, 0, 0.0)))
            continue
        wire = message.notify(secrets.randbits(16), child, rrtype, [message.opt_record()])
        outcome = await _deliver(wire, Retransmission(addresses, patience, datagrams), codepoints)
        if outcome.result is Result.SILENT:
            single = Retransmission(addresses, Patience(patience.timeout, 0), stream)
            outcome = _after(outcome, await _deliver(wire, single, codepoints))
        outcomes.append(NotifyOutcome(record, outcome))
        if outcomes[-1].acknowledged:
            break
    return tuple(outcomes)


async def _deliver(wire: bytes, delivery: Retransmission, codepoints: CodePoints) -> Outcome:
    best: Response | None = None
    while (response := await delivery.answer(wire, _reader(wire, codepoints))) is not None:
        best = response
        if judge(response, codepoints) is Result.ACCEPTED:
            break
        delivery.repeat_nothing()
    result = Result.SILENT if best is None else judge(best, codepoints)
    reason = delivery.reason if best is None else say(best, codepoints)
    return Outcome(result, best, reason, delivery.tries, delivery.seconds, tuple(delivery.strays))


def _reader(wire: bytes, codepoints: CodePoints) -> Callable[[bytes, Endpoint, float], Response]:
    def read(octets: bytes, address: Endpoint, seconds: float) -> Response:
        return read_response(octets, wire, (), 0, codepoints, address=address, seconds=seconds)

    return read


def _after(first: Outcome, second: Outcome) -> Outcome:
    """One outcome of two deliveries of the same message."""
    reason = second.reason if second.response else f"{first.reason}; over TCP: {second.reason}"
    tries, seconds = first.tries + second.tries, first.seconds + second.seconds
    return Outcome(second.result, second.response, reason, tries, seconds, first.ignored + second.ignored)
