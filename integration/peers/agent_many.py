"""One agent with hundreds of zones, all children of one parent, and what it costs."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from agent_world import ds_of
from lab.daemons.named import Named
from lab.ports import LOOPBACK, free_port
from lab.process import until
from lab.zonecut import CHECKS_OFF, ZonecutProcess
from lab.zones import PARENT, ParentZone, Signing
from resolve_servers import Unbound
from trust_tree import TrustTree
from world import GENEROUS

_SOA = "SOA ns1 hostmaster 1 3600 900 604800 1"


class ManyZones:
    """`count` unsigned children on one named, their signed parent on another, a receiver, and one agent for all.

    The parent's operator trusts the keys as they come. `entry` is added to each of the agent's zones.
    """

    def __init__(self, directory: Path, count: int, entry: Mapping[str, Any] | None = None) -> None:
        self.children = [f"c{number}.{PARENT}" for number in range(count)]
        self._directory = directory
        self.notify_port, self.port = free_port(), free_port()
        zones = [ParentZone(child, _child_text(child, number)) for number, child in enumerate(self.children)]
        self.named = Named(directory / "children", *zones, notified=self.notify_port, start_timeout=120)
        below = "".join(_delegation(number) for number in range(count))
        text = f"$ORIGIN {PARENT}\n$TTL 60\n@ {_SOA}\n@ NS ns1\nns1 A 127.0.0.1\n{below}"
        self.parent = Named(directory / "parent", ParentZone(PARENT, text, signing=Signing.IN_PLACE))
        self._entry = entry or {}
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with self._running:
            enter = self._running.enter_context
            enter(self.named)
            enter(self.parent)
            self.tree = TrustTree(self._directory / "tree", [])
            self.tree.crown({PARENT: ds_of(self.parent, PARENT)})
            enter(self.tree)
            stubs = {PARENT: f"{LOOPBACK}@{self.parent.port}"}
            self.unbound = enter(Unbound(self._directory / "unbound", self.tree, stubs=stubs))
            self._configure()
            enter(self.receiver)
            enter(self.agent)
            self._running = self._running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _configure(self) -> None:
        resolver = {"nameservers": [f"{LOOPBACK}:{self.unbound.port}"], "trust_anchors": str(self.tree.anchors)}
        self.receiver = ZonecutProcess(
            self._directory / "receiver",
            {
                "version": 1,
                "store": {"url": f"sqlite:///{self._directory}/receiver/zonecut.db"},
                "receiver": {
                    "listen": [f"{LOOPBACK}:{self.port}"],
                    "limits": {**GENEROUS, "upload_burst": 1_000_000, "upload_rate": 100_000},
                },
                "resolver": resolver,
                "parents": [
                    {
                        "zone": PARENT,
                        "backend": self.parent.backend(),
                        "addresses": [LOOPBACK],
                        "publish": True,
                        "trust": {"pending_per_source": 1_000_000},
                        "policy": {"glue_addresses": "any"},
                        "checks": CHECKS_OFF,
                    }
                ],
            },
        )
        entries = [
            {
                "zone": child,
                "backend": self.named.backend(),
                "primary": {"server": self.named.server},
                "parent": {"addresses": "any", "port": self.parent.port},
                # nobody is at the addresses of their name servers
                "looks": {"silent_for": 0},
                **self._entry,
            }
            for child in self.children
        ]
        self.agent = ZonecutProcess(
            self._directory / "agent",
            {
                "version": 1,
                "store": {"url": f"sqlite:///{self._directory}/agent/zonecut.db"},
                "resolver": resolver,
                "agent": {"listen": [f"{LOOPBACK}:{self.notify_port}"]},
                "children": entries,
            },
            start_timeout=60,
        )

    def phases(self) -> dict[str, str]:
        """The phase of each zone, as the log says."""
        return {each["zone"]: each["phase"] for each in self.agent.log_events("agent.state")}

    def wait_for_all(self, phase: str, *, timeout: float) -> None:
        def reached() -> bool:
            phases = self.phases()
            return all(phases.get(child) == phase for child in self.children)

        until(reached, timeout=timeout, what=f"all zones are {phase}")

    def trust_all(self) -> None:
        """The parent's operator trusts all keys that wait."""
        files = sorted((self._directory / "agent" / "keys" / "children").rglob("K*.key"))
        self.receiver.cli("key", "import", "--trust", *files, timeout=120)

    def rss_mb(self) -> float:
        """Resident memory of the agent, in MB."""
        for line in Path(f"/proc/{self.agent.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    def cpu_seconds(self) -> float:
        """CPU time that the agent has used."""
        fields = Path(f"/proc/{self.agent.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _child_text(child: str, number: int) -> str:
    return (
        f"$ORIGIN {child}\n$TTL 60\n@ {_SOA}\n@ NS ns1\n@ NS ns2\n"
        f"ns1 A {_address(1, number)}\nns2 A {_address(2, number)}\nns3 A {_address(3, number)}\n"
    )


def _delegation(number: int) -> str:
    child = f"c{number}"
    hosts = "".join(f"ns{host}.{child} A {_address(host, number)}\n" for host in (1, 2))
    return f"{child} NS ns1.{child}\n{child} NS ns2.{child}\n{hosts}"


def _address(host: int, number: int) -> str:
    return f"127.{host}.{number // 250}.{number % 250 + 1}"
