"""Reading what a zone holds: name by name, by DNS, or the whole zone at once; whichever is the cheapest that tells.

A name costs a request of about a millisecond, and the export of a zone about 13 ms a thousand delegations; so in a
small zone one export is cheaper than the names of a batch, and in a large one it is not. What each costs is measured.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import aclosing, closing
from itertools import compress
from operator import not_

from zonecut.plugin import Change, Reading
from zonecut.plugin.branches import Branch, BranchReader, plain, visible
from zonecut.plugin.spool import Spool
from zonecut.plugin.threads import to_its_end
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation
from zonecut_powerdns import export
from zonecut_powerdns.api import Api
from zonecut_powerdns.bodies import Holdings, conditional_owners, glue_owners
from zonecut_powerdns.dnsservice import Dns
from zonecut_powerdns.queries import Queries
from zonecut_powerdns.senseless import Senseless

_ADDRESSES = (RRType.A, RRType.AAAA)
_NAME_SECONDS = 0.0013
_SMOOTHING = 0.2
"""How much the latest measurement counts."""

_Expected = tuple[Delegation, Collection[bytes]]
"""A delegation, and the owners of glue that are to be looked at; at other owners there may be anything."""


class Reader:
    """Reads of one zone. `queries` is None where the server's DNS service is not known."""

    def __init__(self, zone: bytes, api: Api, queries: Queries | None) -> None:
        self._zone = zone
        self._api = api
        self._dns = Dns(zone, queries, api.flush)
        self._name_seconds = _NAME_SECONDS
        self._export_seconds: float | None = None

    async def at(self, owners: Collection[bytes]) -> Holdings:
        """What the zone holds at these names; one request a name, and one for its SOA where something is missing."""
        began = time.monotonic()
        found = Holdings()
        for each in await asyncio.gather(*map(self._api.at, owners)):
            found.update(each)
        if owners:
            seconds = (time.monotonic() - began) / len(owners)
            self._name_seconds += _SMOOTHING * (seconds - self._name_seconds)
        if not {owner for owner, _ in found.rrsets}.issuperset(owners):
            await self._api.check_soa()
        return found

    async def unchanged(self, readings: Sequence[Reading], hidden: Iterable[bytes]) -> frozenset[bytes]:
        """Those of these children of whom the database holds what was read; `hidden`: the delegations below others."""
        known = [each.delegation for each in plain(readings, self._zone, hidden)]
        differing = await self._differing_by_api([(each, each.in_domain_ns()) for each in known])
        return frozenset(each.child for each in known).difference(differing)

    @property
    def trouble(self) -> str | None:
        """Why the DNS service is not asked although its address is known; None if it is, or is not known."""
        return self._dns.trouble

    async def compare(self, delegations: Sequence[Delegation]) -> None:
        """Have some of what the API shows compared with what DNS does. Raises BackendError."""
        able = [each for each in delegations if self._dns.can_show(each)]
        for child in await self._dns.contradicted(able):
            # somebody may have changed it just now
            now = next(each for each in able if each.child == child)
            if not await self._differing_by_api([(now, now.in_domain_ns())]):
                self._dns.distrust(child)
                return

    async def prime(self, children: Sequence[bytes]) -> None:
        """Before a write, until DNS is proven: have whatever keeps answers keep those of these children."""
        await self._dns.prime(children)

    async def prove(self, delegations: Sequence[Delegation]) -> None:
        """After a write, until DNS is proven: see whether it shows what was written."""
        await self._dns.prove(delegations)

    async def differing(
        self, delegations: Sequence[_Expected], *, flush: bool = True, by_api: bool = False
    ) -> tuple[bytes, ...]:
        """The children of those delegations that the zone does not hold exactly now.

        Without `flush`, DNS answers may be as old as the last PATCH; `by_api`: they are of no use. Where DNS and API
        differ, the API counts.
        """
        if by_api or not self._dns.is_proven:
            return await self._differing_by_api(delegations)
        differing = await self._differing_by_dns(delegations, flush)
        if not differing:
            return ()
        suspects = [each for each in delegations if each[0].child in differing]
        certain = await self._differing_by_api(suspects)
        wrong = [each for each, _ in suspects if each.child not in certain and self._dns.can_show(each)]
        for child in await self._dns.contradicted(wrong):
            self._dns.distrust(child)
        return certain

    async def _differing_by_api(self, delegations: Sequence[_Expected]) -> tuple[bytes, ...]:
        if not delegations:
            return ()
        found = await self._held({owner for delegation, rest in delegations for owner in (delegation.child, *rest)})
        return tuple(d.child for d, rest in delegations if not found.holds(d, rest))

    async def _differing_by_dns(self, delegations: Sequence[_Expected], flush: bool) -> tuple[bytes, ...]:
        if not delegations:
            return ()
        able, others = self._shared_with_dns(delegations)
        owners = {owner for delegation, rest in others for owner in (delegation.child, *rest)}
        owners |= {owner for delegation, rest in able for owner in _invisible(delegation, rest)}
        shown, found = await asyncio.gather(self._shown(able, flush), self._held(owners))
        unproven = [each for each, seen in zip(able, shown, strict=True) if seen is None]
        found.update(await self._held({owner for d, rest in unproven for owner in (d.child, *rest)}))
        missing = {d.child for d, rest in (*others, *unproven) if not found.holds(d, rest)}
        for (delegation, rest), seen in zip(able, shown, strict=True):
            if seen is None:
                continue
            if seen != visible(delegation) or not _addresses_hold(found, delegation, _invisible(delegation, rest)):
                missing.add(delegation.child)
        return tuple(d.child for d, _ in delegations if d.child in missing)

    async def branches(self, senseless: Senseless) -> AsyncGenerator[Branch, None]:
        """The branches of the zone, one at a time in memory; to be closed with aclosing.

        `senseless` gets what cannot be read, all of it before the first branch comes.
        """
        with Spool() as spool:
            async with aclosing(self._lines()) as parts:
                async for lines in parts:
                    await to_its_end(_spool, spool, lines, senseless)
            reader = BranchReader(self._zone)
            with closing(spool.sorted()) as rows:
                while (records := await to_its_end(next, rows, None)) is not None:
                    for branch in reader.feed(records):
                        yield branch
            for branch in reader.finish():
                yield branch

    async def cuts_below(self, name: bytes) -> tuple[bytes, ...]:
        """The delegations below a name, sorted."""
        found: set[bytes] = set()
        async with aclosing(self._lines()) as parts:
            async for lines in parts:
                found.update(export.cuts_below(lines, name))
        return tuple(sorted(found))

    # The ways to read

    def _shared_with_dns(self, delegations: Sequence[_Expected]) -> tuple[Sequence[_Expected], Sequence[_Expected]]:
        """Those that DNS can show, but for owners that no NS names; and the others."""
        # where the whole zone has to be read anyway, DNS would save nothing
        if self._export_is_cheaper(sum(len(_invisible(*each)) for each in delegations)):
            return (), delegations
        able = [self._dns.can_show(delegation) for delegation, _ in delegations]
        return list(compress(delegations, able)), list(compress(delegations, map(not_, able)))

    async def _shown(self, delegations: Sequence[_Expected], flush: bool) -> list[Delegation | None]:
        """What DNS shows of each of them; None where it proves nothing."""
        return await self._dns.shown([delegation.child for delegation, _ in delegations], flush=flush)

    async def _held(self, owners: Collection[bytes]) -> Holdings:
        if not self._export_is_cheaper(len(owners)):
            return await self.at(owners)
        found = Holdings()
        texts = export.owner_texts(owners)
        async with aclosing(self._lines()) as parts:
            async for lines in parts:
                export.collect(lines, texts, found)
        return found

    def _export_is_cheaper(self, count: int) -> bool:
        return self._export_seconds is not None and count * self._name_seconds > self._export_seconds

    async def _lines(self) -> AsyncGenerator[list[bytes], None]:
        waited, began = 0.0, time.monotonic()
        async with aclosing(self._api.export()) as parts:
            async for lines in parts:
                waited += time.monotonic() - began
                yield lines
                # an export that arrives faster than we read would otherwise never let others run
                await asyncio.sleep(0)
                began = time.monotonic()
        known = self._export_seconds
        self._export_seconds = waited if known is None else known + _SMOOTHING * (waited - known)


def conditions(change: Change) -> _Expected:
    """What has to be so before a change is written."""
    return change.before, conditional_owners(change)


def results(change: Change) -> _Expected:
    """What has to be so afterwards."""
    return change.after, glue_owners(change.before) | glue_owners(change.after) | set(change.after.in_domain_ns())


def _invisible(delegation: Delegation, owners: Iterable[bytes]) -> list[bytes]:
    """Those of the owners that no referral shows."""
    return [owner for owner in owners if owner not in delegation.ns]


def _addresses_hold(found: Holdings, delegation: Delegation, owners: Iterable[bytes]) -> bool:
    rrsets = delegation.rrsets
    return all(found.rdatas(owner, rtype) == rrsets.get((owner, rtype), ()) for owner in owners for rtype in _ADDRESSES)


def _spool(spool: Spool, lines: Sequence[bytes], senseless: Senseless) -> None:
    spool.put(export.delegation_records(lines, senseless))
