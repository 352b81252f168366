"""Somebody edits delegations behind zonecut's back with the server's ordinary tools: it is seen, told and kept."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from lab.daemons.pdns import PowerDns
from lab.daemons.server import Add, Delete
from lab.daemons.servers import WITH_FILES
from lab.process import until
from lab.scripted.file_server import FiledNamed
from lab.zones import PARENT, ParentZone
from signer import A, Signer, address, name
from world import World, stop_cleanly
from zonecut.protocol import message

CHILDREN = [Signer.generate(f"child{number}") for number in range(7)]
UNTOUCHED = f"child7.{PARENT}"
TTLS = {"ns": 7200, "ds": 1800, "glue": 900}
DIGEST = "99" * 32


@pytest.fixture(scope="module", params=WITH_FILES)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    zone = ParentZone(PARENT, delegations=len(CHILDREN) + 1)
    directory = tmp_path_factory.mktemp("d")
    entry = {"policy": {"ttl": TTLS}, "trust": {"sweep": 1, "gone_after": 4, "foreign_ns": "alarm"}}
    with World(directory, zone, server=request.param, keys=CHILDREN, parents=[entry]) as world:
        yield world
        # of the delegation that was taken out, and of the server that was killed
        stop_cleanly(world, ["change.failed", "backend.unavailable"])


def applied(world: World, child: Signer) -> None:
    """Another DS, as its child wants it; it is on record when this returns."""
    assert world.udp(child.fresh()).rcode == "NOERROR"

    until(lambda: not waiting(world), timeout=5, what="the change is recorded as applied")


def waiting(world: World) -> int:
    """How many changes are accepted and neither applied nor failed; read from the database, since that is quick."""
    with closing(sqlite3.connect(world.store_url.removeprefix("sqlite:///"))) as database:
        (count,) = database.execute("SELECT count(*) FROM changes WHERE state = 'accepted'").fetchone()
    return int(count)


def shown(world: World, child: str, exit_code: int) -> Any:
    """As an export has it: what is watched of one child stands beside."""
    document = world.zonecut.cli("delegation", "show", child, expect=exit_code)
    del document["watch"]
    return document


def exported(world: World, exit_code: int) -> dict[str, Any]:
    document = world.zonecut.cli("delegation", "export", PARENT, expect=exit_code)
    return {each["child"]: each for each in document}


def ds_of(world: World, child: Signer) -> list[str]:
    return [record.split(" DS ")[1] for record in world.records(child.text) if " DS " in record]


def foreign_changes(world: World, child: Signer) -> list[dict[str, Any]]:
    return [event for event in world.zonecut.log_events("delegation.foreign-change") if event["child"] == child.text]


def test_what_zonecut_left_is_no_difference_and_ttls_are_those_of_the_server(world: World) -> None:
    child = CHILDREN[0]
    applied(world, child)
    document = shown(world, child.text, 0)
    assert document["difference"] == {"removed": [], "added": []}
    # NS and glue have the TTLs that they had, not those of the policy: they have not been written
    ns = glue = 86400
    assert document["ttls"][child.text] == {"NS": ns, "DS": TTLS["ds"]}
    assert document["ttls"][f"ns1.{child.text}"] == {"A": glue, "AAAA": glue}
    text = world.zonecut.cli("delegation", "show", child.text, json=False)
    assert f"{child.text}\t{ns}\tIN\tNS\tns1.{child.text}\n" in text
    assert f"{child.text}\t{TTLS['ds']}\tIN\tDS\t4711 13 2 " in text
    found = exported(world, 0)
    assert found[child.text] == document
    assert len(found) == len(CHILDREN) + 1


def test_what_the_ledger_knows_nothing_of_is_no_difference(world: World) -> None:
    world.server.edit(Add(UNTOUCHED, 86400, "NS", "ns.elsewhere.test."))
    until(lambda: any("elsewhere" in each for each in world.records(UNTOUCHED)), timeout=5, what="the edit is served")
    document = shown(world, UNTOUCHED, 0)
    assert (document["ledger"], document["difference"]) == (None, None)
    assert document == exported(world, 0)[UNTOUCHED]


def test_ds_that_are_taken_out_by_hand_do_not_come_back_with_the_child_s_next_change(world: World) -> None:
    child = CHILDREN[6]
    applied(world, child)
    world.server.edit(Delete(child.text, "DS"))
    until(lambda: not ds_of(world, child), timeout=5, what="the edit is served")
    answer = world.udp(child.fresh())
    assert (answer.rcode, answer.extended_error and answer.extended_error[0]) == ("REFUSED", 18)
    assert "taken out of the parent's zone by somebody else" in str(answer.extended_error)
    # and no other of its changes brings them along
    host = name(f"ns2.{child.text}")
    address_ = message.add(host, A, 60, address("11.9.9.8"))
    assert world.udp(child.update(message.delete_rrset(host, A), address_)).rcode == "NOERROR"
    assert world.udp(child.fresh()).rcode == "REFUSED"
    assert ds_of(world, child) == []
    world.server.edit(Add(child.text, 60, "DS", f"99 13 2 {DIGEST}"))
    until(lambda: bool(ds_of(world, child)), timeout=5, what="the operator's DS set is served")
    assert world.udp(child.fresh()).rcode == "NOERROR"


def test_an_edit_is_shown_told_and_kept_under_the_child_s_next_change(world: World) -> None:
    child = CHILDREN[1]
    host = f"ns2.{child.text}"
    applied(world, child)
    (ours,) = ds_of(world, child)
    before = next(record.split(" A ")[1] for record in world.records(host) if " A " in record)
    world.server.edit(
        Delete(child.text, "DS"),
        Add(child.text, 60, "DS", f"99 13 2 {DIGEST}"),
        Add(child.text, 86400, "NS", "ns.elsewhere.test."),
        Delete(host, "A"),
        Add(host, 86400, "A", "11.9.9.9"),
    )
    removed = {f"{child.text} DS {ours.upper()}", f"{host} A {before}"}
    added = {f"{child.text} DS 99 13 2 {DIGEST}", f"{child.text} NS ns.elsewhere.test.", f"{host} A 11.9.9.9"}

    def differs() -> bool:
        return ds_of(world, child) == [f"99 13 2 {DIGEST}"]

    until(differs, timeout=5, what="the edit is served")
    document = shown(world, child.text, 3)
    assert {*document["difference"]["removed"]} == removed
    assert {*document["difference"]["added"]} == added
    assert document["ttls"][child.text]["DS"] == 60
    lines = world.zonecut.cli("delegation", "export", PARENT, json=False, expect=3).splitlines()
    assert {line for line in lines if line.startswith(("; -", "; +"))} == {
        *(f"; - {record}" for record in removed),
        *(f"; + {record}" for record in added),
    }
    found = exported(world, 3)
    assert [each for each, it in found.items() if it["difference"] and any(it["difference"].values())] == [child.text]

    # the child's next change starts from the edit
    glue = f"ns1.{child.text}"
    wire = child.update(message.delete_rrset(name(glue), A), message.add(name(glue), A, 60, address("11.8.8.8")))
    assert world.udp(wire).rcode == "NOERROR"
    assert f"{glue} {TTLS['glue']} A 11.8.8.8" in world.records(child.text)
    assert added <= {re.sub(r" \d+ ", " ", record, count=1) for record in world.records(child.text)}
    (event,) = foreign_changes(world, child)
    assert (event["level"], {*event["removed"]}, {*event["added"]}) == ("warning", removed, added)
    (entry,) = [each for each in world.audit("delegation.foreign-change") if each["child"] == child.text]
    assert ({*entry["detail"]["removed"]}, {*entry["detail"]["added"]}) == (removed, added)

    until(lambda: not waiting(world), timeout=5, what="the change is recorded as applied")
    newest = world.changes("--child", child.text)[0]
    assert (newest["before"]["ds"], newest["after"]["ds"]) == ([f"99 13 2 {DIGEST}"], [f"99 13 2 {DIGEST}"])
    assert shown(world, child.text, 0)["difference"] == {"removed": [], "added": []}


def test_a_delegation_that_was_taken_out_by_hand_is_missing_and_does_not_come_back(world: World) -> None:
    child = CHILDREN[2]
    applied(world, child)
    world.server.edit(*(Delete(owner) for owner in (child.text, f"ns1.{child.text}", f"ns2.{child.text}")))
    until(lambda: not world.records(child.text), timeout=5, what="the delegation is gone")
    assert world.udp(child.fresh()).rcode == "REFUSED"
    assert len(shown(world, child.text, 3)["difference"]["removed"]) == 6
    found = exported(world, 3)
    assert found[child.text]["ns"] == []
    assert len(found[child.text]["difference"]["removed"]) == 6
    assert "; - " in world.zonecut.cli("delegation", "export", PARENT, json=False, expect=3)
    assert world.records(child.text) == set()
    world.wait_for_event("trust.ended", timeout=30)
    assert foreign_changes(world, child)[0]["found"] == []
    # the parent's operator delegates the name anew, which somebody else may hold by now
    world.server.edit(Add(child.text, 86400, "NS", "ns.elsewhere.test."))


def test_a_change_that_waits_for_the_server_is_shown(world: World) -> None:
    """The server takes the change only once it runs again; what it holds then is shown with what waits."""
    child = CHILDREN[3]
    applied(world, child)
    world.server.kill()
    assert world.udp(child.fresh()).rcode == "NOERROR"
    assert waiting(world) == 1
    ended = world.zonecut.cli("delegation", "show", child.text, expect=0 if is_file(world) else 1, json=False)
    assert not is_file(world) or "is accepted and not yet applied" in ended
    world.server.start()
    until(lambda: not waiting(world), timeout=60, what="what waited is written")
    assert shown(world, child.text, 0)["unsettled"] is None


def is_file(world: World) -> bool:
    """Zone files can be read while the server that loads them is down."""
    return isinstance(world.server, FiledNamed)


def test_an_edit_in_the_database_behind_the_server_s_back_is_seen_as_well(world: World) -> None:
    if not isinstance(world.server, PowerDns):
        # the others have no such back: what they hold is in their memory
        return
    child = CHILDREN[4]
    applied(world, child)
    world.server.pdnsutil("add-record", PARENT, child.text.removesuffix(f".{PARENT}"), "NS", "60", "ns.elsewhere.test.")
    assert shown(world, child.text, 3)["difference"]["added"] == [f"{child.text} NS ns.elsewhere.test."]
    assert world.udp(child.fresh()).rcode == "NOERROR"
    assert f"{child.text} 60 NS ns.elsewhere.test." in world.records(child.text)
    assert foreign_changes(world, child)[0]["added"] == [f"{child.text} NS ns.elsewhere.test."]


def test_the_edit_of_one_child_is_nothing_to_the_others(world: World) -> None:
    child, other = CHILDREN[4], CHILDREN[5]
    applied(world, other)
    world.server.edit(Add(child.text, 60, "NS", "ns9.elsewhere.test."))
    applied(world, other)
    assert foreign_changes(world, other) == []
    assert shown(world, other.text, 0)["difference"] == {"removed": [], "added": []}
