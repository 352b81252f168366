"""zonecut in front of a registry's tables, from which a generator makes the zone: nothing lost or done twice."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from busy_children import Client, all_the_time, first_changes
from database_world import KINDS, made_on, registry_of, replayed
from lab.child import make_key
from lab.daemons.mariadb import MariaDb
from lab.daemons.postgresql import PostgreSql
from lab.daemons.server import Add, Delete
from lab.generated import GeneratedNamed
from lab.process import until
from lab.registry import Registry, SqliteRegistry
from lab.zones import PARENT, ParentZone
from signer import NS, Signer, name
from world import World, stop_cleanly, unexpected_lines
from zonecut.protocol import message

ROUNDS = int(os.environ.get("ZONECUT_ROUNDS", "10"))
CHILDREN = 8
CHILD = f"child0.{PARENT}"


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    with registry_of(request, tmp_path) as made:
        yield made


@pytest.fixture
def named(registry: Registry, tmp_path: Path) -> GeneratedNamed:
    return GeneratedNamed(tmp_path / "server", ParentZone(PARENT, delegations=CHILDREN), registry=registry)


@pytest.mark.parametrize("registry", KINDS, indirect=True)
def test_a_signed_change_reaches_the_tables_the_history_and_the_zone(
    tmp_path: Path, registry: Registry, named: GeneratedNamed
) -> None:
    key = make_key(tmp_path / "keys", CHILD)
    with World(tmp_path, server=named) as world:
        world.trust(key, directory=tmp_path / "keys")
        since = registry.serial(PARENT)
        outcome = world.nsupdate(
            f"update delete {CHILD} NS ns2.{CHILD}\nupdate delete ns2.{CHILD} A\n"
            f"update add {CHILD} 60 NS ns3.{CHILD}\nupdate add ns3.{CHILD} 60 AAAA 2610::3",
            key,
        )
        assert outcome.rcode == "NOERROR", outcome
        changed = {(action, *record[:2], record[3]) for _, action, record in registry.history(PARENT, since)}
        assert changed >= {
            ("removed", CHILD, "NS", f"ns2.{CHILD}"),
            ("removed", f"ns2.{CHILD}", "A", "11.0.0.1"),
            ("added", CHILD, "NS", f"ns3.{CHILD}"),
            ("added", f"ns3.{CHILD}", "AAAA", "2610::3"),
        }
        held = {record[:2] + record[3:] for record in registry.records(PARENT)}
        assert {(owner, data) for owner, rtype, data in held if rtype == "NS" and owner == CHILD} == {
            (CHILD, f"ns1.{CHILD}"),
            (CHILD, f"ns3.{CHILD}"),
        }
        assert f"ns3.{CHILD} 86400 AAAA 2610::3" in world.records(CHILD)
        assert world.serial() == registry.serial(PARENT) > since
        named.verify()
        assert replayed(registry) == set(registry.records(PARENT))
        stop_cleanly(world)


def test_what_is_in_the_tables_is_told_from_what_is_in_the_zone(tmp_path: Path) -> None:
    registry = SqliteRegistry(tmp_path / "registry")
    named = GeneratedNamed(tmp_path / "server", ParentZone(PARENT, delegations=CHILDREN), registry=registry)
    child = Signer.generate("child0")
    with World(tmp_path, server=named, keys=[child], parents=[{"consumers_within": 1.0}]) as world:
        before = registry.serial(PARENT)
        registry.consume(PARENT, "named", before)
        assert world.tcp(child.fresh()).rcode == "NOERROR"
        until(lambda: world.changes()[0]["reached"] == "tables", timeout=20, what="its consumer is seen")
        (change,) = world.changes()
        assert change["history_number"] == registry.serial(PARENT)
        assert change["not_in_zone_of"] == ["named"]

        def reason() -> str:
            (zone,) = world.zonecut.cli("change", "list")["zones"]
            assert zone["state"] == "ready"
            return zone["reason"] or ""

        until(lambda: "named, at" in reason(), timeout=20, what="a consumer that stands still is an alarm")
        assert f"named, at {before} of {registry.serial(PARENT)}, has not taken up" in reason()
        registry.consume(PARENT, "named", registry.serial(PARENT))
        until(lambda: world.changes()[0]["reached"] == "zone", timeout=20, what="it is in the zone")
        until(lambda: reason() == "", timeout=40, what="the alarm is over")
        assert "applied, in the zone (named at" in world.zonecut.cli("change", "list", json=False)
        stop_cleanly(world, expected=["zone.consumer"])


def test_what_zonecut_announces_is_served_and_taken_out_again(
    tmp_path: Path, registry: Registry, named: GeneratedNamed
) -> None:
    before = registry.records(PARENT)
    publication = {"publish": True, "addresses": ["127.0.0.1"], "publication": {"names": ["apex", "wildcard"]}}
    with World(tmp_path, server=named, parents=[publication]) as world:
        world.wait_for_event("publication.written")
        target = f"updater.{PARENT}"
        for owner, rtype in (
            (f"_dsync.{PARENT}", "DSYNC"),
            (f"x._dsync.{PARENT}", "DSYNC"),
            (target, "SVCB"),
            (target, "KEY"),
        ):
            assert named.query(owner, rtype.replace("DSYNC", "TYPE66"), tcp=True).answer, (owner, rtype)
        world.zonecut.cli("parent", "publish", PARENT, "--dry-run")  # there is nothing left to be done
        registry.edit(PARENT, Delete(target, "KEY"))
        world.zonecut.cli("parent", "publish", PARENT, "--dry-run", expect=3)
        world.zonecut.stop()
        world.zonecut.cli("parent", "publish", PARENT)
        assert named.query(target, "KEY", tcp=True).answer
        world.zonecut.cli("parent", "withdraw", PARENT)
        assert registry.records(PARENT) == before


def test_an_edit_by_sql_is_what_the_next_change_starts_from(
    tmp_path: Path, registry: Registry, named: GeneratedNamed
) -> None:
    child = Signer.generate("child0")
    with World(tmp_path, server=named, keys=[child]) as world:
        assert world.tcp(child.fresh()).rcode == "NOERROR"
        # zonecut believes to know the delegation now
        registry.edit(
            PARENT, Delete(CHILD, "NS", f"ns2.{CHILD}"), Delete(f"ns2.{CHILD}"), Add(CHILD, 60, "NS", "ns.x.test.")
        )
        wire = child.update(message.add(child.owner, NS, 60, name("ns.y.test.")))
        assert world.tcp(wire).rcode == "NOERROR"
        ns = {data for owner, rtype, _, data in registry.records(PARENT) if (owner, rtype) == (CHILD, "NS")}
        assert ns == {f"ns1.{CHILD}", "ns.x.test.", "ns.y.test."}
        assert replayed(registry) == set(registry.records(PARENT))
        # a row that no zone could hold stops that child alone, and the answer says which
        registry.edit(PARENT, Add(CHILD, 60, "NS", f"{'x' * 64}.test."))
        answer = world.tcp(child.update(message.add(child.owner, NS, 60, name("ns.z.test."))))
        assert answer.rcode == "SERVFAIL"
        registry.edit(PARENT, Delete(CHILD, "NS", f"{'x' * 64}.test."))
        assert world.tcp(child.fresh()).rcode == "NOERROR"
        stop_cleanly(world, expected=["change.failed"])


# Killed


def clients() -> list[Client]:
    return [Client(Signer.generate(f"child{number}")) for number in range(CHILDREN)]


def rows(registry: Registry) -> set[str]:
    """The rows as `World.records` has records."""
    return {
        f"{owner} {ttl} {rtype} {data.lower() if rtype == 'DS' else data}"
        for owner, rtype, ttl, data in registry.records(PARENT)
    }


def check_end(world: World, registry: Registry, children: list[Client]) -> None:
    """The tables, the history, the ledger and what children were told agree."""
    until(lambda: not world.changes("--state", "accepted"), timeout=30, what="the ledger has nothing unsettled")
    assert world.changes("--state", "failed") == []
    records = rows(registry)
    for client in children:
        client.check(records)
        newest = next(change for change in world.changes("--child", client.signer.text) if change["state"] == "applied")
        number, _ = client.held(records)
        assert newest["after"]["ds"] == [f"{number % 65536} 13 2 {number:064X}"]
        assert client.refused == []
    assert replayed(registry) == set(registry.records(PARENT))
    # each change that was accepted is in the history once: each has a DS of its own
    added = [record[3] for _, action, record in registry.history(PARENT) if action == "added" and record[1] == "DS"]
    applied = [change["after"]["ds"][0] for change in world.changes("--state", "applied")]
    per_child = [record for record in added if record in set(applied)]
    assert len(per_child) == len(applied)


@pytest.mark.crash
def test_zonecut_is_killed_again_and_again(tmp_path: Path, registry: Registry, named: GeneratedNamed) -> None:
    children = clients()
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    with World(tmp_path, server=named, keys=[client.signer for client in children]) as world:
        first_changes(children, world.port)
        with all_the_time(children, world.port):
            for round_number in range(ROUNDS):
                time.sleep(moments.uniform(0.05, 0.5))
                world.zonecut.kill()
                records = rows(registry)
                for client in children:
                    number, found = client.held(records)
                    assert found == client.expected(number), f"half a change: seed {seed}, round {round_number}"
                world.zonecut.start()
            time.sleep(0.5)
        check_end(world, registry, children)
        assert sum(client.count for client in children) > ROUNDS
        named.verify()


@pytest.mark.crash
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_server_is_killed_and_comes_back_while_changes_arrive(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    children = clients()
    server: PostgreSql | MariaDb = request.getfixturevalue(kind)
    with made_on(server, tmp_path) as registry:
        named = GeneratedNamed(tmp_path / "server", ParentZone(PARENT, delegations=CHILDREN), registry=registry)
        with World(tmp_path, server=named, keys=[client.signer for client in children]) as world:
            first_changes(children, world.port)
            with all_the_time(children, world.port):
                for _ in range(max(3, ROUNDS // 3)):
                    time.sleep(random.uniform(0.2, 0.6))
                    server.kill()
                    time.sleep(random.uniform(0.0, 0.5))
                    server.start()
                time.sleep(1)
            check_end(world, registry, children)
            assert unexpected_lines(world.zonecut, ["backend.unavailable"]) == []
            # zonecut lived through all of it
            assert len(world.zonecut.log_events("serve.started")) == 1


def test_changes_wait_for_somebodys_transaction_and_are_written_after_it(
    tmp_path: Path, registry: Registry, named: GeneratedNamed
) -> None:
    child, other = Signer.generate("child0"), Signer.generate("child1")
    with World(tmp_path, server=named, keys=[child, other]) as world:
        assert world.tcp(child.fresh()).rcode == "NOERROR"
        with registry.transaction() as execute:
            execute(f"UPDATE zonecut_records SET ttl = 17 WHERE owner = '{CHILD}' AND type = 'NS'")
            # accepted, and in the ledger: the answer waits for two seconds
            assert world.tcp(child.fresh()).rcode == "NOERROR"
            assert world.tcp(other.fresh()).rcode == "NOERROR"
            assert len(world.changes("--state", "accepted")) == 2
        until(lambda: not world.changes("--state", "accepted"), timeout=20, what="what waited is written")
        assert world.changes("--state", "failed") == []
        assert {record[2] for record in registry.records(PARENT) if record[:2] == (CHILD, "NS")} == {17}
        assert replayed(registry) == set(registry.records(PARENT))


def test_one_senseless_row_does_not_end_the_export(tmp_path: Path) -> None:
    named = GeneratedNamed(tmp_path / "server", ParentZone(PARENT, delegations=3))
    with World(tmp_path, server=named) as world:
        named.registry.insert([(PARENT, f"a..{PARENT}", f"a..{PARENT}", "NS", 60, "ns.elsewhere.test.")])
        found = world.zonecut.cli("delegation", "export", PARENT, expect=1)
        assert {each["child"] for each in found} == {
            f"a..{PARENT}",
            *(f"child{number}.{PARENT}" for number in range(3)),
        }
        (unreadable,) = [each for each in found if "unreadable" in each]
        assert "empty label" in unreadable["unreadable"] or "makes no sense" in unreadable["unreadable"]
        text = world.zonecut.cli("delegation", "export", PARENT, json=False, expect=1)
        assert [line for line in text.splitlines() if line.startswith(f"; a..{PARENT} cannot be read: ")]
        assert text.count("\tNS\t") == 6
        named.registry.execute(("DELETE FROM zonecut_records WHERE child = ?", (f"a..{PARENT}",)))
        stop_cleanly(world)
