"""The world as bootstrap methods and checks may see it: look-ups through our resolver, and servers asked themselves."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address

import structlog

from zonecut.plugin.bootstrap import Presence, Security, Sighting
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType, type_text
from zonecut.protocol.delegation import Delegation
from zonecut.resolve import Answer, Direct, Resolver, Status, Verdict

_log = structlog.get_logger(__name__)

MAX_ADDRESSES = 64
"""Server addresses asked for one child; a delegation with more is looked at by an operator."""

_NO_ADDRESS = "it has no address"
_IS_ALIAS = "it is an alias, which an NS record must not name (RFC 2181 section 10.3)"

_SECURITY = {
    Verdict.SECURE: Security.SECURE,
    Verdict.INSECURE: Security.INSECURE,
    Verdict.BOGUS: Security.BOGUS,
    Verdict.INDETERMINATE: Security.INDETERMINATE,
}
_PRESENCE = {
    Status.FOUND: Presence.FOUND,
    Status.NODATA: Presence.ABSENT,
    Status.NXDOMAIN: Presence.ABSENT,
    Status.ALIAS: Presence.UNUSABLE,
    Status.WILDCARD: Presence.UNUSABLE,
    Status.FAILED: Presence.FAILED,
}


@dataclass(frozen=True, slots=True)
class VantagePoint:
    """A place from which to look: a resolver somewhere else, or one of our own addresses to send from.

    With both, the servers are asked from that address, and where they are says that resolver.
    """

    resolver: Resolver | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """An address of a name server of a delegation; `address` is None where none is to be had, with the reason."""

    server: bytes
    address: str | None
    reason: str = ""
    certain: bool = False
    """To look its address up again would not help."""
    is_secure: bool = True
    """Nobody but its zone could have said it; glue is the parent's own word."""

    def __str__(self) -> str:
        return f"{names.to_text(self.server)} ({self.address})" if self.address else names.to_text(self.server)


class ResolverLookups:
    """Look-ups for one receiver. None of its methods raises for what anybody answers."""

    def __init__(
        self, resolver: Resolver, vantage_points: Mapping[str, VantagePoint] | None = None, port: int = 53
    ) -> None:
        """`port`: where authoritative servers are asked."""
        self.resolver = resolver
        self._vantage_points = dict(vantage_points or {})
        self._port = port

    @property
    def vantage_points(self) -> Sequence[str]:
        return tuple(self._vantage_points)

    async def keys_at(self, name: bytes) -> Sighting:
        """The KEY RRset at a name, validated by our own means."""
        answer = await self.resolver.lookup(name, RRType.KEY)
        return await self._sighting(self.resolver, answer, f"KEY at {names.to_text(name)}")

    async def keys_under(self, delegation: Delegation) -> Sighting:
        """The KEY RRset at the child's apex, secure only under the delegation's DS."""
        child = delegation.child
        answer = await self.resolver.lookup_under(child, RRType.KEY, delegation.ds)
        return await self._sighting(self.resolver, answer, f"KEY at {names.to_text(child)}")

    async def ds_at(self, child: bytes) -> Sighting:
        """Whether the parent has DS for a child, validated by our own means."""
        answer = await self.resolver.lookup(child, RRType.DS)
        seen = await self._sighting(self.resolver, answer, f"DS of {names.to_text(child)}")
        if answer.status is Status.NXDOMAIN:
            # what says that there is no such child is no word about its delegation
            seen = replace(seen, presence=Presence.UNUSABLE)
        return replace(seen, keys=frozenset())

    async def keys_from_servers(self, delegation: Delegation, vantage_point: str | None = None) -> Sequence[Sighting]:
        """The KEY RRset at the child's apex from every address of its servers, or as a vantage point sees it."""
        place = self._vantage_points[vantage_point] if vantage_point is not None else VantagePoint()
        if place.resolver is not None and place.source is None:
            where = f"KEY at {names.to_text(delegation.child)} through {vantage_point}"
            answer = await place.resolver.lookup(delegation.child, RRType.KEY)
            sighting = await self._sighting(place.resolver, answer, where)
            return [replace(sighting, is_ours=sighting.presence is Presence.FAILED)]
        servers = await self.server_addresses(delegation, place.resolver)
        if vantage_point is not None and place.resolver is None:
            # who deceives the resolver that both ask deceives both
            servers = [each if each.is_secure else _shared(each, vantage_point) for each in servers]
        return await asyncio.gather(*(self._keys_from(delegation.child, each, place.source) for each in servers))

    async def server_addresses(
        self, delegation: Delegation, resolver: Resolver | None = None
    ) -> Sequence[ServerAddress]:
        """Every address of every name server: glue for those in the child zone, look-ups for the others.

        They are looked up through `resolver`, or ours.
        """
        look_up = partial(self._addresses, resolver or self.resolver)
        glue: dict[bytes, list[str]] = {}
        for owner, _, address in delegation.glue:
            glue.setdefault(owner, []).append(str(ip_address(address)))
        in_domain = set(delegation.in_domain_ns())
        outside = [server for server in delegation.ns if server not in in_domain]
        found = dict(zip(outside, await asyncio.gather(*map(look_up, outside)), strict=True))
        addresses: list[ServerAddress] = []
        for server in delegation.ns:
            if server not in in_domain:
                addresses += found[server]
            elif server in glue:
                addresses += [ServerAddress(server, address) for address in glue[server]]
            else:
                addresses.append(ServerAddress(server, None, _NO_ADDRESS, certain=True))
        if len(addresses) > MAX_ADDRESSES:
            reason = f"{len(addresses)} addresses of its name servers, more than {MAX_ADDRESSES}"
            return [ServerAddress(delegation.child, None, reason, certain=True)]
        return addresses

    def may_ask(self, server: ServerAddress) -> bool:
        """False for an address that is never asked, and where there is none."""
        return server.address is not None and self.resolver.may_ask(server.address)

    async def ask(self, server: ServerAddress, name: bytes, rtype: int, source: str | None = None) -> Direct | None:
        """What a server says itself, over TCP; None where it has no address."""
        if server.address is None:
            return None
        return await self.resolver.ask(server.address, self._port, name, rtype, source=source)

    async def _addresses(self, resolver: Resolver, server: bytes) -> list[ServerAddress]:
        """The addresses of a host outside the child zone, and an entry without one for all that could not be had."""
        answers = await resolver.addresses(server)
        both = (answers.ipv4, answers.ipv6)
        if any(_is_believed(answer) and answer.status is Status.ALIAS for answer in both):
            return [ServerAddress(server, None, _IS_ALIAS, certain=True)]
        addresses = [
            ServerAddress(server, str(ip_address(rdata)), is_secure=answer.verdict is Verdict.SECURE)
            for answer in both
            if _is_believed(answer)
            for rdata in answer.rdatas
        ]
        # an address that we do not know of is one that is not asked
        addresses += [ServerAddress(server, None, _why_none(answer)) for answer in both if not _is_believed(answer)]
        return addresses or [ServerAddress(server, None, _NO_ADDRESS, certain=True)]

    async def _sighting(self, resolver: Resolver, answer: Answer, where: str) -> Sighting:
        """What a resolver answered, in the words of bootstrap methods."""
        is_ours = answer.status is Status.FAILED and answer.verdict is not Verdict.BOGUS and not await resolver.works()
        return Sighting(
            where,
            _PRESENCE[answer.status],
            _SECURITY[answer.verdict],
            frozenset(answer.rdatas),
            answer.signer,
            _as_told(answer),
            ttl=answer.ttl,
            is_ours=is_ours,
        )

    async def _keys_from(self, child: bytes, server: ServerAddress, source: str | None) -> Sighting:
        where = f"KEY at {names.to_text(child)} from {server}" + (f" seen from {source}" if source else "")
        direct = await self.ask(server, child, RRType.KEY, source)
        if direct is None:
            is_ours = not server.certain
            return Sighting(where, Presence.FAILED, Security.INDETERMINATE, reason=server.reason, is_ours=is_ours)
        if not direct.is_answer:
            return Sighting(where, Presence.FAILED, Security.INDETERMINATE, reason=direct.reason or "not authoritative")
        keys = frozenset(direct.rdatas)
        return Sighting(where, _PRESENCE[direct.status], Security.INSECURE, keys, reason=direct.reason)


def _shared(server: ServerAddress, vantage_point: str) -> ServerAddress:
    """The place in stead of an address that another place looks up in the same way, where that proves nothing."""
    if server.address is None:
        return server
    reason = (
        f"its address is not signed, and the vantage point {vantage_point} looks it up through the resolver that we"
        " ask, too: give it a `resolver` of its own"
    )
    return ServerAddress(server.server, None, reason, certain=True)


def _is_believed(answer: Answer) -> bool:
    return answer.verdict in (Verdict.SECURE, Verdict.INSECURE) and answer.status is not Status.FAILED


def _why_none(answer: Answer) -> str:
    """Why the addresses of a host cannot be had, as its child may be told."""
    return f"its addresses cannot be had: {_as_told(answer)}"


def _as_told(answer: Answer) -> str:
    """Why an answer is what it is, as anybody may be told: how our resolvers are, and where, is for the log."""
    if not answer.is_silence:
        return answer.reason
    _log.info("resolver.silent", name=names.to_text(answer.name), type=type_text(answer.rtype), reason=answer.reason)
    return "the resolver of this parent has no answer now"
