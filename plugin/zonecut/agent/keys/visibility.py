"""Whether the world sees KEY records: the servers that hold the zone are asked first, a resolver when all have them.

Who asks a caching resolver for what one server does not have yet is told that there is nothing, and so is everybody
else for as long as that answer is kept (RFC 2308): an hour, with ordinary times.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from zonecut.agent.evidence.zone_view import MAX_ADDRESSES, MAX_SERVERS, has_route
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.keys import Key
from zonecut.resolve import Answer, Direct, Resolver, Status, Verdict

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Visible:
    """Whether the world sees KEY records at a name: all of them there, and nothing bogus."""

    owner: bytes
    seen: bool
    rdatas: tuple[bytes, ...]
    """The KEY records that are seen there."""
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Server:
    """A name server that holds a zone, and one of its addresses."""

    name: bytes
    address: str


async def visible(resolver: Resolver, owner: bytes, keys: Collection[Key]) -> Visible:
    """Look up whether these keys are published at a name. Aliases and what a wildcard makes do not count."""
    answer = await resolver.lookup(owner, RRType.KEY)
    believed = answer.verdict in (Verdict.SECURE, Verdict.INSECURE) and answer.status is Status.FOUND
    found = answer.rdatas if believed else ()
    missing = _missing(keys, found)
    reason = f"KEY with key tag {missing} is not at {names.to_text(owner)}: {answer}" if missing else ""
    return Visible(owner, not missing, found, answer.verdict, reason)


async def visible_at_apex(resolver: Resolver, content: ZoneContent, keys: Collection[Key], port: int = 53) -> Visible:
    """As `visible` at the apex of the zone, once each of its servers has the keys."""
    servers = await _servers(resolver, content.ns, content, port)
    behind = await _behind(resolver, servers, content.zone, content.zone, keys, port)
    if behind is not None:
        return Visible(content.zone, False, (), Verdict.INDETERMINATE, behind)
    return await visible(resolver, content.zone, keys)


async def visible_below_signal(
    resolver: Resolver, owner: bytes, server: bytes, keys: Collection[Key], port: int = 53
) -> Visible:
    """As `visible` at the name for the name server `server` below `_signal`, once each server of that zone has them."""
    found, verdict = await _zone_of(resolver, server)
    if found is not None:
        ns = await resolver.lookup(found, RRType.NS)
        servers = await _servers(resolver, ns.rdatas if _is_believed(ns) else (), port=port)
        behind = await _behind(resolver, servers, found, owner, keys, port)
        if behind is not None:
            return Visible(owner, False, (), verdict, behind)
    return await visible(resolver, owner, keys)


async def _zone_of(resolver: Resolver, server: bytes) -> tuple[bytes | None, Verdict]:
    """The zone that holds the name of a name server, if that can be found out, and what it is worth.

    By its addresses, which are there: the proof that something else is not, an NSEC record, covers what is to come
    below `_signal` as well, and caches conclude from it (RFC 8198).
    """
    for rtype in (RRType.A, RRType.AAAA):
        address = await resolver.lookup(server, rtype)
        if address.status is Status.FOUND and _is_believed(address):
            break
    else:
        return None, address.verdict
    if address.verdict is Verdict.SECURE:
        return address.signer, address.verdict
    soa = await resolver.lookup(server, RRType.SOA)
    return (server if soa.status is Status.FOUND else soa.soa) if _is_believed(soa) else None, soa.verdict


async def is_published(resolver: Resolver, content: ZoneContent, rtypes: Sequence[int], port: int = 53) -> bool:
    """Whether there are records of any of these types at the zone's apex: at one of its servers, or, where none of
    them can be asked from here, through the resolver. Not known counts as yes: nobody is told to add what is there."""
    servers = await _servers(resolver, content.ns, content, port)
    questions = [(server, rtype) for server in servers for rtype in rtypes]
    answers = await asyncio.gather(
        *(resolver.ask(server.address, port, content.zone, rtype) for server, rtype in questions)
    )
    held = [answer for answer in answers if _holds(answer, content.zone)]
    if held:
        return any(answer.rdatas for answer in held)
    looked_up = await asyncio.gather(*(resolver.lookup(content.zone, rtype) for rtype in rtypes))
    return any(answer.rdatas or not _is_believed(answer) for answer in looked_up)


async def _servers(
    resolver: Resolver, named: Sequence[bytes], content: ZoneContent | None = None, port: int = 53
) -> tuple[Server, ...]:
    """The addresses of these name servers that can be asked from here; those in the zone as the zone has them."""
    inside: dict[bytes, list[bytes]] = {}
    for record in content.addresses if content is not None else ():
        inside.setdefault(record.owner, []).append(record.rdata)

    async def of(name: bytes) -> Iterable[Server]:
        rdatas = inside.get(name) or await _addresses(resolver, name, port)
        return [Server(name, text) for text in _usable(resolver, rdatas)][:MAX_ADDRESSES]

    found = await asyncio.gather(*map(of, named[:MAX_SERVERS]))
    return tuple(server for each in found for server in each)


async def _addresses(resolver: Resolver, name: bytes, port: int) -> Sequence[bytes]:
    """The addresses of a name server. No cache is asked for AAAA where there is A: see `_zone_of`. The server is."""
    ipv4 = await resolver.lookup(name, RRType.A)
    if not ipv4.rdatas or not _is_believed(ipv4):
        ipv6 = await resolver.lookup(name, RRType.AAAA)
        return ipv6.rdatas if _is_believed(ipv6) else ()
    for address in _usable(resolver, ipv4.rdatas)[:1]:
        direct = await resolver.ask(address, port, name, RRType.AAAA)
        if direct.is_answer:
            return (*ipv4.rdatas, *direct.rdatas)
    return ipv4.rdatas


def _usable(resolver: Resolver, rdatas: Sequence[bytes]) -> list[str]:
    texts = [str(ip_address(rdata)) for rdata in rdatas if len(rdata) in (4, 16)]
    return [text for text in texts if resolver.may_ask(text) and has_route(text)]


async def _behind(
    resolver: Resolver, servers: Sequence[Server], zone: bytes, owner: bytes, keys: Collection[Key], port: int
) -> str | None:
    """Which of the zone's servers do not have the keys yet, in a sentence; None if all that hold the zone have them."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def ask(server: Server) -> Direct:
        async with places:
            return await resolver.ask(server.address, port, owner, RRType.KEY)

    answers = await asyncio.gather(*map(ask, servers))
    behind = [
        f"{names.to_text(server.name)} ({server.address})"
        for server, answer in zip(servers, answers, strict=True)
        if _holds(answer, zone) and _missing(keys, answer.rdatas)
    ]
    if not behind:
        return None
    tags = ", ".join(str(key.tag) for key in keys)
    return f"KEY with key tag {tags} is not at {names.to_text(owner)} yet: {', '.join(behind)} does not have it"


def _holds(direct: Direct, zone: bytes) -> bool:
    """The server answers from this zone, or from one below it: what is silent, or lame, says nothing."""
    if not direct.is_answer or direct.reply is None:
        return False
    soa = direct.reply.soa_above(direct.name)
    return bool(direct.rdatas) or (soa is not None and names.is_at_or_below(soa, zone))


def _missing(keys: Collection[Key], found: Collection[bytes]) -> str:
    return ", ".join(str(key.tag) for key in keys if key.rdata not in found)


def _is_believed(answer: Answer) -> bool:
    return answer.verdict in (Verdict.SECURE, Verdict.INSECURE) and answer.status is not Status.FAILED
