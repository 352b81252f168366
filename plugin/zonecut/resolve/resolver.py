"""Look-ups through resolvers that need not be trusted, validated here, fail closed; and questions to single servers."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from ipaddress import ip_address

from dns.rdatatype import RdataType

from zonecut.protocol import names
from zonecut.protocol.addresses import is_global_unicast
from zonecut.protocol.codepoints import Rcode, RRType, rcode_text
from zonecut.protocol.flags import AUTHENTIC_DATA, CHECKING_DISABLED, RECURSION_DESIRED
from zonecut.resolve.anchors import ROOT_ANCHORS, TrustAnchors
from zonecut.resolve.continuity import zone_under
from zonecut.resolve.exchange import Exchange, Path
from zonecut.resolve.failures import Bogus, NoAnswer, ResolveError, Undecided
from zonecut.resolve.judgement import classify, failed, insecure, judge, silence, vouched
from zonecut.resolve.nameserver import Nameserver, Transport, system_nameservers
from zonecut.resolve.reply import Reply
from zonecut.resolve.values import Addresses, Answer, Direct, Status, Verdict
from zonecut.resolve.walk import StepCache, Walk
from zonecut.resolve.work import Limits, Work
from zonecut.resolve.zone import Unsigned, Zone

_DEFAULT_LIMITS = Limits()
_META = range(128, 256)
_NOT_LOOKED_UP = frozenset((0, RdataType.OPT, RdataType.RRSIG, RdataType.NSEC, RdataType.NSEC3))
_Settled = Zone | Unsigned | Answer


class Resolver:
    """Looks records up and says what they are worth; any number of look-ups at the same time, in one event loop.

    `nameservers` are the only addresses that look-ups talk to (default: the system's). `trusted` takes the word of
    validating resolvers instead of validating, and is possible on loopback only; `validate` validates all the same.
    `clock` is the time in seconds since 1970 that signatures are held against, `source` a local address to send from,
    `allowed` the addresses that `ask` may talk to. Raises ResolveError for a set-up that cannot work; look-ups raise
    nothing, whatever they meet.
    """

    def __init__(
        self,
        nameservers: Sequence[Nameserver] | None = None,
        anchors: TrustAnchors = ROOT_ANCHORS,
        *,
        trusted: bool = False,
        limits: Limits = _DEFAULT_LIMITS,
        clock: Callable[[], float] = time.time,
        source: str | None = None,
        allowed: Callable[[str], bool] = is_global_unicast,
    ) -> None:
        servers = system_nameservers() if nameservers is None else tuple(nameservers)
        if not servers:
            raise ResolveError("a resolver needs at least one nameserver")
        for server in servers:
            if trusted and not server.is_loopback:
                raise ResolveError(
                    f"{server} cannot be trusted to validate: its answers travel; only a resolver on a loopback address"
                    f" can (leave `trusted` out, and answers are validated here)"
                )
        if source is not None and not _is_address(source):
            raise ResolveError(f"source {source!r} is no IP address")
        self.nameservers = servers
        self._anchors = anchors
        self._trusted = trusted
        self._limits = limits
        self._clock = clock
        self._source = source
        self._allowed = allowed
        self._exchange = Exchange(servers, limits, source)
        self._cache = StepCache(limits)
        self._seen_validating = -float("inf")

    def may_ask(self, address: str) -> bool:
        """False for an address that `ask` does not talk to."""
        return self._allowed(address)

    def anchor_above(self, name: bytes) -> bytes | None:
        """The zone with a trust anchor from which a chain to this name begins; None: there is none."""
        return self._anchors.enclosing(name)

    async def lookup(self, name: bytes, rtype: int) -> Answer:
        """The records of one type at a wire-form name; an alias there is reported, not followed.

        ValueError for a type that is no data, such as ANY or RRSIG.
        """
        ((answer, _),) = await self._lookup(name, (rtype,))
        return answer

    async def lookup_under(self, apex: bytes, rtype: int, ds: Collection[bytes]) -> Answer:
        """The records of one type at the apex of a zone, secure only if they are so under these DS RDATA as well.

        The chain of trust may come out of caches, and lead to whoever had the name until lately. Who knows the DS that
        its parent holds now gives them here: the DNSKEY that signs must belong to one of them (RFC 4035 section 5.2).
        """
        apex = apex.lower()
        ((answer, reply),) = await self._lookup(apex, (rtype,))
        if answer.verdict is Verdict.BOGUS:
            # its keys may be those of another holder by now: the next time they are fetched anew
            self._cache.forget(apex)
        if not answer.is_proven or isinstance(reply, NoAnswer):
            return answer
        work = Work(self._limits)
        try:
            async with asyncio.timeout(self._limits.seconds):
                keys = await self._reply(apex, RRType.DNSKEY, work)
        except TimeoutError:
            keys = NoAnswer(f"no answer within {self._limits.seconds:g} s")
        if isinstance(keys, NoAnswer):
            return silence(apex, rtype, f"DNSKEY of {names.to_text(apex)}: {keys}")
        zone = zone_under(apex, keys.find(apex, RdataType.DNSKEY), ds, self._clock(), work)
        under = zone if isinstance(zone, str) else judge(reply, apex, rtype, zone, self._clock(), work)
        if isinstance(under, Answer) and under.is_proven:
            return answer
        self._cache.forget(apex)
        why = under if isinstance(under, str) else under.reason
        reason = f"the chain of trust that caches still hold is not that of the DS at the parent: {why}"
        return Answer(apex, rtype, Verdict.INDETERMINATE, answer.status, reason, rcode=answer.rcode)

    async def addresses(self, name: bytes) -> Addresses:
        """The A and AAAA records of a host, each with its own verdict."""
        (ipv4, _), (ipv6, _) = await self._lookup(name, (RRType.A, RRType.AAAA))
        return Addresses(ipv4, ipv6)

    async def ask(
        self,
        address: str,
        port: int,
        name: bytes,
        rtype: int,
        *,
        tcp: bool = True,
        source: str | None = None,
    ) -> Direct:
        """What the server at this address says without recursion, unvalidated (`validate` does that).

        Over TCP, or over UDP first; from `source` (default: the resolver's). An address that is not allowed is not
        asked. Takes at most `limits.seconds`.
        """
        name = name.lower()
        if not self._allowed(address):
            return _silent(address, port, name, rtype, f"{address} is no address that may be asked")
        try:
            path = Path(Nameserver(address, port, Transport.TCP if tcp else Transport.UDP), source or self._source)
            async with asyncio.timeout(self._limits.seconds):
                reply = await path.ask(name, rtype, flags=0)
        except TimeoutError:
            return _silent(address, port, name, rtype, f"{address}: silent for {self._limits.seconds:g} s")
        except (NoAnswer, ResolveError) as failure:
            return _silent(address, port, name, rtype, str(failure))
        return _direct(address, port, name, rtype, reply)

    async def validate(self, direct: Direct) -> Answer:
        """What the answer of a single server is worth: its records and signatures, held against the chain of trust."""
        if direct.reply is None:
            return failed(direct.name, direct.rtype, direct.reason)
        work = Work(self._limits)
        try:
            async with asyncio.timeout(self._limits.seconds):
                settled = await self._settle(direct.name, direct.rtype, work)
        except TimeoutError:
            settled = self._late(direct.name, direct.rtype)
        return self._weigh(direct.reply, direct.name, direct.rtype, settled, work)

    async def _lookup(self, name: bytes, rtypes: tuple[int, ...]) -> tuple[tuple[Answer, Reply | NoAnswer], ...]:
        """One way down for all types, which must have the same zone: DS comes alone. Each with the reply it is from."""
        name = name.lower()
        for rtype in rtypes:
            if rtype in _META or rtype in _NOT_LOOKED_UP:
                raise ValueError(f"RR type {int(rtype)} cannot be looked up")
        work = Work(self._limits)
        settled: _Settled | None = None
        validates = True
        try:
            async with asyncio.timeout(self._limits.seconds):
                if not self._trusted:
                    settled = await self._settle(name, rtypes[0], work)
                    if isinstance(settled, Answer):
                        nothing = NoAnswer(settled.reason)
                        return tuple((replace(settled, rtype=rtype), nothing) for rtype in rtypes)
                replies = await asyncio.gather(*(self._reply(name, rtype, work) for rtype in rtypes))
                if self._trusted:
                    validates = await self._validates(work)
        except TimeoutError:
            replies = [NoAnswer(f"no answer within {self._limits.seconds:g} s")] * len(rtypes)
        return tuple(
            (self._weigh(reply, name, rtype, settled, work, validates), reply)
            for rtype, reply in zip(rtypes, replies, strict=True)
        )

    async def _settle(self, name: bytes, rtype: int, work: Work) -> _Settled:
        """The zone that holds the name, the cut that is proven to be unsigned, or an answer that says why neither."""

        async def fetch(place: bytes, kind: int) -> Reply:
            return await self._exchange.ask(place, kind, RECURSION_DESIRED | CHECKING_DISABLED, work)

        # DS is the parent's (RFC 4035 section 3.1.4.1).
        holder = names.parent(name) if rtype == RRType.DS and name != names.ROOT else name
        try:
            return await Walk(self._anchors, fetch, self._cache, self._clock, work).to(holder)
        except Bogus as failure:
            return failed(name, rtype, str(failure), verdict=Verdict.BOGUS)
        except Undecided as failure:
            return failed(name, rtype, str(failure))
        except NoAnswer as failure:
            return silence(name, rtype, str(failure))

    async def _reply(self, name: bytes, rtype: int, work: Work) -> Reply | NoAnswer:
        flags = AUTHENTIC_DATA if self._trusted else CHECKING_DISABLED
        try:
            return await self._exchange.ask(name, rtype, RECURSION_DESIRED | flags, work)
        except NoAnswer as failure:
            return failure
        except Undecided as failure:
            return NoAnswer(str(failure))

    async def works(self) -> bool:
        """Whether the nameservers answer at all: asked about a zone with a trust anchor, which is always there."""
        work = Work(self._limits)
        try:
            async with asyncio.timeout(self._limits.seconds):
                reply = await self._reply(next(iter(self._anchors.zones)), RRType.SOA, work)
        except TimeoutError:
            return False
        return not isinstance(reply, NoAnswer) and reply.rcode == Rcode.NOERROR

    async def _validates(self, work: Work) -> bool:
        """True if the trusted resolver has vouched for a trust anchor lately. One that never does proves nothing."""
        if time.monotonic() - self._seen_validating < self._limits.cache_seconds:
            return True
        reply = await self._reply(next(iter(self._anchors.zones)), RRType.SOA, work)
        if isinstance(reply, NoAnswer) or not reply.authentic:
            return False
        self._seen_validating = time.monotonic()
        return True

    def _weigh(
        self,
        reply: Reply | NoAnswer,
        name: bytes,
        rtype: int,
        settled: _Settled | None,
        work: Work,
        validates: bool = True,
    ) -> Answer:
        if isinstance(settled, Answer):
            return settled
        if isinstance(reply, NoAnswer):
            # Where nothing can be secure, that is known without an answer, too.
            if isinstance(settled, Unsigned):
                return silence(name, rtype, f"{settled.reason}; {reply}", Verdict.INSECURE)
            return silence(name, rtype, str(reply))
        if settled is None:
            return vouched(reply, name, rtype, validates)
        if isinstance(settled, Unsigned):
            return insecure(reply, name, rtype, settled)
        return judge(reply, name, rtype, settled, self._clock(), work)

    def _late(self, name: bytes, rtype: int) -> Answer:
        return failed(name, rtype, f"the chain of trust was not had within {self._limits.seconds:g} s")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _silent(address: str, port: int, name: bytes, rtype: int, reason: str) -> Direct:
    return Direct(address, port, name, rtype, Status.FAILED, reason)


def _direct(address: str, port: int, name: bytes, rtype: int, reply: Reply) -> Direct:
    status = classify(reply, name, rtype)
    found = reply.find(name, rtype)
    authority = "" if reply.authoritative else ", without authority"
    return Direct(
        address=address,
        port=port,
        name=name,
        rtype=rtype,
        status=status,
        reason=f"{address} answers {rcode_text(reply.rcode)}, {status}{authority}",
        rcode=reply.rcode,
        authoritative=reply.authoritative,
        rdatas=found.wires if found else (),
        ttl=found.ttl if found else 0,
        reply=reply,
    )
