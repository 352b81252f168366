"""Delegations that are not there for a moment, with real servers: no key is lost by that, nor by a stranger's word."""

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lab.daemons.named import Named
from lab.daemons.pdns import PowerDns
from lab.daemons.server import Add, Delete
from lab.daemons.servers import SERVERS
from lab.process import until
from lab.scripted.file_server import FiledNamed
from lab.zones import PARENT, ParentZone
from signer import DS, Signer, name
from world import World, stop_cleanly, unexpected_lines
from zonecut.protocol import message
from zonecut.protocol.codepoints import RRType

INNER = f"inner.{PARENT}"
CHILDREN = [Signer.generate(f"child{number}") for number in range(4)]
NESTED = Signer.generate(f"child0.{INNER}")
TRUST = {"sweep": 0.3, "gone_after": 60, "gone_at_most": 100, "foreign_ds": "keep"}
"""Many looks while something is away, and a period that none of the tests is long enough for. BIND drops the DS of a
name whose NS are deleted, and nobody puts them back here."""


@pytest.fixture(scope="module", params=SERVERS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One daemon that serves a zone and another one below it, which the outer one does not delegate."""
    zones = (ParentZone(PARENT, delegations=len(CHILDREN)), ParentZone(INNER, delegations=1))
    keys = [*CHILDREN, NESTED]
    directory = tmp_path_factory.mktemp("absence")
    with World(directory, *zones, server=request.param, keys=keys, parents=[{"trust": TRUST}] * 2) as world:
        until(lambda: all(_looks(world, child) == 0 for child in keys), timeout=30, what="the first looks")
        yield world
        # PowerDNS's own check wants the inner zone delegated, which is what the outer one does not do here
        world.zonecut.stop()
        assert not unexpected_lines(world.zonecut, ["backend.unavailable"])


def _looks(world: World, child: Signer) -> int:
    """How many looks in a row have seen that a delegation is away; -1 before the first look."""
    with closing(sqlite3.connect(world.store_url.removeprefix("sqlite:///"))) as database:
        row = database.execute("SELECT looks FROM watches WHERE child = ?", (child.owner,)).fetchone()
    return -1 if row is None else int(row[0])


def _are_away(world: World) -> None:
    until(lambda: all(_looks(world, child) > 5 for child in CHILDREN), timeout=30, what="looks that see nothing")
    assert world.tcp(CHILDREN[0].fresh()).rcode != "NOERROR"
    _are_trusted(world)


def _are_back(world: World) -> None:
    until(lambda: all(_looks(world, child) == 0 for child in CHILDREN), timeout=30, what="they are seen again")
    for child in CHILDREN:
        until(lambda child=child: world.tcp(child.fresh()).rcode == "NOERROR", timeout=10, what="a change")  # type: ignore[misc]
    _are_trusted(world)


def _are_trusted(world: World) -> None:
    for child in CHILDREN:
        assert _states(world, child) == ["trusted"]


def test_delegations_deleted_and_put_back_in_two_steps_cost_nobody_a_key(world: World) -> None:
    world.server.edit(*(Delete(child.text, "NS") for child in CHILDREN))
    _are_away(world)
    away = {zone["zone"]: zone["delegations_away"] for zone in world.zonecut.cli("change", "list")["zones"]}
    assert away == {PARENT: len(CHILDREN), INNER: 0}
    world.server.edit(
        *(Add(child.text, 86400, "NS", f"ns{number}.{child.text}") for child in CHILDREN for number in (1, 2))
    )
    _are_back(world)


def test_a_stranger_s_word_in_the_outer_zone_is_nothing_to_a_child_of_the_inner_one(world: World) -> None:
    stranger = Signer.generate(NESTED.text)
    record = message.add(stranger.owner, RRType.KEY, 60, stranger.pair.key.rdata)
    for updates in ((record,), (message.delete_rrset(stranger.owner, RRType.KEY), record)):
        assert world.tcp(stranger.update(*updates, zone=name(PARENT))).rcode == "REFUSED"
    # and some sweeps of both
    time.sleep(2)
    (key,) = world.zonecut.cli("key", "list", NESTED.text)
    assert (key["state"], _looks(world, NESTED)) == ("trusted", 0)
    assert world.tcp(NESTED.update(message.delete_rrset(NESTED.owner, DS), zone=name(INNER))).rcode == "NOERROR"


def test_an_older_file_for_a_moment_costs_nobody_a_key(world: World) -> None:
    server = world.server
    if isinstance(server, PowerDns):
        text = server.pdnsutil("list-zone", PARENT)
        file = server.directory / "saved"
        file.write_text(text)
        server.pdnsutil("clear-zone", PARENT)
        # without its SOA it is no zone, and what cannot be read is no look; for some sweeps
        time.sleep(3)
        _are_trusted(world)
        server.pdnsutil("load-zone", PARENT, file)
    elif isinstance(server, Named):
        file = server.freeze(PARENT)
        text = file.read_text()
        older = ParentZone(PARENT).master_file.replace("hostmaster 1 ", "hostmaster 4000 ")
        _replace(server, file, older)
        _are_away(world)
        file = server.freeze(PARENT)
        _replace(
            server, file, ParentZone(PARENT, delegations=len(CHILDREN)).master_file.replace(" 1 3600", " 5000 3600")
        )
    else:
        return
    _are_back(world)


def _replace(server: Named, file: Path, text: str) -> None:
    file.write_text(text)
    server.thaw(PARENT)


def test_a_server_that_is_started_again_costs_nobody_a_key(world: World) -> None:
    world.server.kill()
    time.sleep(2)
    world.server.start()
    _are_back(world)


def test_a_zone_file_that_is_saved_in_two_writes_costs_nobody_a_key(tmp_path: Path) -> None:
    zone = ParentZone(PARENT, delegations=len(CHILDREN))
    with World(tmp_path, zone, server="zonefile", keys=CHILDREN, parents=[{"trust": TRUST}]) as world:
        until(lambda: all(_looks(world, child) == 0 for child in CHILDREN), timeout=30, what="the first looks")
        assert isinstance(world.server, FiledNamed)
        file = world.server.zone_file(PARENT)
        text = file.read_text()
        # as another program writes it: what is generated at the end first
        file.write_text("".join(line for line in text.splitlines(keepends=True) if "child" not in line))
        _are_away(world)
        file.write_text(text)
        _are_back(world)
        stop_cleanly(world)


def test_a_wrong_copy_for_a_moment_suspends_nobody_and_a_new_holder_is_noticed(tmp_path: Path) -> None:
    children = [Signer.generate(f"child{number}") for number in range(20)]
    zone = ParentZone(PARENT, delegations=len(children))
    trust = {"sweep": 0.3, "suspend_after": 10, "gone_at_most": 100}
    with World(tmp_path, zone, server="zonefile", keys=children, parents=[{"trust": trust}]) as world:
        until(lambda: all(_looks(world, child) == 0 for child in children), timeout=30, what="the first looks")
        assert isinstance(world.server, FiledNamed)
        file = world.server.zone_file(PARENT)
        text = file.read_text()
        # that of a staging system
        file.write_text(re.sub(r"(?m)^(child.* NS )\S+", r"\1ns.staging.test.", text))
        until(lambda: _suspects(world) == len(children), timeout=8, what="looks that see it")
        assert world.tcp(children[0].fresh()).rcode == "REFUSED"
        time.sleep(1)
        file.write_text(text)
        until(lambda: _suspects(world) == 0, timeout=30, what="looks that see what was there")
        for child in children:
            assert _states(world, child) == ["trusted"]
        assert world.tcp(children[0].fresh()).rcode == "NOERROR"
        # and for good
        file.write_text(re.sub(r"(?m)^(child7\b.* NS )\S+", r"\1ns.newholder.test.", text))
        until(lambda: _suspects(world) == 1, timeout=30, what="a look that sees it")
        assert _states(world, children[7]) == ["trusted"]
        until(lambda: _states(world, children[7]) == ["suspended"], timeout=40, what="the end of the period")
        assert world.tcp(children[7].fresh()).rcode == "REFUSED"
        assert world.tcp(children[8].fresh()).rcode == "NOERROR"
        stop_cleanly(world)


def _states(world: World, child: Signer) -> list[str]:
    return [key["state"] for key in world.zonecut.cli("key", "list", child.text)]


def _suspects(world: World) -> int:
    (zone,) = world.zonecut.cli("change", "list")["zones"]
    return int(zone["delegations_suspect"])
