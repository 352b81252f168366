"""Work in a thread that shares something with its caller."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


async def to_its_end(function: Callable[_Given, _Result], *args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
    """What `function` returns, called in a thread; it has ended when this ends, even if the caller is cancelled.

    `asyncio.to_thread` leaves a thread behind that goes on with what the caller then closes: a file, or a database,
    whose library may take the process along.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            try:
                await asyncio.wait((work,))
            except asyncio.CancelledError:
                continue
        if not work.cancelled():
            work.exception()  # looked at: nobody else will
        raise
