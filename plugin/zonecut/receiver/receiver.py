"""The way of a message through the receiver, one room after the other and never back.

bytes -> envelope -> admission -> authentication -> update -> policy -> ledger -> writer -> adapter -> responder.

What is refused is answered at once, without a task or a wait; only a verified change, or a key that must be fetched
from the store first, goes on as a task.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import structlog

from zonecut.protocol import names
from zonecut.protocol.codepoints import CodePoints, EdeCode, Opcode, Rcode
from zonecut.protocol.ede import ExtendedError
from zonecut.protocol.envelope import HEADER_LENGTH, Envelope, walk
from zonecut.protocol.errors import MalformedMessage, Refusal
from zonecut.protocol.update import read_request
from zonecut.receiver import responder
from zonecut.receiver.admission import Admitted, Limits, Source, TokenBuckets, admit, check_edns, source_key
from zonecut.receiver.authentication import Authenticated, SignatureSettings, authenticate, unknown_key
from zonecut.receiver.judgement import delegation_change
from zonecut.receiver.outcome import Outcome
from zonecut.receiver.parent_zone import ParentZone
from zonecut.receiver.replay import ReplayMemory
from zonecut.receiver.tally import Tally
from zonecut.store import AuditEntry, KeyState, RingKey, Store, StoredKey, StoreUnavailable

Respond = Callable[[bytes], None]

MAX_FETCHING = 1024
"""Messages that may wait for their keys to be fetched; more are answered SERVFAIL."""

_log = structlog.get_logger(__name__)


class Receiver:
    """Takes messages for a set of parent zones and answers each request once, through the `respond` it came with."""

    def __init__(
        self,
        zones: Mapping[bytes, ParentZone],
        store: Store,
        replay: ReplayMemory,
        limits: Limits,
        signature_settings: SignatureSettings,
        codepoints: CodePoints,
        tally: Tally,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._zones = zones
        self._apexes = frozenset(zones)
        self._store = store
        self._keyring = store.ring
        self._replay = replay
        self._limits = limits
        self._signature_settings = signature_settings
        self._codepoints = codepoints
        self._clock = clock
        self._monotonic = monotonic
        self._sources = TokenBuckets(limits.source_burst, limits.source_rate)
        self._children = TokenBuckets(limits.child_burst, limits.child_rate)
        self._fetching: list[tuple[Admitted, Source, Respond]] = []
        self._fetch_running = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.pending = 0
        self.tally = tally

    def handle(self, wire: bytes, source: Source, respond: Respond) -> None:
        """Take one message. Whatever it holds: no exception, and one response, or none if it is no request."""
        if not is_request(wire):
            self.tally.count("dropped", self._monotonic())
            return None
        try:
            envelope = walk(wire)
        except MalformedMessage as error:
            self._stranger("malformed", error.reason, source)
            return respond(responder.malformed(wire))
        try:
            check_edns(envelope)
            if not self._sources.take(source_key(source.address), self._monotonic()):
                raise Refusal("source-rate", "too many messages from this source", ede=EdeCode.RATE_LIMITED)
            if envelope.opcode == Opcode.QUERY:
                return respond(self._answer_query(envelope, source))
            admitted = admit(envelope, self._apexes, self._limits, self._codepoints.signature_type)
            keys = self._keyring.lookup(admitted.signer)
            if keys is None:
                return self._fetch(admitted, source, respond)
            self._authenticate(admitted, keys, source, respond)
        except MalformedMessage as error:
            self._stranger("malformed", error.reason, source)
            respond(responder.respond(envelope, Rcode.FORMERR, ExtendedError(EdeCode.OTHER, error.reason)))
        except Refusal as refusal:
            self._refuse_stranger(envelope, refusal, source, respond)
        except Exception:
            # a defect of ours must not take others' messages with it
            if self.tally.count("defect", self._monotonic()):
                _log.exception("request.defect", source=str(source))
            respond(responder.unavailable(envelope, "internal error"))
        return None

    async def close(self, patience: float) -> None:
        """Wait for what is being answered, `patience` seconds at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)

    # before anything is verified: strangers

    def _answer_query(self, envelope: Envelope, source: Source) -> bytes:
        if responder.is_soa_query(envelope):
            name = envelope.name(envelope.questions[0].start)
            zone = self._zone_above(name)
            if zone is not None:
                self.tally.count("soa-query", self._monotonic())
                return responder.answer_soa(envelope, zone.zone, zone.rules.target, udp=source.udp)
        raise Refusal("query", "only the SOA of the zones served is answered here", ede=EdeCode.NOT_SUPPORTED)

    def _zone_above(self, name: bytes) -> ParentZone | None:
        """The zone of ours that is nearest above a name, or at it."""
        while True:
            if name in self._zones:
                return self._zones[name]
            if name == names.ROOT:
                return None
            name = names.parent(name)

    def _refuse_stranger(self, envelope: Envelope, refusal: Refusal, source: Source, respond: Respond) -> None:
        self._stranger(refusal.rule, refusal.reason, source)
        respond(responder.refuse(envelope, refusal))

    def _stranger(self, rule: str, reason: str, source: Source) -> None:
        if stands_for := self.tally.count(rule, self._monotonic()):
            _log.info("request.refused", rule=rule, reason=reason, source=str(source), stands_for=stands_for)

    def _authenticate(self, admitted: Admitted, keys: tuple[RingKey, ...], source: Source, respond: Respond) -> None:
        if not keys:
            raise unknown_key(admitted.signer)
        now = self._clock()
        authenticated = authenticate(admitted, keys, int(now), self._signature_settings, self._codepoints)
        self._start(self._change(authenticated, source, now, respond))

    def _fetch(self, admitted: Admitted, source: Source, respond: Respond) -> None:
        """Have the signer's keys fetched from the store, together with those of whoever else waits."""
        if len(self._fetching) >= MAX_FETCHING:
            self._stranger("store-busy", "too many keys to fetch", source)
            return respond(responder.unavailable(admitted.envelope, "too many keys to look up; try again"))
        self._fetching.append((admitted, source, respond))
        if not self._fetch_running:
            self._fetch_running = True
            self._start(self._fetch_all())
        return None

    async def _fetch_all(self) -> None:
        try:
            while self._fetching:
                batch, self._fetching = self._fetching, []
                try:
                    found = await self._keyring.fetch({admitted.signer for admitted, _, _ in batch})
                except StoreUnavailable as error:
                    for admitted, source, respond in batch:
                        self._stranger("store", error.reason, source)
                        respond(responder.unavailable(admitted.envelope, "the key store is not available"))
                    continue
                for admitted, source, respond in batch:
                    try:
                        self._authenticate(admitted, found[admitted.signer], source, respond)
                    except Refusal as refusal:
                        self._refuse_stranger(admitted.envelope, refusal, source, respond)
        finally:
            self._fetch_running = False

    # after a trusted key's signature has verified: a child

    async def _change(self, authenticated: Authenticated, source: Source, now: float, respond: Respond) -> None:
        envelope = authenticated.admitted.envelope
        try:
            outcome = await self._outcome(authenticated, source, now)
            response = responder.respond(envelope, outcome.rcode, _error(outcome), verified=True)
            if outcome.rcode:
                self._refused(authenticated, outcome.rule, outcome.reason, outcome.rcode, source)
        except MalformedMessage as error:
            self._refused(authenticated, "malformed", error.reason, Rcode.FORMERR, source)
            response = responder.respond(
                envelope, Rcode.FORMERR, ExtendedError(EdeCode.OTHER, error.reason), verified=True
            )
        except Refusal as refusal:
            self._refused(authenticated, refusal.rule, refusal.reason, refusal.rcode, source)
            response = responder.refuse(envelope, refusal, verified=True)
        except Exception:
            # a defect of ours: nothing is acknowledged that is not in the ledger
            _log.exception("request.defect", child=names.to_text(authenticated.admitted.signer))
            response = responder.unavailable(envelope, "internal error")
        respond(response)

    async def _outcome(self, authenticated: Authenticated, source: Source, now: float) -> Outcome:
        """The answer to a verified request, which may be one that was accepted before or that is in work."""
        identity = authenticated.identity
        earlier = self._replay.in_work(identity)
        if earlier is not None:
            self.tally.count("repeated", self._monotonic())
            return await asyncio.shield(earlier)
        if self._replay.was_accepted(identity, now):
            self.tally.count("repeated", self._monotonic())
            return Outcome()
        child = authenticated.admitted.signer
        if not self._children.take(child, self._monotonic()):
            raise Refusal("child-rate", "too many changes of this child", ede=EdeCode.RATE_LIMITED)
        if self.pending >= self._limits.max_pending:
            raise Refusal("max-pending", "too many changes are in work here", ede=EdeCode.OVER_QUOTA)
        in_work = self._replay.begin(identity)
        self.pending += 1
        outcome = Outcome.unavailable("internal", "internal error")
        try:
            outcome = await self._judge(authenticated, source, now)
            return outcome
        except Refusal as refusal:
            outcome = Outcome(refusal.rcode, refusal.rule, refusal.reason, refusal.ede)
            raise
        finally:
            self.pending -= 1
            self._replay.end(identity)
            in_work.set_result(outcome)

    async def _judge(self, authenticated: Authenticated, source: Source, now: float) -> Outcome:
        admitted, key = authenticated.admitted, authenticated.key
        request = delegation_change(read_request(admitted.envelope, admitted.zone, admitted.signer, key.key.rdata))
        zone = self._zones[admitted.zone]
        outcome = await zone.change(authenticated, request, str(source), now, partial(self._still_trusted, key))
        self.tally.count("refused" if outcome.rcode else "accepted", self._monotonic())
        return outcome

    async def _still_trusted(self, key: StoredKey) -> bool:
        """Whether the key that signed is trusted now, after its request had to wait. Raises StoreUnavailable."""
        owner = key.key.owner
        keys = self._keyring.lookup(owner)
        if keys is None:
            keys = (await self._keyring.fetch({owner}))[owner]
        return any(each.stored.id == key.id and each.stored.state is KeyState.TRUSTED for each in keys)

    def _refused(self, authenticated: Authenticated, rule: str, reason: str, rcode: Rcode, source: Source) -> None:
        """Log and audit the refusal of a child's own request."""
        admitted, tag = authenticated.admitted, authenticated.key.key.tag
        self.tally.count(rule, self._monotonic())
        _log.warning(
            "change.refused",
            zone=names.to_text(admitted.zone),
            child=names.to_text(admitted.signer),
            key=tag,
            rule=rule,
            reason=reason,
            rcode=rcode.name,
            source=str(source),
        )
        entry = AuditEntry(
            event="change.refused",
            zone=admitted.zone,
            child=admitted.signer,
            key_tag=tag,
            actor=names.to_text(admitted.signer),
            source=str(source),
            rule=rule,
            detail={"reason": reason, "rcode": rcode.name},
        )
        self._start(self._audit(entry))

    async def _audit(self, entry: AuditEntry) -> None:
        try:
            await self._store.audit.record(entry)
        except StoreUnavailable as error:
            _log.error("audit.lost", event_lost=entry.event, reason=error.reason)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def is_request(wire: bytes) -> bool:
    """False for octets without a header to answer to, and for a response: answering those makes loops."""
    return len(wire) >= HEADER_LENGTH and not wire[2] & 0x80


def _error(outcome: Outcome) -> ExtendedError | None:
    return None if outcome.ede is None else ExtendedError(outcome.ede, outcome.reason)
