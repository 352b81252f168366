"""Those who make a parent zone of what is written to its server's tables: how far they are, and whether they go on.

What is in the tables is not in the zone before somebody has made one of them. Nobody asks the zone: each who makes it
says how far he has come, and whoever says nothing is not missed.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import structlog

from zonecut.plugin import Backend, BackendError, Consumer, Progress
from zonecut.protocol import names
from zonecut.receiver.trouble import Trouble
from zonecut.store import Store, StoreUnavailable, ZoneConsumer

PERIOD = 5.0
"""Seconds between two looks."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Seen:
    """What was seen of one consumer. `highest`: the number up to which he has come."""

    number: int
    highest: int
    standing_since: float | None = None
    """Since when he owes something and takes nothing up, in monotonic seconds."""
    owed: int | None = None
    """Up to which number he has to come before he is no alarm any more for standing still."""


class Watermarks:
    """What the numbers of one zone's consumers mean, look after look. Pure."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def recall(self, earlier: Iterable[ZoneConsumer], epoch: float) -> None:
        """What a process before us saw. `epoch`: by how much a moment is more in seconds since the epoch."""
        for each in earlier:
            standing = None if each.standing_since is None else each.standing_since - epoch
            highest = each.number if each.highest is None else each.highest
            self._seen[each.name] = _Seen(each.number, highest, standing, each.owed)

    def noted(self, consumer: ZoneConsumer, epoch: float) -> ZoneConsumer:
        """The same with what the next process has to know of him."""
        seen = self._seen[consumer.name]
        standing = None if seen.standing_since is None else seen.standing_since + epoch
        return replace(consumer, highest=seen.highest, owed=seen.owed, standing_since=standing)

    def alarms(self, progress: Progress, now: float, patience: float) -> dict[str, str]:
        """What is wrong with each consumer, empty where nothing is; `now` and `patience` in seconds."""
        known, self._seen = self._seen, {}
        found = {}
        for consumer in progress.consumers:
            seen = known.get(consumer.name)
            is_known = seen is not None and seen.standing_since is not None
            if seen is None:
                seen = _Seen(consumer.number, consumer.number)
            self._seen[consumer.name] = seen
            if seen.standing_since is not None:
                # a clock that was wrong puts no beginning into the future
                seen.standing_since = min(seen.standing_since, now)
            self._note(seen, consumer, progress.number, now, is_known=is_known)
            found[consumer.name] = _alarm(seen, consumer, progress.number, now, patience)
        return found

    def _note(self, seen: _Seen, consumer: Consumer, last: int, now: float, *, is_known: bool) -> None:
        if consumer.number >= min(seen.highest, last):
            # also where the tables themselves were put back to what they once were
            seen.highest = consumer.number
        if consumer.number >= last:
            seen.standing_since = None
        elif not is_known:
            # at first sight: what he wrote, and what he owes, have times of their own
            ages = consumer.idle, consumer.owing
            seen.standing_since = now - min(age or 0.0 for age in ages)
        elif consumer.number > seen.number:
            seen.standing_since = now
        if seen.owed is not None and consumer.number >= min(seen.owed, last):
            seen.owed = None
        seen.number = consumer.number


def _alarm(seen: _Seen, consumer: Consumer, last: int, now: float, patience: float) -> str:
    name, number = consumer.name, consumer.number
    where = f"consumer {name}, at {number} of {last},"
    if consumer.failed:
        return f"{where} says that it failed: {consumer.reason or 'without a reason'}"
    if number > last:
        return f"{where} is above what is in the tables: it made its zone of other ones"
    if number < seen.highest:
        return f"{where} was at {seen.highest} before: what it had taken up since is not in its zone any more"
    if seen.standing_since is None:
        return ""
    if seen.owed is None and now - seen.standing_since >= patience:
        seen.owed = last
    if seen.owed is None:
        return ""
    return f"{where} has not taken up what is in the tables for more than {patience:g} s"


class Consumers:
    """Of one parent zone. `run` it in a task while its backend is open."""

    def __init__(
        self,
        zone: bytes,
        backend: Backend,
        store: Store,
        patience: float,
        monotonic: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """`patience`: for how many seconds one may stand still while there is something to be taken up.

        `clock` is in seconds since the epoch.
        """
        self._zone = zone
        self._backend = backend
        self._store = store
        self.patience = patience
        self._monotonic = monotonic
        # once: a beginning that is recorded does not move with the clock
        self._epoch = clock() - monotonic()
        self._marks = Watermarks()
        self._troubles: dict[str, Trouble] = {}
        self._recorded: tuple[ZoneConsumer, ...] | None = None
        self._unrecorded = Trouble("zone.consumers.unrecorded", zone=names.to_text(zone))
        self._unseen = Trouble("zone.consumers.unseen", zone=names.to_text(zone))
        self._blind = ""
        """Why they cannot be looked at, although the server is there."""
        self.now: tuple[ZoneConsumer, ...] = ()
        """All of them, as they were at the last look."""

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is wrong with them, in sentences."""
        blind = (self._blind,) if self._blind else ()
        return (*blind, *(each.alarm for each in self.now if each.alarm))

    async def run(self) -> None:
        """Look at them until cancelled."""
        recalled = False
        while True:
            try:
                if not recalled:
                    await self.recall()
                    recalled = True
                await self.look()
                self._unrecorded.over()
            except StoreUnavailable as error:
                self._unrecorded.again(error.reason)
            await asyncio.sleep(PERIOD)

    async def recall(self) -> None:
        """Take over what a process before us saw. Raises StoreUnavailable."""
        self._marks.recall((await self._store.consumers.all()).get(self._zone, ()), self._epoch)

    async def look(self) -> None:
        """Look at them once. What keeps them from being seen is an alarm. Raises StoreUnavailable."""
        try:
            progress = await self._backend.progress() or Progress(0)
        except BackendError as error:
            # where the server is away altogether, whatever else asks it tells
            if await self._is_there():
                self._be_blind(error.reason)
            return
        except Exception as error:
            # a defect of an adapter: nobody stops writing since nobody looks
            if not self._blind:
                _log.exception("zone.consumers.defect", zone=names.to_text(self._zone))
            self._be_blind(f"internal error ({type(error).__name__}), see the log")
            return
        self._blind = ""
        self._unseen.over()
        alarms = self._marks.alarms(progress, self._monotonic(), self.patience)
        self.now = tuple(
            ZoneConsumer(
                self._zone, each.name, each.number, progress.number, each.failed, each.reason, alarms[each.name]
            )
            for each in progress.consumers
        )
        self.now = tuple(self._marks.noted(each, self._epoch) for each in self.now)
        self._tell()
        if self.now != self._recorded:
            await self._store.consumers.record(self._zone, self.now)
            self._recorded = self.now

    async def _is_there(self) -> bool:
        try:
            await self._backend.history_number()
        except BackendError:
            return False
        return True

    def _be_blind(self, reason: str) -> None:
        """They are as they were at the last look, for all that we know."""
        self._blind = f"the consumers of this zone are not seen: {reason}"
        self._unseen.again(reason)

    def _tell(self) -> None:
        """In the log: when it begins, and when it is over; also of one who is gone."""
        for each in self.now:
            if each.alarm and each.name not in self._troubles:
                about = {"zone": names.to_text(self._zone), "consumer": each.name}
                self._troubles[each.name] = Trouble("zone.consumer", **about)
            if each.alarm:
                self._troubles[each.name].again(each.alarm, number=each.number, history_number=each.history_number)
        alarming = {each.name for each in self.now if each.alarm}
        for name in self._troubles.keys() - alarming:
            self._troubles.pop(name).over()
