"""The servers that a parent may have, by the adapter for them."""

from collections.abc import Callable, Mapping

from lab.knotd import Knotd
from lab.named import Named
from lab.pdns import PowerDns
from lab.server import Server

SERVERS: Mapping[str, Callable[..., Server]] = {"bind": Named, "knot": Knotd, "powerdns": PowerDns}
