"""What the receiver would do with a captured message, and at which step it would stop; nothing is written.

It walks the receiver's own steps (`receiver.decision`, then `Case`), with the store and the server as they are now.
Left out are limits, and the checks that ask the child's name servers.
"""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from zonecut.cli import session
from zonecut.cli.explaining.signer import SignatureFinding, inspect, ring_keys
from zonecut.config import Loaded, ParentSection
from zonecut.plugin import BackendError
from zonecut.protocol import codepoints as numbers
from zonecut.protocol import ede, names
from zonecut.protocol.codepoints import Opcode, Rcode, rcode_text
from zonecut.protocol.delegation import Delegation, Difference
from zonecut.protocol.envelope import Envelope, walk
from zonecut.protocol.errors import MalformedMessage, Refusal
from zonecut.protocol.keystate import Revision, state_text
from zonecut.protocol.sig0 import signatures
from zonecut.protocol.update import DelegationChange, KeyRoll, KeyUpload, zone_of
from zonecut.receiver.change import policy
from zonecut.receiver.change.case import Case
from zonecut.receiver.change.judgement import check_place
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.change.ordering import ChildOrder
from zonecut.receiver.decision import KeyStateQuery, SoaQuery, format_error, hear, is_request, signed_by, wanted
from zonecut.receiver.keys.keystate import Inquiries
from zonecut.receiver.keys.trust import check_taken_in, check_upload, refused_rolls, roll_of
from zonecut.receiver.keys.watching import Watching
from zonecut.receiver.message import responder
from zonecut.receiver.message.admission import EDNS_VERSION, Admitted, Limits
from zonecut.receiver.message.authentication import Authenticated, SignatureSettings, untrusted
from zonecut.receiver.message.key_lookup import KeyLookup
from zonecut.receiver.message.responder import Answer
from zonecut.receiver.provenance import Provenance
from zonecut.store import SETTLED, ChangeState, KeyState, RingKey, Store, StoreError, StoreRestored


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


async def examine(wire: bytes, now: float, loaded: Loaded | None) -> Findings:
    """Walk a message as far as it gets. `now` in seconds; without a configuration only what needs none is done."""
    examination = _Examination(wire, now, loaded)
    findings = examination.findings
    try:
        await examination.run()
    except _Stop:
        pass
    except MalformedMessage as error:
        examination.refuse(format_error(error))
    except Refusal as refusal:
        examination.refuse(refusal)
    except StoreError as error:
        examination.refuse(Refusal("store", error.reason, Rcode.SERVFAIL))
    except BackendError as error:
        examination.refuse(Refusal("backend", error.reason, Rcode.SERVFAIL))
    return findings


class _Examination:
    def __init__(self, wire: bytes, now: float, loaded: Loaded | None) -> None:
        self._wire = wire
        self._now = now
        self._loaded = loaded
        configuration = loaded.configuration if loaded else None
        self._limits = configuration.receiver.limits if configuration else Limits()
        self._settings = configuration.receiver.signatures if configuration else SignatureSettings()
        self._codepoints = configuration.codepoints.to_codepoints() if configuration else numbers.DEFAULT
        revision = configuration.receiver.keystate if configuration else Revision.KEYSTATE_03
        self._inquiries = Inquiries(revision, self._settings, self._codepoints)
        self.findings = Findings()

    def refuse(self, refusal: Refusal) -> None:
        """Note that the receiver would stop here, and what it would answer."""
        findings = self.findings
        findings.verdict = Verdict.REFUSED
        findings.rule, findings.reason = refusal.rule, refusal.reason
        findings.rcode = rcode_text(refusal.rcode, of_signed=refusal.rule != EDNS_VERSION)
        envelope = findings.envelope
        if envelope is None:
            return
        sent = walk(responder.respond(envelope, Answer.of(refusal))).rcode
        if sent != refusal.rcode:
            findings.rcode += f" (sent as {rcode_text(sent, of_signed=True)}: the request has no EDNS)"
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

    async def _go(self, envelope: Envelope, store: Store | None) -> None:
        await self._inspect(envelope, store)
        heard = hear(envelope, self._zones(envelope), self._limits, self._inquiries, self._codepoints, _count)
        if isinstance(heard, SoaQuery):
            if self._loaded is None:
                self._leave_out("whether the zone is ours: there is no configuration")
            self._accept("a query for the SOA of a zone that is served here is answered")
        elif isinstance(heard, KeyStateQuery):
            await self._tell_key_state(envelope, heard, store)
        else:
            await self._update(heard, store)

    async def _tell_key_state(self, envelope: Envelope, query: KeyStateQuery, store: Store | None) -> None:
        child, asked = query.child, query.asked
        self._pass(f"admission: a KeyState inquiry about key {asked.key_id} of {names.to_text(child)}")
        if self._loaded is None:
            self._leave_out("what the key is worth: there is no configuration")
        if store is not None and store.restored is not None:
            told = self._inquiries.temporary_failure(asked)
        else:
            keys = await self._keys(child, store)
            known, _ = self._inquiries.examine(envelope, child, asked, keys, int(self._now))
            settled = self._inquiries.settled(asked, known)
            if settled is None:
                assert store is not None
                assert known is not None
                bootstrap = await store.bootstraps.get(known.stored.id)
                settled = self._inquiries.of_standing(asked, known, bootstrap)
            told = settled
        text = state_text(told.key_state)
        self._accept(f"KeyState is answered: {text}{f' ({told.extra_text})' if told.extra_text else ''}")

    async def _update(self, admitted: Admitted, store: Store | None) -> None:
        self._pass(f"admission: an UPDATE of {names.to_text(admitted.zone)} by {names.to_text(admitted.signer)}")
        if self._loaded is None:
            self._leave_out("the keys, the rules and the server of the parent zone: there is no configuration")
        if store is not None and store.restored is not None:
            raise StoreRestored(store.restored.reason)
        keys = await self._keys(admitted.signer, store)
        authenticated = signed_by(admitted, keys, int(self._now), self._settings, self._codepoints, _count)
        worth = authenticated.stored.state.value if authenticated.stored else "not known here"
        self._pass(f"authentication: the signature of key {authenticated.key.tag} verifies; the key is {worth}")
        assert self._loaded is not None
        section = session.parent_at(self._loaded, admitted.zone)
        if authenticated.is_trusted:
            assert store is not None
            await self._check_repeated(store, authenticated)
        request = wanted(authenticated, int(self._now))
        if isinstance(request, KeyUpload):
            await self._upload(request, authenticated, section, store)
            return
        assert store is not None  # it has the key that signed
        if request is None:
            assert authenticated.stored is not None
            bootstrap = await store.bootstraps.get(authenticated.stored.id)
            raise untrusted(authenticated.stored, bootstrap is None or bootstrap.manual, self._codepoints)
        rules = self._rules(section)
        policy.check_child(rules, request.child)
        provenance = Provenance.signed(authenticated, "", self._now, self._settings.fudge)
        await self._check_order(store, provenance, request, section)
        if isinstance(request, KeyRoll):
            self._pass(f"request: {len(request.operations)} operation(s) on keys")
            roll = roll_of(provenance, request, section.apex, section.trust, section.policy.rollover, self._codepoints)
            with refused_rolls():
                roll.outcome([each.stored for each in keys], self._now)
            self._accept("keys would be added or deleted")
        else:
            self._pass(f"request: a delegation change of {len(request.operations)} operation(s)")
            await self._judge(store, request, section, rules)

    async def _upload(
        self, request: KeyUpload, authenticated: Authenticated, section: ParentSection, store: Store | None
    ) -> None:
        key = authenticated.key
        if authenticated.is_trusted:
            self._accept("the key is there")
            return
        rules = self._rules(section)
        policy.check_child(rules, request.child)
        assert self._loaded is not None
        async with session.open_backend(self._loaded, section) as backend:
            check_place(request.child, await backend.read(request.child))
        check_upload(key, request, self._codepoints)
        held = () if store is None else await store.keys.find(key.owner, key.tag)
        stored = next((each for each in held if each.key == key), None)
        if stored is not None and stored.state in SETTLED:
            check_taken_in(stored, self._codepoints)
        if stored is None:
            self._accept("the key would be taken in as known, as far as there is room for keys that wait")
        elif stored.state is KeyState.KNOWN:
            self._accept("the key is there")
        else:
            self._accept(f"the key, which is {stored.state.value}, would be known again")

    def _accept(self, reason: str | None) -> None:
        self.findings.verdict, self.findings.rcode = Verdict.ACCEPTED, rcode_text(Rcode.NOERROR)
        self.findings.reason = reason

    def _rules(self, section: ParentSection) -> policy.Rules:
        assert self._loaded is not None
        return section.rules(each.apex for each in self._loaded.configuration.parents)

    def _zones(self, envelope: Envelope) -> frozenset[bytes]:
        if self._loaded is not None:
            return frozenset(section.apex for section in self._loaded.configuration.parents)
        # any could be ours
        return frozenset((zone_of(envelope) if envelope.opcode == Opcode.UPDATE else names.ROOT,))

    async def _keys(self, owner: bytes, store: Store | None) -> tuple[RingKey, ...]:
        return ring_keys(() if store is None else await store.keys.find(owner), self._codepoints)

    async def _inspect(self, envelope: Envelope, store: Store | None) -> None:
        """Note what is to be said about each signature, whatever else is wrong."""
        try:
            signed = signatures(envelope, self._codepoints.signature_type)
        except MalformedMessage:
            return  # admission says what is wrong
        if signed:
            keys = None if self._loaded is None else await self._keys(signed[0].signer, store)
            self.findings.signatures = inspect(
                self._wire, signed, keys, int(self._now), self._settings, self._codepoints
            )

    async def _check_repeated(self, store: Store, authenticated: Authenticated) -> None:
        async for each in store.changes.identities(self._now):
            if each.identity == authenticated.identity and each.state is not ChangeState.FAILED:
                self._accept(f"it was accepted before as change {each.change_id}; nothing is applied again")
                raise _Stop
        self._pass("replay: not accepted before")

    async def _judge(
        self, store: Store, request: DelegationChange, section: ParentSection, rules: policy.Rules
    ) -> None:
        assert self._loaded is not None
        zones = frozenset(each.apex for each in self._loaded.configuration.parents)
        keys = KeyLookup(store.ring)
        watching = Watching(section.apex, section.trust, store, keys, lambda: zones, lambda: self._now, time.monotonic)
        async with session.open_backend(self._loaded, section) as backend:
            case = Case(request, _stands, backend, lambda: rules, None, watching.suspends, watching.ds_taken_out)
            reading = await backend.read(request.child)
            self._pass(f"server: it holds {len(reading.delegation.records)} records of {names.to_text(request.child)}")
            self.findings.before = reading.delegation
            await case.check_suspicion(reading)
            weighed = await case.weigh_anew(reading)
        self.findings.after = weighed.change.after
        self._pass(f"judgement: {len(request.prerequisites)} prerequisites hold, {len(policy.RULES)} rules are kept")
        if weighed.kept:
            self._pass(f"neighbours: {weighed.kept}")
        why = case.held_because(weighed.change)
        self._accept(None if why is None else f"accepted and held: it waits for an operator: {why}")

    async def _check_order(
        self, store: Store, provenance: Provenance, request: DelegationChange | KeyRoll, section: ParentSection
    ) -> None:
        ledger = Ledger(store, section.apex)
        order = ChildOrder(ledger)
        order.floor = await ledger.floor()
        await order.check(provenance, request, self._now, section.settings())
        self._pass("order: no newer change of this child is in its way")
        record = await store.changes.latest(provenance.child)
        if record.unsettled is not None:
            self._pass(f"turn: it would wait until change {record.unsettled.id} of this child is settled")

    def _pass(self, step: str) -> None:
        self.findings.passed.append(step)

    def _leave_out(self, what: str) -> None:
        self.findings.left_out = what
        raise _Stop


def _count() -> None:
    """Limits are the receiver's: what is only explained counts for none."""


async def _stands() -> None:
    """The key that signed was read a moment ago."""
