"""The way of a message through the receiver, one room after the other and never back.

bytes -> envelope -> admission -> authentication -> update -> policy -> ledger -> writer -> adapter -> responder.

What is refused is answered at once, without a task or a wait; only a verified request, or a key that must be fetched
from the store first, goes on as a task.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from zonecut.protocol import names
from zonecut.protocol.codepoints import CodePoints, EdeCode, Rcode
from zonecut.protocol.ede import ExtendedError
from zonecut.protocol.envelope import Envelope, walk
from zonecut.protocol.errors import MalformedMessage, Refusal
from zonecut.protocol.keystate import Inquiry, Malformed
from zonecut.protocol.sig0 import Signature, signatures
from zonecut.receiver.decision import (
    KeyStateQuery,
    SoaQuery,
    format_error,
    hear,
    is_request,
    nearest_zone,
    signed_by,
)
from zonecut.receiver.keys.keystate import Inquiries
from zonecut.receiver.message import responder
from zonecut.receiver.message.admission import Admitted, Limits, Source, TokenBuckets
from zonecut.receiver.message.authentication import FORGOTTEN, UNKNOWN_SIGNER, Authenticated, SignatureSettings
from zonecut.receiver.message.counters import Counters, Result
from zonecut.receiver.message.foreign_tsig import UnknownTsigKey
from zonecut.receiver.message.key_lookup import KeyLookup
from zonecut.receiver.message.responder import Answer
from zonecut.receiver.outcome import Outcome
from zonecut.receiver.refusals import Refusals
from zonecut.receiver.requests import Requests
from zonecut.receiver.served_zone import ServedZone
from zonecut.store import KeyState, RingKey

Respond = Callable[[bytes], None]

_log = structlog.get_logger(__name__)


class Receiver:
    """Takes messages for a set of parent zones and answers each request once, through the `respond` it came with."""

    def __init__(
        self,
        zones: Mapping[bytes, ServedZone],
        refusals: Refusals,
        keys: KeyLookup,
        requests: Requests,
        inquiries: Inquiries,
        limits: Limits,
        signature_settings: SignatureSettings,
        codepoints: CodePoints,
        tally: Counters,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._zones = zones
        self._apexes = frozenset(zones)
        self._refusals = refusals
        self._keys = keys
        self._requests = requests
        self._inquiries = inquiries
        self._limits = limits
        self._signature_settings = signature_settings
        self._codepoints = codepoints
        self._clock = clock
        self._monotonic = monotonic
        self._sources = TokenBuckets(limits.source_burst, limits.source_rate)
        self._uploads = TokenBuckets(limits.upload_burst, limits.upload_rate)
        self._tasks: set[asyncio.Task[None]] = set()
        self.tally = tally

    def handle(self, wire: bytes, source: Source, respond: Respond) -> None:
        """Take one message. Whatever it holds: no exception, and one response, or none if it is no request."""
        if not is_request(wire):
            self.tally.end("dropped", Result.DROPPED, self._monotonic())
            return
        try:
            envelope = walk(wire)
        except MalformedMessage as error:
            self._stranger("malformed", error.reason, source)
            self._tell(respond, responder.malformed(wire), Rcode.FORMERR)
            return
        try:
            count = partial(self._count_message, source)
            heard = hear(envelope, self._apexes, self._limits, self._inquiries, self._codepoints, count)
            if isinstance(heard, SoaQuery):
                self._tell_zone(envelope, self._zones[heard.zone], source, respond)
            elif isinstance(heard, KeyStateQuery):
                self._inquire(envelope, heard, source, respond)
            else:
                keys = self._keys.in_memory(heard.signer)
                if keys is not None:
                    self._authenticate(heard, source, respond, keys)
                    return
                self._keys.look_up(
                    heard.signer,
                    partial(self._authenticate, heard, source, respond),
                    partial(self._no_keys, envelope, source, respond),
                )
        except MalformedMessage as error:
            self._refuse_stranger(envelope, format_error(error), source, respond)
        except Refusal as refusal:
            self._refuse_stranger(envelope, refusal, source, respond)
        except Exception:
            # a defect of ours must not take others' messages with it
            if self.tally.end("defect", Result.FAILED, self._monotonic()):
                _log.exception("request.defect", source=str(source))
            failure = responder.unavailable("internal error")
            self._tell(respond, responder.respond(envelope, failure), failure.rcode)

    async def close(self, patience: float) -> None:
        """Wait for what is being answered, `patience` seconds at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)
        await self._refusals.close(patience)

    # before anything is verified: strangers

    def _count_message(self, source: Source) -> None:
        if not self._sources.take(source.counted, self._monotonic()):
            raise Refusal("source-rate", "too many messages from this source", ede=EdeCode.RATE_LIMITED)

    def _count_upload(self, source: Source) -> None:
        if not self._uploads.take(source.counted, self._monotonic()):
            raise Refusal("upload-rate", "too many keys uploaded from this source", ede=EdeCode.RATE_LIMITED)

    def _tell_zone(self, envelope: Envelope, zone: ServedZone, source: Source, respond: Respond) -> None:
        self.tally.end("soa-query", Result.ANSWERED, self._monotonic())
        rules = zone.delegations.rules
        self._tell(respond, responder.answer_soa(envelope, rules.zone, rules.target, udp=source.udp), Rcode.NOERROR)

    def _inquire(self, envelope: Envelope, query: KeyStateQuery, source: Source, respond: Respond) -> None:
        zone, child, asked = self._zones[query.zone], query.child, query.asked

        def answer(keys: tuple[RingKey, ...]) -> None:
            try:
                known, verified = self._inquiries.examine(envelope, child, asked, keys, int(self._clock()))
            except (Refusal, MalformedMessage) as error:
                refusal = error if isinstance(error, Refusal) else format_error(error)
                self._refuse_stranger(envelope, refusal, source, respond)
                return
            if verified is None and (known is None or known.stored.state in FORGOTTEN):
                signed = [
                    each for each in signatures(envelope, self._codepoints.signature_type) if each.signer == child
                ]
                self._unknown_signer(zone, envelope, signed, child, source)
            rule = "keystate-unverified" if verified is None else "keystate"
            self.tally.end(rule, Result.ANSWERED, self._monotonic())
            trusted = verified is not None and verified.state is KeyState.TRUSTED
            send = partial(self._send, zone, envelope, source, respond, verified=verified is not None, trusted=trusted)
            told = self._inquiries.settled(asked, known)
            if told is not None:
                send(Answer(keystate=told))
            else:
                self._start(self._tell_known(zone, asked, known, send))

        self._keys.look_up(
            child,
            answer,
            lambda _: self._send(
                zone,
                envelope,
                source,
                respond,
                Answer(keystate=self._inquiries.temporary_failure(asked)),
                verified=False,
            ),
        )

    async def _tell_known(
        self, zone: ServedZone, asked: Inquiry | Malformed, known: RingKey | None, send: Callable[[Answer], None]
    ) -> None:
        send(Answer(keystate=await self._inquiries.of_known(zone.trust, asked, known)))

    def _zone_about(self, envelope: Envelope) -> ServedZone | None:
        """The zone of ours that is nearest above the name that a request is about, or at it; None if there is none."""
        if len(envelope.questions) != 1:
            return None
        try:
            zone = nearest_zone(envelope.name(envelope.questions[0].start), self._zones)
        except MalformedMessage:
            return None
        return None if zone is None else self._zones[zone]

    def _refuse_stranger(self, envelope: Envelope, refusal: Refusal, source: Source, respond: Respond) -> None:
        self._stranger(refusal.rule, refusal.reason, source)
        zone = None if refusal.rule == "source-rate" else self._zone_about(envelope)
        if isinstance(refusal, UnknownTsigKey):
            response = responder.refuse_tsig(envelope, refusal, int(self._clock()), udp=source.udp)
            self._tell(respond, response, refusal.rcode)
        elif zone is None:
            response = responder.respond(envelope, Answer.of(refusal), verified=not source.udp)
            self._tell(respond, response, refusal.rcode)
        else:
            self._send(zone, envelope, source, respond, Answer.of(refusal), verified=False)

    def _no_keys(self, envelope: Envelope, source: Source, respond: Respond, reason: str) -> None:
        self._stranger("store", reason, source, Result.FAILED)
        failure = responder.unavailable("store")
        self._tell(respond, responder.respond(envelope, failure, verified=not source.udp), failure.rcode)

    def _stranger(self, rule: str, reason: str, source: Source, result: Result = Result.REFUSED) -> None:
        if stands_for := self.tally.end(rule, result, self._monotonic()):
            _log.info("request.refused", rule=rule, reason=reason, source=str(source), stands_for=stands_for)

    def _authenticate(self, admitted: Admitted, source: Source, respond: Respond, keys: tuple[RingKey, ...]) -> None:
        now = self._clock()
        try:
            count = partial(self._count_upload, source)
            authenticated = signed_by(admitted, keys, int(now), self._signature_settings, self._codepoints, count)
        except (Refusal, MalformedMessage) as error:
            # else it and the frames it came through keep each other, and the message, until the collector comes by
            error.__traceback__ = None
            refusal = error if isinstance(error, Refusal) else format_error(error)
            self._stranger(refusal.rule, refusal.reason, source)
            zone = self._zones[admitted.zone]
            self._send(zone, admitted.envelope, source, respond, Answer.of(refusal), verified=False)
            if refusal.rule == UNKNOWN_SIGNER:
                self._unknown_signer(zone, admitted.envelope, admitted.signatures, admitted.signer, source)
            return
        self._start(self._work(authenticated, source, now, respond))

    def _unknown_signer(
        self, zone: ServedZone, envelope: Envelope, signed: Sequence[Signature], child: bytes, source: Source
    ) -> None:
        """Have the key looked up with which a child signs, where that is wanted. It costs as much as an upload."""
        if zone.on_demand is None or not signed or not self._uploads.take(source.counted, self._monotonic()):
            return
        work = zone.on_demand.heard(envelope.wire, signed, child, source)
        if work is not None:
            self._start(work)

    # after a signature has verified: a child, or who says so

    async def _work(self, authenticated: Authenticated, source: Source, now: float, respond: Respond) -> None:
        envelope, zone = authenticated.admitted.envelope, self._zones[authenticated.admitted.zone]
        try:
            outcome = await self._requests.outcome(zone, authenticated, source, now)
            answer = Answer(outcome.rcode, _error(outcome, trusted=authenticated.is_trusted))
            if outcome.rcode:
                self._refused(authenticated, outcome.rule, outcome.reason, outcome.rcode, source)
            elif authenticated.is_trusted:
                self.tally.end("accepted", Result.ACCEPTED, self._monotonic())
            else:
                self.tally.end("uploaded", Result.ACCEPTED, self._monotonic())
        except (Refusal, MalformedMessage) as error:
            refusal = error if isinstance(error, Refusal) else format_error(error)
            self._refused(authenticated, refusal.rule, refusal.reason, refusal.rcode, source)
            answer = Answer.of(refusal)
        except Exception:
            # a defect of ours: nothing is acknowledged that is not in the ledger
            self.tally.end("defect", Result.FAILED, self._monotonic())
            _log.exception("request.defect", child=names.to_text(authenticated.admitted.signer))
            answer = responder.unavailable("internal error")
        try:
            told = await self._inquiries.with_update(zone.trust, envelope, authenticated)
        except MalformedMessage:
            told = None
        verified = authenticated.stored is not None
        self._send(
            zone,
            envelope,
            source,
            respond,
            Answer(answer.rcode, answer.error, told),
            verified=verified,
            trusted=authenticated.is_trusted,
        )

    def _send(
        self,
        zone: ServedZone,
        envelope: Envelope,
        source: Source,
        respond: Respond,
        answer: Answer,
        *,
        verified: bool,
        trusted: bool = False,
    ) -> None:
        response = zone.responder.respond(envelope, answer, verified=verified, trusted=trusted, udp=source.udp)
        self._tell(respond, response, answer.rcode)

    def _tell(self, respond: Respond, response: bytes, rcode: Rcode) -> None:
        self.tally.responses[rcode] += 1
        respond(response)

    def _refused(self, authenticated: Authenticated, rule: str, reason: str, rcode: Rcode, source: Source) -> None:
        """Log and audit the refusal of a child's own request; its repetition, or under an untrusted key, count it."""
        result = Result.FAILED if rcode == Rcode.SERVFAIL else Result.REFUSED
        if not authenticated.is_trusted or not self._requests.refused.is_first(authenticated.identity):
            self._stranger(rule, reason, source, result)
            return
        admitted = authenticated.admitted
        self.tally.end(rule, result, self._monotonic())
        self._refusals.tell(
            admitted.zone,
            admitted.signer,
            actor=names.to_text(admitted.signer),
            key_tag=authenticated.key.tag,
            source=str(source),
            rule=rule,
            reason=reason,
            rcode=rcode,
        )

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _error(outcome: Outcome, *, trusted: bool) -> ExtendedError | None:
    """What failed here is named to strangers, and put in words for children."""
    if outcome.ede is None:
        return None
    told = outcome.told if trusted or outcome.rcode != Rcode.SERVFAIL else ""
    return ExtendedError(outcome.ede, told or outcome.rule)
