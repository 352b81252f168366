"""A child and its parent, each on a server of its own in a signed tree, with a receiver for one and an agent for other.

root, test.  <- parent.test. (any server, `zonecut serve` with `parents`)  <- child.parent.test. (any server,
another `zonecut serve` with `children`); an unbound validates for both sides, and keeps what it is told.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import dns.dnssec
import dns.name
import dns.rdataclass
import dns.rdatatype

from lab.daemons.knotd import Knotd
from lab.daemons.server import Server
from lab.daemons.servers import SERVERS
from lab.ports import LOOPBACK, free_port
from lab.process import until
from lab.zonecut import CHECKS_OFF, ZonecutProcess
from lab.zones import ParentZone, Signing
from resolve_servers import Unbound
from trust_tree import TrustTree
from world import GENEROUS

PARENT = "parent.test."
CHILD = "child.parent.test."
QUICK = {
    "poll": 0.3,
    "check": 5,
    "retry_first": 0.2,
    "retry_longest": 1,
    "confirm": 20,
    "patience": 1,
    "key": {"roll_wait": 1},
    "looks": {"again": 0.2, "signed_for": 0, "silent_for": 0},
}
"""Settings of an agent that is not patient."""
TRUST = {"retry_first": 0.2, "retry_longest": 1, "attempts": 30}
_SOA = "SOA ns1 hostmaster 1 3600 900 604800 1"


OWN_ADDRESSES = ("127.11.0.1", "127.11.0.2")
"""Of the child's name servers. Nobody asks them."""


def child_text(zone: str = CHILD, addresses: Sequence[str] = OWN_ADDRESSES) -> str:
    """A child zone with two name servers of its own."""
    one, two = addresses
    return (
        f"$ORIGIN {zone}\n$TTL 1\n@ {_SOA}\n@ NS ns1\n@ NS ns2\n"
        f"ns1 A {one}\nns2 A {two}\n"
        "ns3 A 127.11.0.3\nns3 AAAA ::1\nwww A 127.11.0.80\n"
    )


class AgentWorld:
    """Everything up, used as a context manager; the agent starts with the block unless `agent` is False."""

    def __init__(
        self,
        directory: Path,
        *,
        parent: str = "bind",
        child: str = "bind",
        parent_signing: Signing = Signing.IN_PLACE,
        child_signing: Signing = Signing.IN_PLACE,
        bootstrap: Sequence[str] = ("at-apex", "at-ns", "manual"),
        parent_entry: Mapping[str, Any] | None = None,
        child_entry: Mapping[str, Any] | None = None,
        addresses: Sequence[str] = OWN_ADDRESSES,
        agent: bool = True,
    ) -> None:
        self._directory = directory
        self._parent_kind, self._parent_signing, self._child_signing = parent, parent_signing, child_signing
        self._bootstrap, self._addresses = bootstrap, addresses
        self._parent_entry, self._child_entry, self._starts_agent = parent_entry or {}, child_entry or {}, agent
        self.port = free_port()
        self.notify_port = free_port()
        self.child = self._make_child(child)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with self._running:
            self._running.enter_context(self.child)
            self._start_parent()
            self._start_resolver()
            self._start_receiver()
            self.agent = self._make_agent()
            if self._starts_agent:
                self._running.enter_context(self.agent)
            self._running = self._running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self.agent.running:
            # a test started it again by itself
            self.agent.stop()
        self._running.close()

    def _make_child(self, kind: str) -> Server:
        zone = ParentZone(CHILD, child_text(CHILD, self._addresses), signing=self._child_signing)
        return SERVERS[kind](self._directory / "child", zone, notified=self.notify_port, rolls=True)

    def _start_parent(self) -> None:
        ds = [] if self._child_signing is Signing.NONE else ds_of(self.child, CHILD)
        text = f"$ORIGIN {PARENT}\n$TTL 60\n@ {_SOA}\n@ 1 NS ns1\nns1 A 127.0.0.1\n" + self.delegation(ds)
        self.parent: Server = SERVERS[self._parent_kind](
            self._directory / "parent", ParentZone(PARENT, text, signing=self._parent_signing)
        )
        self._running.enter_context(self.parent)

    def delegation(self, ds: Sequence[str]) -> str:
        """What the parent holds in the beginning."""
        one, two = self._addresses
        records = f"child NS ns1.child\nchild NS ns2.child\nns1.child A {one}\nns2.child A {two}\n"
        return records + "".join(f"child DS {each}\n" for each in ds)

    def _start_resolver(self) -> None:
        self.tree = TrustTree(self._directory / "tree", [])
        signed = self._parent_signing is not Signing.NONE
        ds = {PARENT: ds_of(self.parent, PARENT) if signed else []}
        ds |= {zone.name: ds_of(self.child, zone.name) for zone in self.child.zones[1:]}
        self.tree.crown(ds)
        self._running.enter_context(self.tree)
        stubs = {PARENT: f"{LOOPBACK}@{self.parent.port}"}
        stubs |= {zone.name: f"{LOOPBACK}@{self.child.port}" for zone in self.child.zones}
        self.unbound = Unbound(self._directory / "unbound", self.tree, stubs=stubs)
        self._running.enter_context(self.unbound)

    @property
    def resolver(self) -> dict[str, Any]:
        return {"nameservers": [f"{LOOPBACK}:{self.unbound.port}"], "trust_anchors": str(self.tree.anchors)}

    def _start_receiver(self) -> None:
        entry = {
            "zone": PARENT,
            "backend": self.parent.backend(),
            "addresses": [LOOPBACK],
            "publish": True,
            "bootstrap": list(self._bootstrap),
            "trust": TRUST,
            "policy": {"glue_addresses": "any"},
            "checks": CHECKS_OFF,
            **self._parent_entry,
        }
        self.receiver = ZonecutProcess(
            self._directory / "receiver",
            {
                "version": 1,
                "store": {"url": f"sqlite:///{self._directory}/receiver/zonecut.db"},
                "receiver": {"listen": [f"{LOOPBACK}:{self.port}"], "limits": GENEROUS},
                "resolver": self.resolver,
                "parents": [entry],
            },
        )
        self._running.enter_context(self.receiver)
        until(
            lambda: bool(self.receiver.log_events("publication.written")), timeout=20, what="the receiver is announced"
        )

    def _make_agent(self) -> ZonecutProcess:
        entry = {
            "zone": CHILD,
            "backend": self.child.backend(),
            "primary": {"server": self.child.server},
            "parent": {"addresses": "any", "port": self.parent.port},
            **QUICK,
            **self._child_entry,
        }
        return ZonecutProcess(
            self._directory / "agent",
            {
                "version": 1,
                "store": {"url": f"sqlite:///{self._directory}/agent/zonecut.db"},
                "resolver": self.resolver,
                "agent": {"listen": [f"{LOOPBACK}:{self.notify_port}"]},
                "children": [entry],
            },
        )

    # Looking

    def state(self) -> dict[str, Any]:
        """The agent's state of the zone, as the command shows it."""
        found: dict[str, Any] = self.agent.cli("child", "status", CHILD, expect=None)
        return found

    def wait_for(self, phase: str, *, timeout: float = 15.0) -> dict[str, Any]:
        """The state once the agent is in that phase."""

        def reached() -> bool:
            events = self.agent.log_events("agent.state")
            return bool(events) and events[-1]["phase"] == phase

        until(reached, timeout=timeout, what=f"the agent is {phase}")
        return self.agent.log_events("agent.state")[-1]

    def in_sync(self, within: float = 10.0) -> None:
        """Wait until the agent says so."""
        until(lambda: self.agent.log_events("agent.state")[-1]["phase"] == "in-sync", timeout=within, what="in sync")

    def held(self) -> set[str]:
        """The parent's records for the child, without TTLs, in lower case."""
        return {
            f"{owner} {dns.rdatatype.to_text(rdataset.rdtype)} {rdata}".lower()
            for owner, rdataset in self.parent.axfr(PARENT).iterate_rdatasets()
            if f".{owner}".endswith(f".{CHILD}") and rdataset.rdtype in _DELEGATION
            for rdata in rdataset
        }

    def held_ds(self) -> set[str]:
        return {record for record in self.held() if record.startswith(f"{CHILD} ds ")}

    def holds(self, records: set[str], *, without: Collection[str] = (), within: float) -> None:
        """Wait until the parent holds these records, and others not any more."""

        def so() -> bool:
            held = self.held()
            return records <= held and held.isdisjoint(without)

        until(so, timeout=within, what=f"the parent holds {records} without {without}")

    def ds_of_cds(self) -> set[str]:
        """The DS records that the child's CDS records ask for."""
        answer = self.child.query(CHILD, "CDS", tcp=True).answer
        return {f"{CHILD} ds {rdata}".lower() for rrset in answer for rdata in rrset}


OPERATOR = "operator.test."
OPERATED_AT = ("127.53.0.213", "127.53.0.214")


class OperatedWorld(AgentWorld):
    """An unsigned child whose name servers have their names in a signed zone of its operator's, who runs the agent.

    Both zones are on the same knotd. As nothing validates the child itself, a parent that bootstraps by at-ns asks
    each of the name servers.
    """

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__(directory, child="knot", child_signing=Signing.NONE, addresses=OPERATED_AT, **options)

    def _make_child(self, kind: str) -> Server:
        one, two = OPERATED_AT
        child = f"$ORIGIN {CHILD}\n$TTL 1\n@ {_SOA}\n@ NS ns1.{OPERATOR}\n@ NS ns2.{OPERATOR}\nwww A 127.11.0.80\n"
        operator = f"$ORIGIN {OPERATOR}\n$TTL 1\n@ {_SOA}\n@ NS ns1\n@ NS ns2\nns1 A {one}\nns2 A {two}\nns3 A {two}\n"
        zones = ParentZone(CHILD, child), ParentZone(OPERATOR, operator, signing=Signing.IN_PLACE)
        return Knotd(self._directory / "child", *zones, notified=self.notify_port, rolls=True, also_at=OPERATED_AT)

    def delegation(self, ds: Sequence[str]) -> str:
        return f"child NS ns1.{OPERATOR}\nchild NS ns2.{OPERATOR}\n"

    def _make_agent(self) -> ZonecutProcess:
        agent = super()._make_agent()
        (entry,) = agent.configuration["children"]
        entry["signalling"] = [{"zone": OPERATOR, "backend": self.child.backend()}]
        agent.configure(agent.configuration)
        return agent


_DELEGATION = frozenset(map(dns.rdatatype.from_text, ("NS", "DS", "A", "AAAA")))


def ds_of(server: Server, zone: str) -> list[str]:
    """DS records of a zone's keys with the SEP flag."""
    origin = dns.name.from_text(zone)
    answer = server.query(zone, "DNSKEY", tcp=True)
    rdatas = answer.find_rrset(answer.answer, origin, dns.rdataclass.IN, dns.rdatatype.DNSKEY)
    return [str(dns.dnssec.make_ds(origin, rdata, "SHA256")) for rdata in rdatas if rdata.flags & 1]
