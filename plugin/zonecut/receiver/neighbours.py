"""Hosts in a child that other delegations name: their addresses stay as long as one does (PROTOCOL section 8).

A child may give such a host other addresses, and take it out of its own NS, but not leave the others without. What a
change of one child means for the hosts of another is looked at again once it is written: two may come at once, and an
operator with them.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from zonecut.plugin import Backend, BackendConflict, BackendError, BackendRejected, Change, Host, Reading
from zonecut.plugin.branches import visible
from zonecut.protocol import names
from zonecut.protocol.codepoints import EdeCode, RRType
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.errors import Refusal
from zonecut.protocol.update import DelegationChange
from zonecut.receiver.judgement import ABOUT_HOSTS, judge
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

    The server is asked who names a host only where a change takes one out of the child's name servers, makes one of
    them, or gives addresses to one that is none of them.
    """
    before = reading.delegation
    asked = _addressed(request) | {each.owner for each in request.prerequisites if each.owner != request.child}
    try:
        change = Change(before, judge(rules, request, reading))
        hosts = _dropped(before, change.after) | (asked | set(change.after.in_domain_ns())).difference(before.ns)
    except Refusal as refusal:
        if refusal.rule not in ABOUT_HOSTS and not asked.difference(before.ns):
            raise
        hosts = asked | set(before.in_domain_ns()) | set(request.apply(before).in_domain_ns())
        shared = await _shared(backend, request.child, hosts)
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
    _check_nested(reading, after, shared)
    return Weighed(Change(held, after), _words(request, before, after, shared))


def _check_nested(reading: Reading, after: Delegation, shared: Mapping[bytes, Host]) -> None:
    """Raise Refusal where the addresses of a host in a delegation below the child, which names it, are changed."""
    for host, known in shared.items():
        inner = [each for each in known.named_by if each in reading.nested and names.is_at_or_below(host, each)]
        there = {record for record in after.glue if record.owner == host}
        if inner and host not in reading.delegation.ns and there != set(known.addresses):
            found = f"{names.to_text(host)} lies in the delegation of {names.to_text(inner[0])}, which names it"
            raise Refusal(
                "glue-of-nested-delegation",
                f"{found}: its addresses are not changed by the child above it; leave them out of the update",
                ede=EdeCode.PROHIBITED,
            )


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


@dataclass(frozen=True, slots=True)
class _Gone:
    """The addresses of a host that went at a moment, on the monotonic clock in seconds, with a change of a child."""

    child: bytes
    addresses: tuple[RR, ...]
    at: float


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
        coming: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        """`coming` tells whether a change that is accepted, and not yet written, names a host."""
        self._zone = zone
        self._backend = backend
        self._monotonic = monotonic
        self._pauses = again
        self._coming = coming
        self._gone: OrderedDict[bytes, _Gone] = OrderedDict()
        """Hosts whose addresses went a while ago."""
        self._left: OrderedDict[bytes, float] = OrderedDict()
        """Hosts that may be named by nobody any more and were not freed, and since when."""
        self._one_at_a_time = asyncio.Lock()
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
            self._keep_looking(len(self._pauses))

    def _keep_looking(self, looks: int) -> None:
        self._looks = max(self._looks, min(looks, len(self._pauses)))
        if self._looking is None and self._looks:
            self._looking = asyncio.create_task(self._look_again())

    async def _look_again(self) -> None:
        try:
            while self._looks:
                await asyncio.sleep(self._pauses[-self._looks])
                self._looks -= 1
                self._forget()
                if self._gone or self._left:
                    await self._settle(set(list(self._gone)[-LOOKED_AT:]), set(list(self._left)[:LOOKED_AT]))
        finally:
            self._looking = None

    async def _settle(self, gone: set[bytes], left: set[bytes]) -> None:
        """Give addresses back to hosts that somebody names, and take them from those that nobody does any more.

        One after the other: a look and the writer may come to the same host. What could not be done is tried again.
        """
        for host in left:
            self._left.setdefault(host, self._monotonic())
        async with self._one_at_a_time:
            try:
                known = await self._backend.hosts(sorted(gone | left))
                for host, each in known.items():
                    if host in gone and each.named_by and not each.addresses:
                        await self._restore(host)
                    elif host in left:
                        await self._leave(host, each)
            except BackendError as error:
                _log.warning("glue.unsettled", zone=names.to_text(self._zone), reason=error.reason)
                self._keep_looking(1)
            except Exception:
                # a defect of an adapter or of ours must end neither the writer nor the looks
                _log.exception("glue.defect", zone=names.to_text(self._zone))
                self._keep_looking(1)
        self._forget()

    def _concerned(self, changes: Sequence[Change]) -> tuple[set[bytes], set[bytes], set[bytes]]:
        """Hosts whose addresses went, hosts of others that are named no more, and hosts that came to be named."""
        gone: set[bytes] = set()
        left: set[bytes] = set()
        named: set[bytes] = set()
        for change in changes:
            before, after = change.before, change.after
            for host in {rr.owner for rr in before.glue}.difference(rr.owner for rr in after.glue):
                self._remember(host, change.child, (rr for rr in before.glue if rr.owner == host))
                gone.add(host)
            for host in set(before.ns).symmetric_difference(after.ns):
                if names.is_below(host, self._zone) and not names.is_at_or_below(host, change.child):
                    (left if host in before.ns else named).add(host)
        self._forget()
        return gone & self._gone.keys(), left - named, named & self._gone.keys()

    def _remember(self, host: bytes, child: bytes, addresses: Iterable[RR]) -> None:
        self._gone[host] = _Gone(child, tuple(addresses), self._monotonic())
        self._gone.move_to_end(host)

    def _forget(self) -> None:
        """Drop what was remembered for long enough, and what is too much."""
        since = self._monotonic() - REMEMBERED_SECONDS
        while self._gone and (len(self._gone) > REMEMBERED or next(iter(self._gone.values())).at < since):
            self._gone.popitem(last=False)
        while self._left and (len(self._left) > REMEMBERED or next(iter(self._left.values())) < since):
            self._left.popitem(last=False)

    async def _restore(self, host: bytes) -> None:
        gone = self._gone.get(host)
        if gone is None:
            return
        held = (await self._backend.read(gone.child)).delegation
        # a delegation that is gone is never made again
        change = Change(held, Delegation.of(gone.child, [*held.records, *gone.addresses]))
        if not held.is_delegated or await self._mend("glue.restored", host, change):
            self._gone.pop(host, None)

    async def _leave(self, host: bytes, known: Host) -> None:
        if not known.named_by and known.addresses:
            if self._coming(host):
                # it may end in vain: then the address goes a while later
                self._keep_looking(1)
                return
            await self._free(host, known)
        self._left.pop(host, None)

    async def _free(self, host: bytes, known: Host) -> None:
        for place in (*names.between(host, self._zone), host):
            held = visible((await self._backend.read(place)).delegation)
            if held.is_delegated:
                # at a host of the zone's own, which lies in no delegation, nothing is glue
                change = Change(Delegation.of(place, [*held.records, *known.addresses]), held)
                self._remember(host, place, known.addresses)
                await self._mend("glue.freed", host, change)
                self._keep_looking(len(self._pauses))
                return

    async def _mend(self, event: str, host: bytes, change: Change) -> bool:
        about = {"zone": names.to_text(self._zone), "child": names.to_text(change.child), "host": names.to_text(host)}
        try:
            await self._backend.write([change])
        except (BackendConflict, BackendRejected) as error:
            _log.warning("glue.unsettled", **about, reason=error.reason)
            self._keep_looking(1)
            return False
        _log.warning(event, **about)
        return True
