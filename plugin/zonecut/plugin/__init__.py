"""The plugin interface: what an adapter implements and what it may import, beside `zonecut.protocol`."""

from zonecut.plugin.backend import (
    MAX_NAMED_BY,
    Backend,
    BackendConflict,
    BackendContext,
    BackendError,
    BackendLater,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
    Host,
    Reading,
    Unreadable,
    Withdrawal,
)
from zonecut.plugin.hookspecs import Adapter, hookimpl
from zonecut.plugin.progress import MAX_CONSUMERS, Consumer, Progress

__all__ = [
    "MAX_CONSUMERS",
    "MAX_NAMED_BY",
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
    "Consumer",
    "Host",
    "Progress",
    "Reading",
    "Unreadable",
    "Withdrawal",
    "hookimpl",
]
