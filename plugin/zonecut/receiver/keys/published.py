"""Which keys does a child publish at its apex? Looked up for strangers' messages, and so bounded whoever asks.

What is found makes no key trusted: it says that a key is worth the methods that do. A child is looked at once in a
while, whoever makes us look, and all who ask meanwhile are told the same. A name that is no child of ours costs what
an upload for it costs, and nothing of what others' look-ups may cost.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog

from zonecut.plugin import BackendError
from zonecut.plugin.bootstrap import Lookups, Presence, Sighting
from zonecut.protocol import names
from zonecut.protocol.codepoints import CodePoints
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.errors import Refusal
from zonecut.protocol.keys import Key, UnusableKey, check_usable
from zonecut.receiver.bounded import Bounded
from zonecut.receiver.message.admission import TokenBuckets
from zonecut.store import StoreError

MAX_CHECKING = 64
"""Names of which it is found out at once whether they are children."""
MAX_LOOKING = 16
"""Children whose keys are looked up at once."""
MAX_WAITING = 8
"""Messages of one child that wait for a look-up; what is sent again finds its answer."""
BURST, RATE = 50.0, 5.0
"""Look-ups at once, and a second after that, whoever makes us look."""
REMEMBERED = 4096
"""Children of whom it is remembered what was found, and names that are no children."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The usable KEY records at a child's apex, whatever that is worth.

    `is_vouched` is False where the child has a DS and no chain of trust vouches for what was seen.
    """

    keys: tuple[Key, ...] = ()
    is_vouched: bool = False


_NOTHING = Seen()
_log = structlog.get_logger(__name__)


class Published:
    """The keys that the children of one parent zone publish."""

    def __init__(
        self,
        zone: bytes,
        lookups: Lookups,
        delegated: Callable[[bytes], Awaitable[Delegation]],
        cool_down: float,
        codepoints: CodePoints,
        *,
        monotonic: Callable[[], float],
    ) -> None:
        """`delegated` raises Refusal for what is no child. A child is looked at once in `cool_down` seconds."""
        self._zone = zone
        self._lookups = lookups
        self._delegated = delegated
        self._cool_down = cool_down
        self._codepoints = codepoints
        self._monotonic = monotonic
        self._seen: Bounded[bytes, tuple[float, Seen]] = Bounded(REMEMBERED)
        self._no_child: Bounded[bytes, float] = Bounded(REMEMBERED)
        self._tasks: dict[bytes, asyncio.Task[Seen]] = {}
        self._waiting: dict[bytes, int] = {}
        self._looking = 0
        self._all = TokenBuckets(BURST, RATE)

    def latest(self, child: bytes) -> Seen | None:
        """What was seen within the last `cool_down` seconds; None if nobody looked."""
        now = self._monotonic()
        seen_at, seen = self._seen.get(child, (None, _NOTHING))
        if seen_at is not None and now - seen_at < self._cool_down:
            return seen
        refused_at = self._no_child.get(child)
        return _NOTHING if refused_at is not None and now - refused_at < self._cool_down else None

    def look(self, child: bytes) -> "asyncio.Task[Seen] | None":
        """A look at a child, to be waited for but not cancelled, which raises nothing; None where that is too much."""
        task = self._tasks.get(child)
        if task is None:
            if len(self._tasks) >= MAX_CHECKING:
                return None
            task = asyncio.create_task(self._look(child))
            self._tasks[child], self._waiting[child] = task, 0
            task.add_done_callback(partial(self._looked, child))
        elif self._waiting[child] >= MAX_WAITING:
            return None
        self._waiting[child] += 1
        return task

    async def holds(self, key: Key, patience: float) -> bool | None:
        """Whether its child publishes a key, as far as that can be vouched for; None if that is not known yet.

        A look that takes longer than `patience` seconds goes on, and its answer is there the next time.
        """
        seen = self.latest(key.owner)
        if seen is None:
            task = self.look(key.owner)
            if task is None:
                return None
            await asyncio.wait((task,), timeout=patience)
            seen = self.latest(key.owner)
        return None if seen is None else seen.is_vouched and key in seen.keys

    def _looked(self, child: bytes, task: "asyncio.Task[Seen]") -> None:
        del self._tasks[child], self._waiting[child]

    async def _look(self, child: bytes) -> Seen:
        try:
            delegation = await self._delegated(child)
        except Refusal:
            self._no_child[child] = self._monotonic()
            return _NOTHING
        except (BackendError, StoreError) as error:
            self._tell(child, found=0, reason=error.reason)
            return _NOTHING
        except Exception:
            _log.exception("published.defect", child=names.to_text(child))
            return _NOTHING
        if self._looking >= MAX_LOOKING or not self._all.take(self._zone, self._monotonic()):
            return _NOTHING
        self._looking += 1
        seen = _NOTHING
        try:
            seen = await self._seen_at(delegation)
        except Exception:
            _log.exception("published.defect", child=names.to_text(child))
        finally:
            self._looking -= 1
        self._seen[child] = self._monotonic(), seen
        return seen

    async def _seen_at(self, delegation: Delegation) -> Seen:
        """Under the DS that the parent has now, where there is one: what is kept in caches vouches for nobody."""
        if delegation.ds:
            under = await self._lookups.keys_under(delegation)
            if under.is_secure:
                return Seen(self._usable(delegation.child, under), is_vouched=True)
        found = self._usable(delegation.child, await self._lookups.keys_at(delegation.child))
        return Seen(found, is_vouched=not delegation.ds)

    def _usable(self, child: bytes, seen: Sighting) -> tuple[Key, ...]:
        keys: list[Key] = []
        if seen.presence is Presence.FOUND:
            for rdata in sorted(seen.keys):
                try:
                    key = Key.from_rdata(child, rdata)
                    check_usable(key, self._codepoints)
                except UnusableKey:
                    continue
                keys.append(key)
        self._tell(child, found=len(keys), where=seen.where, reason=seen.reason)
        return tuple(keys)

    def _tell(self, child: bytes, **details: object) -> None:
        _log.info("published.looked", zone=names.to_text(self._zone), child=names.to_text(child), **details)
