"""What the parent zone's name servers hand out for a child: each address of each of them is asked, over TCP.

NS and glue stand in a referral (RFC 1034 section 4.3.2), DS are asked for (RFC 4035 section 3.1.4.1). It says what is
published. Of the DS it is found out what they are worth: a child's keys are held against them.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode, RRType, rcode_text, type_text
from zonecut.protocol.delegation import RR, Delegation
from zonecut.resolve import Answer, Direct, Resolver, Status, Verdict
from zonecut.resolve.reply import Reply, RRset

MAX_SERVERS = 13
MAX_ADDRESSES = 4
"""Name servers of a parent zone that are looked at, and addresses of each."""

_AT_ONCE = 8
_WORTH = (Verdict.SECURE, Verdict.INSECURE)


@dataclass(frozen=True, slots=True)
class ServerView:
    """What one server says at one address; `address` is empty where a server has none that can be asked.

    `delegation` is None where the server does not tell, for that `reason`. With `hides`, it serves the child zone, too,
    and answers from there; the parent's `ds` are to be had from it all the same (None: not), and are worth `verdict`.
    The TTLs, in seconds, say for how long caches have DS and NS.
    """

    server: bytes
    address: str
    delegation: Delegation | None
    reason: str = ""
    hides: bool = False
    ds: tuple[bytes, ...] | None = None
    verdict: Verdict = Verdict.INDETERMINATE
    verdict_reason: str = ""
    ds_ttl: int = 0
    ns_ttl: int = 0

    @property
    def shown_ds(self) -> tuple[bytes, ...] | None:
        """The parent's DS as this server has them; None: it does not tell."""
        return self.ds if self.delegation is None else self.delegation.ds

    def __str__(self) -> str:
        return f"{names.to_text(self.server)} ({self.address})" if self.address else names.to_text(self.server)

    def to_json(self) -> dict[str, Any]:
        return {
            "server": names.to_text(self.server),
            "address": self.address or None,
            "delegation": None if self.delegation is None else self.delegation.to_json(),
            "reason": self.reason or None,
            "hides": self.hides,
        }


@dataclass(frozen=True, slots=True)
class ParentView:
    """What all servers of the parent zone say; `reason` tells why there are none."""

    parent: bytes
    child: bytes
    servers: tuple[ServerView, ...]
    reason: str = ""
    left_out: tuple[str, ...] = ()
    """Name servers, and addresses of them, that were not asked because there are so many."""

    @property
    def answered(self) -> tuple[ServerView, ...]:
        """The servers that show the delegation, or that there is none."""
        return tuple(server for server in self.servers if server.delegation is not None)

    @property
    def agreed(self) -> Delegation | None:
        """What all that answered say; None if nobody did, or not all say the same."""
        said = [server.delegation for server in self.servers if server.delegation is not None]
        return said[0] if said and all(each == said[0] for each in said) else None

    @property
    def held(self) -> Delegation | None:
        """What the parent holds: what all say, or else what the first of them says that says anything."""
        return self.agreed or next(iter([server.delegation for server in self.answered]), None)

    @property
    def shown(self) -> Delegation:
        """What servers show of the parent's side that answer from the child zone: its DS."""
        ds = next((server.ds for server in self.servers if server.ds is not None), ())
        return Delegation(self.child, ds=ds)

    @property
    def ds_sets(self) -> tuple[tuple[bytes, ...], ...]:
        """The DS RRsets that servers show, each once: more than one where they do not agree."""
        return tuple(dict.fromkeys(ds for server in self.servers if (ds := server.shown_ds) is not None))

    @property
    def is_hidden(self) -> bool:
        """True if there are servers that answer, and all of them from the child zone."""
        return not self.answered and any(server.hides for server in self.servers)

    def without_ds(self) -> "ParentView":
        """What they say of all but DS: for one who does not know which there shall be, and signs nothing about them."""
        servers = [
            replace(server, ds=None, delegation=server.delegation and replace(server.delegation, ds=()))
            for server in self.servers
        ]
        return replace(self, servers=tuple(servers))

    def without_ns(self) -> "ParentView":
        """What they say of DS alone."""
        servers = [
            replace(server, delegation=server.delegation and Delegation(self.child, ds=server.delegation.ds))
            for server in self.servers
        ]
        return replace(self, servers=tuple(servers))

    def missing(self, wanted: Delegation) -> tuple[ServerView, ...]:
        """The servers that hand out something else than this."""
        return tuple(server for server in self.answered if server.delegation != wanted)

    def describe(self) -> str:
        """A sentence on what hinders: who does not answer, and who says something else than the others."""
        if self.reason:
            return self.reason
        silent = [f"{server} {server.reason}" for server in self.servers if server.delegation is None]
        if self.agreed is None and self.answered:
            silent.insert(0, f"the servers of {names.to_text(self.parent)} do not agree")
        return "; ".join(silent)

    def to_json(self) -> dict[str, Any]:
        agreed = self.agreed
        return {
            "parent": names.to_text(self.parent),
            "child": names.to_text(self.child),
            "agreed": None if agreed is None else agreed.to_json(),
            "servers": [server.to_json() for server in self.servers],
            "reason": self.reason or None,
            "left_out": list(self.left_out),
        }


async def view_parent(resolver: Resolver, parent: bytes, child: bytes, *, port: int = 53) -> ParentView:
    """Ask every address of every name server of the parent zone; raises nothing, whatever anybody answers.

    Addresses that the resolver may not ask are none. Bounded: `MAX_SERVERS`, `MAX_ADDRESSES`, a few at a time.
    """
    answer = await resolver.lookup(parent, RRType.NS)
    if not _is_believed(answer) or not answer.rdatas:
        return ParentView(parent, child, (), f"the name servers of {names.to_text(parent)} are not known: {answer}")
    places = asyncio.Semaphore(_AT_ONCE)
    left_out = [names.to_text(server) for server in answer.rdatas[MAX_SERVERS:]]
    found = await asyncio.gather(
        *(
            _view_server(resolver, places, server, parent, child, port, left_out)
            for server in answer.rdatas[:MAX_SERVERS]
        )
    )
    servers = await _vouched(resolver, child, [view for views in found for view in views])
    return ParentView(parent, child, tuple(servers), left_out=tuple(left_out))


async def _vouched(resolver: Resolver, child: bytes, servers: Sequence[ServerView]) -> Sequence[ServerView]:
    """DS that a server shows without signatures are worth as much as the same ones from a look-up that is secure."""
    if all(server.ds is None or server.verdict in _WORTH for server in servers):
        return servers
    found = await resolver.lookup(child, RRType.DS)
    if found.verdict is not Verdict.SECURE or found.status not in (Status.FOUND, Status.NODATA):
        return servers
    return [
        replace(server, verdict=found.verdict, verdict_reason=found.reason)
        if server.ds is not None and server.verdict not in _WORTH and set(server.ds) == set(found.rdatas)
        else server
        for server in servers
    ]


async def _view_server(
    resolver: Resolver,
    places: asyncio.Semaphore,
    server: bytes,
    parent: bytes,
    child: bytes,
    port: int,
    left_out: list[str],
) -> Sequence[ServerView]:
    """What it says at each of its addresses; those that are too many go to `left_out`."""
    async with places:
        addresses = await resolver.addresses(server)
    both = (addresses.ipv4, addresses.ipv6)
    texts = [str(ip_address(rdata)) for answer in both if _is_believed(answer) for rdata in answer.rdatas]
    usable = [text for text in texts if resolver.may_ask(text)]
    if not usable:
        untold = [str(answer) for answer in both if not _is_believed(answer)]
        reason = f"has only addresses that may not be asked: {', '.join(texts)}" if texts else "has no address"
        return [
            ServerView(server, "", None, f"has no address that is known: {'; '.join(untold)}" if untold else reason)
        ]

    left_out += [f"{names.to_text(server)} ({text})" for text in usable[MAX_ADDRESSES:]]

    async def view(address: str) -> ServerView:
        async with places:
            ns, ds = await asyncio.gather(
                *(resolver.ask(address, port, child, rtype) for rtype in (RRType.NS, RRType.DS))
            )
            answer = await resolver.validate(ds)
        return replace(read_view(server, parent, ns, ds), verdict=answer.verdict, verdict_reason=answer.reason)

    return await asyncio.gather(*(view(address) for address in usable[:MAX_ADDRESSES]))


def read_view(server: bytes, parent: bytes, ns: Direct, ds: Direct) -> ServerView:
    """What a server's answers to the questions for NS and DS of the child say."""
    child, address = ns.name, ns.address
    try:
        servers = _cut(ns, parent)
        signers = _ds(ds, parent)
    except _Hidden:
        reason = f"serves {names.to_text(child)} itself, which hides what the parent zone holds"
        return ServerView(server, address, None, reason, hides=True, ds=_ds_if_told(ds, parent), ds_ttl=_ttl(ds))
    except _Untold as trouble:
        return ServerView(server, address, None, str(trouble))
    records = [RR(child, RRType.DS, rdata) for rdata in signers]
    records += [RR(child, RRType.NS, target) for target in servers]
    if ns.reply is not None:
        records += _glue(child, servers, ns.reply.addresses)
    return ServerView(server, address, Delegation.of(child, records), ds=signers, ds_ttl=_ttl(ds), ns_ttl=_ttl(ns))


class _Untold(Exception):
    """The server does not tell, and why."""


class _Hidden(Exception):
    """The server is authoritative for the child zone."""


def _cut(direct: Direct, parent: bytes) -> tuple[bytes, ...]:
    """The NS of the referral to the child; none if the parent zone has no such delegation."""
    reply, child = _answered(direct), direct.name
    if reply.find(child, RRType.NS) is not None:
        if reply.authoritative:
            raise _Hidden
        raise _Untold("answers without authority, as a resolver does")
    if direct.status is Status.ALIAS:
        raise _Untold(f"says that {names.to_text(child)} is an alias")
    if reply.authoritative:
        apex = _soa_owner(reply)
        if apex == child:
            raise _Hidden
        if apex != parent:
            raise _Untold(f"answers from {_zone_text(apex)}, not from {names.to_text(parent)}")
        return ()
    for rrset in reply.authority:
        if rrset.rtype == RRType.NS and names.is_below(rrset.name, parent):
            if rrset.name == child:
                return rrset.wires
            if names.is_below(child, rrset.name):
                raise _Untold(f"refers to {names.to_text(rrset.name)}, a delegation above {names.to_text(child)}")
    raise _Untold(f"is not authoritative for {names.to_text(parent)}")


def _ds(direct: Direct, parent: bytes) -> tuple[bytes, ...]:
    """The DS of the child in the parent zone."""
    reply, child = _answered(direct), direct.name
    if not reply.authoritative:
        raise _Untold(f"answers {type_text(RRType.DS)} without authority for {names.to_text(parent)}")
    found = reply.find(child, RRType.DS)
    if found is not None:
        return found.wires
    apex = _soa_owner(reply)
    if direct.status is Status.ALIAS or apex != parent:
        raise _Untold(f"answers {type_text(RRType.DS)} from {_zone_text(apex)}, not from {names.to_text(parent)}")
    return ()


def _ttl(direct: Direct) -> int:
    """Of the records that were asked for, in the answer or in a referral."""
    if direct.reply is None:
        return 0
    rrsets = [direct.reply.find(direct.name, direct.rtype), *direct.reply.authority]
    return max(
        (each.ttl for each in rrsets if each and (each.name, each.rtype) == (direct.name, direct.rtype)), default=0
    )


def _ds_if_told(direct: Direct, parent: bytes) -> tuple[bytes, ...] | None:
    try:
        return _ds(direct, parent)
    except _Untold:
        return None


def _answered(direct: Direct) -> Reply:
    if direct.reply is None:
        raise _Untold(f"does not answer: {direct.reason}")
    if direct.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        raise _Untold(f"answers {type_text(direct.rtype)} with {rcode_text(direct.rcode or 0)}")
    return direct.reply


def _soa_owner(reply: Reply) -> bytes | None:
    return next((rrset.name for rrset in reply.authority if rrset.rtype == RRType.SOA), None)


def _zone_text(apex: bytes | None) -> str:
    return "a zone that it does not name" if apex is None else names.to_text(apex)


def _glue(child: bytes, servers: Iterable[bytes], addresses: Iterable[RRset]) -> list[RR]:
    """The addresses of name servers in the child zone: no others are its glue."""
    inside = {server for server in servers if names.is_at_or_below(server, child)}
    return [RR(rrset.name, rrset.rtype, wire) for rrset in addresses if rrset.name in inside for wire in rrset.wires]


def _is_believed(answer: Answer) -> bool:
    return answer.verdict in (Verdict.SECURE, Verdict.INSECURE) and answer.status is not Status.FAILED
