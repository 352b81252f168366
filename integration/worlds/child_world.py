"""A child zone on a real server, and what an agent reads it with. No tests of its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from lab.daemons.named import Named
from lab.daemons.pdns import PowerDns
from lab.daemons.server import Server
from lab.daemons.servers import SERVERS
from lab.zones import ParentZone, Signing
from zonecut.agent.zone.source import BackendSource, QuerySource, Source, TransferSource
from zonecut.plugin import Backend, BackendContext
from zonecut.plugin.dns.tsig_key import TsigKey, load_key
from zonecut.plugin.registry import adapters, create_manager
from zonecut.protocol import names
from zonecut.protocol.delegation import Ttls

CHILD = "child.test."
ZONE = names.from_text(CHILD)
APEX = f"""\
$ORIGIN {CHILD}
$TTL 1
@ SOA ns1 hostmaster 1 3600 900 604800 1
@ NS ns1
@ NS ns2.deep
@ NS ns.elsewhere.test.
ns1 A 11.0.0.1
ns1 AAAA 2610::1
ns2.deep A 11.0.0.2
www A 11.0.0.3
"""
NS = ("ns.elsewhere.test.", "ns1.child.test.", "ns2.deep.child.test.")
ADDRESSES = ("ns1.child.test. A 11.0.0.1", "ns1.child.test. AAAA 2610::1", "ns2.deep.child.test. A 11.0.0.2")

# BIND publishes CDS when all caches know of the key: with these times, after a second.
_QUICK = """
dnssec-policy quick {
  keys { csk lifetime unlimited algorithm 13; };
  dnskey-ttl 1; max-zone-ttl 1; parent-ds-ttl 1;
  publish-safety 0; retire-safety 0; zone-propagation-delay 0; parent-propagation-delay 0;
};
"""


def child_server(adapter: str, directory: Path, text: str = APEX, signing: Signing = Signing.NONE) -> Server:
    """The server of an adapter with the child zone, not started; a signed one will publish CDS."""
    server = SERVERS[adapter](directory, ParentZone(CHILD, text=text, signing=signing))
    if isinstance(server, Named):
        file = directory / "named.conf"
        file.write_text(file.read_text().replace("dnssec-policy default;", "dnssec-policy quick;") + _QUICK)
    return server


def publish_cds(server: Server) -> None:
    """Have the server publish CDS, where it does not by itself."""
    if isinstance(server, PowerDns):
        server.api("PUT", "/metadata/PUBLISH-CDS", {"kind": "PUBLISH-CDS", "metadata": ["2"]})


def tsig_of(server: Server) -> TsigKey | None:
    """The key with which the server lets its zone be transferred, if it wants one."""
    return load_key(server.tsig_file) if isinstance(server, Named) else None


@asynccontextmanager
async def backend_of(server: Server, zone: bytes = ZONE) -> AsyncIterator[Backend]:
    """The adapter for a zone of the server, opened."""
    options = dict(server.backend())
    adapter = adapters(create_manager())[options.pop("adapter")]
    backend = adapter.create(BackendContext(zone, Ttls()), adapter.options.model_validate(options))
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


def by_query(server: Server) -> Source:
    return QuerySource(ZONE, server.server, tsig_of(server))


def by_transfer(server: Server) -> Source:
    return TransferSource(ZONE, server.server, tsig_of(server))


BY_DNS: dict[str, Callable[[Server], Source]] = {"query": by_query, "transfer": by_transfer}


@asynccontextmanager
async def by_backend(server: Server) -> AsyncIterator[Source]:
    async with backend_of(server) as backend:
        yield BackendSource(ZONE, backend)
