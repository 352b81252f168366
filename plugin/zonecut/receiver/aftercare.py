"""What becomes of hosts in the zone after a change: addresses that somebody needs come back, unneeded ones go.

A change is judged on what is known then of who names a host, and where only a listing tells, that is as old as the last
one. So an address that went is not given up before a listing that began later shows that nobody names its host; and one
that nobody's change gives up, since its host lies in another child, is taken away only upon such proof, and only where
that child is known to have had it: what an operator put there stays. What waits for proof outlives the process: the
ledger has what went with a change, and the audit trail what was taken away here.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice

import structlog

from zonecut.plugin import Backend, BackendConflict, BackendError, BackendRejected, Change, Host
from zonecut.plugin.branches import visible
from zonecut.protocol import names
from zonecut.protocol.delegation import RR, Delegation
from zonecut.receiver.released import FREED, Released
from zonecut.store import AuditEntry, StoreUnavailable

REMEMBERED = 10_000
"""So many hosts whose addresses went are remembered; with more, the log tells which are given up without proof."""
REMEMBERED_SECONDS = 600.0
"""For so long what was given up comes back if somebody names its host after all."""
AGAIN = (2.0, 6.0, 30.0)
"""Seconds after which proof is looked for first; and those between attempts while there is none."""
LOOKED_AT = 100
"""So many hosts are asked for at a time."""
PATIENCE = 0.5
"""For so many seconds the next changes wait until an address is back that somebody needs now."""
SHARE = 20
"""Proof is worth its cost again after so many times the seconds that the last one took."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Gone:
    """The addresses of a host that went with a change of a child, and when that was written, in monotonic seconds."""

    released: Released
    at: float
    is_proven: bool = False
    """It has been seen since that nobody names the host."""


@dataclass(slots=True)
class _Waiting:
    """What is to be looked at."""

    gone: OrderedDict[bytes, _Gone] = field(default_factory=OrderedDict)
    """Hosts whose addresses went, by when they did."""
    left: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    """Hosts that may be named by nobody any more, and have addresses still."""
    at_once: set[bytes] = field(default_factory=set)
    """Hosts whose addresses went, of which somebody may be known to name one already."""

    def unproven(self, at: float) -> list[bytes]:
        """The oldest of those that went at `at` or before, of which nobody has seen who names them."""
        return list(islice((h for h, each in self.gone.items() if not each.is_proven and each.at <= at), LOOKED_AT))


class Aftercare:
    """Of one zone. Looks in a task of its own, so that no change waits for it."""

    def __init__(
        self,
        zone: bytes,
        backend: Backend,
        record: Callable[[AuditEntry], Awaitable[None]],
        given: Callable[[bytes, bytes], Awaitable[Collection[RR]]],
        monotonic: Callable[[], float] = time.monotonic,
        again: Sequence[float] = AGAIN,
        coming: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        """`record` writes into the audit trail; `given` tells which addresses of a host are those of the child in which
        it lies, by its own changes; both raise StoreUnavailable. `monotonic` is the backend's clock, too.

        `coming` tells whether a change that is accepted, and not yet known to be written, names a host.
        """
        self._zone = zone
        self._backend = backend
        self._record = record
        self._given = given
        self._monotonic = monotonic
        self._pauses = again
        self._coming = coming
        self._waiting = _Waiting()
        self._proof_at = float("-inf")
        """When the next look for proof is worth its cost."""
        self._failures = 0
        self._noted = asyncio.Event()
        self._settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Look at nothing again."""
        if self._task is not None:
            self._task.cancel()

    async def after(self, changes: Iterable[Change]) -> None:
        """As `note`; where somebody has come to name a host whose addresses went, they are waited for, not for long."""
        if self.note(changes):
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._settled.wait()

    def note(self, changes: Iterable[Change]) -> bool:
        """These changes are in the zone now: put right what they mean for the hosts of others, in the background.

        Whether one of them names a host whose addresses went a while ago.
        """
        waiting = self._waiting
        named: set[bytes] = set()
        for change in changes:
            before, after = change.before, change.after
            for released in Released.by(change):
                self._remember(released)
                waiting.at_once.add(released.host)
            for host in set(before.ns).symmetric_difference(after.ns):
                if not names.is_below(host, self._zone) or names.is_at_or_below(host, change.child):
                    continue
                if host in before.ns:
                    waiting.left[host] = None
                else:
                    waiting.left.pop(host, None)
                    named.add(host)
        waiting.at_once |= named
        self._look()
        return not waiting.gone.keys().isdisjoint(named)

    def resume(self, changes: Iterable[Change], freed: Iterable[Released]) -> None:
        """Take up what a process before us may not have come to prove: its last changes, in their order."""
        for released in freed:
            self._remember(released)
        self.note(changes)

    def _look(self) -> None:
        self._forget()
        self._waiting.at_once &= self._waiting.gone.keys()
        self._noted.set()
        self._settled.clear()
        if self._task is None and (self._waiting.at_once or self._due is not None):
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while True:
                self._noted.clear()
                await self._settle()
                self._forget()
                due = self._due
                if due is None:
                    return
                try:
                    async with asyncio.timeout(max(due - self._monotonic(), 0.0)):
                        await self._noted.wait()
                except TimeoutError:
                    continue
        finally:
            self._task = None

    @property
    def _due(self) -> float | None:
        """When proof is to be looked for, on the monotonic clock; None where nothing waits for it."""
        if self._waiting.left:
            return self._proof_at
        first = next((each.at for each in self._waiting.gone.values() if not each.is_proven), None)
        return None if first is None else max(self._proof_at, first + self._pauses[0])

    async def _settle(self) -> None:
        """What could not be done is tried again."""
        try:
            try:
                await self._settle_known()
            finally:
                self._settled.set()
            if self._due is not None and self._due <= self._monotonic():
                await self._settle_proven()
            self._failures = 0
            return
        except BackendError as error:
            _log.warning("glue.unsettled", zone=names.to_text(self._zone), reason=error.reason)
        except StoreUnavailable as error:
            _log.warning("glue.unsettled", zone=names.to_text(self._zone), reason=error.reason)
        except Exception:
            # a defect of an adapter or of ours must not end the looks
            _log.exception("glue.defect", zone=names.to_text(self._zone))
        self._put_off()

    def _put_off(self) -> None:
        self._proof_at = self._monotonic() + self._pauses[min(self._failures, len(self._pauses) - 1)]
        self._failures += 1

    async def _settle_known(self) -> None:
        """Give back what somebody is known to need, as far as the server tells at once. Raises BackendError."""
        waiting = self._waiting
        while waiting.at_once:
            hosts = sorted(waiting.at_once)[:LOOKED_AT]
            waiting.at_once.difference_update(hosts)
            await self._restore_all(await self._backend.hosts(hosts, shared=True))

    async def _settle_proven(self) -> None:
        """Look for proof, and act on it. Raises BackendError, StoreUnavailable."""
        began = self._monotonic()
        gone, left = self._waiting.unproven(began - self._pauses[0]), list(self._waiting.left)[:LOOKED_AT]
        known = await self._backend.hosts(gone, not_before=began, shared=True) if gone else {}
        free = await self._backend.hosts(left, not_before=began) if left else {}
        # a listing takes the server's time and ours: whoever changes something is not to wait for us
        self._proof_at = self._monotonic() + SHARE * (self._monotonic() - began)
        await self._restore_all(known)
        for host in gone:
            each = self._waiting.gone.get(host)
            if each is not None and each.at <= began and not _lacks(each.released, known.get(host)):
                self._waiting.gone[host] = replace(each, is_proven=True)
        for host, found in free.items():
            await self._leave(host, found)

    async def _restore_all(self, known: Mapping[bytes, Host]) -> None:
        for host, found in known.items():
            gone = self._waiting.gone.get(host)
            if gone is not None and _lacks(gone.released, found):
                await self._restore(host, gone)

    def _remember(self, released: Released) -> None:
        self._waiting.gone[released.host] = _Gone(released, self._monotonic())
        self._waiting.gone.move_to_end(released.host)

    def _forget(self) -> None:
        """Drop what was remembered for long enough, and what is too much."""
        gone, left = self._waiting.gone, self._waiting.left
        since = self._monotonic() - REMEMBERED_SECONDS
        for host in [host for host, each in islice(gone.items(), LOOKED_AT) if each.is_proven and each.at < since]:
            del gone[host]
        given_up = 0
        while len(gone) > REMEMBERED:
            given_up += not gone.popitem(last=False)[1].is_proven
        while len(left) > REMEMBERED:
            left.popitem(last=False)
            given_up += 1
        if given_up:
            _log.error("glue.unproven", zone=names.to_text(self._zone), hosts=given_up)

    async def _restore(self, host: bytes, gone: _Gone) -> None:
        child = gone.released.child
        held = (await self._backend.read(child)).delegation
        # a delegation that is gone is never made again
        change = Change(held, Delegation.of(child, [*held.records, *gone.released.addresses]))
        if not held.is_delegated or await self._mend("glue.restored", host, change):
            self._waiting.gone.pop(host, None)
        else:
            self._waiting.gone[host] = replace(gone, is_proven=False)

    async def _leave(self, host: bytes, known: Host) -> None:
        if not known.named_by and known.addresses:
            if self._coming(host):
                # it may end in vain: then the address goes a while later
                self._put_off()
                return
            if not await self._free(host, known):
                return
        self._waiting.left.pop(host, None)

    async def _free(self, host: bytes, known: Host) -> bool:
        """Take the addresses of a host that nobody names; False if that has to be tried again.

        Whoever named it last has no say in what an operator put into another child for it.
        """
        for place in (*names.between(host, self._zone), host):
            held = visible((await self._backend.read(place)).delegation)
            if held.is_delegated:
                # at a host of the zone's own, which lies in no delegation, nothing is glue
                given = await self._given(place, host)
                left = [record for record in known.addresses if record not in given]
                if len(left) == len(known.addresses):
                    _log.info("glue.left", **self._about(place, host))
                    return True
                before = Delegation.of(place, [*held.records, *known.addresses])
                change = Change(before, Delegation.of(place, [*held.records, *left]))
                released = Released(host, place, tuple(record for record in known.addresses if record in given))
                await self._record(released.to_entry(self._zone))
                self._remember(released)
                return await self._mend(FREED, host, change)
        return True

    async def _mend(self, event: str, host: bytes, change: Change) -> bool:
        about = self._about(change.child, host)
        try:
            await self._backend.write([change])
        except (BackendConflict, BackendRejected) as error:
            _log.warning("glue.unsettled", **about, reason=error.reason)
            self._put_off()
            return False
        _log.warning(event, **about)
        return True

    def _about(self, child: bytes, host: bytes) -> dict[str, str]:
        return {"zone": names.to_text(self._zone), "child": names.to_text(child), "host": names.to_text(host)}


def _lacks(released: Released, found: Host | None) -> bool:
    """True for a host without addresses that others name than the child that gave them up."""
    return found is not None and not found.addresses and any(each != released.child for each in found.named_by)
