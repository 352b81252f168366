"""Work in a thread is over when its caller goes on, whatever happens to the caller."""

import asyncio
import threading

import pytest

from zonecut.plugin.threads import to_its_end


async def test_what_the_thread_returns_or_raises_comes_back() -> None:
    assert await to_its_end(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await to_its_end(divmod, 7, 0)


async def test_a_caller_that_is_cancelled_twice_still_waits_for_the_thread() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(10)
        ended.set()
        raise RuntimeError("nobody is told")

    task = asyncio.create_task(to_its_end(work))
    await asyncio.to_thread(begun.wait, 10)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
