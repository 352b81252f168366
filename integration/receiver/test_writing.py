"""How accepted changes get to a server: together, apart from one that it will not have, and again when it is away."""

import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from lab.daemons.named import Named
from lab.daemons.server import Add, Delete
from lab.daemons.servers import SERVERS
from lab.process import until
from lab.zones import PARENT, ParentZone
from peer import Answer, TcpPeer
from signer import NS, A, Signer, address, name
from world import World, stop_cleanly
from zonecut.protocol import message

CHILDREN = [Signer.generate(f"child{number}") for number in range(30)]
ZONE = ParentZone(PARENT, delegations=len(CHILDREN))
ALIASED, BESIDE, *OTHERS = CHILDREN


@pytest.fixture(scope="module", params=SERVERS)
def world(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[World]:
    parent = {"max_batch": 7}
    with World(
        tmp_path_factory.mktemp("writing"), ZONE, server=request.param, keys=CHILDREN, parents=[parent]
    ) as world:
        yield world
        world.server.verify()
        assert not world.zonecut.stray_lines()


def more_servers(child: Signer, *labels: str) -> bytes:
    """A change that adds name servers inside the child."""
    updates = []
    for number, label in enumerate(labels, 1):
        host = name(f"{label}.{child.text}")
        updates += [message.add(child.owner, NS, 60, host), message.add(host, A, 60, address(f"11.44.0.{number}"))]
    return child.update(*updates)


def asked_together(world: World, wires: dict[Signer, bytes]) -> dict[Signer, Answer]:
    """The answer to each of these messages, which are sent at once on one connection."""
    with TcpPeer(world.port) as peer:
        peer.send(*wires.values())
        answers = [answer for _ in wires if (answer := peer.receive()) is not None]
    by_identity = {answer.identity: answer for answer in answers}
    return {child: by_identity[int.from_bytes(wire[:2])] for child, wire in wires.items()}


def test_no_transaction_takes_more_changes_than_the_setting_says(world: World) -> None:
    serial = world.serial()
    answers = asked_together(world, {child: child.fresh() for child in CHILDREN})
    assert {answer.rcode for answer in answers.values()} == {"NOERROR"}
    # BIND, Knot and PowerDNS raise it by one a transaction
    assert world.serial() - serial >= -(-len(CHILDREN) // 7)
    assert world.serial() - serial < len(CHILDREN)


def test_what_the_server_will_not_have_is_told_to_that_child_and_nothing_of_it_stays(world: World) -> None:
    """An alias that somebody put where the child wants an address: BIND drops the address without a word, and keeps
    the NS; Knot and PowerDNS refuse the whole transaction."""
    alias = f"new.{ALIASED.text}"
    world.server.edit(Add(alias, 60, "CNAME", "www.elsewhere.test."))
    before = world.records(ALIASED.text)
    wires = {child: child.fresh() for child in CHILDREN if child is not ALIASED}
    wires[ALIASED] = more_servers(ALIASED, "new")
    answers = asked_together(world, wires)
    assert {answer.rcode for child, answer in answers.items() if child is not ALIASED} == {"NOERROR"}
    failed = answers[ALIASED]
    assert (failed.rcode, failed.extended_error and failed.extended_error[0]) == ("SERVFAIL", 0)
    assert failed.extended_error is not None
    assert alias in failed.extended_error[1]
    assert world.records(ALIASED.text) == before
    (change, *_) = world.changes("--child", ALIASED.text, "--state", "failed")
    assert failed.extended_error[1] in change["reason"]
    alarm = world.wait_for_event("change.failed")
    assert (alarm["level"], alarm["child"], alarm["reason"]) == ("error", ALIASED.text, failed.extended_error[1])
    # the alias goes, and the same child has its way
    world.server.edit(Delete(alias, "CNAME"))
    assert world.tcp(more_servers(ALIASED, "new")).rcode == "NOERROR"
    assert f"{ALIASED.text} 86400 NS {alias}" in world.records(ALIASED.text)


def test_a_server_that_is_away_is_tried_with_growing_pauses(world: World) -> None:
    world.server.kill()
    began = time.time()
    try:
        assert world.tcp(BESIDE.fresh()).rcode == "NOERROR"
        time.sleep(2)
        (change,) = world.changes("--state", "accepted")
        took = time.time() - began
        # the pauses double from 0.1 s, and each is between the half and the whole of that: after n attempts, between
        # 0.05 and 0.1 s times 2**n - 1 have gone by or are going by
        attempts = change["attempts"]
        assert 0.05 * (2 ** (attempts - 1) - 1) < took < 0.1 * (2 ** (attempts + 1) - 1) + 3
        assert change["child"] == BESIDE.text
        assert change["reason"] == world.wait_for_event("backend.unavailable")["reason"]
        due = datetime.fromisoformat(change["next_at"]).timestamp()
        assert began < due < began + took + 0.1 * 2**attempts
        text = world.zonecut.cli("change", "list", "--state", "accepted", json=False)
        assert re.search(rf"{BESIDE.text} +accepted .* \d+ +20\d\d-\S+Z +{re.escape(change['reason'])}\n", text)
        shown = world.zonecut.cli("change", "show", str(change["id"]), json=False)
        assert re.search(rf"attempts +\d+\n +last error +{re.escape(change['reason'])}\n +next attempt +20", shown)
    finally:
        world.server.start()
    until(lambda: not world.changes("--state", "accepted"), timeout=30, what="the change is written")
    assert world.wait_for_event("backend.recovered")
    (change, *_) = world.changes("--child", BESIDE.text)
    assert (change["state"], change["reason"], change["next_at"]) == ("applied", None, None)


def test_a_change_on_which_the_server_fails_holds_up_nobody_else(tmp_path: Path) -> None:
    """named answers SERVFAIL to more records than `max-records-per-type`: as it does for trouble that passes."""
    world = World(tmp_path, ZONE, keys=CHILDREN)
    named = world.named
    set_limit(named, 3)
    with world:
        serial = world.serial()
        wires = {child: child.fresh() for child in OTHERS}
        wires[BESIDE] = more_servers(BESIDE, "a", "b")
        answers = asked_together(world, wires)
        assert {answer.rcode for answer in answers.values()} == {"NOERROR"}
        (waiting,) = world.changes("--state", "accepted")
        assert (waiting["child"], waiting["attempts"] > 1) == (BESIDE.text, True)
        assert "SERVFAIL" in waiting["reason"]
        # the others go on, and go together
        serial = world.serial()
        assert {a.rcode for a in asked_together(world, {c: c.fresh() for c in OTHERS}).values()} == {"NOERROR"}
        until(lambda: len(world.changes("--state", "accepted")) == 1, timeout=20, what="the others' are written")
        assert 0 < world.serial() - serial < len(OTHERS)
        alarm = world.wait_for_event("change.waits")
        assert (alarm["level"], alarm["child"], alarm["reason"]) == ("error", BESIDE.text, waiting["reason"])
        answer = world.tcp(BESIDE.fresh())
        assert answer.rcode == "SERVFAIL"
        assert answer.extended_error is not None
        assert answer.extended_error[1] == "an earlier change of this child waits"
        set_limit(named, 100)
        named.rndc("reconfig")
        until(lambda: not world.changes("--state", "accepted"), timeout=45, what="the change is written")
        assert f"{BESIDE.text} 86400 NS b.{BESIDE.text}" in world.records(BESIDE.text)
        stop_cleanly(world, expected=["change.waits", "backend.unavailable"])


def set_limit(named: Named, records: int) -> None:
    configuration = named.directory / "named.conf"
    text = re.sub(r"  max-records-per-type \d+;\n", "", configuration.read_text())
    configuration.write_text(text.replace("options {\n", f"options {{\n  max-records-per-type {records};\n", 1))
