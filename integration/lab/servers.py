"""The servers that a parent may have, by the adapter for them."""

from collections.abc import Callable, Mapping

from lab.filed import FiledNamed
from lab.knotd import Knotd
from lab.named import Named
from lab.pdns import PowerDns
from lab.server import Server

SERVERS: Mapping[str, Callable[..., Server]] = {"bind": Named, "knot": Knotd, "powerdns": PowerDns}

WITH_FILES: Mapping[str, Callable[..., Server]] = {**SERVERS, "zonefile": FiledNamed}
"""These, and one whose zones are files that zonecut and an editor write."""
