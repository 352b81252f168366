"""`zonecut serve`: the daemon."""

import asyncio
import ctypes
import gc
from contextlib import suppress
from typing import Annotated

import pluggy
import typer

from zonecut import config as configuration
from zonecut.cli import owner
from zonecut.cli.options import ConfigOption
from zonecut.cli.terminal import logs
from zonecut.cli.terminal.logs import LogFormat
from zonecut.config import Loaded
from zonecut.plugin.registry import create_manager
from zonecut.serve import daemon
from zonecut.store.place.lock import locked

_M_MMAP_THRESHOLD = -3
_LARGE = 1 << 20
"""Octets."""


def command(
    config: ConfigOption = None,
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", help="How the log on standard error looks; auto: by where it goes.")
    ] = LogFormat.AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --log-format json.")] = False,
) -> None:
    """Run what the configuration asks for, until SIGTERM. SIGHUP makes it read the configuration again.

    Example: zonecut serve --config /etc/zonecut/zonecut.yaml
    """
    # before the parts that log are imported
    logs.configure(LogFormat.JSON if as_json else log_format)

    manager = create_manager()
    loaded = configuration.load(config or configuration.DEFAULT_PATH, manager)
    owner.refuse_root(loaded)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(loaded, manager))


async def _serve(loaded: Loaded, manager: pluggy.PluginManager) -> None:

    # What is imported by now stays, and nearly all that a request makes dies without the collector: to look for cycles
    # as often as Python does by default takes a tenth of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    _give_memory_back()
    with locked(loaded.configuration.store.url) as lock:
        async with daemon.open_store(loaded, writes=True, lock=lock) as store:
            await daemon.Daemon(loaded, manager, store).run()


def _give_memory_back() -> None:
    """Have glibc give what is large back to the system once it is free, as the copy of a zone file that a change makes:
    by itself it stops doing so after the first time (mallopt(3), M_MMAP_THRESHOLD). Other C libraries do as they do."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop's loop where the extra `speed` is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop
