"""Hosts in a child that other delegations name: their addresses stay as long as one does (PROTOCOL section 8).

A child may give such a host other addresses, and take it out of its own NS, but not leave the others without. What a
change of one child means for the hosts of another is looked at again once it is written: two may come at once, and an
operator with them.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from zonecut.plugin import Backend, BackendConflict, BackendError, BackendRejected, Change, Host, Reading
from zonecut.plugin.branches import visible
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.errors import Refusal
from zonecut.protocol.update import DelegationChange
from zonecut.receiver.judgement import GLUE_OF_NS_ONLY, judge
from zonecut.receiver.policy import Rules

REMEMBERED = 1000
"""So many hosts whose addresses went are remembered, in case that somebody names one just then."""
REMEMBERED_SECONDS = 600.0
AGAIN = (2.0, 6.0, 30.0)
"""Seconds after which hosts whose addresses went are looked at again, the latest LOOKED_AT of them."""
LOOKED_AT = 100
_ADDRESSES = (RRType.A, RRType.AAAA)
_TOLD = 3
"""So many of those who name a host are told."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a request makes of a delegation, and, in words, which addresses stay although it would have them go."""

    change: Change
    kept: str = ""


async def weigh(backend: Backend, rules: Rules, request: DelegationChange, reading: Reading) -> Weighed:
    """The change that a request makes of a reading. Raises Refusal, BackendError.

    The server is asked who names a host only where a change takes one out of the child's name servers, or gives
    addresses to one that is none of them.
    """
    before = reading.delegation
    try:
        change = Change(before, judge(rules, request, reading))
        hosts = _dropped(before, change.after) | _addressed(request).difference(change.after.ns)
    except Refusal as refusal:
        if refusal.rule != GLUE_OF_NS_ONLY:
            raise
        shared = await _shared(backend, request.child, _addressed(request) | set(before.in_domain_ns()))
        if not shared:
            raise
    else:
        shared = await _shared(backend, request.child, hosts)
        if not shared:
            return Weighed(change)
    # what stands there is part of what the child changes; a host of its own it has as it was read
    addresses = {host: known.addresses for host, known in shared.items()}
    held = Delegation.of(before.child, {*before.records, *(rr for rrs in addresses.values() for rr in rrs)})
    after = judge(replace(rules, shared=frozenset(shared)), request, replace(reading, delegation=held))
    return Weighed(Change(held, after), _words(request, before, after, shared))


def _dropped(before: Delegation, after: Delegation) -> set[bytes]:
    """The hosts that were the child's name servers, or had addresses, and are no servers of it any more."""
    return {*before.in_domain_ns(), *(record.owner for record in before.glue)}.difference(after.ns)


def _addressed(request: DelegationChange) -> set[bytes]:
    """The hosts of whose addresses a request says something."""
    return {
        each.owner
        for each in request.operations
        if each.rtype in _ADDRESSES or (each.rtype == RRType.ANY and each.owner != request.child)
    }


async def _shared(backend: Backend, child: bytes, hosts: set[bytes]) -> Mapping[bytes, Host]:
    """Those of these hosts that others than the child name."""
    if not hosts:
        return {}
    known = await backend.hosts(sorted(hosts))
    return {host: each for host, each in known.items() if any(owner != child for owner in each.named_by)}


def _words(request: DelegationChange, before: Delegation, after: Delegation, shared: Mapping[bytes, Host]) -> str:
    kept = []
    for host, known in shared.items():
        there = {record for record in after.glue if record.owner == host}
        if host not in after.ns and there and there <= set(known.addresses):
            others = [names.to_text(owner) for owner in known.named_by if owner != request.child]
            more = ", ..." if len(others) > _TOLD else ""
            kept.append(f"{names.to_text(host)} keeps its addresses: {', '.join(others[:_TOLD])}{more} NS names it")
    return "; ".join(kept)


class Neighbours:
    """Looks after what was written: addresses that somebody needs come back, and those that nobody needs go.

    At once, as far as the server tells then; and again a while later, where it tells by a listing that may have been
    too old to show somebody who came to name a host just before its addresses went.
    """

    def __init__(
        self,
        zone: bytes,
        backend: Backend,
        monotonic: Callable[[], float] = time.monotonic,
        again: Sequence[float] = AGAIN,
    ) -> None:
        self._zone = zone
        self._backend = backend
        self._monotonic = monotonic
        self._pauses = again
        self._gone: OrderedDict[bytes, tuple[bytes, tuple[RR, ...], float]] = OrderedDict()
        """Hosts whose addresses went a while ago: the child, the addresses, and when."""
        self._looking: asyncio.Task[None] | None = None
        self._looks = 0

    def close(self) -> None:
        """Look at nothing again."""
        if self._looking is not None:
            self._looking.cancel()

    async def after(self, changes: Sequence[Change]) -> None:
        """Put right what these changes, which are in the zone now, mean for the hosts of others. Never raises."""
        gone, left, named = self._concerned(changes)
        if gone or left or named:
            await self._settle(gone | named, left)
        if gone:
            self._looks = len(self._pauses)
            if self._looking is None:
                self._looking = asyncio.create_task(self._look_again())

    async def _look_again(self) -> None:
        while self._looks:
            await asyncio.sleep(self._pauses[-self._looks])
            self._looks -= 1
            await self._settle(set(list(self._gone)[-LOOKED_AT:]), set())
        self._looking = None

    async def _settle(self, gone: set[bytes], left: set[bytes]) -> None:
        """Give addresses back to hosts that somebody names, and take them from those that nobody does any more."""
        try:
            known = await self._backend.hosts(sorted(gone | left))
            for host, each in known.items():
                if host in gone and each.named_by and not each.addresses:
                    await self._restore(host)
                elif host in left and not each.named_by and each.addresses:
                    await self._free(host, each)
        except BackendError as error:
            _log.warning("glue.unsettled", zone=names.to_text(self._zone), reason=error.reason)

    def _concerned(self, changes: Sequence[Change]) -> tuple[set[bytes], set[bytes], set[bytes]]:
        """Hosts whose addresses went, hosts of others that are named no more, and hosts that came to be named."""
        now = self._monotonic()
        gone: set[bytes] = set()
        left: set[bytes] = set()
        named: set[bytes] = set()
        for change in changes:
            before, after = change.before, change.after
            for host in {rr.owner for rr in before.glue}.difference(rr.owner for rr in after.glue):
                addresses = tuple(rr for rr in before.glue if rr.owner == host)
                self._gone[host] = change.child, addresses, now
                self._gone.move_to_end(host)
                gone.add(host)
            for host in set(before.ns).symmetric_difference(after.ns):
                if names.is_below(host, self._zone) and not names.is_at_or_below(host, change.child):
                    (left if host in before.ns else named).add(host)
        while self._gone and (len(self._gone) > REMEMBERED or self._oldest() < now - REMEMBERED_SECONDS):
            self._gone.popitem(last=False)
        return gone & self._gone.keys(), left, named & self._gone.keys()

    def _oldest(self) -> float:
        return next(iter(self._gone.values()))[2]

    async def _restore(self, host: bytes) -> None:
        child, addresses, _ = self._gone.pop(host)
        held = (await self._backend.read(child)).delegation
        if held.is_delegated:
            await self._mend("glue.restored", host, Change(held, Delegation.of(child, [*held.records, *addresses])))

    async def _free(self, host: bytes, known: Host) -> None:
        for place in (*names.between(host, self._zone), host):
            held = visible((await self._backend.read(place)).delegation)
            if held.is_delegated:
                # at a host of the zone's own, which lies in no delegation, nothing is glue
                change = Change(Delegation.of(place, [*held.records, *known.addresses]), held)
                await self._mend("glue.freed", host, change)
                return

    async def _mend(self, event: str, host: bytes, change: Change) -> None:
        about = {"zone": names.to_text(self._zone), "child": names.to_text(change.child), "host": names.to_text(host)}
        try:
            await self._backend.write([change])
        except (BackendConflict, BackendRejected) as error:
            _log.warning("glue.unsettled", **about, reason=error.reason)
        else:
            _log.warning(event, **about)
