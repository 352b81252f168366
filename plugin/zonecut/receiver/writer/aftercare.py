"""What becomes of hosts in the zone after a change: addresses that somebody needs come back, unneeded ones go.

A change is judged on what is known then of who names a host, and where only a listing tells, that is as old as the last
one. So an address that went is not given up before a listing that began later shows that nobody names its host; and one
that nobody's change gives up, since its host lies in another child, is taken away only upon such proof, and only where
that child is known to have had it: what an operator put there stays. What waits for proof outlives the process: the
ledger has what went with a change, and the audit trail what was taken away here.

Where people write the zone, they are told what is to be done, and it is done when the zone shows it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice

import structlog

from zonecut.plugin import Backend, BackendError, Change, Host
from zonecut.plugin.branches import visible
from zonecut.protocol import names
from zonecut.protocol.delegation import RR, Delegation
from zonecut.receiver.change.neighbours import Naming
from zonecut.receiver.change.released import FREED, FREEING, RESTORED, Released
from zonecut.receiver.writer.by_hand import ByHand
from zonecut.receiver.writer.mending import DONE, IN_VAIN, Mending
from zonecut.receiver.writer.unsettled_hosts import Gone, Unsettled
from zonecut.store import AuditEntry, Chore, StoreUnavailable

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
        coming: Naming = lambda _: {},
        by_hand: ByHand | None = None,
    ) -> None:
        """`record` writes into the audit trail; `given` tells which addresses of a host are those of the child in which
        it lies, by its own changes; both raise StoreUnavailable. `monotonic` is the backend's clock, too.

        `coming` tells which children name a host by a change that is accepted, and not yet known to be written;
        `by_hand` is told what people are to do where it is they who write.
        """
        self._zone = zone
        self._backend = backend
        self._record = record
        self._given = given
        self._monotonic = monotonic
        self._pauses = again
        self._coming = coming
        self._mending = Mending(zone, backend, record, by_hand)
        self._hand_at = float("-inf")
        """When it is looked at next whether people have done what they were told."""
        self._hand_pause = AGAIN[-1]
        self._freeing: dict[bytes, Released] = {}
        """What is to be taken away, as that was found first."""
        self._waiting = Unsettled()
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
                if not names.is_below(host, self._zone):
                    continue
                if names.is_at_or_below(host, change.child):
                    # what stays there for others may be needed by none of them any more
                    if host in before.ns and any(record.owner == host for record in after.glue):
                        waiting.left[host] = None
                    continue
                if host in before.ns:
                    waiting.left[host] = None
                else:
                    waiting.left.pop(host, None)
                    named.add(host)
        waiting.at_once |= named
        self._look()
        return not waiting.gone.keys().isdisjoint(named)

    def failed(self, changes: Iterable[Change]) -> None:
        """These have come to nothing: addresses of others' hosts that stayed for them may be needed by nobody."""
        for child, host in ((each.child, host) for each in changes for host in {*each.after.ns} - {*each.before.ns}):
            if names.is_below(host, self._zone) and not names.is_at_or_below(host, child):
                self._waiting.left[host] = None
                self._look()

    def named(self, hosts: Iterable[bytes]) -> None:
        """A change is accepted that names these hosts: what people were told of them is looked at again."""
        if not (self._mending.told.keys() | self._waiting.watched.keys()).isdisjoint(hosts):
            self._hand_at = float("-inf")
            self._look()

    def watch(self, kept: Iterable[Released], pause: float = 0.0) -> bool:
        """These stay, and somebody may take them who was asked for it once: looked at every so many seconds, 0 for as
        often as before, until nobody names their hosts. Whether one of them is not known yet."""
        watched = self._waiting.watched
        new = {each.host: each for each in kept if each.host not in watched}
        watched.update(new)
        if new:
            self._hand_pause, self._hand_at = pause or self._hand_pause, float("-inf")
            self._look()
        return bool(new)

    def resume(self, changes: Iterable[Change], freed: Iterable[Released]) -> None:
        """Take up what a process before us may not have come to prove: its last changes, in their order."""
        for released in freed:
            self._remember(released)
        for host, chore in self._mending.told.items():
            if chore.event == RESTORED:
                self._remember(Released.of_chore(chore))
            else:
                self._waiting.left[host] = None
                self._freeing[host] = Released.of_chore(chore)
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
        """When something is to be looked at, on the monotonic clock; None where nothing is."""
        due = self._proof_due
        if not self._mending.told and not self._waiting.watched:
            return due
        return self._hand_at if due is None else min(due, self._hand_at)

    @property
    def _proof_due(self) -> float | None:
        """When proof is to be looked for; None where nothing waits for it."""
        told = self._mending.told
        if any(host not in told for host in self._waiting.left):
            return self._proof_at
        first = next((at for host, at in self._waiting.unproven() if host not in told), None)
        return None if first is None else max(self._proof_at, first + self._pauses[0])

    async def _settle(self) -> None:
        """What could not be done is tried again."""
        try:
            try:
                await self._settle_known()
            finally:
                self._settled.set()
            failures = self._failures
            if (self._mending.told or self._waiting.watched) and self._hand_at <= self._monotonic():
                await self._settle_told()
            if self._proof_due is not None and self._proof_due <= self._monotonic():
                await self._settle_proven()
            if self._failures == failures:
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
        pause = self._pauses[min(self._failures, len(self._pauses) - 1)]
        self._proof_at = max(self._proof_at, self._monotonic() + pause)
        self._failures += 1

    async def _settle_known(self) -> None:
        """Give back what somebody is known to need, as far as the server tells at once. Raises BackendError."""
        waiting = self._waiting
        while waiting.at_once:
            hosts = sorted(waiting.at_once)[:LOOKED_AT]
            waiting.at_once.difference_update(hosts)
            await self._restore_all(await self._backend.hosts(hosts, shared=True))

    async def _settle_proven(self) -> None:
        """Look for proof, and act on it. Raises BackendError, StoreUnavailable.

        Nobody is asked about a host that is to be named by a change which waits: for hours, where people write.
        """
        began, told = self._monotonic(), self._mending.told
        gone = [host for host, _ in self._waiting.unproven(began - self._pauses[0]) if host not in told]
        left = [host for host in self._waiting.left if host not in told]
        if coming := self._coming({*gone, *left}):
            self._put_off()
        gone, left = ([host for host in hosts if host not in coming][:LOOKED_AT] for hosts in (gone, left))
        known = await self._backend.hosts(gone, not_before=began, shared=True) if gone else {}
        free = await self._backend.hosts(left, not_before=began) if left else {}
        # a listing takes the server's time and ours: whoever changes something is not to wait for us
        self._proof_at = max(self._proof_at, self._monotonic() + SHARE * (self._monotonic() - began))
        await self._restore_all(known)
        for host in gone:
            each = self._waiting.gone.get(host)
            if each is not None and each.at <= began and not each.is_missed(known.get(host)):
                self._waiting.gone[host] = replace(each, is_proven=True)
        for host, found in free.items():
            await self._leave(host, found)

    async def _settle_told(self) -> None:
        """Look whether people have done what they were told, and whether it is to be done still; and whether somebody
        has done what does not count any more. Raises BackendError.

        What the serial tells is enough: that it is to be done was proven.
        """
        self._hand_at = self._monotonic() + self._hand_pause
        told = dict(islice(self._mending.told.items(), LOOKED_AT))
        watched = [host for host in islice(self._waiting.watched, LOOKED_AT) if host not in self._mending.told]
        known = await self._backend.hosts([*told, *watched])
        for host in watched:
            await self._look_for_kept(host, known.get(host, Host()))
        for host, chore in told.items():
            found = known.get(host, Host())
            if chore.event == RESTORED:
                await self._look_for_restored(host, chore, found)
            else:
                await self._look_for_freed(host, chore, found)

    async def _look_for_restored(self, host: bytes, chore: Chore, found: Host) -> None:
        gone = self._waiting.gone.get(host)
        coming = self._coming((host,)).get(host, ()) if host in self._waiting.watched else ()
        if gone is not None and gone.is_missed(found, coming):
            await self._restore(host, gone)
            return
        self._mending.drop(chore.child, host)
        if found.addresses:
            self._waiting.gone.pop(host, None)
            await self._mending.done(RESTORED, Released.of_chore(chore))

    async def _look_for_kept(self, host: bytes, found: Host) -> None:
        kept, coming = self._waiting.watched.pop(host, None), self._coming((host,)).get(host, ())
        if kept is None:
            return
        gone = Gone(kept, self._monotonic())
        if gone.is_missed(found, coming):
            self._waiting.watched[host], self._waiting.gone[host] = kept, gone
            await self._restore(host, gone)
        elif not found.addresses:
            self._remember(kept)
        elif found.named_by or coming:
            self._waiting.watched[host] = replace(kept, addresses=tuple(found.addresses))

    async def _look_for_freed(self, host: bytes, chore: Chore, found: Host) -> None:
        released = self._freeing.get(host, Released.of_chore(chore))
        if found.named_by or self._coming((host,)):
            self._mending.drop(chore.child, host)
        elif set(released.addresses).isdisjoint(found.addresses):
            self._remember(released)
            await self._mending.done(FREED, released)
        await self._leave(host, found)

    async def _restore_all(self, known: Mapping[bytes, Host]) -> None:
        for host, found in known.items():
            gone = self._waiting.gone.get(host)
            if gone is not None and gone.is_missed(found):
                await self._restore(host, gone)

    def _remember(self, released: Released) -> None:
        self._waiting.gone[released.host] = Gone(released, self._monotonic())
        self._waiting.gone.move_to_end(released.host)

    def _forget(self) -> None:
        """Drop what was remembered for long enough, and what is too much."""
        given_up = self._waiting.forget(self._monotonic() - REMEMBERED_SECONDS, LOOKED_AT, REMEMBERED)
        if given_up:
            _log.error("glue.unproven", zone=names.to_text(self._zone), hosts=given_up)

    async def _restore(self, host: bytes, gone: Gone) -> None:
        child = gone.released.child
        held = (await self._backend.read(child)).delegation
        # a delegation that is gone is never made again
        change = Change(held, Delegation.of(child, [*held.records, *gone.released.addresses]))
        if not held.is_delegated:
            self._waiting.gone.pop(host, None)
        elif await self._mend(RESTORED, host, change):
            self._waiting.gone.pop(host, None)
            await self._mending.done(RESTORED, gone.released)
        else:
            self._waiting.gone[host] = replace(gone, is_proven=False)

    async def _leave(self, host: bytes, known: Host) -> None:
        if not known.named_by and known.addresses:
            if self._coming((host,)):
                # it may end in vain: then the address goes a while later
                self._put_off()
                return
            if not await self._free(host, known):
                return
        self._waiting.left.pop(host, None)
        self._freeing.pop(host, None)

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
                    _log.info("glue.left", **self._mending.about(place, host))
                    return True
                before = Delegation.of(place, [*held.records, *known.addresses])
                change = Change(before, Delegation.of(place, [*held.records, *left]))
                released = Released(host, place, tuple(record for record in known.addresses if record in given))
                if host not in self._freeing:
                    if not self._mending.is_by_hand:
                        await self._record(released.to_entry(self._zone, FREEING))
                        self._remember(released)
                    self._freeing[host] = released
                if not await self._mend(FREED, host, change):
                    return False
                await self._mending.done(FREED, self._freeing[host])
        return True

    async def _mend(self, event: str, host: bytes, change: Change) -> bool:
        pause = await self._mending.mend(event, host, change)
        if pause == IN_VAIN:
            self._put_off()
        elif pause != DONE:
            self._hand_pause, self._hand_at = pause, self._monotonic() + pause
        return pause == DONE
