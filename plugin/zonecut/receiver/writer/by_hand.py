"""What a person is told to do in a zone that zonecut does not write, beside the changes as the ledger has them.

It is in the store, where `zonecut change list` and `change show` look, and outlives the process.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog

from zonecut.plugin import Backend, Change
from zonecut.protocol import names
from zonecut.receiver.change.released import FREED, RESTORED
from zonecut.receiver.trouble import Trouble
from zonecut.receiver.writer.write_queue import Pending
from zonecut.store import Chore, StoreUnavailable

MAX_HOSTS = 100
"""So many hosts are told of at a time; the others when some of these are done."""
RECORD_AGAIN = 1.0
"""Seconds between attempts to record it while the store cannot be written."""

_WHY = {RESTORED: "NS name it, and it has no address", FREED: "no NS names it any more, and its addresses go"}
_CURE = "zonecut change list says what is to be done by hand; it is done when the zone shows it"

_log = structlog.get_logger(__name__)


class ByHand:
    """Of one parent zone."""

    def __init__(self, zone: bytes, backend: Backend, record: Callable[[Sequence[Chore]], Awaitable[None]]) -> None:
        """`record` has these be all of the zone in the store; it raises StoreUnavailable."""
        self._zone = zone
        self._backend = backend
        self._record = record
        self._told: dict[tuple[bytes, bytes], Chore] = {}
        self._unrecorded = Trouble("zone.chores.unrecorded", zone=names.to_text(zone))
        self._is_recorded = True
        self._task: asyncio.Task[None] | None = None

    @property
    def is_meant(self) -> bool:
        """Whether people write this zone, and zonecut does not."""
        return self._backend.by_hand(()) is not None

    def recall(self, chores: Iterable[Chore]) -> None:
        """What a process before us told of hosts; of changes it is told anew when each is looked at."""
        kept = [each for each in chores if each.host and self.is_meant]
        self._told.update({(each.child, each.host): each for each in kept})

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    @property
    def hosts(self) -> dict[bytes, Chore]:
        """What is told of hosts, the longest one first."""
        return {host: chore for (_, host), chore in self._told.items() if host}

    def tell_of_host(self, event: str, host: bytes, change: Change) -> bool:
        """Have it told what is to become of a host's addresses; False where people have enough to do already."""
        if host not in self.hosts and len(self.hosts) >= MAX_HOSTS:
            return False
        if self.tell(Chore(self._zone, change.before, change.after, host=host, event=event, reason=_WHY[event])):
            about = {"zone": self._zone, "child": change.child, "host": host}
            reason = f"{_WHY[event]}: {_CURE}"
            _log.warning("glue.by-hand", **{key: names.to_text(name) for key, name in about.items()}, reason=reason)
        return True

    def tell(self, chore: Chore) -> bool:
        """Have it told, in place of what was told of the same; whether it is something new."""
        key = (chore.child, chore.host)
        known = self._told.get(key)
        if known is not None and (known.before, known.after, known.event) == (chore.before, chore.after, chore.event):
            return False
        self._told[key] = chore
        self._changed()
        return known is None

    def tell_rest(self, pending: Pending) -> None:
        """Have the rest of a change told of which a part is done; where nothing is, the ledger says it all."""
        change = pending.change
        if change.before == pending.origin:
            self.drop(pending.child)
        else:
            self.tell(Chore(self._zone, change.before, change.after, change_id=pending.id))

    def drop(self, child: bytes, host: bytes = b"") -> None:
        """It is done, or nobody has to do it any more."""
        if self._told.pop((child, host), None) is not None:
            self._changed()

    def settled(self, batch: Iterable[Pending]) -> None:
        """Nobody has to do anything more for those of these changes that have ended."""
        for pending in batch:
            if pending.settled.done():
                self.drop(pending.child)

    def _changed(self) -> None:
        self._is_recorded = False
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while not self._is_recorded:
            self._is_recorded = True
            try:
                await self._record(tuple(self._told.values()))
                self._unrecorded.over()
            except StoreUnavailable as error:
                self._unrecorded.again(error.reason)
                self._is_recorded = False
                await asyncio.sleep(RECORD_AGAIN)
