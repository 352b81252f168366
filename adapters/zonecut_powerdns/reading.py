"""Reading what a zone holds: name by name, by DNS, or the whole zone at once; whichever is the cheapest that tells.

A name costs a request of about a millisecond, and the export of a zone about 13 ms a thousand delegations; so in a
small zone one export is cheaper than the names of a batch, and in a large one it is not. What each costs is measured.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import aclosing

from zonecut.plugin import Change
from zonecut.plugin.branches import Branch, BranchReader, visible
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation
from zonecut_powerdns import export
from zonecut_powerdns.api import Api
from zonecut_powerdns.bodies import Holdings, conditional_owners, glue_owners
from zonecut_powerdns.queries import Queries
from zonecut_powerdns.spool import Spool

_ADDRESSES = (RRType.A, RRType.AAAA)
_NAME_SECONDS = 0.0013
_SMOOTHING = 0.2
"""How much the latest measurement counts."""


class Reader:
    """Reads of one zone. `queries` is None where the server's DNS service is not known."""

    def __init__(self, zone: bytes, api: Api, queries: Queries | None) -> None:
        self._zone = zone
        self._api = api
        self._queries = queries
        self._name_seconds = _NAME_SECONDS
        self._export_seconds: float | None = None

    async def at(self, owners: Collection[bytes]) -> Holdings:
        """What the zone holds at these names; one request a name."""
        began = time.monotonic()
        found = Holdings()
        for each in await asyncio.gather(*map(self._api.at, owners)):
            found.update(each)
        if owners:
            seconds = (time.monotonic() - began) / len(owners)
            self._name_seconds += _SMOOTHING * (seconds - self._name_seconds)
        return found

    async def differing(self, delegations: Sequence[tuple[Delegation, Collection[bytes]]]) -> tuple[bytes, ...]:
        """The children of those delegations that the zone does not hold exactly now.

        Each comes with the owners of glue that are to be looked at; at other owners there may be anything.
        """
        if not delegations:
            return ()
        unseen, proven = await self._by_dns(delegations)
        owners = {owner for delegation, rest in unseen for owner in (delegation.child, *rest)}
        owners |= {owner for _, rest in proven for owner in rest}
        found = await self._held(owners)
        missing = {d.child for d, rest in unseen if not found.holds(d, rest)}
        missing |= {d.child for d, rest in proven if not _addresses_hold(found, d, rest)}
        asked = {d.child for d, _ in (*unseen, *proven)}
        return tuple(d.child for d, _ in delegations if d.child in missing or d.child not in asked)

    async def branches(self) -> AsyncGenerator[Branch, None]:
        """The branches of the zone, one at a time in memory; to be closed with aclosing."""
        with Spool() as spool:
            async with aclosing(self._lines()) as parts:
                async for lines in parts:
                    await asyncio.to_thread(_spool, spool, lines)
            reader = BranchReader(self._zone)
            rows = spool.sorted()
            while (records := await asyncio.to_thread(next, rows, None)) is not None:
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

    async def _by_dns(
        self, delegations: Sequence[tuple[Delegation, Collection[bytes]]]
    ) -> tuple[list[tuple[Delegation, Collection[bytes]]], list[tuple[Delegation, Collection[bytes]]]]:
        """Those of which DNS proves nothing; and those that DNS shows as they should be, each with the owners that it
        cannot show. What DNS proves to be otherwise is in neither."""
        queries = self._queries
        invisible = [{owner for owner in owners if owner not in d.ns} for d, owners in delegations]
        # where the whole zone has to be read anyway, DNS would save nothing
        if queries is None or self._export_is_cheaper(sum(map(len, invisible))):
            return list(delegations), []
        able = [place for place, (d, _) in enumerate(delegations) if queries.can_show(d)]
        unseen = [each for each in delegations if not queries.can_show(each[0])]
        proven: list[tuple[Delegation, Collection[bytes]]] = []
        if able:
            await self._api.flush()
            shown = await queries.delegations([delegations[place][0].child for place in able])
            for place, seen in zip(able, shown, strict=True):
                wanted = delegations[place][0]
                if seen is None:
                    unseen.append(delegations[place])
                elif seen == visible(wanted):
                    proven.append((wanted, invisible[place]))
        return unseen, proven

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


def between(child: bytes, zone: bytes) -> tuple[bytes, ...]:
    """The names above the child and below the zone's apex, the topmost first."""
    found = []
    name = names.parent(child)
    while name != zone:
        found.append(name)
        name = names.parent(name)
    return tuple(reversed(found))


def conditions(change: Change) -> tuple[Delegation, Collection[bytes]]:
    """What has to be so before a change is written."""
    return change.before, conditional_owners(change)


def results(change: Change) -> tuple[Delegation, Collection[bytes]]:
    """What has to be so afterwards."""
    return change.after, glue_owners(change.before) | glue_owners(change.after) | set(change.after.in_domain_ns())


def _addresses_hold(found: Holdings, delegation: Delegation, owners: Iterable[bytes]) -> bool:
    rrsets = delegation.rrsets
    return all(found.rdatas(owner, rtype) == rrsets.get((owner, rtype), ()) for owner in owners for rtype in _ADDRESSES)


def _spool(spool: Spool, lines: Sequence[bytes]) -> None:
    spool.put(export.delegation_records(lines))
