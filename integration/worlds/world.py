"""A parent's server and a zonecut in front of it, with keys that children hold: what most tests of the way need."""

import asyncio
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Self

import dns.rdatatype

from lab.child import ChildKey
from lab.daemons.named import Named
from lab.daemons.server import Server
from lab.daemons.servers import OF_ALL_KINDS
from lab.nsupdate import Outcome, nsupdate
from lab.ports import LOOPBACK, free_port
from lab.process import LabError, until
from lab.scripted.provisioning import Provisioning
from lab.zonecut import CHECKS_OFF, ZonecutProcess
from lab.zones import PARENT, ParentZone
from peer import Answer, TcpPeer, UdpPeer
from signer import Signer
from zonecut.store import KeyState, Store

# Everything comes from one address, and children change more often than any real one.
GENEROUS = {"source_burst": 1_000_000, "source_rate": 100_000, "child_burst": 1_000_000, "child_rate": 100_000}

_MADE_BY_SERVER = {
    *map(dns.rdatatype.from_text, ("SOA", "RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY", "CDS", "CDNSKEY")),
    # BIND's own record of how far it is with signing
    65534,
}
_KEY_DELAY = 1.0
"""Seconds until what another process did to a key counts in a zonecut that runs."""


class World:
    """`zonecut serve` in front of one of the lab's servers, by the adapter for it; used as a context manager.

    `server` names one that is made here, with these zones; or is one, or a provisioning system, with its own zones.
    `keys` go into the store before zonecut starts, as trusted ones or in the state that they are given with: through
    the library, since the command would refuse some of them. `parents` are the entries of the configuration for the
    zones of the server, in their order; what is missing in them is added. `further` are other entries of it.
    """

    def __init__(
        self,
        directory: Path,
        *zones: ParentZone,
        server: str | Server | Provisioning = "bind",
        keys: Sequence[Signer] | Mapping[Signer, KeyState] = (),
        parents: Sequence[Mapping[str, Any]] = (),
        receiver: Mapping[str, Any] | None = None,
        further: Mapping[str, Any] | None = None,
    ) -> None:
        self._parent: Server | Provisioning
        if not isinstance(server, str):
            self._parent, zones = server, server.zones
        else:
            zones = zones or (ParentZone(PARENT, delegations=3),)
            self._parent = OF_ALL_KINDS[server](directory / "server", *zones)
        self.port = free_port()
        self.port6 = free_port("::1")
        (directory / "zonecut").mkdir()
        self.store_url = f"sqlite:///{directory}/zonecut/zonecut.db"
        given = [*parents, *({} for _ in zones[len(parents) :])]
        self.configuration: dict[str, Any] = {
            "version": 1,
            "store": {"url": self.store_url},
            "receiver": {
                "listen": [f"{LOOPBACK}:{self.port}", f"[::1]:{self.port6}"],
                "limits": GENEROUS,
                **(receiver or {}),
            },
            "parents": [
                {"zone": zone.name, "backend": self._parent.backend(), "checks": CHECKS_OFF, **entry}
                for zone, entry in zip(zones, given, strict=True)
            ],
            **(further or {}),
        }
        self.zonecut = ZonecutProcess(directory / "zonecut", self.configuration)
        self._keys = keys if isinstance(keys, Mapping) else dict.fromkeys(keys, KeyState.TRUSTED)
        self._running = ExitStack()

    @property
    def server(self) -> Server:
        """The server, where it is one."""
        assert isinstance(self._parent, Server)
        return self._parent

    @property
    def named(self) -> Named:
        """The server, for tests of what only named can do."""
        assert isinstance(self.server, Named)
        return self.server

    def __enter__(self) -> Self:
        with self._running:
            self._running.enter_context(self._parent)
            self.start_others(self._running)
            self.put_keys(self._keys)
            self._running.enter_context(self.zonecut)
            count = len(self._parent.zones)
            until(lambda: len(self.zonecut.log_events("zone.ready")) == count, timeout=10, what="the zones are ready")
            # All is up: only __exit__ ends it now.
            self._running = self._running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def start_others(self, running: ExitStack) -> None:
        """Start what has to be up between the server and zonecut: nothing here."""

    def verify(self) -> None:
        """LabError unless every zone of the server is whole; a provisioning system serves none."""
        if isinstance(self._parent, Server):
            for zone in self._parent.zones:
                self._parent.verify(zone.name)

    # Keys

    def put_keys(self, keys: Mapping[Signer, KeyState]) -> None:
        """Put keys into the store, without any of the command's checks."""
        asyncio.run(self._put_keys(keys))

    async def _put_keys(self, keys: Mapping[Signer, KeyState]) -> None:
        async with Store.open(self.store_url) as store:
            for signer, state in keys.items():
                stored, _ = await store.keys.add(signer.pair.key, KeyState.KNOWN, "test", "test")
                await store.keys.set_state(stored.id, state, "test", "")

    def trust(self, *keys: Signer | ChildKey, directory: Path) -> None:
        """Import keys as an operator does, and wait until they count."""
        files = [key.public_file if isinstance(key, ChildKey) else key.write_public(directory) for key in keys]
        self.zonecut.cli("key", "import", "--trust", *files)
        time.sleep(_KEY_DELAY)

    # Asking

    def udp(self, wire: bytes) -> Answer:
        with UdpPeer(self.port) as peer:
            return peer.ask(wire)

    def tcp(self, wire: bytes) -> Answer:
        with TcpPeer(self.port) as peer:
            return peer.ask(wire)

    def nsupdate(self, commands: str, key: ChildKey, zone: str | None = PARENT, **options: Any) -> Outcome:
        """The stock nsupdate, sent to zonecut."""
        return nsupdate(commands, port=self.port, zone=zone, key_file=key.private_file, **options)

    # Looking

    def serial(self, zone: str | None = None) -> int:
        return self.server.serial(zone)

    def records(self, below: str | None = None, zone: str | None = None) -> set[str]:
        """The records of the zone but for SOA and DNSSEC's own, as `owner ttl type data`; those at or below a name."""
        return {
            f"{owner} {rdataset.ttl} {dns.rdatatype.to_text(rdataset.rdtype)} {rdata}"
            for owner, rdataset in self.server.axfr(zone).iterate_rdatasets()
            for rdata in rdataset
            if rdataset.rdtype not in _MADE_BY_SERVER
            if below is None or f".{owner}".endswith(f".{below}")
        }

    def snapshot(self) -> tuple[int, set[str]]:
        """Serial and records of the zone: equal when nothing has touched it."""
        return self.serial(), self.records()

    def changes(self, *options: str) -> list[dict[str, Any]]:
        """The ledger, newest first."""
        found: list[dict[str, Any]] = self.zonecut.cli("change", "list", "--limit", "100000", *options)["changes"]
        return found

    def change_count(self) -> int:
        """How many changes were ever accepted; read from the database, since the command takes half a second."""
        with closing(sqlite3.connect(self.store_url.removeprefix("sqlite:///"))) as database:
            (count,) = database.execute("SELECT count(*) FROM changes").fetchone()
        return int(count)

    def wait_until_recorded(self) -> None:
        """Return once the ledger holds how every change ended, which is recorded a moment after it was told."""
        with closing(sqlite3.connect(self.store_url.removeprefix("sqlite:///"))) as database:
            count = "SELECT count(*) FROM changes WHERE state = 'accepted'"
            until(lambda: database.execute(count).fetchone() == (0,), timeout=5, what="all changes are settled")

    def audit(self, event: str | None = None) -> list[dict[str, Any]]:
        """The audit trail, oldest first."""
        chosen = ["--event", event] if event else []
        found: list[dict[str, Any]] = self.zonecut.cli("audit", "--limit", "100000", *chosen)
        return found[::-1]

    def wait_for_event(self, event: str, *, count: int = 1, timeout: float = 5.0) -> dict[str, Any]:
        """The last of the log's events of that name, once there are so many."""
        until(lambda: len(self.zonecut.log_events(event)) >= count, timeout=timeout, what=f"{count} log events {event}")
        return self.zonecut.log_events(event)[-1]


def unexpected_lines(zonecut: ZonecutProcess, expected: Iterable[str] = ()) -> list[str]:
    """What a good run must not log: stray lines, and events of level error but for the expected ones."""
    known = set(expected)
    errors = [event for event in zonecut.log_events() if event.get("level") in ("error", "critical")]
    return [*zonecut.stray_lines(), *(str(event) for event in errors if event["event"] not in known)]


def stop_cleanly(world: World, expected: Iterable[str] = ()) -> None:
    """Stop zonecut; LabError when its log holds what a good run's does not, or a zone is not whole."""
    world.zonecut.stop()
    world.verify()
    if lines := unexpected_lines(world.zonecut, expected):
        raise LabError("\n".join(lines))
