"""An adapter driven in this process, as the writer drives it and with nothing else to do, on the receiver's core."""

import asyncio
import gc
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import uvloop

from bench.cores import RECEIVER_CORE, on_core
from bench.traffic.requests import TTLS, ZONE
from lab.process import LabError
from zonecut.plugin import BackendContext, Change
from zonecut.plugin.registry import adapters, create_manager


class Adapter:
    """Enter it to have it open."""

    def __init__(self, backend: Mapping[str, Any]) -> None:
        """`backend` as in zonecut's configuration."""
        options = dict(backend)
        adapter = adapters(create_manager())[options.pop("adapter")]
        self._backend = adapter.create(BackendContext(ZONE, TTLS), adapter.options.model_validate(options))
        # the event loop of `zonecut serve`
        self._runner = asyncio.Runner(loop_factory=uvloop.Loop)

    def __enter__(self) -> Self:
        self._runner.__enter__()
        with on_core(RECEIVER_CORE):  # the threads that it starts stay there
            self._runner.run(self._backend.open())
        return self

    def __exit__(self, *error: Any) -> None:
        self._runner.run(self._backend.close())
        self._runner.__exit__(*error)

    def write_all(self, changes: Sequence[Change], batch: int) -> float:
        """Write and read back `batch` changes at a time; the seconds that it took. LabError unless all of them hold."""
        with on_core(RECEIVER_CORE):
            gc.collect()
            gc.disable()
            try:
                return self._runner.run(self._write_all(changes, batch))
            finally:
                gc.enable()

    async def _write_all(self, changes: Sequence[Change], batch: int) -> float:
        backend = self._backend
        # a connection that was idle for too long is made anew before the clock runs
        await backend.verify([Change(change.before, change.before) for change in changes[:1]])
        start = time.perf_counter()
        for at in range(0, len(changes), batch):
            group = changes[at : at + batch]
            if backend.batch(group) < len(group):
                raise LabError(f"the adapter does not take {len(group)} changes at once")
            await backend.write(group)
            if missing := await backend.verify(group):
                raise LabError(f"written, and not there: {missing}")
        return time.perf_counter() - start
