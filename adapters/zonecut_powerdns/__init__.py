"""The adapter `powerdns`: one parent zone on a PowerDNS Authoritative Server, read and written over its HTTP API.

One PATCH carries a whole batch and is atomic. The API has no conditions: what is to be replaced is read and compared
just before, and one task at a time writes. With `dns`, most of that reading is done by DNS, which is much cheaper.
"""

from zonecut.plugin import Adapter, hookimpl
from zonecut_powerdns.backend import PowerDnsBackend
from zonecut_powerdns.options import PowerDnsOptions

__all__ = ["PowerDnsBackend", "PowerDnsOptions", "zonecut_adapters"]


@hookimpl
def zonecut_adapters() -> list[Adapter]:
    """The adapter that this package brings."""
    return [Adapter(name="powerdns", options=PowerDnsOptions, create=PowerDnsBackend)]
