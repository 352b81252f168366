"""Who names which host of a zone, for adapters whose server tells that by a listing alone.

An index of the NS records that name a host in another delegation, made by a listing, kept up by what we write, and made
anew when the zone's serial says that somebody else wrote, too: but a listing may take no more than a small part of the
time, so where others write all the time the index is as old as that bound allows. Who needs proof says how
old it may be.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress

from zonecut.plugin.backend import MAX_NAMED_BY, BackendError, Change, Host, Reading
from zonecut.plugin.branches import Branch
from zonecut.protocol import names
from zonecut.protocol.delegation import RR, Delegation

_KEPT = 8 * MAX_NAMED_BY
"""So many of those who name one host are kept; a listing finds others when they are gone."""
_ORPHANS = 100_000
"""So many addresses that no NS at or above them names are kept."""
_SHARE = 50
"""A listing is worth its cost again after so many times the seconds that the last one took."""
_PATIENCE = 0.5
"""For so many seconds who needs no proof waits for a listing; then the one before it has to do."""
_WRITTEN = 1000
"""So many transactions of ours during a listing are kept; with more, the listing is not the last."""
_AT_ONCE = 16
"""So many hosts are read at the same time."""
_LISTINGS = 4
"""So many listings that are under way are kept up; one that failed is among them until a later one is complete."""
_MODULUS = 1 << 32

Look = Callable[[], Awaitable[tuple[int | None, Collection[bytes]]]]
"""The zone's serial now (None: not known), and the name servers of its apex."""


class Listed:
    """What a listing shows: who names hosts elsewhere in the zone, and addresses that no NS above them names."""

    def __init__(self, zone: bytes) -> None:
        self._zone = zone
        self.began = time.monotonic()
        """What was written before this moment is in it."""
        self._naming: dict[bytes, set[bytes]] = {}
        self._cut_short: set[bytes] = set()
        self._orphans: dict[bytes, tuple[RR, ...]] = {}
        self.written: list[Sequence[Change]] = []
        """What we wrote since it began, to be applied on top of it."""

    def take(self, branch: Branch) -> None:
        """One topmost delegation with all that lies below it."""
        for reading in branch.readings():
            self.take_reading(reading)

    def take_reading(self, reading: Reading) -> None:
        """One delegation, with orphan glue."""
        self.replace(Delegation(reading.delegation.child), reading.delegation, hidden=reading.enclosing is not None)

    def replace(self, before: Delegation, after: Delegation, *, hidden: bool = False) -> None:
        """A delegation has become another one. Of a hidden one, hosts in it are noted, too: nobody finds it there."""
        child = after.child
        for target in self._foreign(after, hidden):
            owners = self._naming.setdefault(target, set())
            if len(owners) < _KEPT:
                owners.add(child)
            elif child not in owners:
                self._cut_short.add(target)
        for target in self._foreign(before, hidden) - self._foreign(after, hidden):
            owners = self._naming.get(target, set())
            owners.discard(child)
            if not owners:
                self._naming.pop(target, None)
        for owner in {*(record.owner for record in (*before.glue, *after.glue)), *after.in_domain_ns()}:
            self._orphans.pop(owner, None)
        orphans = [record for record in after.glue if record.owner not in after.ns]
        for owner in dict.fromkeys(record.owner for record in orphans):
            if len(self._orphans) < _ORPHANS:
                self._orphans[owner] = tuple(record for record in orphans if record.owner == owner)

    def naming(self, host: bytes) -> Collection[bytes]:
        return self._naming.get(host, ())

    def orphans(self, host: bytes) -> tuple[RR, ...]:
        return self._orphans.get(host, ())

    @property
    def is_exhausted(self) -> bool:
        """True if nobody is known any more of those who name a host that very many named."""
        return any(target not in self._naming for target in self._cut_short)

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def _foreign(self, delegation: Delegation, hidden: bool) -> set[bytes]:
        return {
            target
            for target in delegation.ns
            if names.is_below(target, self._zone) and (hidden or not names.is_at_or_below(target, delegation.child))
        }


class Naming:
    """The index of one zone."""

    def __init__(
        self,
        zone: bytes,
        look: Look,
        scan: Callable[[], Awaitable[None]],
        cut: Callable[[Sequence[bytes]], Awaitable[bytes | None]],
        read: Callable[[bytes], Awaitable[Reading]],
    ) -> None:
        """`scan` lists the zone and calls `adopt`; `cut` tells the first of some names that is delegated, if one is.

        `read` is the adapter's own.
        """
        self._zone = zone
        self._look = look
        self._scan = scan
        self._cut = cut
        self._read = read
        self._listed: Listed | None = None
        self._serial: int | None = None
        self._began = float("-inf")
        """When the listing began that the index is from; never, where it may lack something of ours."""
        self._again_at = float("-inf")
        self._under_way: list[Listed] = []
        """The listings that began and did not end, each with its own `written`."""
        self._apex: Collection[bytes] = ()
        self._looking: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._patient: asyncio.Task[None] | None = None
        """Done when the look that waits is, or has been waited for long enough by who needs no proof."""
        self._not_before = float("-inf")
        """What the look that waits has to prove."""

    def begin(self) -> Listed:
        """What a listing that begins now is taken into."""
        listed = Listed(self._zone)
        self._under_way = [*self._under_way, listed][-_LISTINGS:]
        return listed

    def adopt(self, listed: Listed, serial: int | None) -> None:
        """A listing is complete; `serial` is that of the zone before it. What was written meanwhile counts, too."""
        self._again_at = time.monotonic() + _SHARE * listed.seconds()
        is_whole = listed in self._under_way and len(listed.written) <= _WRITTEN
        # what began before it is older than it
        later = self._under_way.index(listed) + 1 if listed in self._under_way else 0
        self._under_way = self._under_way[later:]
        # whether the listing shows what was written meanwhile is not known, and so neither by how much the serial rose
        self._listed, self._serial = listed, serial if is_whole and not listed.written else None
        self._began = listed.began if is_whole else float("-inf")
        for changes in listed.written:
            self._apply(changes)
        listed.written = []

    async def wrote(self, changes: Sequence[Change]) -> None:
        """One transaction of ours is in the zone: the server is asked whether the serial rose by one, or not at all.

        A server may take a change and leave out what it does not like, and then the serial stays. Never raises: if the
        server does not tell, the zone is listed again.
        """
        serial, self._serial = self._serial, None
        for listed in self._under_way:
            listed.written.append(changes)
            del listed.written[_WRITTEN + 1 :]
        self._apply(changes)
        if serial is None:
            return
        listed_then = self._listed
        with suppress(BackendError):
            now, _ = await self._look()
            if listed_then is self._listed and now in (serial, (serial + 1) % _MODULUS or 1):
                self._serial = now

    def doubt(self) -> None:
        """Nobody knows what became of a transaction of ours."""
        self._serial = None

    async def hosts(
        self, hosts: Sequence[bytes], *, not_before: float | None = None, shared: bool = False
    ) -> Mapping[bytes, Host]:
        """See `Backend.hosts`. Raises BackendError."""
        await self._fresh(not_before)
        if shared:
            # the index alone tells that: nothing has to be read for the others
            hosts = [host for host in hosts if host in self._apex or (self._listed and self._listed.naming(host))]
        found: dict[bytes, Host] = {}
        for first in range(0, len(hosts), _AT_ONCE):
            some = hosts[first : first + _AT_ONCE]
            found.update(zip(some, await asyncio.gather(*map(self._host, some)), strict=True))
        return found

    async def _host(self, host: bytes) -> Host:
        assert self._listed is not None
        naming = dict.fromkeys(sorted(self._listed.naming(host)))
        addresses: Iterable[RR] = self._listed.orphans(host)
        if host in self._apex:
            naming = {self._zone: None, **naming}
        cut = await self._cut((*names.between(host, self._zone), host))
        if cut is not None:
            delegation = (await self._read(cut)).delegation
            if host in delegation.ns:
                naming[cut] = None
                addresses = [record for record in delegation.glue if record.owner == host]
        return Host(tuple(naming)[:MAX_NAMED_BY], tuple(sorted(addresses)))

    def _apply(self, changes: Sequence[Change]) -> None:
        if self._listed is not None:
            for change in changes:
                self._listed.replace(change.before, change.after)

    async def _fresh(self, not_before: float | None) -> None:
        """See that the index is as new as it has to be: one look serves all that ask before it begins."""
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(self._look_after(self._looking))
            self._waiting.add_done_callback(_seen)
            self._patient = asyncio.ensure_future(_patiently(self._waiting))
        look, patient = self._waiting, self._patient
        if not_before is not None:
            self._not_before = max(self._not_before, not_before)
            await asyncio.shield(look)
            return
        # one timer for all that wait for the same look
        assert patient is not None
        await asyncio.shield(patient)
        if look.done() or self._listed is None:
            await asyncio.shield(look)

    async def _look_after(self, earlier: "asyncio.Task[None] | None") -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
        self._looking, self._waiting = self._waiting, None
        not_before, self._not_before = self._not_before, float("-inf")
        serial, self._apex = await self._look()
        listed = self._listed
        known = listed is not None and serial is not None and serial == self._serial and not listed.is_exhausted
        is_due = time.monotonic() >= self._again_at or self._began < not_before
        if listed is None or (not known and is_due):
            await self._scan()


async def _patiently(look: "asyncio.Task[None]") -> None:
    await asyncio.wait([look], timeout=_PATIENCE)


def _seen(look: "asyncio.Task[None]") -> None:
    """Whoever waited for a look is told of its failure; nobody may have."""
    if not look.cancelled():
        look.exception()
