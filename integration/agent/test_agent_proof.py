"""The agent signs what the zone proves: real servers that lie, lag, sign twice, or say nothing any more."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode

from agent_world import CHILD, AgentWorld, child_text, ds_of
from lab.daemons.knotd import Knotd
from lab.daemons.named import Named
from lab.daemons.pdns import PowerDns
from lab.daemons.secondary import Secondary
from lab.daemons.server import Server
from lab.ports import LOOPBACK
from lab.process import find_command, run, until
from lab.zones import ParentZone, Signing

AT = ("127.53.0.213", "127.53.0.214")
LOOKS = {"again": 0.2, "signed_for": 2, "silent_for": 0}


class NearWorld(AgentWorld):
    """The child's name servers are where its server is: whoever asks them, asks that."""

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__(directory, addresses=(LOOPBACK, LOOPBACK), **options)

    def _make_agent(self) -> Any:
        agent = super()._make_agent()
        (entry,) = agent.configuration["children"]
        entry["looks"] = {**LOOKS, "port": self.child.port}
        agent.configure(agent.configuration)
        return agent


def test_a_server_on_the_way_that_answers_for_the_primary_moves_nothing(tmp_path: Path) -> None:
    """It signs with keys of its own, has CDS for them, and other name servers."""
    text = child_text(CHILD, (LOOPBACK, LOOPBACK)).replace("@ NS ns2", f"@ NS ns4\nns4 A {LOOPBACK}")
    forged = ParentZone(CHILD, text.replace("hostmaster 1 ", "hostmaster 99 "), signing=Signing.IN_PLACE)
    with NearWorld(tmp_path, agent=False) as world, Named(tmp_path / "forger", forged, rolls=True) as forger:
        (entry,) = world.agent.configuration["children"]
        entry["primary"] = {"server": forger.server}
        world.agent.configure(world.agent.configuration)
        before = world.held()
        with world.agent:
            told = world.wait_for("held")
            assert "RFC 7344 section 4.1" in told["reason"]
            assert "no name server is added: the zone as it is read is bogus" in told["reason"]
            assert not world.agent.log_events("agent.change")
        assert world.held() == before


def test_the_absence_of_cds_says_nothing_and_ds_go_by_a_signed_cds_zero(tmp_path: Path) -> None:
    """As Knot does it: CDS are there while something changes, and withdrawn afterwards."""
    said = "says nothing (RFC 7344 section 4.1)"

    def publish(world: AgentWorld, before: str, after: str) -> None:
        file = tmp_path / "child" / "knot.conf"
        file.write_text(file.read_text().replace(f"publish: {before}", f"publish: {after}"))
        assert isinstance(world.child, Knotd)
        world.child.knotc(("reload",))
        world.child.knotc(("zone-sign", CHILD))

    def cds(world: AgentWorld) -> set[str]:
        return world.ds_of_cds()

    with NearWorld(tmp_path, child="knot") as world:
        world.wait_for("in-sync")
        held = world.held_ds()
        assert cds(world) == held
        publish(world, "always", "none")
        until(lambda: said in str(world.state()["notes"]), timeout=15, what="the agent sees none")
        assert (cds(world), world.held_ds()) == (set(), held)

        publish(world, "none", "delete-dnssec")
        until(lambda: not world.held_ds(), timeout=15, what="the DS is gone")
        (change,) = world.agent.log_events("agent.change")
        assert change["difference"]["added"] == []
        publish(world, "delete-dnssec", "none")
        until(lambda: not cds(world), timeout=15, what="CDS are withdrawn")
        until(lambda: said in str(world.state()["notes"]), timeout=15, what="the agent sees none")
        world.in_sync()
        assert not world.held_ds()
        assert len(world.agent.log_events("agent.change")) == 1


class StandbyWorld(NearWorld):
    """The child has a DNSKEY of another algorithm that signs nothing yet."""

    def _make_child(self, kind: str) -> Server:
        directory = self._directory / "keys"
        directory.mkdir()

        def tool(name: str, *words: str) -> str:
            return run([find_command(name), *words], cwd=directory).strip()

        def key(algorithm: str, *words: str) -> str:
            return tool("dnssec-keygen", "-q", "-a", algorithm, *words, CHILD)

        signing, standby = key("ECDSAP256SHA256", "-f", "KSK"), key("ED25519", "-f", "KSK")
        keys = signing, standby, key("ECDSAP256SHA256")
        text = child_text(CHILD, self._addresses) + "".join((directory / f"{each}.key").read_text() for each in keys)
        (directory / "zone").write_text(text)
        tool("dnssec-signzone", "-P", "-o", CHILD, "-f", "signed", "-k", signing, "zone", keys[2])
        self.own_ds = tool("dnssec-dsfromkey", "-2", f"{signing}.key").split(" DS ")[1]
        return Named(
            self._directory / "child",
            ParentZone(CHILD, (directory / "signed").read_text()),
            notified=self.notify_port,
        )

    def delegation(self, ds: Any) -> str:
        return super().delegation([self.own_ds])

    def _make_agent(self) -> Any:
        agent = super()._make_agent()
        (entry,) = agent.configuration["children"]
        del entry["backend"]
        agent.configure(agent.configuration)
        return agent


def test_a_standby_key_of_an_algorithm_that_signs_nothing_gets_no_ds(tmp_path: Path) -> None:
    with StandbyWorld(tmp_path, child_signing=Signing.NONE, bootstrap=["manual"]) as world:
        world.wait_for("bootstrapping")
        held = world.held_ds()
        world.receiver.cli("key", "trust", CHILD)
        world.wait_for("in-sync")
        assert any("RFC 4035 section 2.2" in note for note in world.state()["notes"])
        assert world.held_ds() == held
        assert not world.agent.log_events("agent.change")


class ProvidersWorld(AgentWorld):
    """Two operators serve the child, each signs with keys of its own, and the parent has the DS of both (RFC 8901)."""

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__(directory, child="knot", addresses=AT, **options)

    def _make_child(self, kind: str) -> Server:
        return self._provider("child", AT[0], notified=self.notify_port)

    def _provider(self, name: str, address: str, **options: Any) -> Knotd:
        zone = ParentZone(CHILD, child_text(CHILD, AT), signing=Signing.IN_PLACE)
        return Knotd(self._directory / name, zone, also_at=[address], rolls=True, **options)

    def _start_parent(self) -> None:
        self.other = self._running.enter_context(self._provider("other", AT[1]))
        super()._start_parent()

    def delegation(self, ds: Any) -> str:
        return super().delegation([*ds, *ds_of(self.other, CHILD)])


def test_no_ds_goes_that_the_servers_of_another_operator_need(tmp_path: Path) -> None:
    with ProvidersWorld(tmp_path) as world:
        world.wait_for("in-sync")
        (other,) = (f"{CHILD} ds {each}".lower() for each in ds_of(world.other, CHILD))
        before = world.held_ds()
        assert len(before) == 2
        assert any("RFC 8901" in note for note in world.state()["notes"])
        assert not world.agent.log_events("agent.change")
        world.child.roll_ksk()
        until(lambda: len(world.held_ds() - before) == 1, timeout=20, what="the DS of the new key")
        until(lambda: len(world.held_ds()) == 2, timeout=20, what="the old one is gone")
        assert other in world.held_ds()
        for change in world.agent.log_events("agent.change"):
            assert other not in str(change["difference"]["removed"]).lower()


class LaggingWorld(AgentWorld):
    """An unsigned child on knotd, and a secondary that fetches it when it is told to."""

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__(directory, child="knot", child_signing=Signing.NONE, addresses=AT, **options)

    def _make_child(self, kind: str) -> Server:
        zone = ParentZone(CHILD, child_text(CHILD, AT))
        return Knotd(self._directory / "child", zone, also_at=[AT[0]], rolls=True, notified=self.notify_port)

    def _start_parent(self) -> None:
        self.secondary = self._running.enter_context(Secondary(self._directory / "secondary", AT[1], CHILD, self.child))
        super()._start_parent()


def test_the_first_ds_waits_until_the_last_server_has_the_signed_zone(tmp_path: Path) -> None:
    entry = {"looks": LOOKS, "ds": {"source": "dnskey"}}
    with LaggingWorld(tmp_path, bootstrap=["manual"], child_entry=entry) as world:
        world.wait_for("bootstrapping")
        world.receiver.cli("key", "trust", CHILD)
        world.wait_for("in-sync")
        file = tmp_path / "child" / "knot.conf"
        file.write_text(file.read_text().replace("dnssec-signing: off", "dnssec-signing: on"))
        assert isinstance(world.child, Knotd)
        world.child.knotc(("reload",))
        behind = f"the zone has to be signed at ns2.{CHILD} ({AT[1]})"
        until(lambda: behind in str(world.state()["reason"]), timeout=20, what="the secondary is waited for")
        assert not world.held_ds()
        began = time.monotonic()
        world.secondary.notify()
        until(lambda: bool(world.held_ds()), timeout=30, what="the first DS")
        assert time.monotonic() - began >= LOOKS["signed_for"]
        assert world.held_ds() == {f"{CHILD} ds {each}".lower() for each in ds_of(world.child, CHILD)}
        assert len(world.agent.log_events("agent.change")) == 1


CACHED = 3
"""Seconds for which that PowerDNS hands out what it knew."""


class CachingWorld(NearWorld):
    """An unsigned child on a PowerDNS with its caches on."""

    def _make_child(self, kind: str) -> Server:
        caches = [f"{name}={CACHED}" for name in ("cache-ttl", "query-cache-ttl", "negquery-cache-ttl")]
        zone = ParentZone(CHILD, child_text(CHILD, self._addresses))
        settings = "\n".join([*caches, "dnssec-key-cache-ttl=1"])
        return PowerDns(self._directory / "child", zone, settings=settings, notified=self.notify_port)


@contextmanager
def asked_all_the_time(world: AgentWorld, name: str) -> Iterator[list[str]]:
    """What a validating resolver answers meanwhile, five times a second."""
    said: list[str] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.2):
            answer = dns.query.tcp(dns.message.make_query(name, "A"), LOOPBACK, port=world.unbound.port, timeout=20)
            said.append(dns.rcode.to_text(answer.rcode()))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield said
    finally:
        ended.set()
        thread.join()


def test_a_zone_that_is_signed_first_is_never_bogus_for_what_its_server_has_in_caches(tmp_path: Path) -> None:
    options: dict[str, Any] = {"child_signing": Signing.NONE, "bootstrap": ["manual"]}
    with CachingWorld(tmp_path, child="powerdns", **options) as world:
        world.wait_for("bootstrapping")
        world.receiver.cli("key", "trust", CHILD)
        world.wait_for("in-sync")
        with asked_all_the_time(world, f"www.{CHILD}") as said:
            assert isinstance(world.child, PowerDns)
            world.child.pdnsutil("secure-zone", CHILD)
            until(lambda: bool(world.held_ds()), timeout=40, what="the first DS")
            enough = len(said) + 20
            until(lambda: len(said) > enough, timeout=60, what="some more answers")
        assert set(said) == {"NOERROR"}
