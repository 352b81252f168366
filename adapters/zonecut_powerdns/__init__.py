"""The adapter `powerdns`: one parent zone on a PowerDNS Authoritative Server, read and written over its HTTP API.

One PATCH carries a whole batch and is atomic. The API has no conditions: what is to be replaced is read and compared
just before, and one task at a time writes. With `dns`, most of that reading is done by DNS, which is much cheaper.
"""

from zonecut.plugin import Adapter, Backend, BackendContext, BackendMisconfigured, hookimpl
from zonecut_powerdns.options import PowerDnsOptions

__all__ = ["PowerDnsOptions", "zonecut_adapters"]


@hookimpl
def zonecut_adapters() -> list[Adapter]:
    """The adapter that this package brings."""
    return [Adapter(name="powerdns", options=PowerDnsOptions, create=_create)]


def _create(context: BackendContext, options: PowerDnsOptions) -> Backend:
    try:
        # imported when it is used: the HTTP client is an extra
        from zonecut_powerdns.backend import PowerDnsBackend
    except ModuleNotFoundError as error:
        raise BackendMisconfigured(
            f"the adapter powerdns needs the Python package {error.name}: pip install 'zonecut[powerdns]'"
        ) from error

    return PowerDnsBackend(context, options)
