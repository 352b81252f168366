"""A child's talk with an UPDATE Receiver: changes and questions, signed, and what became of them.

An answer that is unsigned or wrongly signed is noted and does not count where the receiver's key is known.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zonecut.agent.exchange.response import Response, Signed, read_response
from zonecut.agent.exchange.result import Result, explain, judge
from zonecut.agent.exchange.retransmission import USUAL, Exchange, Patience, Retransmission
from zonecut.agent.exchange.staleness import stale_until
from zonecut.agent.exchange.stream import over_tcp
from zonecut.agent.parent.receiver import KeyTrust, UpdateReceiver
from zonecut.agent.settings import ParentSettings
from zonecut.net.endpoint import Endpoint
from zonecut.protocol import message
from zonecut.protocol.codepoints import DEFAULT, CodePoints, RRType
from zonecut.protocol.foreigntext import quoted
from zonecut.protocol.keys import KeyPair
from zonecut.protocol.keystate import KeyStateOption, inquire, state_text
from zonecut.protocol.sig0 import sign_request

__all__ = ["UpdateClient", "Inquired", "Outcome", "Patience", "Response", "Result", "Signed"]

AGE, LIFE = 300, 900
"""Signatures begin so many seconds ago, for clocks that are behind, and outlive all repetitions from now."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message. `response` is the one that decided; with UNBELIEVABLE the last that was ignored.

    `reason` is a sentence for log and status, `seconds` the time that all `tries` took together; `ignored` says what
    else came that did not count, and `unvouched` what the last of it would mean if somebody vouched for it.
    `not_before` is the time, in seconds since the epoch, before which a message would be stale again.
    """

    result: Result
    response: Response | None
    reason: str
    tries: int
    seconds: float
    ignored: tuple[str, ...] = ()
    unvouched: Result | None = None
    not_before: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "result": self.result.value,
            "reason": self.reason,
            "tries": self.tries,
            "seconds": round(self.seconds, 6),
            "response": None if self.response is None else self.response.to_json(),
            "ignored": list(self.ignored),
        }


@dataclass(frozen=True, slots=True)
class Inquired:
    """What a receiver said about a key. Only where `believed` is it the receiver's word about this very key."""

    outcome: Outcome
    keystate: KeyStateOption | None
    believed: bool
    reason: str

    def to_json(self) -> dict[str, Any]:
        told = self.keystate
        return {
            "outcome": self.outcome.to_json(),
            "keystate": None
            if told is None
            else {
                "key_id": told.key_id,
                "code": told.key_state,
                "state": state_text(told.key_state),
                "data": told.key_data,
                "text": quoted(told.extra_text),
            },
            "believed": self.believed,
            "reason": self.reason,
        }


_ELSEWHERE = frozenset((Result.FAILED, Result.NOT_OURS, Result.UNSUPPORTED))
"""Another address of the same receiver may do better."""


class UpdateClient:
    """Messages to one receiver, signed with one of the child's keys. `clock` is the time in seconds since the epoch."""

    def __init__(
        self,
        party: UpdateReceiver,
        pair: KeyPair,
        settings: ParentSettings,
        *,
        clock: Callable[[], float] = time.time,
        codepoints: CodePoints = DEFAULT,
        patience: Patience = USUAL,
        exchange: Exchange = over_tcp,
    ) -> None:
        self.party = party
        self._pair = pair
        self._settings = settings
        self._clock = clock
        self._codepoints = codepoints
        self._patience = patience
        self._exchange = exchange

    async def update(
        self, records: Sequence[bytes], *, prerequisites: Sequence[bytes] = (), additional: Sequence[bytes] = ()
    ) -> Outcome:
        """Send an UPDATE of the parent zone with these records in its update section, as `message` makes them.

        A receiver that says that it cannot read prerequisites gets it once more without. Nothing is sent to one whose
        answers cannot be believed. `additional` stand before the OPT record.
        """
        if not self.party.believable(self._settings):
            reason = f"nothing is sent, since no answer could be believed: {self.party.reason}"
            return Outcome(Result.UNBELIEVABLE, None, reason, 0, 0.0)
        outcome = await self._update(records, prerequisites, additional)
        if prerequisites and outcome.result in (Result.MALFORMED, Result.UNSUPPORTED):
            outcome = await self._update(records, (), additional)
        return outcome

    async def _update(
        self, records: Sequence[bytes], prerequisites: Sequence[bytes], additional: Sequence[bytes]
    ) -> Outcome:
        more = [*additional, message.opt_record()]
        return await self._say(message.update(secrets.randbits(16), self.party.parent, prerequisites, records, more))

    async def inquire(self) -> Inquired:
        """Ask what the receiver makes of our key (draft-berra-dnsop-keystate)."""
        key = self._pair.key
        opt = message.opt_record(inquire(key.tag).to_option(self._codepoints))
        outcome = await self._say(message.query(secrets.randbits(16), key.owner, RRType.KEY, additional=[opt]))
        told = outcome.response.keystate if outcome.response else None
        doubt = self._doubt(outcome)
        return Inquired(outcome, told, doubt is None, doubt or outcome.reason)

    def _doubt(self, outcome: Outcome) -> str | None:
        """Why the answer to an inquiry tells nothing; None if it does."""
        response = outcome.response
        if response is None or outcome.result is not Result.ACCEPTED:
            return outcome.reason
        if not self.party.believable(self._settings):
            return f"nobody vouches for the answer: {self.party.reason}"
        # only a signed answer may carry the option
        if not response.signed.is_good:
            return f"nobody vouches for the answer: {outcome.reason}"
        told = response.keystate
        if told is None:
            return f"the answer says nothing about a key: {outcome.reason}"
        if told.receiver_state is None:
            return f"{state_text(told.key_state)} is nothing that a receiver may say: {outcome.reason}"
        if told.key_id != self._pair.key.tag:
            return f"the answer is about key {told.key_id}, not {self._pair.key.tag}: {outcome.reason}"
        return None

    async def _say(self, unsigned: bytes) -> Outcome:
        now = int(self._clock())
        signature_type = self._codepoints.signature_type
        wire = sign_request(unsigned, self._pair, now - AGE, now + LIFE, signature_type=signature_type)

        def read(octets: bytes, address: Endpoint, seconds: float) -> Response:
            keys, now = self.party.keys, int(self._clock())
            return read_response(octets, wire, keys, now, self._codepoints, address=address, seconds=seconds)

        delivery = Retransmission(self.party.addresses, self._patience, self._exchange)
        ignored: list[str] = []
        undecided: Response | None = None
        last: Response | None = None
        unvouched: Result | None = None
        while (response := await delivery.answer(wire, read)) is not None:
            last = response
            if not self._counts(response):
                ignored.append(explain(response, self._codepoints))
                unvouched = judge(response, self._codepoints)
                continue
            undecided = response
            if judge(response, self._codepoints) not in _ELSEWHERE:
                break
            delivery.repeat_nothing()
        if undecided is not None:
            result, reason = judge(undecided, self._codepoints), explain(undecided, self._codepoints)
        elif ignored:
            result, reason = Result.UNBELIEVABLE, f"ignored: {ignored[-1]}"
        else:
            result, reason = Result.SILENT, delivery.reason
        notes = tuple(dict.fromkeys((*ignored, *delivery.strays)))
        return Outcome(
            result,
            undecided or last,
            reason,
            delivery.tries,
            delivery.seconds,
            notes,
            unvouched if result is Result.UNBELIEVABLE else None,
            _not_before(undecided) if result is Result.BAD_TIME else None,
        )

    def _counts(self, response: Response) -> bool:
        if not self.party.believable(self._settings):
            return False
        return response.signed.is_good or self.party.worth is KeyTrust.INSECURE


def _not_before(response: Response | None) -> float | None:
    """When a message is no longer stale: our signatures begin before they are made."""
    errors = () if response is None else response.errors
    found = [until for error in errors if (until := stale_until(error.text)) is not None]
    return found[0] + AGE + 1 if found else None
