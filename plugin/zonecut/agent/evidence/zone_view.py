"""What the name servers of a child zone say of it: each address of each of them is asked, over UDP and TCP.

Asked are those that the parent names, and then those that the zone itself names besides. Nothing of it is validated.
"""

import asyncio
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_address
from typing import Any

from zonecut.agent.evidence.serials import precedes
from zonecut.agent.zone.source import QuerySource
from zonecut.agent.zone.zone_content import SourceError, ZoneContent
from zonecut.net.endpoint import Endpoint
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.resolve import Answer, Direct, Resolver, Status, Verdict

MAX_SERVERS = 16
MAX_ADDRESSES = 8
"""Name servers of a child zone that are looked at, and addresses of each."""

_AT_ONCE = 8
_READING = 20.0
"""Seconds in which the zone has to be read from one address."""


class Standing(StrEnum):
    """How a name server does at one of its addresses."""

    ANSWERS = "answers"
    LAME = "lame"
    """It answers, and not with authority for the zone."""
    SILENT = "silent"
    UNREACHABLE = "unreachable"
    """This machine has no way to that address, as one without IPv6."""
    UNASKED = "unasked"
    """There is no address, or none that may be asked."""
    UNKNOWN = "unknown"
    """Its addresses could not be found out."""


@dataclass(frozen=True, slots=True)
class ChildServer:
    """A name server at one of its addresses; `address` is empty where it has none that can be asked.

    `reason` says why it does not answer. `trouble` says what else is wrong: one of UDP and TCP does not work, or the
    zone cannot be read, so that there is no `content`.
    """

    server: bytes
    address: str
    standing: Standing
    reason: str = ""
    trouble: str = ""
    content: ZoneContent | None = None

    def __str__(self) -> str:
        return f"{names.to_text(self.server)} ({self.address})" if self.address else names.to_text(self.server)

    def to_json(self) -> dict[str, Any]:
        return {
            "server": names.to_text(self.server),
            "address": self.address or None,
            "standing": self.standing.value,
            "reason": self.reason or None,
            "trouble": self.trouble or None,
            "serial": None if self.content is None else self.content.serial,
        }


@dataclass(frozen=True, slots=True)
class ZoneView:
    """What all servers of the child zone say. `reason` tells why none is known."""

    zone: bytes
    servers: tuple[ChildServer, ...]
    reason: str = ""
    left_out: tuple[str, ...] = ()
    """Name servers, and addresses of them, that were not asked because there are so many."""

    @property
    def contents(self) -> tuple[tuple[ChildServer, ZoneContent], ...]:
        """The servers that showed the zone, and what they showed."""
        return tuple((server, server.content) for server in self.servers if server.content is not None)

    @property
    def newest(self) -> ZoneContent | None:
        """The zone as the server has it whose serial is the highest (RFC 1982)."""
        best: ZoneContent | None = None
        for _, content in self.contents:
            if best is None or precedes(best.serial or 0, content.serial or 0):
                best = content
        return best

    def to_json(self) -> dict[str, Any]:
        servers = [server.to_json() for server in self.servers]
        return {"servers": servers, "reason": self.reason or None, "left_out": list(self.left_out)}


def comparable(content: ZoneContent) -> ZoneContent:
    """The content without what may differ between servers that agree: serial and the TTLs that they count down."""
    return replace(content, serial=None, key_ttl=0)


async def view_zone(resolver: Resolver, zone: bytes, held: Delegation | None, *, port: int = 53) -> ZoneView:
    """Ask every address of every name server of the zone; raises nothing, whatever anybody answers.

    `held` is what the parent holds, with the glue; None: not known. Bounded: `MAX_SERVERS`, `MAX_ADDRESSES`, a few at
    a time.
    """
    named = held.ns if held is not None else ()
    reason = ""
    if not named:
        answer = await resolver.lookup(zone, RRType.NS)
        named = answer.rdatas
        reason = "" if named else f"the name servers of {names.to_text(zone)} are not known: {answer}"
    view = _View(resolver, zone, () if held is None else held.glue, (), port)
    servers = await view.of(named[:MAX_SERVERS])
    more = {server for each in servers if each.content for server in each.content.ns} - set(named)
    inside = {record for each in servers if each.content for record in each.content.addresses}
    room = max(0, MAX_SERVERS - len(named))
    further = _View(resolver, zone, tuple(inside), (), port)
    servers += await further.of(sorted(more)[:room])
    unasked = [names.to_text(server) for server in (*named[MAX_SERVERS:], *sorted(more)[room:])]
    return ZoneView(zone, tuple(servers), reason, (*unasked, *view.left_out, *further.left_out))


async def view_servers(
    resolver: Resolver,
    content: ZoneContent,
    delegations: Iterable[Delegation],
    past: Iterable[Delegation] = (),
    *,
    port: int = 53,
) -> ZoneView:
    """The name servers that the zone names, and those that any of these delegations has, as `view_zone` does.

    First come those, and their addresses, that the zone names or all of the delegations have: what one server of the
    parent shows alone takes the place of none of them, nor does what there was in the `past`. `left_out` has such ones
    only.
    """
    shown = [frozenset(each.records) for each in delegations]
    every = frozenset().union(*shown, *(each.records for each in past))
    firm = frozenset.intersection(*shown) if shown else frozenset[RR]()
    firm |= {RR(content.zone, RRType.NS, server) for server in content.ns} | set(content.addresses)
    first, others = _servers(firm), _servers(every)
    named = (*first, *(server for server in others if server not in first))
    view = _View(resolver, content.zone, firm, every - firm, port)
    servers = await view.of(named[:MAX_SERVERS])
    further = _View(resolver, content.zone, (), (), port)
    more = {server for each in servers if each.content for server in each.content.ns} - set(named)
    servers += await further.of(sorted(more)[: max(0, MAX_SERVERS - len(named))])
    unasked = [names.to_text(server) for server in first[MAX_SERVERS:]]
    return ZoneView(content.zone, tuple(servers), "", (*unasked, *view.left_out))


def _servers(records: Iterable[RR]) -> list[bytes]:
    """The name servers among these records, in canonical order."""
    return sorted({record.rdata for record in records if record.rtype == RRType.NS})


def has_route(address: str) -> bool:
    """False if this machine has no way to the address. No packet is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 53))
    except OSError:
        return False
    return True


class _View:
    """Looks at servers at their addresses: those that are `known`, that are looked up, and that are `doubtful`."""

    def __init__(self, resolver: Resolver, zone: bytes, known: Iterable[RR], doubtful: Iterable[RR], port: int) -> None:
        self._resolver = resolver
        self._zone = zone
        self._port = port
        self._places = asyncio.Semaphore(_AT_ONCE)
        self.left_out: list[str] = []
        self._known: Mapping[bytes, list[str]] = _by_owner(known)
        self._doubtful: Mapping[bytes, list[str]] = _by_owner(doubtful)

    async def of(self, servers: Sequence[bytes]) -> list[ChildServer]:
        found = await asyncio.gather(*map(self._server, servers))
        return [each for views in found for each in views]

    async def _server(self, server: bytes) -> Sequence[ChildServer]:
        async with self._places:
            addresses = await self._resolver.addresses(server)
        both = (addresses.ipv4, addresses.ipv6)
        looked_up = [str(ip_address(rdata)) for answer in both if _is_believed(answer) for rdata in answer.rdatas]
        firm = list(dict.fromkeys((*self._known.get(server, ()), *looked_up)))
        found = list(dict.fromkeys((*firm, *self._doubtful.get(server, ()))))
        if not found:
            reason = "; ".join(f"{answer.status}, {answer.verdict}: {answer.reason}" for answer in both)
            if all(map(_is_believed, both)):
                return [ChildServer(server, "", Standing.UNASKED, f"has no address ({reason})")]
            return [ChildServer(server, "", Standing.UNKNOWN, reason)]
        self.left_out += [f"{names.to_text(server)} ({address})" for address in firm[MAX_ADDRESSES:]]
        return await asyncio.gather(*(self._at(server, address) for address in found[:MAX_ADDRESSES]))

    async def _at(self, server: bytes, address: str) -> ChildServer:
        if not self._resolver.may_ask(address):
            reason = "is a special-purpose address (RFC 6890), which the world cannot reach"
            return ChildServer(server, address, Standing.UNASKED, reason)
        if not has_route(address):
            reason = f"this machine has no way to {'IPv6' if ':' in address else 'this address'}"
            return ChildServer(server, address, Standing.UNREACHABLE, reason)
        async with self._places:
            udp, tcp = await asyncio.gather(*(self._soa(address, tcp=tcp) for tcp in (False, True)))
            if udp.reply is None and tcp.reply is not None:
                udp = await self._soa(address, tcp=False)  # a datagram may get lost
            return await self._judge(server, address, udp, tcp)

    async def _soa(self, address: str, *, tcp: bool) -> Direct:
        return await self._resolver.ask(address, self._port, self._zone, RRType.SOA, tcp=tcp)

    async def _judge(self, server: bytes, address: str, udp: Direct, tcp: Direct) -> ChildServer:
        answers = [direct for direct in (tcp, udp) if direct.reply is not None]
        if not answers:
            return ChildServer(server, address, Standing.SILENT, "; ".join(dict.fromkeys((udp.reason, tcp.reason))))
        direct = next((each for each in answers if _is_served(each)), answers[0])
        if not _is_served(direct):
            return ChildServer(server, address, Standing.LAME, direct.reason)
        ways = (("UDP", udp), ("TCP", tcp))
        trouble = "; ".join(f"over {way}: {each.reason}" for way, each in ways if not _is_served(each))
        if not _is_served(tcp):
            return ChildServer(server, address, Standing.ANSWERS, trouble=trouble)
        try:
            content = await self._read(address)
        except SourceError as failure:
            trouble = "; ".join(filter(None, (trouble, failure.reason)))
            return ChildServer(server, address, Standing.ANSWERS, trouble=trouble)
        return ChildServer(server, address, Standing.ANSWERS, trouble=trouble, content=content)

    async def _read(self, address: str) -> ZoneContent:
        source = QuerySource(self._zone, str(Endpoint(address, self._port)))
        try:
            async with asyncio.timeout(_READING):
                return await source.content()
        except TimeoutError:
            raise SourceError(f"the zone could not be read within {_READING:g} s") from None


def _is_served(direct: Direct) -> bool:
    """The server is authoritative for the zone whose SOA it was asked for."""
    return direct.is_answer and direct.status in (Status.FOUND, Status.WILDCARD)


def _is_believed(answer: Answer) -> bool:
    return answer.verdict in (Verdict.SECURE, Verdict.INSECURE)


def _by_owner(records: Iterable[RR]) -> dict[bytes, list[str]]:
    found: dict[bytes, list[str]] = {}
    for record in records:
        if record.rtype in (RRType.A, RRType.AAAA) and len(record.rdata) in (4, 16):
            found.setdefault(record.owner, []).append(str(ip_address(record.rdata)))
    return found
