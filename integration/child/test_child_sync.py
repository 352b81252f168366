"""`zonecut child keygen`, `publish` and `sync`, with a real server on either side."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_world import CHILD, PARENT, AgentWorld, child_text
from child_world import backend_of
from lab.daemons.server import Add, Delete
from lab.daemons.servers import SERVERS
from lab.ports import LOOPBACK
from lab.process import until
from lab.zonecut import CommandFailed
from lab.zones import ParentZone, Signing
from zonecut.agent.keys.child_keys import ChildKeys
from zonecut.agent.keys.publishing import KeyPublisher
from zonecut.agent.parent.parent_view import view_parent
from zonecut.agent.zone.zone_content import ZoneContent
from zonecut.protocol import names
from zonecut.protocol.announced.signalling import signalling_name
from zonecut.protocol.codepoints import DEFAULT
from zonecut.resolve import Nameserver, Resolver, TrustAnchors

OPERATOR = "operator.test."
PAIRS = [("bind", "knot"), ("knot", "powerdns"), ("powerdns", "bind")]
"""A parent's server and a child's."""


def keys_held(world: AgentWorld) -> list[str]:
    """The KEY records that the child's server answers with."""
    answer = world.child.query(CHILD, "KEY", tcp=True).answer
    return sorted(str(rdata).replace(" ", "") for rrset in answer for rdata in rrset)


def run(world: AgentWorld, *words: str, expect: int | None, json: bool = True) -> Any:
    return world.agent.cli("child", *words, json=json, expect=expect)


def lower(lines: Iterable[str]) -> set[str]:
    """Records as AgentWorld has them."""
    return {line.lower() for line in lines}


def have_it_trusted(world: AgentWorld) -> None:
    """The operator types `bootstrap`, and the parent's receiver finds the key in the child zone."""
    run(world, "bootstrap", CHILD, expect=None)
    until(lambda: bool(world.receiver.log_events("bootstrap.trusted")), timeout=20, what="the key is trusted")


@pytest.mark.parametrize(("parent", "child"), PAIRS)
def test_a_child_operator_goes_from_a_key_to_a_delegation_in_sync(tmp_path: Path, parent: str, child: str) -> None:
    with AgentWorld(tmp_path, parent=parent, child=child, agent=False) as world:
        (made,) = run(world, "keygen", CHILD, expect=0)
        planned = run(world, "publish", CHILD, "--dry-run", expect=3)
        assert planned["places"][0]["difference"] == {"removed": [], "added": [made["record"]]}
        assert keys_held(world) == []
        run(world, "publish", CHILD, expect=0)
        assert keys_held(world) == [made["record"].partition(" KEY ")[2].replace(" ", "")]

        before = world.held()
        assert run(world, "sync", CHILD, "--dry-run", expect=0)["difference"] == {"removed": [], "added": []}
        world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"), Delete(CHILD, "NS", f"ns2.{CHILD}"), zone=CHILD)
        wanted = {f"{CHILD} NS ns3.{CHILD}", f"ns3.{CHILD} A 127.11.0.3", f"ns3.{CHILD} AAAA ::1"}
        unwanted = {f"{CHILD} NS ns2.{CHILD}", f"ns2.{CHILD} A 127.11.0.2"}
        text = run(world, "sync", CHILD, "--dry-run", json=False, expect=3)
        assert {line for line in text.splitlines() if line[0] != ";"} == {
            *(f"+ {line}" for line in wanted),
            *(f"- {line}" for line in unwanted),
        }
        assert world.held() == before

        have_it_trusted(world)
        said = run(world, "sync", CHILD, json=False, expect=0)
        assert world.held() == before - lower(unwanted) | lower(wanted)
        assert said.splitlines()[-1].startswith("in-sync: the parent publishes what the child says, ")
        assert run(world, "sync", CHILD, "--dry-run", expect=0)["differs"] is False


@pytest.mark.parametrize(("parent", "child"), PAIRS)
async def test_what_a_parents_server_shows_is_what_it_holds(tmp_path: Path, parent: str, child: str) -> None:
    with AgentWorld(tmp_path, parent=parent, child=child, agent=False) as world:
        anchors = TrustAnchors.from_file(world.tree.anchors)
        resolver = Resolver([Nameserver(LOOPBACK, world.unbound.port)], anchors, allowed=lambda _: True)
        apex = names.from_text(PARENT)

        async def shown(child: str) -> Any:
            return await view_parent(resolver, apex, names.from_text(child), port=world.parent.port)

        view = await shown(CHILD)
        assert lower(record.to_text() for record in view.agreed.records) == world.held()
        assert len(view.agreed.ds) == 1
        assert [(server.address, server.hides) for server in view.servers] == [(LOOPBACK, False)]
        nothing = await shown(f"nobody.{PARENT}")
        assert nothing.agreed is not None
        assert not nothing.agreed.is_delegated
        below = await shown(f"sub.{CHILD}")
        assert below.agreed is None
        assert "a delegation above" in below.describe()


@pytest.mark.parametrize("adapter", SERVERS)
async def test_a_server_of_both_zones_shows_the_parents_ds_only(tmp_path: Path, adapter: str) -> None:
    with AgentWorld(tmp_path, parent="bind", child="bind", agent=False) as world:
        ds = f"1 13 2 {'AB' * 32}"
        text = f"$ORIGIN {PARENT}\n$TTL 60\n@ SOA ns1 h 1 3600 900 604800 1\n@ NS ns1\nns1 A 127.0.0.1\n"
        zones = (ParentZone(PARENT, f"{text}{world.delegation([ds])}"), ParentZone(CHILD, child_text()))
        with SERVERS[adapter](tmp_path / "both", *zones) as both:
            anchors = TrustAnchors.from_file(world.tree.anchors)
            resolver = Resolver([Nameserver(LOOPBACK, world.unbound.port)], anchors, allowed=lambda _: True)
            view = await view_parent(resolver, names.from_text(PARENT), names.from_text(CHILD), port=both.port)
            assert view.is_hidden
            assert view.agreed is None
            (shown,) = view.shown.ds
            assert shown[4:] == b"\xab" * 32


@pytest.fixture
def by_hand(tmp_path: Path) -> Iterator[AgentWorld]:
    """A world whose child has no backend, and whose parent's operator decides."""
    with AgentWorld(tmp_path, bootstrap=["manual"], child_entry={"backend": None}, agent=False) as world:
        yield world


def test_without_a_backend_the_record_to_add_is_shown_until_it_is_there(by_hand: AgentWorld) -> None:
    world = by_hand
    (made,) = run(world, "keygen", CHILD, expect=0)
    text = run(world, "publish", CHILD, json=False, expect=3)
    assert f"+ {made['record']}" in text
    assert f"; {CHILD}: KEY with key tag {made['tag']} is not at {CHILD}" in text
    world.child.edit(Add(CHILD, 3600, "KEY", made["record"].partition(" KEY ")[2]), zone=CHILD)
    assert run(world, "publish", CHILD, json=False, expect=0) == f"; {CHILD}: nothing to change\n"


def test_sync_says_what_is_in_the_way_until_the_parents_operator_trusts_the_key(by_hand: AgentWorld) -> None:
    world = by_hand
    (made,) = run(world, "keygen", CHILD, expect=0)
    world.child.edit(Add(CHILD, 60, "NS", f"ns3.{CHILD}"), zone=CHILD)
    assert run(world, "sync", CHILD, expect=3)["phase"] == "bootstrapping"
    assert made["fingerprint"] in run(world, "sync", CHILD, json=False, expect=3)
    (known,) = world.receiver.cli("key", "show", CHILD)
    assert known["fingerprint"] == made["fingerprint"]
    world.receiver.cli("key", "trust", CHILD)
    time.sleep(1)  # until every process knows
    assert run(world, "sync", CHILD, expect=0)["phase"] == "in-sync"
    assert lower({f"{CHILD} NS ns3.{CHILD}"}) <= world.held()


def test_what_would_make_the_child_unreachable_is_not_even_planned(tmp_path: Path) -> None:
    with AgentWorld(tmp_path, child="knot", agent=False) as world:
        # named takes no such UPDATE
        world.child.edit(Delete(f"ns2.{CHILD}", "A"), zone=CHILD)
        with pytest.raises(CommandFailed) as caught:
            run(world, "sync", CHILD, "--dry-run", expect=3)
    reason = f"{CHILD} NS ns2.{CHILD}: the name server has neither A nor AAAA in the zone"
    assert (caught.value.exit_status, caught.value.stderr) == (1, f"{reason}\n")


@pytest.mark.parametrize("adapter", SERVERS)
async def test_the_key_stands_at_the_apex_and_below_signal_on_every_server(tmp_path: Path, adapter: str) -> None:
    text = child_text().replace("@ NS ns2", f"@ NS ns.{OPERATOR}")
    operator = f"$ORIGIN {OPERATOR}\n$TTL 60\n@ SOA ns h 1 3600 900 604800 1\n@ NS ns\nns A 127.11.0.9\n"
    zones = (ParentZone(CHILD, text, signing=Signing.INLINE), ParentZone(OPERATOR, operator, signing=Signing.INLINE))
    child = names.from_text(CHILD)
    server_name = names.from_text(f"ns.{OPERATOR}")
    owner = names.to_text(signalling_name(child, server_name) or b"")
    with SERVERS[adapter](tmp_path / "server", *zones) as server:
        keys = ChildKeys(tmp_path, child, DEFAULT)
        own = keys.make("ED25519")
        content = ZoneContent(child, 1, (names.from_text(f"ns1.{CHILD}"), server_name))
        apex = names.from_text(OPERATOR)
        async with backend_of(server, child) as ours, backend_of(server, apex) as theirs:
            publisher = KeyPublisher(child, 600, ours, {apex: theirs})
            done = await publisher.apply([own.key], keys.ever(), content)
            assert [names.to_text(place.owner) for place in done.differing] == [CHILD, owner]

            def answers(name: str) -> list[bytes]:
                return [rdata.to_wire() for rrset in server.query(name, "KEY", tcp=True).answer for rdata in rrset]

            for name in (CHILD, owner):
                until(lambda: answers(name) == [own.key.rdata], timeout=5, what=f"KEY at {name}")  # noqa: B023
            assert not (await publisher.apply([own.key], keys.ever(), content)).differing
            keys.retire(own)
            await publisher.apply([], keys.ever(), content)
            for name in (CHILD, owner):
                until(lambda: answers(name) == [], timeout=5, what=f"no KEY at {name}")  # noqa: B023
