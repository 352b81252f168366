"""What servers do to those who write to them, all the way through zonecut: traps that no adapter's test is about."""

from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import dns.query
import dns.rcode
import dns.update
import pytest

from lab.daemons.knotd import Knotd
from lab.daemons.named import Named
from lab.daemons.pdns import PowerDns
from lab.daemons.servers import WITH_FILES
from lab.ports import LOOPBACK
from lab.process import until
from lab.zones import PARENT, ParentZone, Signing
from signer import NS, A, Signer, address, name
from world import World
from zonecut.protocol import message
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.announced.svcb import Method, Svcb
from zonecut.protocol.codepoints import RRType


class SigningNamed(Named):
    """A named that counts as ready while it is still signing, which takes it some seconds."""

    def __init__(self, directory: Path, *zones: ParentZone, **options: Any) -> None:
        super().__init__(directory, *zones, **options)
        configuration = directory / "named.conf"
        text = configuration.read_text()
        for option in ("sig-signing-nodes", "sig-signing-signatures"):
            assert f"{option} 2000;" in text
            text = text.replace(f"{option} 2000;", f"{option} 50;")
        configuration.write_text(text)

    def is_signed_all_over(self) -> bool:
        return all(super(SigningNamed, self)._serves(zone) for zone in self.zones)

    def _serves(self, zone: ParentZone) -> bool:
        return bool(self.query(zone.name, "SOA", tcp=True).answer)


def test_changes_wait_while_named_signs_a_large_zone(tmp_path: Path) -> None:
    """It answers SERVFAIL to every UPDATE meanwhile; what was accepted is written when it is done."""
    children = [Signer.generate(f"child{number}") for number in range(3)]
    zone = ParentZone(PARENT, delegations=2000, signing=Signing.IN_PLACE)
    server = SigningNamed(tmp_path / "server", zone)
    with World(tmp_path, server=server, keys=children) as world:
        assert not server.is_signed_all_over()
        for child in children:
            assert world.udp(child.fresh()).rcode == "NOERROR"
        event = world.wait_for_event("backend.unavailable")
        assert "SERVFAIL" in event["reason"]
        until(server.is_signed_all_over, timeout=60, what="the zone is signed")
        until(lambda: waiting(world) == 0, timeout=60, what="what waited is written")
        assert {change["state"] for change in world.changes()} == {"applied"}
        server.verify()


def waiting(world: World) -> int:
    return len(world.changes("--state", "accepted"))


def test_more_records_than_named_takes_fail_and_hold_up_nobody(tmp_path: Path) -> None:
    """Beyond its `max-records-per-type` it answers SERVFAIL as well, and to the whole transaction."""
    much, other = (Signer.generate(f"child{number}") for number in range(2))
    policy = {"policy": {"max_addresses_per_name": 200}}
    with World(tmp_path, ParentZone(PARENT, delegations=2), keys=[much, other], parents=[policy]) as world:
        host = f"ns9.{much.text}"
        addresses = [str(IPv4Address("11.1.0.0") + number) for number in range(101)]
        records = [message.add(name(host), A, 60, address(text)) for text in addresses]
        wire = much.update(message.add(much.owner, NS, 60, name(host)), *records)
        before = world.records(much.text)
        answer = world.tcp(wire)
        assert answer.rcode == "SERVFAIL"
        assert answer.extended_error is not None
        assert f"{host} would have 101 A records" in answer.extended_error[1]
        assert world.udp(other.fresh()).rcode == "NOERROR"
        until(lambda: waiting(world) == 0, timeout=10, what="both have ended")
        assert [change["state"] for change in world.changes()] == ["applied", "failed"]
        assert world.records(much.text) == before
        # with one fewer it goes
        fewer = much.update(message.add(much.owner, NS, 60, name(host)), *records[1:])
        assert world.tcp(fewer).rcode == "NOERROR"
        assert len(world.records(host)) == 100


def test_updates_of_others_get_through_to_knot_between_our_transactions(tmp_path: Path) -> None:
    """An open transaction would keep them out."""
    child = Signer.generate("child0")
    server = Knotd(tmp_path / "server", ParentZone(PARENT, delegations=2))
    configuration = tmp_path / "server" / "knot.conf"
    text = configuration.read_text()
    assert "action: transfer\n" in text
    configuration.write_text(text.replace("action: transfer\n", "action: [transfer, update]\n"))
    with World(tmp_path, server=server, keys=[child]) as world:
        for number in range(20):
            assert world.udp(child.fresh()).rcode == "NOERROR"
            update = dns.update.UpdateMessage(PARENT)
            update.replace("www", 60, "A", f"192.0.2.{number}")
            answer = dns.query.tcp(update, LOOPBACK, port=server.port, timeout=2)
            assert answer.rcode() == dns.rcode.NOERROR
        assert f"www.{PARENT} 60 A 192.0.2.19" in world.records()
        assert world.udp(child.fresh()).rcode == "NOERROR"


def test_powerdns_asks_nobody_whether_it_is_secure(tmp_path: Path) -> None:
    """By default it looks its own version up in the DNS, at an address that is not ours."""
    with PowerDns(tmp_path, ParentZone(PARENT, delegations=1)) as server:
        assert server.settings()["security-poll-suffix"] == ""


@pytest.mark.parametrize("kind", ["bind", "knot", "powerdns"])
def test_a_child_s_key_never_gets_into_the_parent_zone(tmp_path: Path, kind: str) -> None:
    """BIND would answer it as its own data, signed: it belongs in our store."""
    child = Signer.generate("child0")
    with World(tmp_path, ParentZone(PARENT, delegations=1), server=kind, parents=[{"bootstrap": ["manual"]}]) as world:
        before = world.records()
        wire = child.update(message.add(child.owner, RRType.KEY, 60, child.pair.key.rdata))
        assert world.udp(wire).rcode == "NOERROR"
        world.zonecut.cli("key", "trust", child.text)
        until(lambda: world.udp(child.fresh()).rcode == "NOERROR", timeout=5, what="the key counts")
        after = world.records()
        assert not [record for record in after if " KEY " in record]
        assert {record.split(" ")[2] for record in after ^ before} == {"DS"}


@pytest.mark.parametrize("kind", WITH_FILES)
def test_what_announces_us_is_served_by_every_server(tmp_path: Path, kind: str) -> None:
    """None of them takes DSYNC by all its names, nor SVCB in every form: what counts is what they answer."""
    parent = {"publish": True, "addresses": ["11.0.0.53"], "publication": {"names": ["apex", "wildcard"], "ttl": 300}}
    with World(tmp_path, ParentZone(PARENT, delegations=1), server=kind, parents=[parent]) as world:
        world.wait_for_event("publication.written")
        rdata = Dsync(RRType.ANY, 2, world.port, name("updater")).to_wire()

        def answered(owner: str, rtype: str) -> list[bytes]:
            return [data.to_wire() or b"" for rrset in world.server.query(owner, rtype).answer for data in rrset]

        until(lambda: answered(f"_dsync.{PARENT}", "TYPE66") == [rdata], timeout=5, what="DSYNC is served")
        assert answered(f"child0._dsync.{PARENT}", "TYPE66") == [rdata]
        (svcb,) = answered(f"updater.{PARENT}", "SVCB")
        assert svcb == Svcb.announcing([Method.MANUAL]).to_wire()
        (key,) = answered(f"updater.{PARENT}", "KEY")
        assert key.startswith(b"\2\0\3\x0f")
        assert answered(f"updater.{PARENT}", "A") == [address("11.0.0.53")]
        assert world.zonecut.cli("parent", "status", PARENT)["difference"] == {"removed": [], "added": []}
