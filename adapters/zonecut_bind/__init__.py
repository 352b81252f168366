"""The adapter `bind`: one parent zone on a BIND 9 server, read and written over one kept-open TCP connection.

Writes are UPDATEs (RFC 2136) whose prerequisites state what is believed to be there; TSIG (RFC 8945) protects every
message in both directions.
"""

from zonecut.plugin import Adapter, Backend, BackendContext, hookimpl
from zonecut_bind.options import BindOptions

__all__ = ["BindOptions", "zonecut_adapters"]


@hookimpl
def zonecut_adapters() -> list[Adapter]:
    """The adapter that this package brings."""
    return [Adapter(name="bind", options=BindOptions, create=_create)]


def _create(context: BackendContext, options: BindOptions) -> Backend:
    # imported when it is used: a daemon has in memory what its own servers need
    from zonecut_bind.backend import BindBackend

    return BindBackend(context, options)
