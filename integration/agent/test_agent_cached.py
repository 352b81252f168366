"""An agent beside an ordinary cache: zones with ordinary TTLs, a resolver that keeps what it is told, late servers."""

from pathlib import Path
from typing import Any

import dns.message
import dns.query

from agent_world import CHILD, PARENT, AgentWorld, ds_of
from lab.daemons.named import Named
from lab.daemons.secondary import Messenger, Secondary
from lab.daemons.server import Server
from lab.ports import LOOPBACK
from lab.zones import ParentZone, Signing
from resolve_servers import Unbound
from trust_tree import TrustTree

ONE, OTHER = "127.53.0.235", "127.53.0.236"
"""The child's name servers."""
LAG = 2.0
"""Seconds after which they hear of a change of their hidden primary."""


class CachedWorld(AgentWorld):
    """The child's negative answers may be kept for an hour, and unbound keeps them."""

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__(directory, addresses=(ONE, OTHER), **options)

    def _make_child(self, kind: str) -> Server:
        head = f"$ORIGIN {CHILD}\n$TTL 3600\n@ SOA ns1 hostmaster 1 3600 900 604800 3600\n"
        text = f"{head}@ NS ns1\n@ NS ns2\nns1 A {ONE}\nns2 A {OTHER}\n"
        return Named(self._directory / "child", ParentZone(CHILD, text, signing=Signing.IN_PLACE))

    def _start_parent(self) -> None:
        assert isinstance(self.child, Named)
        late = [
            self._running.enter_context(Secondary(self._directory / name, at, CHILD, self.child, self.child.tsig_key))
            for name, at in (("one", ONE), ("other", OTHER))
        ]
        self._running.enter_context(Messenger(self.child, CHILD, dict.fromkeys(late, LAG)))
        super()._start_parent()

    def _start_resolver(self) -> None:
        self.tree = TrustTree(self._directory / "tree", [])
        self.tree.crown({PARENT: ds_of(self.parent, PARENT)})
        self._running.enter_context(self.tree)
        self.unbound = Unbound(self._directory / "unbound", self.tree, stubs={PARENT: f"{LOOPBACK}@{self.parent.port}"})
        self._running.enter_context(self.unbound)


def test_the_agent_does_not_ask_a_cache_for_its_key_before_all_servers_have_it(tmp_path: Path) -> None:
    """It would be told that there is nothing, and so would the receiver, for as long as that is kept."""
    with CachedWorld(tmp_path, bootstrap=["at-apex"]) as world:
        waits = world.wait_for("key-published")
        world.wait_for("in-sync", timeout=LAG + 15)
        told = [event["reason"] for event in world.agent.log_events("agent.state")]
        assert waits
        assert any(f"ns1.{CHILD} ({ONE})" in reason and "does not have it" in reason for reason in told)
        query = dns.message.make_query(CHILD, "KEY")
        assert dns.query.udp(query, LOOPBACK, port=world.unbound.port, timeout=5).answer
