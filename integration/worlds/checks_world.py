"""zonecut in front of a server, and children at two real servers that may disagree: what checks look at.

Everything is on loopback: the children's servers at 127.53.0.x port 53, the root that names are looked up in as well.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.rdata

from lab.ports import LOOPBACK
from lab.zones import ParentZone
from resolve_servers import Authority, Unbound
from resolve_tree import bind_anchors, make_zone_keys, sign_zone
from signer import Signer, address, name
from world import World
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import RRType

ROOT_SERVER = "127.53.0.231"
ONE, TWO = "127.53.0.232", "127.53.0.233"
NOBODY = "127.53.0.239"
"""Where nobody listens."""
PARENTS = {"enforce": "parent.test.", "warn": "warn.test."}
TIME_LIMIT = 3.0
OUTSIDE, ALIAS = "ns.hosts.", "alias.hosts."
_SOA = "SOA ns1 hostmaster 1 3600 900 604800 60"


@dataclass(frozen=True, eq=False)
class Child:
    """A child in each parent zone, delegated to ns1 at ONE. `ns` and `keys` are what a server has instead of the rest.

    It asks for `ns`, with ns2 at `second`, and for a DS of the key that is in its zone at ONE.
    """

    label: str
    ns: Sequence[str] = ("ns1", "ns2")
    second: str = TWO
    has: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rekeyed: str = ""
    """The server that has the zone signed by other keys."""
    aliased: bool = False
    """ns2 is an alias in the zone itself."""

    def text(self, zone: str, server: str) -> str:
        servers = "".join(f"@ NS {each}\n" for each in self.has.get(server, self.ns))
        second = "ns2 CNAME ns1\n" if self.aliased else f"ns2 A {self.second}\n"
        return f"$ORIGIN {zone}\n$TTL 60\n@ {_SOA}\n{servers}ns1 A {ONE}\n{second}"


class ChecksWorld(World):
    """A World with a parent zone whose checks are enforced, and one in which they warn."""

    def __init__(self, directory: Path, children: Sequence[Child], *, server: str = "bind") -> None:
        directory.mkdir(exist_ok=True)
        self._files = directory / "zones"
        self._files.mkdir()
        self.signers = {
            (parent, child.label): Signer.generate(f"{child.label}.{parent}")
            for parent in PARENTS.values()
            for child in children
        }
        self.ds: dict[str, bytes] = {}
        served: dict[str, dict[str, Path]] = {ONE: {}, TWO: {}}
        for parent in PARENTS.values():
            for child in children:
                zone = f"{child.label}.{parent}"
                for at, files in served.items():
                    files[zone] = self._sign(child, zone, at)
        self._root(directory)
        served[ROOT_SERVER] = {".": self._files / ".signed"}
        self._authorities = [Authority(directory / f"authority-{at}", at, zones) for at, zones in served.items()]
        self.unbound = Unbound(directory / "unbound", self)
        super().__init__(
            directory,
            *(ParentZone(parent, _parent_text(parent, children)) for parent in PARENTS.values()),
            server=server,
            keys=list(self.signers.values()),
            parents=[_entry(mode) for mode in PARENTS],
            further={
                "resolver": {
                    "nameservers": [f"{LOOPBACK}:{self.unbound.port}"],
                    "trust_anchors": str(self.anchors),
                }
            },
        )

    def start_others(self, running: ExitStack) -> None:
        for authority in self._authorities:
            running.enter_context(authority)
        running.enter_context(self.unbound)

    def change(self, mode: str, child: Child, *, ds: bytes | None = None) -> bytes:
        """The signed UPDATE with which a child asks for what it is about; by default with its own DS."""
        parent = PARENTS[mode]
        zone = f"{child.label}.{parent}"
        owner = names.from_text(zone)
        updates = [message.delete_rrset(owner, RRType.NS)]
        for server in child.ns:
            target = name(server if server.endswith(".") else f"{server}.{zone}")
            updates.append(message.add(owner, RRType.NS, 60, target))
            if names.is_below(target, owner):
                where = ONE if server == "ns1" else child.second
                updates.append(message.add(target, RRType.A, 60, address(where)))
        updates.append(message.add(owner, RRType.DS, 60, self.ds[zone] if ds is None else ds))
        return self.signers[parent, child.label].update(*updates, zone=names.from_text(parent))

    def _sign(self, child: Child, zone: str, server: str) -> Path:
        keys = self._files / (f"keys-{server}" if child.rekeyed == server else "keys")
        if server == ONE or child.rekeyed == server:
            keys.mkdir(exist_ok=True)
            make_zone_keys(keys, zone)
        directory = self._files / server
        directory.mkdir(exist_ok=True)
        file, signed = directory / zone, directory / f"{zone}signed"
        file.write_text(child.text(zone, server))
        (ds,) = sign_zone(keys, zone, file, signed)
        if server == ONE:
            self.ds[zone] = dns.rdata.from_text("IN", "DS", ds).to_wire() or b""
        return signed

    def _root(self, directory: Path) -> None:
        self.hints = directory / "root.hints"
        self.hints.write_text(f". 3600 NS ns.\nns. 3600 A {ROOT_SERVER}\n")
        file = self._files / "root"
        file.write_text(
            f"$ORIGIN .\n$TTL 60\n@ {_SOA}\n@ NS ns.\nns A {ROOT_SERVER}\n{OUTSIDE} A {ONE}\n{ALIAS} CNAME {OUTSIDE}\n"
        )
        keys = self._files / "root-keys"
        keys.mkdir()
        make_zone_keys(keys, ".")
        ds = sign_zone(keys, ".", file, self._files / ".signed")
        self.anchors, self.bind_anchors = directory / "anchors.zone", directory / "anchors.conf"
        self.anchors.write_text("".join(f". 3600 IN DS {record}\n" for record in ds))
        self.bind_anchors.write_text(bind_anchors(ds))


def _parent_text(parent: str, children: Sequence[Child]) -> str:
    head = f"$ORIGIN {parent}\n$TTL 3600\n@ {_SOA}\n@ NS ns1\nns1 A 127.0.0.1\n"
    return head + "".join(f"{child.label} NS ns1.{child.label}\nns1.{child.label} A {ONE}\n" for child in children)


def _entry(mode: str) -> dict[str, Any]:
    checks = {"ds_continuity": mode, "ns_consistency": mode, "time_limit": TIME_LIMIT}
    # the servers are on loopback, which no child may name otherwise
    return {"checks": checks, "policy": {"glue_addresses": "any"}}
