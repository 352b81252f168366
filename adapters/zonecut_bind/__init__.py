"""The adapter `bind`: one parent zone on a BIND 9 server, read and written over one kept-open TCP connection.

Writes are UPDATEs (RFC 2136) whose prerequisites state what is believed to be there; TSIG (RFC 8945) protects every
message in both directions.
"""

from zonecut.plugin import Adapter, hookimpl
from zonecut_bind.backend import BindBackend
from zonecut_bind.options import BindOptions

__all__ = ["BindBackend", "BindOptions", "zonecut_adapters"]


@hookimpl
def zonecut_adapters() -> list[Adapter]:
    """The adapter that this package brings."""
    return [Adapter(name="bind", options=BindOptions, create=BindBackend)]
