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

__all__ = [
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
    "Host",
    "Reading",
    "Unreadable",
    "Withdrawal",
    "hookimpl",
]
