"""The tree in which children are looked at: signed root and top, hosted zones at two servers, and their keys.

The parent zones in it are served by the server of the tests, which listens at a port of its own; see `trust_world`.
"""

import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import dns.exception
import dns.message
import dns.query

from lab.process import until
from lab.zones import ParentZone, Signing
from resolve_servers import Authority
from resolve_tree import bind_anchors, break_signature, make_zone_keys, sign_zone
from signer import Signer

ROOT_SERVER = "127.53.0.211"
TOP_SERVER = "127.53.0.212"
ONE, OTHER = "127.53.0.215", "127.53.0.216"
"""Where hosted zones are served, both by the same knotd or each by its own."""
NOBODY = "127.53.0.219"
"""Where nobody listens."""
VANTAGE = "127.53.0.220"
"""From where zonecut looks a second time."""

TOP = "test."
EXPIRED = ("-P", "-s", "20200101000000", "-e", "20200201000000")
_SOA = "SOA ns1 hostmaster {serial} 3600 900 604800 1"


def key_text(*keys: Signer, owner: str = "@") -> str:
    """KEY records as lines of a zone file."""
    return "".join(f"{owner} {each.pair.key.to_text().split(' ', 1)[1]}\n" for each in keys)


@dataclass(frozen=True)
class Hosted:
    """A zone that is served at two addresses: a child of a parent zone, or of the top.

    `at` says what is served at one of the addresses instead of `content`. `ns` are the name servers that the parent
    knows, by default two in the zone itself; `glue` are their addresses where they are others than usual. `signing` are
    options of dnssec-signzone; None: unsigned. `ds`, if given, stands in the parent instead of the right records.
    """

    name: str
    content: str = ""
    at: Mapping[str, str] = field(default_factory=dict)
    ns: Sequence[str] = ("ns1", "ns2")
    glue: Mapping[str, str] = field(default_factory=lambda: {"ns1": ONE, "ns2": OTHER})
    signing: Sequence[str] | None = None
    ds: Sequence[str] | None = None
    broken: str = ""
    """The type of an RRset whose signature is broken."""

    @property
    def parent(self) -> str:
        return self.name.split(".", 1)[1]

    def text(self, address: str, serial: int) -> str:
        """The zone file for one of the servers."""
        records = "".join(f"{host} A {where}\n" for host, where in self.glue.items())
        servers = "".join(f"@ NS {server}\n" for server in self.ns)
        head = f"$ORIGIN {self.name}\n$TTL 60\n@ {_SOA.format(serial=serial)}\n{servers}{records}"
        return head + self.at.get(address, self.content)

    def delegation(self, ds: Sequence[str]) -> str:
        """The records in its parent, with absolute names."""
        hosts = {server: f"{server}.{self.name}" for server in self.ns if not server.endswith(".")}
        records = [f"{self.name} NS {hosts.get(server, server)}" for server in self.ns]
        records += [f"{host}.{self.name} A {where}" for host, where in self.glue.items() if host in hosts]
        records += [f"{self.name} DS {record}" for record in (ds if self.ds is None else self.ds)]
        return "".join(f"{record}\n" for record in records)


class TrustTree:
    """Signs and serves; used as a context manager once the DS records of the parents are known."""

    def __init__(self, directory: Path, hosted: Sequence[Hosted]) -> None:
        self._directory = directory
        self._keys = directory / "keys"
        self._keys.mkdir(parents=True)
        self._hosted = {zone.name: zone for zone in hosted}
        self._serials: dict[str, int] = {}
        self.ds = {zone.name: self._write(zone) for zone in hosted}
        self.hints = directory / "root.hints"
        self.hints.write_text(f". 3600 NS ns.\nns. 3600 A {ROOT_SERVER}\n")
        self.anchors = directory / "anchors.zone"
        self.bind_anchors = directory / "anchors.conf"
        self.servers: dict[str, Authority] = {}
        self._running = ExitStack()

    def parent_zone(self, name: str, further: str = "") -> ParentZone:
        """A parent zone with the delegations of its children here; `further` are records with absolute names."""
        below = [zone.delegation(self.ds[zone.name]) for zone in self._hosted.values() if zone.parent == name]
        head = f"$ORIGIN {name}\n$TTL 60\n@ {_SOA.format(serial=1)}\n@ NS ns1\nns1 A 127.0.0.1\n"
        return ParentZone(name, head + "".join(below) + further, signing=Signing.IN_PLACE)

    def crown(self, parents: Mapping[str, Sequence[str]]) -> None:
        """Sign top and root; `parents` are the parent zones with their DS records."""
        below = "".join(
            f"{name} NS ns1.{name}\nns1.{name} A 127.0.0.1\n" + "".join(f"{name} DS {record}\n" for record in ds)
            for name, ds in parents.items()
        )
        below += "".join(zone.delegation(self.ds[zone.name]) for zone in self._hosted.values() if zone.parent == TOP)
        top_ds = self._sign_one(TOP, TOP_SERVER, below)
        delegation = "".join(f"{TOP} DS {record}\n" for record in top_ds) + f"{TOP} NS ns.{TOP}\n"
        root_ds = self._sign_one(".", ROOT_SERVER, f"{delegation}ns.{TOP} A {TOP_SERVER}\n")
        self.anchors.write_text("".join(f". 3600 IN DS {record}\n" for record in root_ds))
        self.bind_anchors.write_text(bind_anchors(root_ds))

    def __enter__(self) -> Self:
        files = {address: {name: self._served(name, address) for name in self._hosted} for address in (ONE, OTHER)}
        for name, address in ((".", ROOT_SERVER), (TOP, TOP_SERVER)):
            files[address] = {name: self._served(name, address)}
        with self._running:
            for address, zones in files.items():
                authority = Authority(self._directory / f"authority-{address}", address, zones)
                self.servers[address] = self._running.enter_context(authority)
            # All are up: only __exit__ ends it now.
            self._running = self._running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def change(self, name: str, content: str, *, at: Mapping[str, str] | None = None) -> None:
        """Serve other records in a hosted zone, at both servers or, with `at`, as that says; back when they do."""
        zone = self._hosted[name] = replace(self._hosted[name], content=content, at=at or {})
        self._write(zone)
        for address in (ONE, OTHER):
            self.servers[address].send_signal(signal.SIGHUP)
        for address in (ONE, OTHER):
            until(lambda: self._serves(zone, address), timeout=10, what=f"{name} changed at {address}")  # noqa: B023

    def _serves(self, zone: Hosted, address: str) -> bool:
        try:
            answer = dns.query.tcp(dns.message.make_query(zone.name, "SOA"), address, timeout=2)
        except (dns.exception.DNSException, OSError, EOFError):
            return False
        return bool(answer.answer) and int(str(answer.answer[0][0]).split()[2]) == self._serials[zone.name]

    def _write(self, zone: Hosted) -> list[str]:
        """Write the files of a zone anew; its DS records."""
        fresh = zone.name not in self._serials
        serial = self._serials[zone.name] = self._serials.get(zone.name, 0) + 1
        if zone.signing is not None and fresh:
            make_zone_keys(self._keys, zone.name)
        ds: list[str] = []
        for address in (ONE, OTHER):
            file = self._file(zone.name, address)
            file.write_text(zone.text(address, serial))
            if zone.signing is not None:
                signed = file.with_suffix(".signed")
                ds = sign_zone(self._keys, zone.name, file, signed, zone.signing)
                if zone.broken:
                    break_signature(signed, zone.broken)
        return ds

    def _sign_one(self, name: str, address: str, records: str) -> list[str]:
        """Sign a zone that one server serves."""
        file = self._file(name, address)
        ns = "ns." if name == "." else f"ns.{name}"
        soa = f"SOA {ns} hostmaster.{ns} 1 3600 900 604800 1"
        file.write_text(f"$ORIGIN {name}\n$TTL 60\n@ {soa}\n@ NS {ns}\n{ns} A {address}\n{records}")
        make_zone_keys(self._keys, name)
        return sign_zone(self._keys, name, file, file.with_suffix(".signed"))

    def _file(self, name: str, address: str) -> Path:
        return self._directory / f"{name}{address}.zone"

    def _served(self, name: str, address: str) -> Path:
        signed = self._file(name, address).with_suffix(".signed")
        return signed if signed.exists() else self._file(name, address)
