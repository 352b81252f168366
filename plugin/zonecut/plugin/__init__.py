"""The plugin interface: what an adapter implements and what it may import, beside `zonecut.protocol`."""

from zonecut.plugin.backend import (
    Backend,
    BackendConflict,
    BackendContext,
    BackendError,
    BackendLater,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
    Reading,
    Unreadable,
)
from zonecut.plugin.hookspecs import Adapter, hookimpl

__all__ = [
    "Adapter",
    "Backend",
    "BackendConflict",
    "BackendContext",
    "BackendError",
    "BackendLater",
    "BackendMisconfigured",
    "BackendRejected",
    "BackendUnavailable",
    "Change",
    "Reading",
    "Unreadable",
    "hookimpl",
]
