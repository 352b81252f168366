"""What the store thread is asked for, and how the answers get back to the loops that wait for them."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from zonecut.store.errors import StoreError, StoreUnavailable

MAX_GROUP = 500
"""The most items that one transaction takes: it bounds how long reads and other processes wait for it."""

Handler = Callable[[Connection, Sequence[Any]], Sequence[Any]]


class Read(NamedTuple):
    function: Callable[[Connection], Any]
    future: asyncio.Future[Any]


class Write(NamedTuple):
    handler: Handler
    item: Any
    future: asyncio.Future[Any]
    untrusts: bool = False


class Outcome(NamedTuple):
    future: asyncio.Future[Any]
    result: Any
    error: BaseException | None


class CallersOwn(Exception):
    """What a caller's function or handler raised: it is for that caller, and says nothing about the store."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def of_the_caller() -> Iterator[None]:
    """Tell apart what a caller's function raises in here from what goes wrong around it."""
    try:
        yield
    except (SQLAlchemyError, StoreError, StopIteration):
        raise  # of the database, or nothing that a future could hand over
    except Exception as error:
        raise CallersOwn(error) from error


def first(writes: deque[Write]) -> list[Write]:
    """The first group of what waits, taken out."""
    return [writes.popleft() for _ in range(min(len(writes), MAX_GROUP))]


def hand_back(outcomes: Sequence[Outcome]) -> None:
    """Resolve the futures in their loop: one call for all, since each wakes the loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Outcome]] = {}
    for outcome in outcomes:
        by_loop.setdefault(outcome.future.get_loop(), []).append(outcome)
    for loop, owned in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, owned)
        except RuntimeError:
            continue  # the loop is closed: nobody waits any more


def _resolve(outcomes: Sequence[Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
            continue
        try:
            future.set_exception(error)
        except TypeError:  # not every exception can be handed over, and the others of the group wait as well
            future.set_exception(StoreUnavailable(f"the store does not work: {type(error).__name__}"))
