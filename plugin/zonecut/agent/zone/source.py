"""Where a child zone is read from: its primary by queries or by transfer, or its server through an adapter."""

import asyncio
from dataclasses import replace
from typing import Protocol

from zonecut.agent.settings import PrimarySettings
from zonecut.agent.zone.axfr import TransferSource
from zonecut.agent.zone.primary import Primary, read_serial
from zonecut.agent.zone.zone_content import (
    APEX_TYPES,
    IS_ALIAS,
    SourceError,
    UnusableServer,
    ZoneContent,
    below_a_cut,
    in_zone,
    names_between,
    soa_serial,
)
from zonecut.net.endpoint import Endpoint
from zonecut.plugin import Backend, BackendError, BackendRejected
from zonecut.plugin.dns.tsig_key import KeyFileError, TsigKey, load_key
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR
from zonecut.protocol.rrset import RRset
from zonecut.resolve import Status
from zonecut.resolve.judgement import classify
from zonecut.resolve.reply import Reply

__all__ = ["BackendSource", "QuerySource", "Source", "SourceError", "TransferSource", "ZoneContent", "make_source"]

_TRIES = 4
_PAUSE = 0.2
"""How often a zone is read that changes while it is read, and the seconds between."""

_ADDRESSES = (RRType.A, RRType.AAAA)


class Source(Protocol):
    """The child zone. The methods raise SourceError where it cannot be read now."""

    async def serial(self) -> int | None:
        """The serial number; None where it does not tell when the zone changes."""
        ...

    async def mark(self) -> object:
        """What is different when the content has changed, had for less: values to be compared."""
        ...

    async def content(self) -> ZoneContent:
        """All of one version of the zone that is about its delegation."""
        ...

    async def close(self) -> None:
        """Release what is held; never raises."""
        ...


def make_source(zone: bytes, primary: PrimarySettings | None, backend: Backend | None) -> Source:
    """The source that a configuration asks for: `primary` if it is there. Raises SourceError for a TSIG key."""
    if primary is None:
        assert backend is not None
        return BackendSource(zone, backend)
    try:
        key = None if primary.tsig is None else load_key(primary.tsig)
    except KeyFileError as error:
        raise SourceError(str(error)) from None
    return (TransferSource if primary.transfer else QuerySource)(zone, primary.server, key)


class QuerySource:
    """Reads the zone by queries to a server that is authoritative for it.

    What a wildcard makes of the name of a name server counts as its address: the world sees the same.
    """

    def __init__(self, zone: bytes, server: str, tsig: TsigKey | None = None) -> None:
        self._zone = zone
        self._primary = Primary(Endpoint.parse(server), tsig)

    async def serial(self) -> int:
        return await read_serial(self._primary, self._zone)

    async def mark(self) -> object:
        """The serial, and what PowerDNS changes without it: CDS, CDNSKEY and DNSKEY."""
        rtypes = (RRType.CDS, RRType.CDNSKEY, RRType.DNSKEY)
        serial, replies = await asyncio.gather(self.serial(), asyncio.gather(*map(self._apex, rtypes)))
        found = [reply.find(self._zone, rtype) for reply, rtype in zip(replies, rtypes, strict=True)]
        return (serial, *(each.wires if each else () for each in found))

    async def content(self) -> ZoneContent:
        """The content between two looks at the serial that agree, or twice the same while the serial runs on."""
        before = await self.serial()
        last: ZoneContent | None = None
        for _ in range(_TRIES):
            content = await self._read(before)
            after = await self.serial()
            if after == before or content == (last and replace(last, serial=before)):
                return content
            before, last = after, content
            await asyncio.sleep(_PAUSE)
        raise SourceError(f"{names.to_text(self._zone)} changes faster than {self._primary} can be read")

    async def close(self) -> None:
        """Connections do not outlive their question."""

    async def _read(self, serial: int) -> ZoneContent:
        rtypes = (*APEX_TYPES, RRType.KEY)
        replies = await asyncio.gather(*map(self._apex, rtypes))
        apex = [reply.find(self._zone, rtype) for reply, rtype in zip(replies, rtypes, strict=True)]
        _, ns, cds, cdnskey, dnskey, key = apex
        servers = ns.wires if ns else ()
        found = await asyncio.gather(*(self._addresses(server) for server in in_zone(self._zone, servers)))
        return ZoneContent(
            self._zone,
            serial,
            servers,
            tuple(sorted(record for each in found if not isinstance(each, UnusableServer) for record in each)),
            cds.wires if cds else (),
            dnskey.wires if dnskey else (),
            key.wires if key else (),
            key.ttl if key else 0,
            tuple(each for each in found if isinstance(each, UnusableServer)),
            cdnskey.wires if cdnskey else (),
            tuple(rrset for rrset in apex if rrset is not None),
        )

    async def _apex(self, rtype: int) -> Reply:
        reply = await self._primary.ask(self._zone, rtype)
        if not reply.authoritative:
            raise SourceError(f"{self._primary} is not authoritative for {names.to_text(self._zone)}")
        return reply

    async def _addresses(self, server: bytes) -> list[RR] | UnusableServer:
        replies = await asyncio.gather(*(self._primary.ask(server, rtype) for rtype in _ADDRESSES))
        records: list[RR] = []
        for reply, rtype in zip(replies, _ADDRESSES, strict=True):
            if classify(reply, server, rtype) is Status.ALIAS:
                return UnusableServer(server, IS_ALIAS)
            if not reply.authoritative:
                return UnusableServer(server, self._elsewhere(reply, server))
            found = reply.find(server, rtype)
            records += [RR(server, rtype, rdata) for rdata in found.wires] if found else []
        return records

    def _elsewhere(self, reply: Reply, server: bytes) -> str:
        """Why an answer about the address of a name server has no authority. Raises SourceError if it has to have."""
        for rrset in reply.authority:
            is_above = names.is_at_or_below(server, rrset.name) and names.is_below(rrset.name, self._zone)
            if rrset.rtype == RRType.NS and is_above:
                return below_a_cut(rrset.name)
        raise SourceError(f"{self._primary} is not authoritative for {names.to_text(server)}")


class BackendSource:
    """Reads the zone through the adapter for its server; the backend is opened and closed by others.

    An adapter shows what the zone holds. DNSKEY records it never shows, and CDS and CDNSKEY records that a server makes
    when it is asked, as PowerDNS does, neither: where there are none, it is not known whether there are any.
    """

    def __init__(self, zone: bytes, backend: Backend) -> None:
        self._zone = zone
        self._backend = backend

    async def serial(self) -> int | None:
        return _serial(await self._rrsets(self._zone))

    async def mark(self) -> object:
        """The content itself, since no serial tells of what a server adds."""
        return await self.content()

    async def content(self) -> ZoneContent:
        apex = await self._rrsets(self._zone)
        for _ in range(_TRIES):
            content = await self._read(apex)
            again = await self._rrsets(self._zone)
            if again == apex:
                return content
            apex = again
            await asyncio.sleep(_PAUSE)
        raise SourceError(f"{names.to_text(self._zone)} changes faster than it can be read")

    async def close(self) -> None:
        """The backend is not ours to close."""

    async def _read(self, apex: dict[int, RRset]) -> ZoneContent:
        servers = _rdatas(apex, RRType.NS)
        addresses: list[RR] = []
        unusable: list[UnusableServer] = []
        for server in in_zone(self._zone, servers):
            try:
                addresses += await self._addresses(server)
            except _Unusable as trouble:
                unusable.append(UnusableServer(server, str(trouble)))
        key = apex.get(RRType.KEY)
        return ZoneContent(
            self._zone,
            _serial(apex),
            servers,
            tuple(sorted(addresses)),
            cds=_rdatas(apex, RRType.CDS) or None,
            cdnskey=_rdatas(apex, RRType.CDNSKEY) or None,
            key=key.rdatas if key else (),
            key_ttl=key.ttl if key else 0,
            unusable=tuple(unusable),
        )

    async def _addresses(self, server: bytes) -> list[RR]:
        for name in names_between(server, self._zone):
            if RRType.DNAME in await self._below(name):
                raise _Unusable(IS_ALIAS)
        at = await self._below(server)
        if RRType.CNAME in at:
            raise _Unusable(IS_ALIAS)
        return [RR(server, rtype, rdata) for rtype in _ADDRESSES for rdata in _rdatas(at, rtype)]

    async def _below(self, name: bytes) -> dict[int, RRset]:
        try:
            return {rrset.rtype: rrset for rrset in await self._backend.read_rrsets([name])}
        except BackendRejected as error:  # it lies below a cut
            raise _Unusable(f"has its addresses in another zone: {error.reason}") from None
        except BackendError as error:
            raise SourceError(error.reason) from error

    async def _rrsets(self, name: bytes) -> dict[int, RRset]:
        try:
            return {rrset.rtype: rrset for rrset in await self._backend.read_rrsets([name])}
        except BackendError as error:
            raise SourceError(error.reason) from error


class _Unusable(Exception):
    """The zone has no addresses for a name server, and the reason."""


def _rdatas(rrsets: dict[int, RRset], rtype: int) -> tuple[bytes, ...]:
    return rrsets[rtype].rdatas if rtype in rrsets else ()


def _serial(apex: dict[int, RRset]) -> int | None:
    soa = _rdatas(apex, RRType.SOA)
    return soa_serial(soa[0]) if soa else None
