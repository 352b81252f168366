"""Keeps long-lived tasks running: one that ends is started again after a pause, counted, and shown while it is down."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog

from zonecut.plugin import BackendError
from zonecut.protocol import names
from zonecut.receiver.change.change_log import is_told
from zonecut.store import StoreError

_log = structlog.get_logger(__name__)

Run = Callable[[], Awaitable[None]]
"""What a task does, from the beginning; it is to end by being cancelled only."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long a task that failed is left alone, in seconds: each failure in a row doubles the pause.

    A run that lasted `calm` seconds ends the row.
    """

    first: float = 1.0
    longest: float = 60.0
    calm: float = 300.0

    def after(self, failures: int) -> float:
        """The pause after so many failures in a row, at least one."""
        return min(self.first * 2.0 ** min(failures - 1, 32), self.longest)

    def in_a_row(self, before: int, lasted: float) -> int:
        """How many failures in a row there are with one more, of a run that lasted so many seconds."""
        return 1 if lasted >= self.calm else before + 1


@dataclass(frozen=True, slots=True)
class TaskName:
    """What a task is called: what it does, and the parent zone for which it does that, if it is one's."""

    task: str
    zone: bytes | None = None

    def __str__(self) -> str:
        return self.task if self.zone is None else f"{self.task} of {names.to_text(self.zone)}"


@dataclass(frozen=True, slots=True)
class Down:
    """A task that is not running: why, and since when it fails, in seconds since the epoch."""

    name: TaskName
    reason: str
    since: float


@dataclass(slots=True, eq=False)
class _Watched:
    name: TaskName
    of: bytes | None
    failures: int = 0
    since: float = 0.0
    """Since when it fails; in seconds since the epoch."""
    down: Down | None = None


class Supervisor:
    """All long-lived tasks of one process."""

    def __init__(
        self,
        changed: Callable[[], None] = lambda: None,
        *,
        pauses: Pauses | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`changed` is called whenever a task is down or runs again."""
        self._changed = changed
        self._pauses = pauses or Pauses()
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._watched: list[_Watched] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._restarts: Counter[TaskName] = Counter()

    def start(self, name: TaskName, run: Run, *, of: bytes | None = None) -> asyncio.Task[None]:
        """Have something run until the task that is returned is cancelled.

        `of` is the child zone for which it is done, for the log: several may do the same under one name.
        """
        watched = _Watched(name, of)
        self._watched.append(watched)
        self._restarts[name] += 0
        task = asyncio.create_task(self._keep(watched, run), name=str(name))
        self._tasks.add(task)
        task.add_done_callback(partial(self._gone, watched))
        return task

    async def stop(self) -> None:
        """Cancel all that is left, and wait until it has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def down(self) -> Sequence[Down]:
        """The tasks that are not running now."""
        return [each.down for each in self._watched if each.down is not None]

    @property
    def running(self) -> Mapping[TaskName, bool]:
        """Each task that is to run, and whether it does; False where one of several of that name does not."""
        found: dict[TaskName, bool] = {}
        for each in self._watched:
            found[each.name] = found.get(each.name, True) and each.down is None
        return found

    @property
    def restarts(self) -> Mapping[TaskName, int]:
        """How often each task was started again, also of those that are gone."""
        return dict(self._restarts)

    async def _keep(self, watched: _Watched, run: Run) -> None:
        while True:
            began = self._monotonic()
            error = await _outcome(run)
            watched.failures = self._pauses.in_a_row(watched.failures, self._monotonic() - began)
            if watched.failures == 1:
                watched.since = self._clock()
            pause = self._pauses.after(watched.failures)
            with suppress(Exception):  # a log that cannot be written ends nothing
                self._tell(watched, error, pause)
            watched.down = Down(watched.name, reason_of(error), watched.since)
            self._changed()
            await self._sleep(pause)
            self._restarts[watched.name] += 1
            watched.down = None
            self._changed()

    def _tell(self, watched: _Watched, error: Exception | None, pause: float) -> None:
        if not is_told(watched.failures):
            return
        zone = watched.of or watched.name.zone
        _log.error(
            "task.failed",
            task=watched.name.task,
            zone=None if zone is None else names.to_text(zone),
            reason=reason_of(error),
            failures=watched.failures,
            again_in=pause,
            # whoever sees that the store is away needs no traceback
            exc_info=None if error is None or _is_expected(error) else error,
        )

    def _gone(self, watched: _Watched, task: "asyncio.Task[None]") -> None:
        self._watched.remove(watched)
        self._tasks.discard(task)
        if watched.down is not None:
            self._changed()


async def _outcome(run: Run) -> Exception | None:
    """How a run ends: an exception, or None where it returned. Raises CancelledError if its task was cancelled."""
    try:
        await run()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # what it waited for was cancelled, not this task
        return RuntimeError(f"something that it waited for was cancelled: {error!r}")
    except Exception as error:
        return _single(error)
    return None


def _single(error: Exception) -> Exception:
    """The one exception of a group that holds no other."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        (error,) = error.exceptions
    return error


def reason_of(error: Exception | None) -> str:
    """Why a task ended, in words; what a defect says of itself is for the log alone."""
    if error is None:
        return "it ended by itself"
    if isinstance(error, BackendError | StoreError):
        return error.reason
    if isinstance(error, OSError):
        return str(error)
    return f"internal error ({type(error).__name__}): see the log"


def _is_expected(error: Exception) -> bool:
    return isinstance(error, BackendError | StoreError | OSError)
