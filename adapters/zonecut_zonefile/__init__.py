"""The adapter `zonefile`: a parent zone kept in a master file (RFC 1035 section 5), for any server that loads one.

Delegations that stand in the operator's file are seen; ours go into one generated file, which that file includes.
"""

from zonecut.plugin import Adapter, hookimpl
from zonecut_zonefile.backend import ZonefileBackend
from zonecut_zonefile.options import ZonefileOptions

__all__ = ["ZonefileBackend", "ZonefileOptions", "zonecut_adapters"]


@hookimpl
def zonecut_adapters() -> list[Adapter]:
    """The adapter `zonefile`."""
    return [Adapter("zonefile", ZonefileOptions, ZonefileBackend)]
