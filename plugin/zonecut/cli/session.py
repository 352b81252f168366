"""What a command works with: the configuration, the store, and the server of a parent zone."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from zonecut import config
from zonecut.cli import owner
from zonecut.cli.failures import UsageFailure
from zonecut.cli.terminal import output
from zonecut.config import ChildSection, Loaded, ParentSection
from zonecut.plugin import Backend, BackendContext
from zonecut.plugin.registry import create_manager
from zonecut.protocol import names
from zonecut.serve import daemon
from zonecut.store import Store
from zonecut.store.place.lock import Holder, holder
from zonecut.store.place.mark import MarkFile

_Result = TypeVar("_Result")


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of asynchronous work."""
    return asyncio.run(work)


def load(path: Path | None) -> Loaded:
    """The configuration in a file, by default the usual one. Raises ConfigurationError, UsageFailure.

    Root acts as the user of the daemon from here on: see `owner`.
    """
    loaded = config.load(path or config.DEFAULT_PATH, create_manager())
    owner.take_identity(loaded)
    return loaded


def open_store(loaded: Loaded) -> Store:
    """The store of a configuration, to be used with `async with`. Raises StoreUnusable.

    Whoever works on a copy of the one that a daemon has is told so.
    """
    store = daemon.open_store(loaded)
    if store.elsewhere is not None:
        output.complain(store.elsewhere)
    return store


def parent_of(loaded: Loaded, child: bytes) -> ParentSection:
    """The configured parent zone that is nearest above a child. Raises UsageFailure."""
    above = [section for section in loaded.configuration.parents if names.is_below(child, section.apex)]
    if not above:
        known = ", ".join(names.to_text(section.apex) for section in loaded.configuration.parents) or "none"
        raise UsageFailure(f"{names.to_text(child)} is not below a configured parent zone (those are: {known})")
    return max(above, key=lambda section: len(section.apex))


def parent_at(loaded: Loaded, zone: bytes) -> ParentSection:
    """The configured parent zone of that name. Raises UsageFailure."""
    for section in loaded.configuration.parents:
        if section.apex == zone:
            return section
    known = ", ".join(names.to_text(section.apex) for section in loaded.configuration.parents) or "none"
    raise UsageFailure(f"{names.to_text(zone)} is no configured parent zone (those are: {known})")


def child_at(loaded: Loaded, zone: bytes) -> ChildSection:
    """The configured child zone of that name. Raises UsageFailure."""
    for section in loaded.configuration.children:
        if section.apex == zone:
            return section
    known = ", ".join(names.to_text(section.apex) for section in loaded.configuration.children) or "none"
    raise UsageFailure(f"{names.to_text(zone)} is no configured child zone (those are: {known})")


def make_backend(loaded: Loaded, section: ParentSection) -> Backend:
    """The server of a parent zone, not opened."""
    adapter, options = loaded.backends[section.apex]
    context = BackendContext(section.apex, section.policy.ttl.to_ttls(), loaded.configuration.key_directory)
    return adapter.create(context, options)


@asynccontextmanager
async def open_backend(loaded: Loaded, section: ParentSection) -> AsyncIterator[Backend]:
    """The server of a parent zone, opened. Raises BackendError."""
    backend = make_backend(loaded, section)
    try:
        await backend.open()
        yield backend
    finally:
        await backend.close()


def daemon_of(loaded: Loaded) -> Holder | None:
    """The zonecut serve that has the store of a configuration; None where none has it, or that cannot be seen."""
    return holder(Path(make_url(loaded.configuration.store.url).database or ""))


def has_store(loaded: Loaded) -> bool:
    """False if the store would have to be made first: who only looks makes none.

    True for one that is gone, too: opening it says so.
    """
    try:
        url = make_url(loaded.configuration.store.url)
    except ArgumentError:
        return True  # opening it says what is wrong
    if url.get_backend_name() != "sqlite" or not url.database:
        return True
    return Path(url.database).exists() or MarkFile(Path(url.database)).read() is not None
