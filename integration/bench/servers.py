"""The servers in front of which zonecut is measured: each beside the load, with a signed zone."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cores import LOAD_CORE
from bench.direct import Bare, BareBind, BareKnot, BarePowerDns
from lab.daemons.knotd import Knotd
from lab.daemons.named import Named
from lab.daemons.pdns import PowerDns
from lab.ports import LOOPBACK
from lab.zones import PARENT, ParentZone, Signing

_CORES = [LOAD_CORE]
_START_TIMEOUT = 300.0
"""Seconds in which a large zone should be signed."""


@dataclass(frozen=True)
class Server:
    """A server that runs: the `backend` of zonecut's configuration for it, and itself without zonecut."""

    title: str
    backend: dict[str, Any]
    bare: Bare
    rest: float = 0.0
    """Seconds after a transaction in which it does not begin the next."""


@contextmanager
def bind(directory: Path, delegations: int) -> Iterator[Server]:
    """named; the zone is signed in place."""
    with Named(directory, _zone(delegations), start_timeout=_START_TIMEOUT, cpus=_CORES) as named:
        backend = {"adapter": "bind", "server": named.server, "tsig": str(named.tsig_file)}
        yield Server("named 9.18", backend, BareBind((LOOPBACK, named.port), named.tsig_file))


@contextmanager
def knot(directory: Path, delegations: int) -> Iterator[Server]:
    """knotd, reached through libknot."""
    with Knotd(directory, _zone(delegations), start_timeout=_START_TIMEOUT, cpus=_CORES) as knotd:
        backend = {"adapter": "knot", "socket": str(knotd.socket), "client": "libknot"}
        yield Server("knotd 3.2", backend, BareKnot(knotd.socket), rest=0.01)


@contextmanager
def powerdns(directory: Path, delegations: int) -> Iterator[Server]:
    """PowerDNS with its zones in SQLite; the adapter may ask its DNS service, too."""
    with PowerDns(directory, _zone(delegations), start_timeout=_START_TIMEOUT, cpus=_CORES) as pdns:
        backend = {"adapter": "powerdns", "url": pdns.url, "api_key": str(pdns.api_key_file), "dns": pdns.server}
        yield Server("PowerDNS 4.7", backend, BarePowerDns(pdns.url, pdns.api_key_file))


SERVERS: dict[str, Callable[[Path, int], AbstractContextManager[Server]]] = {
    "bind": bind,
    "knot": knot,
    "powerdns": powerdns,
}


def _zone(delegations: int) -> ParentZone:
    return ParentZone(PARENT, delegations=delegations, signing=Signing.IN_PLACE)
