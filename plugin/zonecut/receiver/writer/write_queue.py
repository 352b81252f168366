"""Accepted changes on their way to the server: in order of arrival, and aside those that come again at their time."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile
from math import inf

from zonecut.plugin import Change
from zonecut.protocol.delegation import RR, Delegation
from zonecut.protocol.errors import Refusal
from zonecut.receiver.change.case import Case
from zonecut.receiver.outcome import Outcome

MAX_ASKED = 16
"""So many forms in which people were told of a change are recognised when they are found in the zone."""


@dataclass(slots=True, eq=False)
class Pending:
    """An accepted change on its way to the server. `settled` tells how it ended."""

    id: int
    change: Change
    case: Case
    attempts: int = 0
    """How often it was taken to the server."""
    settled: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    uncertain: bool = False
    """An earlier attempt, or a process before us, may have written it."""
    may_be_ours: bool = True
    """False where others may have changed the zone since: then nothing on the server counts as half of our writing."""
    written: bool = field(init=False)
    """Something of it may be on the server."""
    resumed: bool = False
    """It was accepted by a process before us."""
    doubt: str | None = None
    """Why it may have been written and undone since."""
    looked_at: Change | None = None
    """What the checks that are enforced have passed; None if that is not known."""
    since: float = field(default_factory=time.monotonic)
    """When it was accepted, or taken up again; monotonic, in seconds."""
    trouble: str = ""
    """Why the last attempt was in vain."""
    withdrawn: Refusal | None = None
    """Why it must not be written any more, whatever else speaks for it."""
    done_as: Delegation | None = None
    """What a person has said, with proof, that the zone holds of the child; None where nobody has."""
    suspect: bool = False
    """The server took others and not this one: it is tried alone, so that it holds up nobody."""
    pauses: int = 0
    """How often it was set aside."""
    conflicts: int = 0
    """How often it was judged again on what the server holds."""
    mismatches: int = 0
    """How often the server acknowledged it and held only a part of it, or nothing."""
    origin: Delegation = field(init=False)
    """What the server held before we wrote anything of it."""
    answered_later: bool = False
    """The server was asked for it, has yet to decide, and may then carry it out without being asked again."""
    again_in: float = 0.0
    """After how many seconds it said to ask again."""
    asked: list[Change] = field(default_factory=list)
    """What the server was asked for, or may have been by a process before us: with another `before`, another one."""
    dropped: bool = False
    """The server was told to forget it, and has."""
    lagging: bool = False
    """The server has acknowledged it, and may show it a while later: until then it is not written again."""
    shown_late: int = 0
    """How often the server was looked at again, in the hope that it shows what it acknowledged."""
    history_number: int | None = None
    """That of the history by which it is written, where others make the zone of it."""
    lost: frozenset[RR] = frozenset()
    """What the server was seen to lose with a write of it that it acknowledged, nothing having come in between."""

    def __post_init__(self) -> None:
        self.origin = self.change.before
        self.written = self.uncertain
        if self.uncertain:
            self.asked.append(self.change)

    @property
    def child(self) -> bytes:
        return self.change.child

    @property
    def is_new(self) -> bool:
        """Whether nothing has kept it so far: who asked for it waits for the answer still."""
        return not self.trouble and self.since > -inf

    @property
    def untried(self) -> int:
        """Its number where nothing of it can be on the server, so that what is there is not our doing; else 0."""
        return 0 if self.written else self.id

    @property
    def is_applied(self) -> bool:
        return self.settled.done() and not self.settled.cancelled() and not self.settled.result().rcode

    @property
    def has_failed(self) -> bool:
        return self.settled.done() and not self.is_applied

    @property
    def written_change(self) -> Change:
        """What came of it, from where it began: also where a part was there when it was judged last."""
        return Change(self.origin, self.change.after)

    def identify(self, identity: bytes) -> None:
        """Have it go by the identity of the request behind it, before it is taken to the server."""
        self.change = replace(self.change, identity=identity)
        self.asked = [replace(each, identity=identity) for each in self.asked]

    def ask(self) -> Change:
        """What it is taken to the server as."""
        if self.change not in self.asked:
            self.asked.append(self.change)
        self.dropped = False
        return self.change

    def may_have_left(self, held: Delegation) -> bool:
        """True if what the server holds may be what our own writing left, and nobody else's.

        It has no record that was there neither before nor after, and lacks none that was there both times: that one
        somebody else took out. After is whatever was asked for.
        """
        if not self.written or not self.may_be_ours:
            return False
        origin, there = set(self.origin.records), set(held.records)
        wanted = (set(each.after.records) for each in (self.change, *self.asked))
        return any(origin & after <= there <= origin | after for after in wanted)

    def told_to_people(self) -> None:
        """It is in people's hands, who may do it at once, step by step, or as they were told before."""
        self.written = True
        self.conflicts = 0
        del self.asked[:-MAX_ASKED]

    def out_of_sight(self) -> None:
        """Others may come between what was written of it, which is not known, and what is read next."""
        self.uncertain = self.written = True
        self.lost, self.lagging = frozenset(), False


class WriteQueue:
    """What is left to be written. One writer takes from it, and says when it is done with what it took."""

    def __init__(self) -> None:
        self._waiting: deque[Pending] = deque()
        self._aside: dict[bytes, tuple[Pending, asyncio.TimerHandle]] = {}
        self._work = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._coming = 0
        self._most = 0
        self._gathered = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._aside)

    def put(self, pending: Pending) -> None:
        """Add one at the end."""
        self._waiting.append(pending)
        self._work.set()
        self._empty.clear()
        self._check_gathered()

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """While one more is being recorded, which is then put here."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1
            self._check_gathered()

    async def take(self, most: int, fitting: Callable[[Sequence[Change]], int], patience: float = 0.0) -> list[Pending]:
        """Wait for work and take it: as much as fits into a transaction, or one suspect alone.

        While more are expected than wait, those have `patience` seconds to come in time for it.
        """
        await self._work.wait()
        self._most = most
        self._gathered.clear()
        self._check_gathered()
        if not self._gathered.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._gathered.wait()
        return self._next(most, fitting)

    def _next(self, most: int, fitting: Callable[[Sequence[Change]], int]) -> list[Pending]:
        if self._waiting[0].suspect:
            return [self._waiting.popleft()]
        batch = list(takewhile(lambda pending: not pending.suspect, islice(self._waiting, most)))
        size = fitting([pending.change for pending in batch])
        return [self._waiting.popleft() for _ in batch[:size]]

    def first(self, most: int) -> list[Pending]:
        """Those that will be taken next; they stay."""
        return list(islice(self._waiting, most))

    def put_back(self, untried: Sequence[Pending], tried: Sequence[Pending]) -> None:
        """Take back what was not written: what was tried alone goes behind all others, so that it is not in the way."""
        self._waiting.extendleft(reversed(untried))
        self._waiting.extend(tried)

    def set_aside(self, pending: Pending, seconds: float) -> None:
        """Take one back that comes again, at the end, after so many seconds."""
        timer = asyncio.get_running_loop().call_later(seconds, self._bring_back, pending.child)
        self._aside[pending.child] = pending, timer

    def hurry(self, child: bytes) -> None:
        """Have what was set aside of a child come again at once."""
        if child in self._aside:
            self._aside[child][1].cancel()
            self._bring_back(child)

    def aside(self, child: bytes) -> Pending | None:
        """The change of a child that was set aside, if one was."""
        found = self._aside.get(child)
        return None if found is None else found[0]

    def done(self) -> None:
        """What was taken is settled or was given back."""
        if not self._waiting:
            self._work.clear()
            self._empty.set()

    async def emptied(self) -> None:
        """Wait until nothing is left but what was set aside."""
        await self._empty.wait()

    def close(self) -> None:
        """Nothing that was set aside comes again."""
        for _, timer in self._aside.values():
            timer.cancel()

    def _check_gathered(self) -> None:
        if len(self._waiting) >= min(self._coming, self._most):
            self._gathered.set()

    def _bring_back(self, child: bytes) -> None:
        pending, _ = self._aside.pop(child)
        self.put(pending)
