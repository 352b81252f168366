"""One change, all the way: a stock nsupdate, zonecut, and what a real server serves afterwards."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dns.rdatatype
import pytest

from lab.child import ChildKey, dig, make_key
from lab.daemons.servers import SIGNERS
from lab.nsupdate import nsupdate
from lab.process import until
from lab.zones import PARENT, ParentZone, Signing
from world import World, stop_cleanly

CHILDREN = 8
TTLS = {"ns": 7200, "ds": 1800, "glue": 900}
DIGEST = "AB" * 32
KEYS = {
    "ED25519": ("ED25519", None),
    "ED448": ("ED448", None),
    "ECDSAP256SHA256": ("ECDSAP256SHA256", None),
    "ECDSAP384SHA384": ("ECDSAP384SHA384", None),
    "RSASHA256-2048": ("RSASHA256", 2048),
    "RSASHA256-4096": ("RSASHA256", 4096),
    "RSASHA512-2048": ("RSASHA512", 2048),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def keys(directory: Path) -> list[ChildKey]:
    """A key for each child."""
    return [make_key(directory, f"child{number}.{PARENT}") for number in range(CHILDREN)]


@pytest.fixture(scope="module")
def keys_of_all_kinds(directory: Path) -> dict[str, ChildKey]:
    """Keys of child0, one of each algorithm."""
    return {
        kind: make_key(directory / kind, f"child0.{PARENT}", algorithm, bits=bits)
        for kind, (algorithm, bits) in KEYS.items()
    }


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
    server: str,
    keys: list[ChildKey],
    keys_of_all_kinds: dict[str, ChildKey],
    directory: Path,
) -> Iterator[World]:
    """One zone for all tests here; each has a child of its own. All keys are trusted."""
    zone = ParentZone(PARENT, delegations=CHILDREN)
    with World(tmp_path_factory.mktemp("changes"), zone, server=server, parents=[{"policy": {"ttl": TTLS}}]) as world:
        world.trust(*keys, *keys_of_all_kinds.values(), directory=directory)
        yield world
        stop_cleanly(world)


def _differing(before: set[str], after: set[str]) -> tuple[set[str], set[str]]:
    """What was removed and what was added, without TTLs where they are those of the lab's zone."""
    return before - after, after - before


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("zone", [PARENT, None], ids=["zone", "asked"])
@pytest.mark.parametrize("kind", KEYS)
def test_nsupdate_changes_the_parent_zone(
    world: World, keys_of_all_kinds: dict[str, ChildKey], kind: str, zone: str | None, tcp: bool
) -> None:
    key = keys_of_all_kinds[kind]
    serial, before = world.snapshot()
    tag = 1000 + 2 * list(KEYS).index(kind) + tcp + 100 * (zone is None)
    outcome = world.nsupdate(
        f"update delete {key.name} DS\nupdate add {key.name} 5 DS {tag} 13 2 {DIGEST}", key, zone, tcp=tcp
    )
    assert (outcome.rcode, outcome.stderr) == ("NOERROR", "")
    removed, added = _differing(before, world.records())
    assert added == {f"{key.name} {TTLS['ds']} DS {tag} 13 2 {DIGEST.lower()}"}
    assert len(removed) == 1
    assert world.serial() == serial + 1
    assert f"DS\t{tag} 13 2 {DIGEST[:56]}" in dig(key.name, "DS", port=world.server.port).text


def test_nsupdate_over_ipv6(world: World, keys: list[ChildKey]) -> None:
    for zone in (PARENT, None):
        outcome = nsupdate(
            f"update delete child0.{PARENT} DS\nupdate add child0.{PARENT} 5 DS {7 + (zone is None)} 13 2 {DIGEST}",
            server="::1",
            port=world.port6,
            zone=zone,
            key_file=keys[0].private_file,
            tcp=zone is None,
        )
        assert outcome.rcode == "NOERROR"
    assert any(" DS 8 13 2 " in record for record in world.records(f"child0.{PARENT}"))


def test_a_whole_new_set_of_name_servers(world: World, keys: list[ChildKey]) -> None:
    before = world.records()
    outcome = world.nsupdate(
        f"""
        update delete child1.{PARENT} NS
        update add child1.{PARENT} 5 NS ns.elsewhere.test.
        update add child1.{PARENT} 5 NS NS3.Child1.{PARENT}
        update add ns3.child1.{PARENT} 5 A 11.3.3.3
        update add ns3.child1.{PARENT} 5 AAAA 2610::3:3
        """,
        keys[1],
    )
    assert outcome.rcode == "NOERROR"
    removed, added = _differing(before, world.records())
    assert added == {
        f"child1.{PARENT} 7200 NS ns.elsewhere.test.",
        f"child1.{PARENT} 7200 NS ns3.child1.{PARENT}",
        f"ns3.child1.{PARENT} 900 A 11.3.3.3",
        f"ns3.child1.{PARENT} 900 AAAA 2610::3:3",
    }
    # The addresses of the name servers that are gone go with them.
    assert {record.split(" ")[0] for record in removed} == {f"{host}child1.{PARENT}" for host in ("", "ns1.", "ns2.")}
    assert not [
        record for record in world.records() if record.startswith((f"ns1.child1.{PARENT}", f"ns2.child1.{PARENT}"))
    ]


# All of them lead to the same: ns2 is replaced by ns9.
WAYS_TO_REPLACE = {
    "single records": """
        update delete {child} NS ns2.{child}
        update delete ns2.{child} A {old}
        update add {child} 5 NS ns9.{child}
        update add ns9.{child} 5 A 11.9.9.9
        """,
    "RRsets": """
        update delete {child} NS
        update delete ns2.{child} A
        update add {child} 5 NS ns1.{child}
        update add {child} 5 NS ns9.{child}
        update add ns9.{child} 5 A 11.9.9.9
        """,
    "names": """
        update delete ns2.{child}
        update delete {child}
        update add {child} 5 NS ns1.{child}
        update add {child} 5 NS ns9.{child}
        update add ns9.{child} 5 A 11.9.9.9
        update add {child} 5 DS {ds}
        """,
    "no deletion of the glue": """
        update delete {child} NS ns2.{child}
        update add {child} 5 NS ns9.{child}
        update add ns9.{child} 5 A 11.9.9.9
        """,
    "records that are not there, and some twice": """
        update delete {child} NS ns2.{child}
        update delete {child} NS ns7.{child}
        update delete ns2.{child} AAAA
        update add {child} 5 NS ns9.{child}
        update add {child} 5 NS ns9.{child}
        update add {child} 5 NS ns1.{child}
        update add ns9.{child} 5 A 11.9.9.9
        """,
}


@pytest.mark.parametrize("way", WAYS_TO_REPLACE.values(), ids=WAYS_TO_REPLACE)
def test_every_form_of_deletion_gives_the_same_delegation(world: World, keys: list[ChildKey], way: str) -> None:
    child = f"child2.{PARENT}"
    original = world.records(child)
    ds_record, old = _data(original, child, "DS"), _data(original, f"ns2.{child}", "A")
    outcome = world.nsupdate(way.format(child=child, ds=ds_record, old=old), keys[2])
    assert outcome.rcode == "NOERROR"
    assert _without_ttls(world.records(child)) == (
        _without_ttls(original) - {f"{child} NS ns2.{child}", f"ns2.{child} A {old}"}
        | {f"{child} NS ns9.{child}", f"ns9.{child} A 11.9.9.9"}
    )
    back = f"""
        update delete {child} NS ns9.{child}
        update delete ns9.{child}
        update add {child} 5 NS ns2.{child}
        update add ns2.{child} 5 A {old}
        """
    assert world.nsupdate(back, keys[2]).rcode == "NOERROR"
    assert _without_ttls(world.records(child)) == _without_ttls(original)


def _data(records: set[str], owner: str, rtype: str) -> str:
    (found,) = [record for record in records if record.split(" ")[0] == owner and record.split(" ")[2] == rtype]
    return found.split(" ", 3)[3]


def _without_ttls(records: set[str]) -> set[str]:
    return {f"{owner} {rest}" for owner, _, rest in (record.split(" ", 2) for record in records)}


def test_all_ds_may_go_and_come_back(world: World, keys: list[ChildKey]) -> None:
    child = f"child3.{PARENT}"
    assert world.nsupdate(f"update delete {child} DS", keys[3]).rcode == "NOERROR"
    assert not [record for record in world.records(child) if " DS " in record]
    two = f"update add {child} 5 DS 1 13 2 {DIGEST}\nupdate add {child} 5 DS 2 8 4 {'CD' * 48}"
    assert world.nsupdate(two, keys[3]).rcode == "NOERROR"
    assert {record for record in world.records(child) if " DS " in record} == {
        f"{child} 1800 DS 1 13 2 {'ab' * 32}",
        f"{child} 1800 DS 2 8 4 {'cd' * 48}",
    }


def test_prerequisites_that_hold_do_not_stand_in_the_way(world: World, keys: list[ChildKey]) -> None:
    child = f"child4.{PARENT}"
    outcome = world.nsupdate(
        f"""
        prereq yxdomain {child}
        prereq nxdomain ns7.{child}
        prereq yxrrset {child} NS
        prereq nxrrset ns2.{child} AAAA
        prereq yxrrset {child} NS ns1.{child}
        prereq yxrrset {child} NS ns2.{child}
        update delete {child} DS
        """,
        keys[4],
    )
    assert outcome.rcode == "NOERROR"
    failing = world.nsupdate(f"prereq yxrrset {child} DS\nupdate delete {child} NS", keys[4])
    assert failing.rcode == "NXRRSET"


def test_a_message_that_needs_tcp(world: World, keys: list[ChildKey]) -> None:
    child = f"child5.{PARENT}"
    lines = [f"update delete {child} NS", f"update delete {child} DS"]
    for number in range(13):
        host = f"a-name-server-whose-name-is-long-{number}.{child}"
        lines.append(f"update add {child} 5 NS {host}")
        lines += [f"update add {host} 5 A 11.5.{number}.{last}" for last in range(1, 5)]
        lines += [f"update add {host} 5 AAAA 2610::5:{number}:{last}" for last in range(1, 5)]
    outcome = world.nsupdate("\n".join(lines), keys[5])
    assert outcome.rcode == "NOERROR"
    assert len(world.records(child)) == 13 * 9
    assert world.zonecut.log_events()[-1]["added"] == 13 * 9


def test_a_change_of_nothing_is_accepted_and_leaves_the_serial(world: World, keys: list[ChildKey]) -> None:
    child = f"child6.{PARENT}"
    serial = world.serial()
    for commands in (f"update delete {child} AAAA", f"update add {child} 5 NS ns1.{child}", f"prereq yxdomain {child}"):
        assert world.nsupdate(commands, keys[6]).rcode == "NOERROR"
    assert world.serial() == serial


def test_a_refusal_is_told_to_nsupdate(world: World, keys: list[ChildKey]) -> None:
    before = world.snapshot()
    other = world.nsupdate(f"update delete child1.{PARENT} DS", keys[6])
    assert (other.rcode, other.exit_status) == ("REFUSED", 2)
    last = world.nsupdate(f"update delete child6.{PARENT} NS", keys[6])
    assert (last.rcode, last.exit_status) == ("REFUSED", 2)
    assert world.snapshot() == before


def test_the_ledger_the_audit_trail_and_the_delegation_tell_of_it(world: World, keys: list[ChildKey]) -> None:
    child = f"child7.{PARENT}"
    assert world.nsupdate(f"update delete {child} DS", keys[7]).rcode == "NOERROR"
    until(lambda: world.changes("--child", child)[0]["state"] == "applied", timeout=5, what="the change is settled")
    (change,) = world.changes("--child", child)
    assert (change["before"]["ns"], change["after"]["ds"]) == ([f"ns1.{child}", f"ns2.{child}"], [])
    events = [entry["event"] for entry in world.audit() if entry["child"] == child]
    assert events[-2:] == ["change.accepted", "change.applied"]
    shown = world.zonecut.cli("delegation", "show", child)
    assert f"ns1.{child}" in str(shown)


@pytest.mark.parametrize(("server", "signing"), SIGNERS)
def test_a_signed_parent_zone_stays_signed(tmp_path: Path, server: str, signing: Signing) -> None:
    children = [f"child{number}.{PARENT}" for number in range(4)]
    keys = [make_key(tmp_path / "keys", child) for child in children]
    with World(tmp_path, ParentZone(PARENT, delegations=4, signing=signing), server=server) as world:
        world.trust(*keys, directory=tmp_path)
        for round_number in range(3):
            with ThreadPoolExecutor(4) as pool:
                outcomes = list(
                    pool.map(
                        lambda key, tag=round_number: world.nsupdate(
                            f"update delete {key.name} DS\nupdate add {key.name} 5 DS {tag} 13 2 {DIGEST}"
                            f"\nupdate delete ns2.{key.name} A\nupdate add ns2.{key.name} 5 A 11.8.8.{tag + 1}",
                            key,
                            tcp=True,
                        ),
                        keys,
                    )
                )
            assert {outcome.rcode for outcome in outcomes} == {"NOERROR"}

        def served() -> bool:
            # An inline-signed zone shows a change a moment after the update was answered.
            answers = [world.server.query(child, "DS", dnssec=True).answer for child in children]
            return all(
                {rrset.rdtype for rrset in answer} == {dns.rdatatype.DS, dns.rdatatype.RRSIG}
                and any(" 2 13 2 " in f" {rrset[0]} " for rrset in answer)
                for answer in answers
            )

        until(served, timeout=2, what="all changes are served, signed")
        world.server.verify()
        assert len(world.records(f"ns2.child0.{PARENT}")) == 1
        stop_cleanly(world)
