"""The adapter `knot`: one parent zone on a Knot DNS server, read and written through its control socket.

Reads and writes are transactions on the zone itself, so nothing else that knotd serves can be mistaken for it. The
socket is reached through libknot, or, where that is missing, through one `knotc` process for each transaction.
"""

from zonecut.plugin import Adapter, hookimpl
from zonecut_knot.backend import KnotBackend
from zonecut_knot.options import KnotOptions

__all__ = ["KnotBackend", "KnotOptions", "zonecut_adapters"]


@hookimpl
def zonecut_adapters() -> list[Adapter]:
    """The adapter that this package brings."""
    return [Adapter(name="knot", options=KnotOptions, create=KnotBackend)]
