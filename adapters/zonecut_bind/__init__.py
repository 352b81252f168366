"""Adapters for servers that take UPDATEs and give transfers, read and written over one kept-open TCP connection.

`bind` is for BIND 9, with all that is known of it; `rfc2136` for any other, of which is found out what can be. Writes
are UPDATEs (RFC 2136) whose prerequisites state what is believed to be there; TSIG (RFC 8945) protects every message in
both directions.
"""

from zonecut.plugin import Adapter, Backend, BackendContext, hookimpl
from zonecut_bind.options import BindOptions, Rfc2136Options

__all__ = ["BindOptions", "Rfc2136Options", "zonecut_adapters"]


@hookimpl
def zonecut_adapters() -> list[Adapter]:
    """The adapters that this package brings."""
    return [
        Adapter(name="bind", options=BindOptions, create=_bind),
        Adapter(name="rfc2136", options=Rfc2136Options, create=_rfc2136),
    ]


def _bind(context: BackendContext, options: BindOptions) -> Backend:
    # imported when it is used: a daemon has in memory what its own servers need
    from zonecut_bind.backend import BindBackend

    return BindBackend(context, options)


def _rfc2136(context: BackendContext, options: Rfc2136Options) -> Backend:
    from zonecut_bind.anyserver import AnyServerBackend

    return AnyServerBackend(context, options)
