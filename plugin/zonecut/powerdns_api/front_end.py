"""Changes that somebody posts in the form of the PowerDNS API: whatever manages delegations there, known by its key.

Each child's part of a PATCH goes the way of a child's UPDATE: policy, checks, ledger, the child's turn and the writer.
What is missing is the child's signature; in its place stands the front end's name.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import structlog

from zonecut.plugin import BackendError, Reading, Unreadable
from zonecut.powerdns_api import front_view
from zonecut.powerdns_api.patch import Asked, MalformedPatch, by_child, read_patch, without_cut
from zonecut.protocol import names
from zonecut.protocol.codepoints import EdeCode, Rcode
from zonecut.protocol.delegation import Ttls
from zonecut.protocol.errors import Refusal
from zonecut.receiver.message.admission import Limits, Source
from zonecut.receiver.message.counters import Counters, Result
from zonecut.receiver.outcome import Outcome
from zonecut.receiver.provenance import Provenance
from zonecut.receiver.refusals import Refusals
from zonecut.receiver.requests import Requests
from zonecut.receiver.served_zone import ServedZone
from zonecut.store import StoreUnavailable

_OVERDONE = (EdeCode.RATE_LIMITED, EdeCode.OVER_QUOTA)
_FOR_GOOD = "backend-rejected"
"""The rule of what the server will not hold, now or later."""

MOST_SHOWN = 10_000
"""Delegations of a zone that is shown as a whole."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """The status of an HTTP answer, its document, if it has one, and what else is to be told, a sentence each."""

    status: HTTPStatus
    document: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    body: bytes | None = None
    """The document as octets, where it is a list, or so large that making those takes a thread."""

    @classmethod
    def listing(cls, documents: Sequence[Mapping[str, Any]]) -> "Reply":
        return cls(HTTPStatus.OK, body=json.dumps(documents).encode())

    @classmethod
    def error(cls, status: HTTPStatus, reason: str, **more: Any) -> "Reply":
        """As PowerDNS says what is wrong."""
        return cls(status, {"error": reason, **more})


@dataclass(slots=True)
class _Parts:
    """How the parts of a PATCH ended, by child."""

    applied: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    failed: list[tuple[HTTPStatus, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def reply(self) -> Reply:
        """The answer to the whole."""
        return replace(self._reply(), notes=tuple(self.notes))

    def _reply(self) -> Reply:
        if not self.failed:
            if not self.pending:
                return Reply(HTTPStatus.NO_CONTENT)
            return Reply(HTTPStatus.ACCEPTED, {"pending": self.pending, "applied": self.applied})
        statuses = {status for status, _ in self.failed}
        # as long as one may be better at another time, so may the whole: what is done already is not done twice
        status = statuses.pop() if len(statuses) == 1 else HTTPStatus.SERVICE_UNAVAILABLE
        reasons = [reason for _, reason in self.failed]
        return Reply.error(status, reasons[0], errors=reasons, pending=self.pending, applied=self.applied)


class FrontEnd:
    """Takes PATCHes for the zones that are served."""

    def __init__(
        self,
        zones: Mapping[bytes, ServedZone],
        requests: Requests,
        refusals: Refusals,
        limits: Limits,
        tally: Counters,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._zones = zones
        self._requests = requests
        self._refusals = refusals
        self._limits = limits
        self._tally = tally
        self._clock = clock
        self._monotonic = monotonic
        self._listing = asyncio.Lock()

    async def patch(self, apex: bytes, body: bytes, actor: str, source: Source) -> Reply:
        """Have the changes of a PATCH of a zone made; `actor` is the front end, as log and audit trail name it."""
        zone = self._zones.get(apex)
        if zone is None:
            return _no_zone(apex)
        try:
            asked = await self._read(zone, apex, body)
            if len(asked) > 1:
                # a PATCH of PowerDNS is one transaction: where one part is refused, none is begun
                await self._consider(zone, asked, actor, source)
            parts = _Parts()
            await asyncio.gather(*(self._carry_out(zone, each, actor, source, parts) for each in asked))
            return parts.reply()
        except MalformedPatch as error:
            self._tally.end("malformed", Result.REFUSED, self._monotonic())
            return Reply.error(HTTPStatus.BAD_REQUEST, str(error))
        except Refusal as refusal:
            return Reply.error(*self._tell(apex, apex, refusal, actor, source))
        except _Told as told:
            return Reply.error(told.status, told.reason)
        except (BackendError, StoreUnavailable) as error:
            return _unavailable(apex, error)

    async def rrsets(self, apex: bytes, owner: bytes, rtype: int | None = None) -> Reply:
        """What a zone holds at a name as far as it is part of a delegation, as PowerDNS shows a zone."""
        zone = self._zones.get(apex)
        if zone is None:
            return _no_zone(apex)
        if not names.is_at_or_below(owner, apex):
            reason = f"{names.to_text(owner)} is not in {names.to_text(apex)}"
            return Reply.error(HTTPStatus.UNPROCESSABLE_ENTITY, reason)
        try:
            reading = None if owner == apex else await zone.delegations.around(owner, afresh=True)
        except (BackendError, StoreUnavailable) as error:
            return _unavailable(apex, error)
        found = front_view.rrsets_of(() if reading is None else (reading,), _ttls(zone))
        shown = front_view.document(front_view.at(found, owner, rtype))
        return Reply(HTTPStatus.OK, {**front_view.zone(apex), "rrsets": shown})

    async def zone(self, apex: bytes, *, with_rrsets: bool) -> Reply:
        """A zone with all RRsets of all its delegations, or without any."""
        zone = self._zones.get(apex)
        if zone is None:
            return _no_zone(apex)
        if not with_rrsets:
            return Reply(HTTPStatus.OK, front_view.zone(apex))
        try:
            # one at a time: each costs the server a listing of the whole zone
            async with self._listing:
                listed = await zone.delegations.listing(MOST_SHOWN)
        except BackendError as error:
            return _unavailable(apex, error)
        text = names.to_text(apex)
        if listed is None:
            reason = f"{text} has more than {MOST_SHOWN} delegations: ask for one name of it by rrset_name"
            return Reply.error(HTTPStatus.UNPROCESSABLE_ENTITY, reason)
        for each in listed:
            if isinstance(each, Unreadable):
                # whoever is not shown all takes what is missing for gone
                reason = f"{text} cannot be shown as a whole: {each.name} makes no sense; ask by rrset_name"
                return Reply.error(HTTPStatus.UNPROCESSABLE_ENTITY, reason)
        readings = [each for each in listed if isinstance(each, Reading)]
        return Reply(HTTPStatus.OK, body=await asyncio.to_thread(_whole, apex, readings, _ttls(zone)))

    def zones(self, apex: bytes | None = None) -> Reply:
        """The zones that are served, without RRsets; or that one, where it is."""
        return Reply.listing([front_view.zone(each) for each in self._zones if apex in (None, each)])

    def notified(self, apex: bytes) -> Reply:
        """The answer to who wants secondaries notified: the server does that by itself with each change."""
        if apex not in self._zones:
            return _no_zone(apex)
        return Reply(HTTPStatus.OK, {"result": "Notification queued"})

    async def _read(self, zone: ServedZone, apex: bytes, body: bytes) -> Sequence[Asked]:
        """What a PATCH asks for each child. Raises MalformedPatch, Refusal, BackendError, StoreUnavailable."""
        edits = read_patch(body, apex)
        known: dict[bytes, bytes | None] = {}
        for owner in without_cut(edits):
            around = None if owner == apex else await zone.delegations.around(owner)
            known[owner] = None if around is None else around.delegation.child
        return by_child(edits, apex, known, self._limits.max_records)

    async def _consider(self, zone: ServedZone, asked: Sequence[Asked], actor: str, source: Source) -> None:
        """Raise _Told if one of these would be refused as things are; BackendError, StoreUnavailable."""
        for each in asked:
            try:
                await zone.delegations.consider(each.request)
            except Refusal as refusal:
                told = self._tell(zone.delegations.zone, each.child, refusal, actor, source)
                raise _Told(*told) from None

    async def _carry_out(self, zone: ServedZone, asked: Asked, actor: str, source: Source, parts: _Parts) -> None:
        now, child = self._clock(), names.to_text(asked.child)
        provenance = Provenance.posted(asked.child, actor, str(source), asked.message, now)
        try:
            outcome = await self._requests.posted(zone, provenance, asked.request, now)
        except Refusal as refusal:
            outcome = Outcome.of(refusal)
        except Exception:
            # a defect of ours: nothing is acknowledged that is not in the ledger
            _log.exception("request.defect", child=child, actor=actor)
            outcome = Outcome.unavailable("internal", "internal error")
        if outcome.rcode:
            parts.failed.append(self._tell(zone.delegations.zone, asked.child, outcome.refusal, actor, source))
        else:
            self._tally.end("posted", Result.ACCEPTED, self._monotonic())
            (parts.pending if outcome.pending else parts.applied).append(child)
            if outcome.told:
                parts.notes.append(f"{child}: {outcome.told}")

    def _tell(self, zone: bytes, child: bytes, refusal: Refusal, actor: str, source: Source) -> tuple[HTTPStatus, str]:
        """Log a refusal; the status and the words for it."""
        result = Result.FAILED if refusal.rcode == Rcode.SERVFAIL else Result.REFUSED
        self._tally.end(refusal.rule, result, self._monotonic())
        self._refusals.tell(
            zone,
            child,
            actor=actor,
            key_tag=None,
            source=str(source),
            rule=refusal.rule,
            reason=refusal.reason,
            rcode=refusal.rcode,
        )
        return _status_of(refusal), _words(child, refusal)


class _Told(Exception):
    """A part of a PATCH is refused, and that is told already."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def _ttls(zone: ServedZone) -> Ttls:
    return zone.delegations.rules.policy.ttl.to_ttls()


def _whole(apex: bytes, readings: Sequence[Reading], ttls: Ttls) -> bytes:
    shown = front_view.document(front_view.rrsets_of(readings, ttls))
    return json.dumps({**front_view.zone(apex), "rrsets": shown}).encode()


def _no_zone(apex: bytes) -> Reply:
    return Reply.error(HTTPStatus.NOT_FOUND, f"Could not find domain '{names.to_text(apex)}'")


def _unavailable(apex: bytes, error: BackendError | StoreUnavailable) -> Reply:
    """The answer while a zone cannot be read; the log has the reason."""
    outcome = Outcome.unavailable("backend" if isinstance(error, BackendError) else "store", error.reason)
    _log.warning("hook.unavailable", zone=names.to_text(apex), rule=outcome.rule, reason=outcome.reason)
    return Reply.error(HTTPStatus.SERVICE_UNAVAILABLE, outcome.told)


def _status_of(refusal: Refusal) -> HTTPStatus:
    if refusal.ede in _OVERDONE:
        return HTTPStatus.TOO_MANY_REQUESTS
    if refusal.rcode == Rcode.SERVFAIL and refusal.rule != _FOR_GOOD:
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.UNPROCESSABLE_ENTITY


def _words(child: bytes, refusal: Refusal) -> str:
    """What is told, which names the record or at least the child, and the rule."""
    text = names.to_text(child)
    return f"{refusal.told if text in refusal.told else f'{text}: {refusal.told}'} ({refusal.rule})"
