"""The servers that a parent may have, by the adapter for them."""

from collections.abc import Callable, Mapping

from lab.daemons.knotd import Knotd
from lab.daemons.named import Named
from lab.daemons.pdns import PowerDns
from lab.daemons.server import Server
from lab.generated import GeneratedNamed
from lab.scripted.file_server import FiledNamed
from lab.zones import Signing

SERVERS: Mapping[str, Callable[..., Server]] = {"bind": Named, "knot": Knotd, "powerdns": PowerDns}

WITH_FILES: Mapping[str, Callable[..., Server]] = {**SERVERS, "zonefile": FiledNamed}
"""These, and one whose zones are files that zonecut and an editor write."""

OF_ALL_KINDS: Mapping[str, Callable[..., Server]] = {**WITH_FILES, "database": GeneratedNamed}
"""And one whose zones a generator makes of tables."""

SIGNERS = [
    *(("bind", signing) for signing in (Signing.IN_PLACE, Signing.INLINE)),
    *((server, Signing.IN_PLACE) for server in ("knot", "powerdns")),
]
"""Each way of signing that each of them has."""
