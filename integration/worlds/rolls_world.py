"""A child whose primary is hidden, with a secondary that lags, and strict resolvers that are asked all the time.

As in `agent_world`, but that the delegation is real: the child's name servers are two secondaries at port 53, of which
one hears of each change some seconds late. TTLs are seconds; caches are as they come.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dns.dnssec

from agent_world import CHILD, PARENT, AgentWorld, ds_of
from lab.asking import Asking
from lab.daemons.named import Named
from lab.daemons.secondary import Messenger, Secondary
from lab.daemons.server import Server
from lab.ports import LOOPBACK, free_port
from lab.process import until
from lab.zones import ParentZone, Signing
from resolve_servers import Unbound
from trust_tree import TrustTree

PROMPT, LATE = "127.53.0.231", "127.53.0.232"
SERVERS = {"prompt": PROMPT, "late": LATE}
"""The child's name servers. Each has a resolver of its own, since one that asks both takes the answer that is right."""
LAG = 3
"""Seconds after which the late one hears of a change."""
TTL = 1
"""Of the delegation, in seconds."""
STRICT = "  harden-algo-downgrade: yes\n  ede: yes\n"
"""An unbound that insists on RFC 4035 section 2.2, and says why it fails."""


class RollsWorld(AgentWorld):
    """The agent reads the hidden primary, `child`; `asking` has what the resolvers failed to answer.

    `cache` is what is said to them besides, and `alone` the name servers that have a resolver to themselves.
    """

    def __init__(
        self,
        directory: Path,
        make_child: Callable[["RollsWorld", ParentZone], Server],
        *,
        lag: int = LAG,
        cache: str = "",
        alone: Mapping[str, str] = SERVERS,
        ds_ttl: int = TTL,
        child_signing: Signing = Signing.IN_PLACE,
        child_entry: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self._make, self.lag, self._cache, self._alone = make_child, lag, cache, alone
        self._ds_ttl = ds_ttl
        self.parent_port = free_port()
        super().__init__(
            directory,
            addresses=(PROMPT, LATE),
            child_signing=child_signing,
            parent_entry={"policy": {"glue_addresses": "any", "ttl": {"ns": TTL, "ds": ds_ttl, "glue": TTL}}},
            child_entry={"looks": {"again": 1, "signed_for": TTL + 1, "silent_for": 60}, **(child_entry or {})},
            **options,
        )

    @property
    def directory(self) -> Path:
        return self._directory

    def _make_child(self, kind: str) -> Server:
        text = "\n".join(
            [
                f"$ORIGIN {CHILD}",
                "$TTL 1",
                "@ SOA ns1 hostmaster 1 3600 900 604800 1",
                "@ NS ns1",
                "@ NS ns2",
                f"ns1 A {PROMPT}",
                f"ns2 A {LATE}",
                "www A 11.0.0.80",
                "",
            ]
        )
        return self._make(self, ParentZone(CHILD, text, signing=self._child_signing))

    def _start_parent(self) -> None:
        self._start_secondaries()
        ds = [] if self._child_signing is Signing.NONE else ds_of(self.child, CHILD)
        text = f"$ORIGIN {PARENT}\n$TTL {TTL}\n@ SOA ns1 hostmaster 1 3600 900 604800 1\n@ NS ns1\nns1 A 127.0.0.1\n"
        zone = ParentZone(
            PARENT, text + self.delegation(ds).replace(" DS ", f" {self._ds_ttl} DS "), signing=Signing.IN_PLACE
        )
        self.parent = Named(self._directory / "parent", zone, port=self.parent_port)
        self._running.enter_context(self.parent)

    def _start_secondaries(self) -> None:
        key = self.child.tsig_key if isinstance(self.child, Named) else None
        self.prompt, self.late = (
            self._running.enter_context(Secondary(self._directory / name, address, CHILD, self.child, key))
            for name, address in SERVERS.items()
        )
        self._running.enter_context(Messenger(self.child, CHILD, {self.prompt: 0, self.late: self.lag}))

    def _start_resolver(self) -> None:
        self.tree = TrustTree(self._directory / "tree", [])
        self.tree.crown({PARENT: ds_of(self.parent, PARENT)})
        self._running.enter_context(self.tree)
        stubs = {PARENT: f"{LOOPBACK}@{self.parent.port}"}
        self.unbound = self._resolver("unbound", stubs)
        alone = {name: self._resolver(name, {**stubs, CHILD: f"{address}@53"}) for name, address in self._alone.items()}
        ports = {"either": self.unbound.port, **{name: each.port for name, each in alone.items()}}
        self.asking = self._running.enter_context(Asking(ports, CHILD))

    def _resolver(self, name: str, stubs: Mapping[str, str]) -> Unbound:
        made = Unbound(self._directory / f"asks-{name}", self.tree, stubs=stubs, options=STRICT + self._cache)
        return self._running.enter_context(made)

    def ds_tags(self) -> list[int]:
        """The key tags of the DS records at the parent."""
        return sorted({int(record.split()[2]) for record in self.held_ds()})

    def key_tags(self, algorithm: int | None = None) -> list[int]:
        """The key tags of the primary's DNSKEY records with the SEP flag."""
        answer = self.child.query(CHILD, "DNSKEY", tcp=True).answer
        return sorted(
            dns.dnssec.key_id(rdata)
            for rrset in answer
            for rdata in rrset
            if rdata.flags & 1 and algorithm in (None, int(rdata.algorithm))
        )

    def until_ds(self, tags: Sequence[int], within: float) -> None:
        """Wait until the parent has DS for keys with these tags, and for no others."""
        until(lambda: self.ds_tags() == sorted(tags), timeout=within, what=f"DS for {tags}, not {self.ds_tags()}")

    def settled(self, *, secure: bool = True) -> None:
        """The agent is content, and the resolvers have answered all that was asked until their caches were empty."""
        self.in_sync()
        time.sleep(TTL + 1)
        assert self.asking.failures == []
        assert set(self.asking.secure.values()) == {secure}
        assert [event for event in self.agent.log_events() if event["level"] in ("error", "critical")] == []
