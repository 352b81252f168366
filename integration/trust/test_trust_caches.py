"""What resolvers keep gives trust to nobody: no chain to the former holder of a name, no KEY RRset that is replaced."""

from pathlib import Path

import dns.message
import dns.query

from lab.daemons.server import Add, Delete
from lab.ports import LOOPBACK
from lab.process import until
from signer import NS, Signer
from trust_child import TRUSTED, TrustChild
from trust_tree import Hosted, key_text
from trust_world import TrustWorld
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import RRType

APEX = "apex.test."
AT_APEX = {"bootstrap": ["at-apex", "manual"], "trust": {"sweep": 1}}


def looked_at_in_vain(world: TrustWorld, signer: Signer) -> None:
    until(lambda: bool(world.events_of("bootstrap.attempt", signer)), timeout=10, what="a look in vain")


def test_a_former_holder_gets_no_key_trusted_through_the_chain_that_a_cache_still_has(tmp_path: Path) -> None:
    name = f"moved.{APEX}"
    first, second = Signer.generate(name), Signer.generate(name)
    hosted = [Hosted(name, key_text(first, second), signing=())]
    with TrustWorld(tmp_path, {APEX: AT_APEX}, hosted, server="bind", caches=True) as world:
        before, again = TrustChild(world, first), TrustChild(world, second)
        assert before.upload(replace=False).rcode == "NOERROR"
        before.wait_for(TRUSTED)
        world.server.edit(
            Delete(name, "NS"),
            Delete(name, "DS"),
            Add(name, 60, "NS", "ns1.newholder.example."),
            Add(name, 60, "NS", "ns2.newholder.example."),
            Add(name, 60, "DS", f"4711 13 2 {'AB' * 32}"),
            zone=APEX,
        )
        assert again.upload(replace=False).rcode == "NOERROR"
        looked_at_in_vain(world, second)
        assert world.key_of(second)["state"] == "known"
        taken = again.update(
            message.delete_rrset(second.owner, NS),
            message.add(second.owner, NS, 60, names.from_text("ns.former.example.")),
            message.delete_rrset(second.owner, RRType.DS),
        )
        assert again.send(taken).rcode == "REFUSED"


def test_a_key_that_was_replaced_does_not_come_back_while_a_cache_has_it(tmp_path: Path) -> None:
    name = f"rolled.{APEX}"
    first, second = Signer.generate(name), Signer.generate(name)
    hosted = [Hosted(name, key_text(first), signing=())]
    with TrustWorld(tmp_path, {APEX: AT_APEX}, hosted, server="bind", caches=True) as world:
        stolen, child = TrustChild(world, first), TrustChild(world, second)
        assert stolen.upload().rcode == "NOERROR"
        stolen.wait_for(TRUSTED)
        world.tree.change(name, key_text(second))
        roll = stolen.update(
            message.delete_rrset(first.owner, RRType.KEY),
            message.add(first.owner, RRType.KEY, 60, second.pair.key.rdata),
        )
        assert stolen.send(roll).rcode == "NOERROR"
        answer = stolen.upload()
        assert answer.rcode == "REFUSED"
        assert "upload a new key" in str(answer.extended_error)
        assert stolen.change().rcode == "BADKEY"
        assert child.change().rcode == "NOERROR"
        assert [world.key_of(each)["state"] for each in (first, second)] == ["superseded", "trusted"]


def test_a_stale_rrset_evicts_nobody(tmp_path: Path) -> None:
    """The stolen key was never trusted here; its RRset, without the child's own key, is in a cache still."""
    name = f"stale.{APEX}"
    first, second = Signer.generate(name), Signer.generate(name)
    hosted = [Hosted(name, key_text(first), signing=())]
    with TrustWorld(tmp_path, {APEX: AT_APEX}, hosted, server="bind", caches=True, keys=[second]) as world:
        stolen, child = TrustChild(world, first), TrustChild(world, second)
        query = dns.message.make_query(name, "KEY", want_dnssec=True)
        assert dns.query.udp(query, LOOPBACK, port=world.unbound.port, timeout=5).answer
        world.tree.change(name, key_text(second))
        assert stolen.upload().rcode == "NOERROR"
        looked_at_in_vain(world, first)
        assert [world.key_of(each)["state"] for each in (first, second)] == ["known", "trusted"]
        assert child.change().rcode == "NOERROR"
