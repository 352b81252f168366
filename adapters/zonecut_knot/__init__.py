"""The adapter `knot`: one parent zone on a Knot DNS server, read and written through its control socket.

Reads and writes are transactions on the zone itself, so nothing else that knotd serves can be mistaken for it. The
socket is reached through libknot, or, where that is missing, through one `knotc` process for each transaction.
"""

from zonecut.plugin import Adapter, Backend, BackendContext, hookimpl
from zonecut_knot.options import KnotOptions

__all__ = ["KnotOptions", "zonecut_adapters"]


@hookimpl
def zonecut_adapters() -> list[Adapter]:
    """The adapter that this package brings."""
    return [Adapter(name="knot", options=KnotOptions, create=_create)]


def _create(context: BackendContext, options: KnotOptions) -> Backend:
    # imported when it is used: a daemon has in memory what its own servers need
    from zonecut_knot.backend import KnotBackend

    return KnotBackend(context, options)
