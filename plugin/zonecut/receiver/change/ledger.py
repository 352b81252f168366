"""The durable record of every accepted change: written before anybody is told NOERROR."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog

from zonecut.plugin import Change
from zonecut.protocol import names
from zonecut.protocol.delegation import RR
from zonecut.receiver.change.released import FREED, FREEING, KEPT, Released
from zonecut.receiver.message.authentication import check_trusted
from zonecut.receiver.provenance import Provenance
from zonecut.receiver.trouble import Trouble
from zonecut.store import (
    AcceptedChange,
    Asker,
    Attempt,
    AuditEntry,
    AuditRecord,
    ChangeKind,
    ChangeState,
    Chore,
    Decision,
    InvalidTransition,
    KeyState,
    NotInStore,
    Settlement,
    Store,
    StoredChange,
    StoreUnavailable,
    ZoneSerial,
)

SETTLE_WITHIN = 0.05
"""Seconds for which what was applied is collected before that is recorded."""
RECENT = 1000
"""So many of the last changes, and of the addresses that were taken away, are taken up again after a start."""
RECENT_SECONDS = 600.0
"""What was settled so long before the last one was proven, or is not taken up for it."""
_AMONG = 100_000
"""So many rows are looked through for them."""
SETTLE_RETRY = 1.0
"""Seconds between attempts to record how a change ended while the store cannot be written."""

_log = structlog.get_logger(__name__)


class Ledger:
    """One parent zone's accepted changes in the store."""

    def __init__(self, store: Store, zone: bytes, boot: str = "") -> None:
        """`boot` names this boot of the machine; empty where it is not known."""
        self.boot = boot
        self._store = store
        self._zone = zone
        self._ended: list[Settlement] = []
        self._settling: set[asyncio.Task[None]] = set()
        self._failing: dict[int, asyncio.Task[None]] = {}
        self._first: dict[int, Callable[[], Awaitable[None]]] = {}
        self._doing_first: dict[int, asyncio.Task[None]] = {}
        self._closing = asyncio.Event()
        self._delayed = Trouble("change.settle.delayed", zone=names.to_text(zone))

    async def append(
        self, provenance: Provenance, change: Change, *, held_because: str | None = None, replaces: int | None = None
    ) -> int:
        """The id of the change, once it is on disk. Raises StoreUnavailable, StoreConflict.

        `held_because`: why it waits for an operator. `replaces`: the held change of the child that ends with it.
        """
        record = provenance.record(
            self._zone, change.before, change.after, held_because=held_because, replaces=replaces
        )
        return await self._store.changes.append(record)

    async def ask_again(self, change_id: int, provenance: Provenance) -> bool:
        """Have another message stand behind a change that waits for an operator, before those that did.

        False if it waits no more. Raises StoreUnavailable, StoreConflict.
        """
        asker = Asker(
            change_id,
            provenance.actor,
            provenance.source,
            provenance.message,
            provenance.key_id,
            provenance.key_tag,
            provenance.identity,
            provenance.expires_at,
            provenance.inception,
        )
        return await self._store.decisions.ask_again(asker)

    async def hold(self, change_id: int, change: Change, reason: str) -> None:
        """Have an accepted change wait for an operator. Raises StoreError."""
        await self._store.decisions.hold(change_id, change.before, change.after, reason)

    async def held(self) -> Sequence[StoredChange]:
        """The changes that wait for an operator. Raises StoreUnavailable."""
        return await self._store.decisions.held(self._zone)

    async def decided(self, lowest: int) -> Sequence[StoredChange]:
        """The changes about which an operator decided, with this number and higher ones. Raises StoreUnavailable."""
        return await self._store.decisions.since(self._zone, lowest)

    async def get(self, change_id: int) -> StoredChange | None:
        """The change with this number. Raises StoreUnavailable."""
        return await self._store.changes.get(change_id)

    async def accepted(self, child: bytes) -> Sequence[AcceptedChange]:
        """The latest changes that were accepted of a child, whatever became of them. Raises StoreUnavailable."""
        return await self._store.changes.accepted(child)

    async def find(self, identity: bytes) -> StoredChange | None:
        """The change that the same signed data became, unless that failed. Raises StoreUnavailable."""
        return await self._store.changes.find(identity)

    async def unsettled(self) -> Sequence[StoredChange]:
        """What a crash left between ledger and backend, in the order in which it was accepted."""
        return await self._store.changes.unsettled(self._zone)

    async def newest(self) -> Mapping[bytes, int]:
        """The number of the latest change of each child of which one is unsettled. Raises StoreUnavailable."""
        return await self._store.changes.newest(self._zone)

    @property
    def restored(self) -> str | None:
        """Why nothing is to be done before an operator has decided; None if nothing is in the way."""
        restored = self._store.restored
        return None if restored is None else restored.reason

    async def absence(self) -> float | None:
        """Seconds since this zone was last served; None if it never was. Raises StoreUnavailable."""
        return await self._store.zones.absence(self._zone)

    async def last_applied(self) -> Sequence[Change]:
        """The changes that were applied last, oldest first, those of some minutes. Raises StoreUnavailable."""
        found = await self._store.changes.list(zone=self._zone, state=ChangeState.APPLIED, limit=RECENT, among=_AMONG)
        newest = max((each.settled_at or 0.0 for each in found), default=0.0)
        last = [each for each in found if (each.settled_at or 0.0) >= newest - RECENT_SECONDS]
        return [Change(each.before, each.after) for each in reversed(last) if each.kind is ChangeKind.DELEGATION]

    async def last_freed(self) -> Sequence[Released]:
        """The addresses that were taken away last, since nobody named their hosts. Raises StoreUnavailable."""
        audit = self._store.audit
        events = [await audit.list(event=event, limit=RECENT, among=_AMONG) for event in (FREEING, FREED)]
        found = sorted((each for those in events for each in those), key=lambda each: each.at, reverse=True)
        newest = max((each.at for each in found), default=0.0)
        return self._released([each for each in reversed(found) if each.at >= newest - RECENT_SECONDS])

    async def last_kept(self) -> Sequence[Released]:
        """The addresses that a change would have taken, and did not, as somebody may still. Raises StoreUnavailable."""
        return self._released(await self._store.audit.list(event=KEPT, limit=RECENT, among=_AMONG))

    def _released(self, records: Sequence[AuditRecord]) -> list[Released]:
        entries = (each.entry for each in records)
        return [each for one in entries if one.zone == self._zone and (each := Released.of_entry(one)) is not None]

    async def chores(self) -> Sequence[Chore]:
        """What people were last told to do in this zone, beside its changes. Raises StoreUnavailable."""
        return [each for each in await self._store.chores.all() if each.zone == self._zone]

    async def note_chores(self, chores: Sequence[Chore]) -> None:
        """Record that these are all that people are to do beside its changes. Raises StoreUnavailable."""
        await self._store.chores.record(self._zone, chores)

    async def given(self, child: bytes, host: bytes) -> Collection[RR]:
        """The addresses of a host that are a child's own: they came with its changes, or with it as its name server.

        As far as its last changes tell. Raises StoreUnavailable.
        """
        given: set[RR] = set()
        for each in await self._store.changes.list(child=child, limit=RECENT):
            if each.kind is ChangeKind.DELEGATION and each.state in (ChangeState.APPLIED, ChangeState.ACCEPTED):
                had = set() if host in (*each.before.ns, *each.after.ns) else set(each.before.glue)
                given.update(record for record in (*each.before.glue, *each.after.glue) if record not in had)
        return {record for record in given if record.owner == host}

    async def record(self, entry: AuditEntry) -> None:
        """Write something into the audit trail, and return when it is durable. Raises StoreUnavailable."""
        await self._store.audit.record(entry)

    async def floor(self) -> float | None:
        """The time before which signed messages are stale, in seconds since the epoch; None if there is none.

        Raises StoreUnavailable.
        """
        floors = await self._store.restores.floor(), await self._store.serials.floor(self._zone)
        return max((each for each in floors if each is not None), default=None)

    async def distrust(self) -> float:
        """Have what was signed before now be stale; that time. Raises StoreUnavailable."""
        return await self._store.serials.distrust(self._zone)

    async def last_serial(self) -> ZoneSerial | None:
        """The zone's serial as it was last recorded. Raises StoreUnavailable."""
        return await self._store.serials.last(self._zone)

    async def note_serial(self, seen: ZoneSerial) -> None:
        """Record the zone's serial. Raises StoreUnavailable."""
        await self._store.serials.record(seen)

    async def check_signer(self, stored: StoredChange) -> None:
        """Raise Refusal unless the key that signed a change is trusted now, or it came without a signature.

        Raises StoreUnavailable.
        """
        if stored.inception is None:
            return
        key = None if stored.key_id is None else await self._store.keys.get(stored.key_id)
        if key is not None and key.was_rolled and stored.decision is Decision.APPROVED:
            # it waited for so long that its child has gone on to another key, as children do: that one answers for it
            trusted = [each for each in await self._store.keys.find(stored.child) if each.state is KeyState.TRUSTED]
            key = trusted[0] if trusted else key
        check_trusted(stored.child, key)

    async def askers(self, stored: StoredChange) -> Sequence[StoredChange]:
        """A change as those asked for it before whose message does not stand in it, the latest first.

        Raises StoreUnavailable.
        """
        return await self._store.decisions.askers(stored)

    async def take_up(self, change_id: int, change: Change) -> None:
        """An approved change was judged again, and is about to be written.

        Raises InvalidTransition where it is approved no more, NotInStore, StoreUnavailable.
        """
        await self._store.decisions.take_up(change_id, change.before, change.after)

    async def rebase(self, change_id: int, change: Change) -> None:
        """The change was judged again on what the server holds now. Raises StoreUnavailable."""
        await self._store.changes.rebase(change_id, change.before, change.after)

    def settle(
        self, change_id: int, state: ChangeState, reason: str | None, attempts: int, history_number: int | None = None
    ) -> None:
        """Record how a change ended, in the background: until that is on disk, a restart only settles it again.

        `history_number`: that of the server's history by which it is written, where others make the zone of it.
        """
        settlement = Settlement(change_id, state, reason, attempts, history_number=history_number)
        first = self._first.pop(change_id, None)
        if first is not None and state is ChangeState.APPLIED:
            doing = self._doing_first[change_id] = self._start(self._do_first(change_id, first))
            doing.add_done_callback(lambda _: self._doing_first.pop(change_id))
            self._start(self._record_after(doing, settlement))
            return
        if state is ChangeState.FAILED:
            # at once: until this is recorded, its sender cannot try again
            task = self._failing[change_id] = self._start(self._record_ended([settlement]))
            task.add_done_callback(lambda _: self._failing.pop(change_id, None))
            return
        if not self._ended:
            self._start(self._record_collected())
        self._ended.append(settlement)

    def do_first(self, change_id: int, work: Callable[[], Awaitable[None]]) -> None:
        """Have something done, however often it is tried, before it is recorded that a change was applied.

        Until then a restart finds it unsettled, and does it again. Not for a change that ends otherwise.
        """
        self._first[change_id] = work

    def when_done_first(self, change_id: int, then: Callable[[], None]) -> None:
        """Call `then` once that is done, at once where nothing is; never if this ledger is closed before."""
        self._first.pop(change_id, None)
        task = self._doing_first.get(change_id)
        if task is None:
            then()
        else:
            task.add_done_callback(lambda done: None if done.cancelled() else then())

    async def done_first(self, change_id: int, patience: float) -> None:
        """Return when that is done or nothing is, or `patience` seconds have passed."""
        if (task := self._doing_first.get(change_id)) is not None:
            await asyncio.wait((task,), timeout=patience)

    async def _do_first(self, change_id: int, work: Callable[[], Awaitable[None]]) -> None:
        trouble = Trouble("change.settle.delayed", change=change_id)
        while True:
            try:
                await work()
                return trouble.over()
            except StoreUnavailable as error:
                trouble.again(error.reason)
            except Exception:
                # a defect of ours: it is not recorded as done what was not, and the child waits
                _log.exception("change.defect", change=change_id)
            await asyncio.sleep(SETTLE_RETRY)

    async def _record_after(self, first: "asyncio.Task[None]", settlement: Settlement) -> None:
        await first
        await self._record_ended([settlement])

    def tell(self, entry: AuditEntry) -> None:
        """Write something that goes with a change into the audit trail, in the background."""
        self._start(self._tell(entry))

    async def _tell(self, entry: AuditEntry) -> None:
        try:
            await self._store.audit.record(entry)
        except StoreUnavailable as error:
            _log.error("audit.lost", event_lost=entry.event, reason=error.reason)

    def when_failed(self, change_id: int, then: Callable[[], None]) -> None:
        """Call `then` once it is on disk that a change failed; never if this ledger is closed before."""
        task = self._failing.get(change_id)
        if task is None:
            then()
        else:
            task.add_done_callback(lambda done: None if done.cancelled() else then())

    def note(self, attempts: Sequence[Attempt]) -> None:
        """Record in the background why changes wait. What the store does not take is told again by the next attempt."""
        if attempts:
            self._start(self._note(attempts))

    async def _note(self, attempts: Sequence[Attempt]) -> None:
        with suppress(StoreUnavailable):
            await self._store.changes.note_attempts(attempts)

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return task

    async def _record_collected(self) -> None:
        """Record what has ended SETTLE_WITHIN from now: each transaction costs as much as many rows."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_WITHIN):
                await self._closing.wait()
        ended, self._ended = self._ended, []
        await self._record_ended(ended)

    async def _record_ended(self, ended: Sequence[Settlement]) -> None:
        while True:
            try:
                await self._store.changes.settle_many(ended)
                return self._delayed.over()
            except StoreUnavailable as error:
                self._delayed.again(error.reason, change=ended[0].change_id, count=len(ended))
                await asyncio.sleep(SETTLE_RETRY)
            except (InvalidTransition, NotInStore) as error:
                if len(ended) == 1:
                    _log.warning("change.settle.impossible", change=ended[0].change_id, reason=error.reason)
                    return None
                # one that somebody else has settled already must not keep the others unsettled
                for each in ended:
                    await self._record_ended([each])
                return None

    async def close(self, patience: float) -> None:
        """Record at once what is settled; wait up to `patience` seconds for that."""
        self._closing.set()
        if self._settling:
            _, late = await asyncio.wait(self._settling, timeout=patience)
            for task in late:
                task.cancel()
