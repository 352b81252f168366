"""Who comes late, what waits for an operator, and what must not be written any more: in front of a real named."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hook_world import hook, poster
from lab.child import ChildKey, make_key
from lab.process import until
from lab.zones import PARENT, ParentZone
from peer import Answer
from poster import Poster, rrset
from signer import DS, NS, Signer, ds, name
from world import World
from zonecut.protocol import message

CHILDREN = 6
PORTAL = "ns.portal.test."


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("order")


@pytest.fixture(scope="module")
def signers() -> list[Signer]:
    return [Signer.generate(f"child{number}") for number in range(CHILDREN)]


@pytest.fixture(scope="module")
def stock(directory: Path) -> ChildKey:
    """A second key of child0, that nsupdate signs with."""
    return make_key(directory, f"child0.{PARENT}")


@pytest.fixture(scope="module")
def section(directory: Path) -> dict[str, Any]:
    return hook(directory)


@pytest.fixture(scope="module")
def portal(section: dict[str, Any]) -> Poster:
    return poster(section)


@pytest.fixture(scope="module")
def world(directory: Path, section: dict[str, Any], signers: list[Signer], stock: ChildKey) -> Iterator[World]:
    zone = ParentZone(PARENT, delegations=CHILDREN)
    # what a portal means for the keys is another matter
    parent = {"policy": {"going_insecure": "hold"}, "trust": {"foreign_ns": "alarm"}}
    with World(directory, zone, keys=signers, parents=[parent], receiver={"hook": section}) as world:
        world.trust(stock, directory=directory)
        yield world


def ns_of(world: World, child: Signer | str) -> set[str]:
    text = child if isinstance(child, str) else child.text
    return {record.split()[-1] for record in world.records(text) if record.startswith(f"{text} ") and " NS " in record}


def ds_count(world: World, child: Signer) -> int:
    return sum(" DS " in record for record in world.records(child.text))


def told(answer: Answer) -> str:
    assert answer.extended_error is not None
    return answer.extended_error[1]


def replaced(child: Signer, server: str, *, age: int = 0, prerequisites: tuple[bytes, ...] = ()) -> bytes:
    updates = [message.delete_rrset(child.owner, NS), message.add(child.owner, NS, 60, name(server))]
    return child.update(*updates, prerequisites=prerequisites, age=age, validity=600)


# The order of a child's changes


def test_nsupdate_and_a_client_with_another_clock_go_beside_each_other(
    world: World, signers: list[Signer], stock: ChildKey
) -> None:
    child = signers[0]
    # nsupdate dates its signatures back by 300 s, this one's clock is fast by 200 s, and others date back by chance
    assert world.udp(replaced(child, "a.test.", age=-200)).rcode == "NOERROR"
    change = f"update delete {child.text} NS\nupdate add {child.text} 60 NS b.test."
    outcome = world.nsupdate(change, stock)
    assert (outcome.rcode, outcome.stderr) == ("NOERROR", "")
    for number, age in enumerate((60, 116, 62, 120)):
        assert world.udp(replaced(child, f"c{number}.test.", age=age)).rcode == "NOERROR"
    assert ns_of(world, child) == {"c3.test."}
    outcome = world.nsupdate(change, stock)
    assert outcome.rcode == "NOERROR"
    late = world.udp(replaced(child, "late.test.", age=310))
    assert late.rcode == "BADTIME"
    assert f"before a change that key {child.tag} signed at " in told(late)
    assert ns_of(world, child) == {"b.test."}


def test_what_was_signed_before_the_portal_s_change_and_held_back_does_not_undo_it(
    world: World, signers: list[Signer], portal: Poster
) -> None:
    child = signers[1]
    held_back = replaced(child, "held-back.test.")
    time.sleep(1.1)
    assert portal.patch(rrset("child1", "NS", PORTAL)).status == 204
    answer = world.udp(held_back)
    assert answer.rcode == "BADTIME"
    assert "before a change through the hook" in told(answer)
    assert ns_of(world, child) == {PORTAL}
    holds = (message.rrset_holds(child.owner, NS, name(PORTAL)),)
    assert world.udp(replaced(child, "fresh.test.", age=120, prerequisites=holds)).rcode == "NOERROR"
    assert ns_of(world, child) == {"fresh.test."}


# What waits for an operator


def test_going_insecure_waits_for_an_operator_who_approves_or_rejects_it(world: World, signers: list[Signer]) -> None:
    child = signers[2]
    fresh = [message.delete_rrset(child.owner, DS), message.add(child.owner, DS, 60, ds())]
    assert world.udp(child.update(*fresh)).rcode == "NOERROR"
    for decision, left in (("reject", 1), ("approve", 0)):
        time.sleep(1.1)
        answer = world.udp(child.update(message.delete_rrset(child.owner, DS)))
        assert answer.rcode == "NOERROR"
        assert "waits for an operator" in told(answer)
        (held,) = world.changes("--state", "held")
        assert held["child"] == child.text
        assert ds_count(world, child) == 1
        world.zonecut.cli("change", decision, str(held["id"]), "--reason", "ticket 7")
        if not left:
            until(lambda: ds_count(world, child) == 0, timeout=1, what="what was approved is written")
        else:
            time.sleep(1)
        assert ds_count(world, child) == left
        assert world.changes("--state", "held") == []


def test_what_waits_for_a_server_that_is_away_is_not_written_once_it_is_rejected_or_its_key_revoked(
    world: World, signers: list[Signer]
) -> None:
    rejected, revoked, goes_on = signers[3:6]
    for child in (rejected, revoked, goes_on):
        assert world.udp(replaced(child, "before.test.")).rcode == "NOERROR"
    world.server.kill()
    time.sleep(1.1)
    for child in (rejected, revoked, goes_on):
        assert world.udp(child.update(message.add(child.owner, NS, 60, name("after.test.")))).rcode == "NOERROR"
    # a move to others altogether is judged on what the server holds, and that cannot be asked
    assert world.udp(replaced(goes_on, "elsewhere.test.")).rcode == "SERVFAIL"
    waiting = {change["child"]: change["id"] for change in world.changes("--state", "accepted")}
    world.zonecut.cli("change", "reject", str(waiting[rejected.text]), "--reason", "nobody there knows of it")
    world.zonecut.cli("key", "revoke", revoked.text, "--keyid", str(revoked.tag), "--reason", "stolen")
    time.sleep(1.1)
    world.server.start()
    until(lambda: not world.changes("--state", "accepted"), timeout=60, what="what waited has ended")
    assert [ns_of(world, child) for child in (rejected, revoked, goes_on)] == [
        {"before.test."},
        {"before.test."},
        {"before.test.", "after.test."},
    ]
    failed = {change["child"]: change["reason"] for change in world.changes("--state", "failed")}
    assert failed[rejected.text] == "rejected: an operator of the parent rejected it: nobody there knows of it"
    assert f"key {revoked.tag} of {revoked.text}, which signed it, is revoked by now" in failed[revoked.text]
