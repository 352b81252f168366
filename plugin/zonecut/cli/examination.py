"""What the receiver would do with a captured message, and at which step it would stop; nothing is written.

It walks the receiver's own functions in the receiver's order, with the store and the server as they are now.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from zonecut.cli import session
from zonecut.cli.render import rcode_text
from zonecut.cli.signer import SignatureFinding, inspect, ring_keys
from zonecut.plugin import BackendError
from zonecut.protocol import codepoints as numbers
from zonecut.protocol import ede, names
from zonecut.protocol.codepoints import EdeCode, Opcode, Rcode
from zonecut.protocol.delegation import Delegation, Difference
from zonecut.protocol.envelope import Envelope, walk
from zonecut.protocol.errors import MalformedMessage, Refusal
from zonecut.protocol.foreigntsig import check_tsig
from zonecut.protocol.sig0 import signatures
from zonecut.protocol.update import DelegationChange, KeyUpload, read_request, zone_of
from zonecut.receiver import policy, responder
from zonecut.receiver.admission import Admitted, Limits, admit, check_edns
from zonecut.receiver.authentication import (
    Authenticated,
    SignatureSettings,
    authenticate,
    authenticate_upload,
    untrusted,
)
from zonecut.receiver.neighbours import weigh
from zonecut.receiver.ordering import Newest, check_order
from zonecut.receiver.receiver import is_request
from zonecut.receiver.responder import Answer
from zonecut.store import ChangeState, RingKey, StoreError

if TYPE_CHECKING:
    from zonecut.config import Loaded, ParentSection
    from zonecut.store import Store


class Verdict(StrEnum):
    """What would become of the message."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    IGNORED = "ignored"
    """There would be no answer at all."""
    UNDETERMINED = "undetermined"
    """Nothing that could be checked refuses it."""


@dataclass(slots=True)
class Findings:
    """What an examination found. `passed` are the steps that it passed, in order; the others say where it stopped."""

    verdict: Verdict = Verdict.UNDETERMINED
    envelope: Envelope | None = None
    signatures: list[SignatureFinding] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    rcode: str | None = None
    rule: str | None = None
    reason: str | None = None
    ede: str | None = None
    left_out: str | None = None
    before: Delegation | None = None
    after: Delegation | None = None

    @property
    def difference(self) -> Difference | None:
        if self.before is None or self.after is None:
            return None
        return Difference.between(self.before, self.after)

    def to_json(self) -> dict[str, Any]:
        difference = self.difference
        return {
            "verdict": self.verdict.value,
            "signatures": [finding.to_json() for finding in self.signatures],
            "passed": self.passed,
            "rcode": self.rcode,
            "rule": self.rule,
            "reason": self.reason,
            "extended_error": self.ede,
            "left_out": self.left_out,
            "before": None if self.before is None else self.before.to_json(),
            "after": None if self.after is None else self.after.to_json(),
            "difference": None if difference is None else difference.to_json(),
        }


class _Stop(Exception):
    """The examination ends here without a refusal."""


async def examine(wire: bytes, now: float, loaded: "Loaded | None") -> Findings:
    """Walk a message as far as it gets. `now` in seconds; without a configuration only what needs none is done."""
    examination = _Examination(wire, now, loaded)
    findings = examination.findings
    try:
        await examination.run()
    except _Stop:
        pass
    except MalformedMessage as error:
        examination.refuse(Refusal("malformed", error.reason, Rcode.FORMERR))
    except Refusal as refusal:
        examination.refuse(refusal)
    except StoreError as error:
        examination.refuse(Refusal("store", error.reason, Rcode.SERVFAIL))
    except BackendError as error:
        examination.refuse(Refusal("backend", error.reason, Rcode.SERVFAIL))
    return findings


class _Examination:
    def __init__(self, wire: bytes, now: float, loaded: "Loaded | None") -> None:
        self._wire = wire
        self._now = now
        self._loaded = loaded
        configuration = loaded.configuration if loaded else None
        self._limits = configuration.receiver.limits if configuration else Limits()
        self._settings = configuration.receiver.signatures if configuration else SignatureSettings()
        self._codepoints = configuration.codepoints.to_codepoints() if configuration else numbers.DEFAULT
        self.findings = Findings()

    def refuse(self, refusal: Refusal) -> None:
        """Note that the receiver would stop here, and what it would answer."""
        findings = self.findings
        findings.verdict = Verdict.REFUSED
        findings.rule, findings.reason = refusal.rule, refusal.reason
        findings.rcode = rcode_text(refusal.rcode)
        envelope = findings.envelope
        if envelope is None:
            return
        sent = walk(responder.respond(envelope, Answer.of(refusal))).rcode
        if sent != refusal.rcode:
            findings.rcode += f" (sent as {rcode_text(sent)}: the request has no EDNS)"
        if refusal.ede is not None and envelope.opt is not None:
            findings.ede = f"{refusal.ede} ({ede.describe(refusal.ede, self._codepoints)})"

    async def run(self) -> None:
        """Raises whatever stops it."""
        if not is_request(self._wire):
            self.findings.verdict = Verdict.IGNORED
            self.findings.reason = "it is a response, or shorter than a header; nothing answers such octets"
            with suppress(MalformedMessage):
                self.findings.envelope = walk(self._wire)
            raise _Stop
        envelope = self.findings.envelope = walk(self._wire)
        self._pass(f"envelope: {len(self._wire)} octets, {len(envelope.records)} records")
        if self._loaded is None or not session.has_store(self._loaded):
            await self._go(envelope, None)
        else:
            async with session.open_store(self._loaded) as store:
                await self._go(envelope, store)

    async def _go(self, envelope: Envelope, store: "Store | None") -> None:
        keys = await self._keys(envelope, store)
        check_edns(envelope)
        check_tsig(envelope, self._codepoints.signature_type)
        if envelope.opcode == Opcode.QUERY:
            self._query(envelope)
        admitted = admit(envelope, self._zones(envelope), self._limits, self._codepoints.signature_type)
        self._pass(f"admission: an UPDATE of {names.to_text(admitted.zone)} by {names.to_text(admitted.signer)}")
        if self._loaded is None:
            self._leave_out("the keys, the rules and the server of the parent zone: there is no configuration")
        authenticated = self._authenticated(admitted, keys)
        worth = authenticated.stored.state.value if authenticated.stored else "not known here"
        self._pass(f"authentication: the signature of key {authenticated.key.tag} verifies; the key is {worth}")
        assert store is not None
        if authenticated.is_trusted:
            await self._check_repeated(store, authenticated)
        request = read_request(envelope, admitted.zone, admitted.signer, authenticated.key.rdata)
        if isinstance(request, DelegationChange) and authenticated.is_trusted:
            self._pass(f"request: a delegation change of {len(request.operations)} operation(s)")
            await self._judge(store, authenticated, request)
        elif isinstance(request, KeyUpload):
            self._accept("the key would be taken in as known" if authenticated.stored is None else "the key is there")
        elif authenticated.stored is not None and not authenticated.is_trusted:
            bootstrap = await store.bootstraps.get(authenticated.stored.id)
            raise untrusted(authenticated.stored, bootstrap is None or bootstrap.manual, self._codepoints)
        else:
            self._accept("keys would be added or deleted, as far as the zone's `trust` and the last trusted key allow")

    def _accept(self, reason: str) -> None:
        self.findings.verdict, self.findings.rcode = Verdict.ACCEPTED, rcode_text(Rcode.NOERROR)
        self.findings.reason = reason

    def _authenticated(self, admitted: Admitted, keys: tuple[RingKey, ...]) -> Authenticated:
        now = int(self._now)
        try:
            return authenticate(admitted, keys, now, self._settings, self._codepoints)
        except Refusal:
            uploaded = authenticate_upload(admitted, now, self._settings, self._codepoints)
            if uploaded is None:
                raise
            return uploaded

    def _zones(self, envelope: Envelope) -> frozenset[bytes]:
        if self._loaded is None:
            return frozenset((zone_of(envelope),))
        return frozenset(section.apex for section in self._loaded.configuration.parents)

    async def _keys(self, envelope: Envelope, store: "Store | None") -> tuple[RingKey, ...]:
        """The signer's keys; the findings about each signature are noted, whatever else is wrong."""
        try:
            signed = signatures(envelope, self._codepoints.signature_type)
        except MalformedMessage:
            return ()  # admission says what is wrong
        if not signed:
            return ()
        stored = () if store is None else await store.keys.find(signed[0].signer)
        keys = ring_keys(stored, self._codepoints)
        looked_up = None if self._loaded is None else keys
        self.findings.signatures = inspect(
            self._wire, signed, looked_up, int(self._now), self._settings, self._codepoints
        )
        return keys

    def _query(self, envelope: Envelope) -> None:
        if responder.is_soa_query(envelope):
            name = envelope.name(envelope.questions[0].start)
            if self._loaded is None:
                self._leave_out("whether the zone is ours: there is no configuration")
            if any(names.is_at_or_below(name, zone) for zone in self._zones(envelope)):
                self.findings.verdict, self.findings.rcode = Verdict.ACCEPTED, rcode_text(Rcode.NOERROR)
                self.findings.reason = "a query for the SOA of a zone that is served here is answered"
                raise _Stop
        reason = "only the SOA of the zones served and KeyState are answered here"
        raise Refusal("query", reason, ede=EdeCode.NOT_SUPPORTED)

    async def _check_repeated(self, store: "Store", authenticated: Authenticated) -> None:
        async for each in store.changes.identities(self._now):
            if each.identity == authenticated.identity and each.state is not ChangeState.FAILED:
                self.findings.verdict, self.findings.rcode = Verdict.ACCEPTED, rcode_text(Rcode.NOERROR)
                self.findings.reason = f"it was accepted before as change {each.change_id}; nothing is applied again"
                raise _Stop
        self._pass("replay: not accepted before")

    async def _judge(self, store: "Store", authenticated: Authenticated, request: DelegationChange) -> None:
        assert self._loaded is not None
        admitted: Admitted = authenticated.admitted
        section = session.parent_at(self._loaded, admitted.zone)
        rules = section.rules(each.apex for each in self._loaded.configuration.parents)
        policy.check_child(rules, request.child)
        await self._check_order(store, authenticated, request, section)
        async with session.open_backend(self._loaded, section) as backend:
            reading = await backend.read(request.child)
            self._pass(f"server: it holds {len(reading.delegation.records)} records of {names.to_text(request.child)}")
            self.findings.before = reading.delegation
            weighed = await weigh(backend, rules, request, reading)
        self.findings.after = weighed.change.after
        why = policy.held_because(rules, reading.delegation, self.findings.after)
        self._pass(f"judgement: {len(request.prerequisites)} prerequisites hold, {len(policy.RULES)} rules are kept")
        if weighed.kept:
            self._pass(f"neighbours: {weighed.kept}")
        self.findings.verdict, self.findings.rcode = Verdict.ACCEPTED, rcode_text(Rcode.NOERROR)
        if why is not None:
            self.findings.reason = f"accepted and held: it waits for an operator: {why}"

    async def _check_order(
        self, store: "Store", authenticated: Authenticated, request: DelegationChange, section: "ParentSection"
    ) -> None:
        record = await store.changes.latest(authenticated.key.owner)
        newest = Newest(await store.changes.accepted(authenticated.key.owner))
        check_order(newest, authenticated.signature.inception, int(self._now), section.settings(), request)
        self._pass("order: no newer change of this child is in its way")
        if record.unsettled is not None:
            self._pass(f"turn: it would wait until change {record.unsettled.id} of this child is settled")

    def _pass(self, step: str) -> None:
        self.findings.passed.append(step)

    def _leave_out(self, what: str) -> None:
        self.findings.left_out = what
        raise _Stop
