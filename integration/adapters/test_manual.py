"""Zonecut in front of a zone that people change: what is to be done is told, and counts when the zone shows it."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.daemons.named import Named
from lab.nsupdate import nsupdate
from lab.process import until
from lab.standing import StandingServer
from lab.zonecut import CommandFailed
from lab.zones import PARENT, ParentZone
from signer import Signer, ds
from world import World
from zonecut.plugin import BackendContext
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Ttls
from zonecut_bind import ManualOptions
from zonecut_bind.manual.backend import ManualBackend

CHILD = f"child0.{PARENT}"


class ByHand(Named):
    """A named whose zone zonecut only reads."""

    look = 300
    reached_at: str | None = None

    def backend(self) -> dict[str, Any]:
        server = self.reached_at or self.server
        return {"adapter": "manual", "server": server, "tsig": str(self.tsig_file), "look": self.look}


SIGNERS = [Signer.generate(f"child{number}") for number in range(3)]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> ByHand:
    return ByHand(tmp_path_factory.mktemp("server"), ParentZone(PARENT, delegations=3))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, named: ByHand) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world"), server=named, keys=SIGNERS) as world:
        yield world


def asked_for(world: World, signer: Signer, tag: int = 4711) -> int:
    """The number of a change for which the child asks, one DS more, and which waits for somebody's hand."""
    answer = world.tcp(signer.update(message.add(signer.owner, RRType.DS, 60, ds(tag))))
    assert answer.rcode == "NOERROR"
    (waiting,) = world.changes("--state", "accepted")
    return int(waiting["id"])


def carry_out(named: Named, lines: str) -> None:
    """Somebody takes what zonecut told to nsupdate."""
    done = nsupdate(lines.removesuffix("send\n"), port=named.port, key_file=named.tsig_file)
    assert done.rcode == "NOERROR", done.stderr


def test_what_is_to_be_done_is_told_and_counts_as_done_only_when_the_zone_holds_it(world: World, named: ByHand) -> None:
    before = named.serial()
    number = asked_for(world, SIGNERS[0])
    assert named.serial() == before, "nothing is written"
    shown = world.zonecut.cli("change", "show", str(number))
    (waiting,) = world.changes("--state", "accepted")
    lines = shown["by_hand"]
    assert waiting["by_hand"] == lines
    assert f"zone {PARENT}\n" in lines
    assert f"update add {CHILD} 3600 IN DS 4711 13 2 " in lines
    assert "to be made by hand" in waiting["reason"]
    text = world.zonecut.cli("change", "list", json=False)
    assert f"by hand: as input of nsupdate, then zonecut change done {number}" in text
    left = world.zonecut.cli("change", "done", str(number), expect=3)
    assert left["done"] is False
    assert [each for each in left["left"]["added"] if "4711" in str(each)]
    assert [each["state"] for each in world.changes()] == ["accepted"]
    carry_out(named, lines)
    done = world.zonecut.cli("change", "done", str(number), "--reason", "ticket 7")
    assert (done["decision"], done["decided_because"]) == ("done", "ticket 7")
    until(lambda: world.changes()[0]["state"] == "applied", timeout=5, what="it counts as applied")
    assert [each["event"] for each in world.audit() if each["event"].startswith("change.done")] == ["change.done"]
    assert not any(world.zonecut.cli("delegation", "show", CHILD)["difference"].values())
    with pytest.raises(CommandFailed, match="is applied already"):
        world.zonecut.cli("change", "done", str(number))


def test_what_was_done_by_hand_is_found_without_being_told(tmp_path: Path) -> None:
    signer, named = Signer.generate("child0"), ByHand(tmp_path / "server", ParentZone(PARENT, delegations=3))
    named.look = 1
    with World(tmp_path, server=named, keys=[signer]) as world:
        number = asked_for(world, signer)
        carry_out(named, world.zonecut.cli("change", "show", str(number))["by_hand"])
        until(lambda: world.changes()[0]["state"] == "applied", timeout=8, what="it counts as applied")
        # the zone holds something else meanwhile: the child's wish is judged on that, and told anew
        number = asked_for(world, signer, 4712)
        named.nsupdate(f"update add {CHILD} 3600 NS ns.by.hand.")
        until(
            lambda: "ns.by.hand." in world.zonecut.cli("change", "show", str(number))["by_hand"],
            timeout=8,
            what="what is to be done starts from what the zone holds",
        )
        carry_out(named, world.zonecut.cli("change", "show", str(number))["by_hand"])
        until(lambda: world.changes()[0]["state"] == "applied", timeout=8, what="it counts as applied")
        assert [each for each in world.records(CHILD) if each.endswith(" NS ns.by.hand.")]


async def test_after_an_edit_only_what_has_changed_is_transferred(tmp_path: Path) -> None:
    with ByHand(tmp_path / "server", ParentZone(PARENT, delegations=3)) as named:
        options = ManualOptions(server=named.server, tsig=named.tsig_file)
        backend = ManualBackend(BackendContext(names.from_text(PARENT), Ttls(60, 60, 60)), options)
        await backend.open()
        child = names.from_text(CHILD)
        for number in range(3):
            named.nsupdate(f"update add {CHILD} 60 NS ns{number}.by.hand.\nupdate delete ns1.{CHILD} A")
            target = names.from_text(f"ns{number}.by.hand.")
            assert target in (await backend.read(child)).delegation.ns
        assert (await backend.read(child)).delegation.glue
        named.nsupdate(f"update delete {CHILD}")
        assert not (await backend.read(child)).delegation.is_delegated
        await backend.close()
        log = (named.directory / "named.log").read_text()
        assert log.count("IXFR started") == 4
        assert log.count("AXFR started") == 1


async def test_a_zone_that_was_put_back_is_read_at_once(tmp_path: Path) -> None:
    """A server answers a question with a later serial than its own by its SOA alone (RFC 1995 section 2)."""
    with ByHand(tmp_path / "server", ParentZone(PARENT, delegations=3)) as named:
        options = ManualOptions(server=named.server, tsig=named.tsig_file)
        backend = ManualBackend(BackendContext(names.from_text(PARENT), Ttls(60, 60, 60)), options)
        await backend.open()
        kept = named.zone_file(PARENT).read_text()
        for number in range(3):
            named.nsupdate(f"update add {CHILD} 60 NS ns{number}.by.hand.")
        assert len((await backend.read(names.from_text(CHILD))).delegation.ns) == 5
        named.kill()
        for journal in named.directory.glob("*.jnl"):
            journal.unlink()
        named.zone_file(PARENT).write_text(kept)
        named.start()
        async with asyncio.timeout(2):
            assert len((await backend.read(names.from_text(CHILD))).delegation.ns) == 2
        await backend.close()


def test_children_are_answered_while_a_transfer_stands_still_and_it_is_told_why(tmp_path: Path) -> None:
    signer, named = Signer.generate("child0"), ByHand(tmp_path / "server", ParentZone(PARENT, delegations=3))
    with StandingServer(named.port) as standing:
        named.reached_at = standing.server
        with World(tmp_path, server=named, keys=[signer]) as world:
            standing.goes_on.clear()
            named.nsupdate(f"update add x.{PARENT} 60 TXT x")
            for _ in range(2):
                began = time.monotonic()
                assert world.tcp(signer.fresh()).rcode == "SERVFAIL"
                assert time.monotonic() - began < 2.5
            (zone,) = world.zonecut.cli("change", "list")["zones"]
            assert zone["state"] == "away"
            assert "a transfer of parent.test. is under way, and takes longer" in zone["reason"]
            standing.goes_on.set()
            until(lambda: world.tcp(signer.fresh()).rcode == "NOERROR", timeout=8, what="it is read again")
            (zone,) = world.zonecut.cli("change", "list")["zones"]
            assert zone["state"] == "ready"


def test_what_nobody_makes_may_be_rejected(world: World) -> None:
    number = asked_for(world, SIGNERS[1])
    world.zonecut.cli("change", "reject", str(number))
    until(lambda: world.changes()[0]["state"] == "failed", timeout=5, what="it has failed")
    assert world.changes()[0]["by_hand"] is None
    assert world.zonecut.log_events("change.may-follow"), "whoever has read it may do it still"


def test_what_is_to_be_done_heeds_what_others_wait_for_and_addresses_that_nobody_needs_are_told(
    world: World, named: ByHand
) -> None:
    one, two = SIGNERS[1], SIGNERS[2]
    host = f"ns1.{two.text}"

    def moved(signer: Signer, server: str) -> None:
        """The child asks for this one name server; its answer waits for nobody's hand."""
        updates = [message.delete_rrset(signer.owner, RRType.NS)]
        updates.append(message.add(signer.owner, RRType.NS, 60, names.from_text(server)))
        assert world.tcp(signer.update(*updates)).rcode == "NOERROR"

    def made(signer: Signer) -> None:
        number = str(world.changes("--child", signer.text)[0]["id"])
        carry_out(named, world.zonecut.cli("change", "show", number)["by_hand"])
        world.zonecut.cli("change", "done", number)
        until(lambda: not world.changes("--state", "accepted", "--child", signer.text), timeout=5, what="it is applied")

    moved(two, "ns.away.test.")
    moved(one, host)
    for signer in (two, one):
        made(signer)
    assert [each for each in world.records(host) if " A " in each], "told anew: another child has come to need it"
    moved(one, "ns.away.test.")
    made(one)
    until(lambda: bool(beside(world)), timeout=15, what="people are told that the address goes")
    (chore,) = beside(world)
    assert chore["host"] == host
    assert not [each for each in world.audit() if each["event"] == "glue.freed"]
    assert f"by hand, since {chore['since']}: {host} " in world.zonecut.cli("change", "list", json=False)
    carry_out(named, chore["lines"])
    assert not world.records(host)


def beside(world: World) -> list[dict[str, Any]]:
    """What people are to do beside the changes."""
    found: list[dict[str, Any]] = world.zonecut.cli("change", "list")["zones"][0]["by_hand"]
    return found


def test_what_is_published_is_told_as_lines_of_nsupdate(world: World, named: ByHand) -> None:
    with pytest.raises(CommandFailed, match=r"nothing is written to parent.test.: have it done by hand; ") as failed:
        world.zonecut.cli("parent", "publish", PARENT)
    lines = str(failed.value).partition("\nzone ")[2]
    assert named.query(f"_dsync.{PARENT}", "TYPE66").rcode() != 0
    carry_out(named, f"zone {lines}")
    assert world.zonecut.cli("parent", "publish", PARENT, "--dry-run")["difference"] == {"added": [], "removed": []}


def put_back(world: World, named: ByHand, host: str, expected: str) -> None:
    """People are told to put the address of a host back; done, nothing is left to be told."""
    until(lambda: bool(beside(world)), timeout=8, what="people are told that the address is needed")
    (chore,) = beside(world)
    assert chore["host"] == host
    assert f"update add {host} " in chore["lines"]
    checked = world.zonecut.cli("delegation", "export", PARENT, "--check", expect=3)
    assert [each for each in checked if each["zone"] == PARENT and host in str(each.get("unfit"))]
    carry_out(named, chore["lines"])
    until(lambda: not beside(world), timeout=8, what="it is seen that the address is back")
    assert [each for each in world.records(host) if each.endswith(f" A {expected}")]


def test_old_lines_that_leave_another_one_without_address_are_told_with_what_is_to_be_put_back(tmp_path: Path) -> None:
    signers = first, second, two = [Signer.generate(f"child{number}") for number in range(3)]
    named = ByHand(tmp_path / "server", ParentZone(PARENT, delegations=3))
    named.look = 1
    with World(tmp_path, server=named, keys=signers, parents=[{"answer_within": 0.2}]) as world:

        def asked(signer: Signer, *updates: bytes) -> str:
            """What people are told of the child's change."""
            assert world.tcp(signer.update(*updates)).rcode == "NOERROR"
            lines: str = world.changes("--child", signer.text)[0]["by_hand"]
            return lines

        def dropped(signer: Signer) -> str:
            host = names.from_text(f"ns2.{signer.text}")
            server = message.delete_record(signer.owner, RRType.NS, host)
            return asked(signer, server, message.delete_rrset(host, RRType.A))

        def named_by_two(signer: Signer) -> str:
            return asked(two, message.add(two.owner, RRType.NS, 60, names.from_text(f"ns2.{signer.text}")))

        def applied(signer: Signer) -> None:
            waits = ("--state", "accepted", "--child", signer.text)
            until(lambda: not world.changes(*waits), timeout=8, what="it is applied")

        # the noted lines are carried out before the change is made that needs what they take away
        noted = dropped(first)
        lines = named_by_two(first)
        carry_out(named, noted)
        applied(first)
        carry_out(named, lines)
        applied(two)
        put_back(world, named, f"ns2.{first.text}", "11.0.0.1")
        # and after it
        noted = dropped(second)
        carry_out(named, named_by_two(second))
        applied(two)
        carry_out(named, noted)
        applied(second)
        put_back(world, named, f"ns2.{second.text}", "11.0.0.3")
