"""Adapters for servers that are read, and most of them written, by DNS alone.

`bind` is for BIND 9, with all that is known of it; `rfc2136` for any other, of which is found out what can be. They
write UPDATEs (RFC 2136) whose prerequisites state what is believed to be there; TSIG (RFC 8945) protects every message
in both directions. `manual` is for a zone that people change: it only reads.
"""

from zonecut.plugin import Adapter, Backend, BackendContext, hookimpl
from zonecut_bind.options import BindOptions, ManualOptions, Rfc2136Options

__all__ = ["BindOptions", "ManualOptions", "Rfc2136Options", "zonecut_adapters"]


@hookimpl
def zonecut_adapters() -> list[Adapter]:
    """The adapters that this package brings."""
    return [
        Adapter(name="bind", options=BindOptions, create=_bind),
        Adapter(name="rfc2136", options=Rfc2136Options, create=_rfc2136),
        Adapter(name="manual", options=ManualOptions, create=_manual),
    ]


def _bind(context: BackendContext, options: BindOptions) -> Backend:
    # imported when it is used: a daemon has in memory what its own servers need
    from zonecut_bind.backend import BindBackend

    return BindBackend(context, options)


def _rfc2136(context: BackendContext, options: Rfc2136Options) -> Backend:
    from zonecut_bind.anyserver.backend import AnyServerBackend

    return AnyServerBackend(context, options)


def _manual(context: BackendContext, options: ManualOptions) -> Backend:
    from zonecut_bind.manual.backend import ManualBackend

    return ManualBackend(context, options)
