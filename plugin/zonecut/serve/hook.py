"""The hook: takes what is meant for a PowerDNS API, `PATCH` of a zone, and shows what is asked for before that."""

import hmac
import ssl
from collections.abc import Callable, Mapping
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from zonecut.configmodel import HookSection
from zonecut.files.privatefile import PrivateFileError, read_word
from zonecut.files.regularfile import check_regular
from zonecut.net.endpoint import Endpoint
from zonecut.powerdns_api import front_view
from zonecut.powerdns_api.front_end import FrontEnd, Reply
from zonecut.powerdns_api.target import OtherHost, Target, What, read_target
from zonecut.receiver.message.admission import Limits, TokenBuckets, source_key
from zonecut.receiver.message.counters import Counters, Result
from zonecut.serve.listening.listeners import CannotListen

if TYPE_CHECKING:
    from zonecut.powerdns_api.http_server import Head, HttpServer, ReadBody

_SERVED = (
    "Not Found: of the PowerDNS API there is here GET of /api, /api/v1, /api/v1/servers, .../localhost, .../zones and "
    ".../ZONE (with rrset_name and rrset_type, or rrsets=false), PATCH of .../ZONE, and PUT of .../ZONE/notify"
)
_JSON = ("application/json", "application/x-www-form-urlencoded", "")
"""Types of the body of a PATCH: JSON by its name, as curl calls whatever it sends, or none. A page of somebody else
cannot send the field with the key, whatever the type."""
_SHORTEST_KEY = 16
_KEY_FIELD = "x-api-key"

_log = structlog.get_logger(__name__)


class Desk:
    """Checks a request before anything of it is believed, and hands it on. One a configuration."""

    def __init__(self, section: HookSection, limits: Limits, tally: Counters, monotonic: Callable[[], float]) -> None:
        """Raises CannotListen for a file that cannot be used."""
        self.section = section
        self._keys = {name: _digest(_read_key(name, file)) for name, file in section.api_keys.items()}
        self._hosts = section.host_names
        self._sources = TokenBuckets(limits.source_burst, limits.source_rate)
        self._tally = tally
        self._monotonic = monotonic
        self.tls = _tls(section)

    async def handle(self, head: "Head", body: "ReadBody", front_end: FrontEnd) -> Reply:
        """The answer to a request. Raises what `body` raises."""
        if not self._sources.take(source_key(head.source.address), self._monotonic()):
            return self._refuse(head, "source-rate", HTTPStatus.TOO_MANY_REQUESTS, "too many requests from this source")
        if head.fields.get("host", "").lower() not in self._hosts:
            return self._refuse(head, "host", HTTPStatus.MISDIRECTED_REQUEST, "this host is not served here")
        actor = self._actor(head.fields)
        if actor is None:
            return self._refuse(head, "api-key", HTTPStatus.UNAUTHORIZED, "Unauthorized")
        try:
            target = read_target(head.target, self._hosts)
            if target is not None:
                return await self._serve(head, body, target, front_end, actor)
        except OtherHost:
            return self._refuse(head, "host", HTTPStatus.MISDIRECTED_REQUEST, "this host is not served here")
        return self._refuse(head, "endpoint", HTTPStatus.NOT_FOUND, _SERVED)

    async def _serve(self, head: "Head", body: "ReadBody", target: Target, front_end: FrontEnd, actor: str) -> Reply:
        match head.method, target.what:
            case "GET", What.VERSIONS:
                return Reply.listing(front_view.versions())
            case "GET", What.DISCOVERY:
                return Reply(HTTPStatus.OK, front_view.discovery())
            case "GET", What.SERVERS:
                return Reply.listing([front_view.server()])
            case "GET", What.SERVER:
                return Reply(HTTPStatus.OK, front_view.server())
            case "GET", What.ZONES:
                return front_end.zones(target.named)
            case "GET", What.ZONE if target.owner is not None:
                return await front_end.rrsets(target.zone, target.owner, target.rtype)
            case "GET", What.ZONE if target.rtype is None:
                return await front_end.zone(target.zone, with_rrsets=target.with_rrsets)
            case "PUT", What.NOTIFY:
                return front_end.notified(target.zone)
            case "PATCH", What.ZONE:
                return await self._patch(head, body, target.zone, front_end, actor)
        return self._refuse(head, "endpoint", HTTPStatus.NOT_FOUND, _SERVED)

    async def _patch(self, head: "Head", body: "ReadBody", zone: bytes, front_end: FrontEnd, actor: str) -> Reply:
        kind = head.fields.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _JSON or "content-encoding" in head.fields:
            reason = "a PATCH comes as application/json, without Content-Encoding"
            return self._refuse(head, "content-type", HTTPStatus.UNSUPPORTED_MEDIA_TYPE, reason)
        return await front_end.patch(zone, await body(), f"hook:{actor}", head.source)

    def _actor(self, fields: Mapping[str, str]) -> str | None:
        """The name of the key that came along; None for any other. It takes as long whatever came."""
        given = _digest(fields.get(_KEY_FIELD, ""))
        found = None
        for name, digest in self._keys.items():
            if hmac.compare_digest(digest, given):
                found = name
        return found

    def _refuse(self, head: "Head", rule: str, status: HTTPStatus, reason: str) -> Reply:
        if stands_for := self._tally.end(f"hook-{rule}", Result.REFUSED, self._monotonic()):
            _log.info("hook.refused", rule=rule, reason=reason, source=str(head.source), stands_for=stands_for)
        return Reply.error(status, reason)


class Hook:
    """The listener that the configuration asks for, or none."""

    def __init__(self, tally: Counters, monotonic: Callable[[], float]) -> None:
        self._tally = tally
        self._monotonic = monotonic
        self._server: HttpServer | None = None
        self._tls: ssl.SSLContext | None = None
        self._desk: Desk | None = None
        self._front_end: FrontEnd | None = None

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return () if self._server is None else self._server.endpoints

    def prepare(self, section: HookSection | None, limits: Limits) -> Desk | None:
        """What checks requests as a configuration asks.

        Raises CannotListen for files that cannot be used, and where h11 is missing.
        """
        if section is None:
            return None
        _server_type()
        return Desk(section, limits, self._tally, self._monotonic)

    async def listen(self, desk: Desk | None) -> None:
        """Listen as a configuration asks. Raises CannotListen; what was open before stays open then."""
        if desk is None and self._server is None:
            return
        endpoints = () if desk is None else desk.section.endpoints
        server, tls = self._running_server(), self._context(desk)
        fresh: list[Endpoint] = []
        try:
            for endpoint in endpoints:
                if endpoint not in server.endpoints:
                    await server.listen(endpoint, tls)
                    fresh.append(endpoint)
            if desk is not None and self._tls is not None and tls is self._tls:
                # last, since it cannot be undone
                _load(self._tls, desk.section)
        except (OSError, CannotListen) as error:
            for each in fresh:
                server.leave(each)
            if isinstance(error, CannotListen):
                raise
            raise CannotListen(f"receiver.hook.listen: {endpoint}: {error.strerror or error}") from error
        for endpoint in server.endpoints:
            if endpoint not in endpoints:
                server.leave(endpoint)
        self._desk, self._tls = desk, tls

    def use(self, front_end: FrontEnd) -> None:
        """Hand what comes from now on to this front end."""
        self._front_end = front_end

    def stop(self) -> None:
        """Take nothing more."""
        if self._server is not None:
            self._server.stop()

    async def close(self, patience: float) -> None:
        """Wait for the answers that are on their way, `patience` seconds at most."""
        if self._server is not None:
            await self._server.close(patience)

    def _running_server(self) -> "HttpServer":
        if self._server is None:
            self._server = _server_type()(self._handle)
        return self._server

    def _context(self, desk: Desk | None) -> ssl.SSLContext | None:
        """The context with which to listen: the one in use, if there is one."""
        tls = None if desk is None else desk.tls
        if desk is None or not self.endpoints:
            return tls
        if (tls is None) != (self._tls is None):
            raise CannotListen("receiver.hook.certificate: to begin or to end with TLS needs a restart")
        return self._tls

    async def _handle(self, head: "Head", body: "ReadBody") -> Reply:
        if self._desk is None or self._front_end is None:
            return Reply.error(HTTPStatus.SERVICE_UNAVAILABLE, "the configuration is being changed")
        return await self._desk.handle(head, body, self._front_end)


def _server_type() -> "type[HttpServer]":
    try:
        # only here: who has no hook needs no h11
        from zonecut.powerdns_api.http_server import HttpServer
    except ModuleNotFoundError as error:
        reason = f"receiver.hook: it needs the Python package {error.name}: pip install 'zonecut[hook]'"
        raise CannotListen(reason) from error
    return HttpServer


def _digest(key: str) -> bytes:
    """Of one length for all keys, so that a comparison tells nothing about theirs."""
    return sha256(key.encode("utf-8", "surrogateescape")).digest()


def _read_key(name: str, file: Path) -> str:
    try:
        return read_word(file, "API key", _SHORTEST_KEY)
    except PrivateFileError as error:
        raise CannotListen(f"receiver.hook.api_keys.{name}: {error}") from error


def _tls(section: HookSection) -> ssl.SSLContext | None:
    if section.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, section)
    return context


def _load(context: ssl.SSLContext, section: HookSection) -> None:
    assert section.certificate is not None
    assert section.private_key is not None
    try:
        for file in (section.certificate, section.private_key):
            check_regular(file)
        context.load_cert_chain(section.certificate, section.private_key)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or error
        raise CannotListen(f"receiver.hook: {section.certificate}, {section.private_key}: {reason}") from error
