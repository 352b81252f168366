"""What may fail on a locked database is tried again: who else writes is done a moment later."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from zonecut_powerdns.answers import Busy

_T = TypeVar("_T")

_TRIES = 6
_FIRST_PAUSE = 0.05
"""How often, and after how many seconds at first."""


async def repeated(operation: Callable[[], Awaitable[_T]]) -> _T:
    """Do what may fail on a locked database; again, after a pause that grows, a few times."""
    pause = _FIRST_PAUSE
    for _ in range(_TRIES - 1):
        try:
            return await operation()
        except Busy:
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause *= 2
    return await operation()
