"""Checks of what was judged again, beside the writer: whose servers are slow holds up nobody else's change."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from zonecut.plugin import Change
from zonecut.protocol import names
from zonecut.protocol.errors import Refusal
from zonecut.receiver.outcome import EndsEarly, Outcome
from zonecut.receiver.writer.write_queue import Pending
from zonecut.store import StoreUnavailable

_log = structlog.get_logger(__name__)

Done = Callable[[Pending, Change, Outcome | None], Awaitable[None]]
"""Told how a look ended: None if the change passed, SERVFAIL if nothing conclusive was seen."""


class Looks:
    """What is being looked at: one change a child, since a child has one at a time."""

    def __init__(self, done: Done) -> None:
        self._done = done
        self._tasks: dict[bytes, asyncio.Task[None]] = {}

    def begin(self, pending: Pending, change: Change) -> None:
        """Look at what became of a pending change when it was judged again."""
        task = self._tasks[pending.child] = asyncio.create_task(self._look(pending, change))
        task.add_done_callback(partial(self._forget, pending.child))

    def are_at(self, child: bytes) -> bool:
        """Whether a change of this child is being looked at."""
        return child in self._tasks

    def close(self) -> None:
        """Give up what is under way: the ledger has the changes."""
        for task in self._tasks.values():
            task.cancel()

    async def _look(self, pending: Pending, change: Change) -> None:
        failed: Outcome | None = None
        try:
            await pending.case.look(change)
        except Refusal as refusal:
            failed = Outcome.of(refusal)
        except EndsEarly as early:
            failed = early.outcome
        except StoreUnavailable as error:
            failed = Outcome.unavailable("store", error.reason)
        except Exception:
            # a defect of ours: nothing is written that was not checked
            _log.exception("check.defect", child=names.to_text(pending.child), change=pending.id)
            failed = Outcome.unavailable("internal", "internal error: see the log")
        self._tasks.pop(pending.child, None)
        await self._done(pending, change, failed)

    def _forget(self, child: bytes, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(child) is task:
            del self._tasks[child]
