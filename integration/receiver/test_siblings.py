"""Children that have name servers in each other: nobody's change takes an address that another delegation names."""

from collections.abc import Iterator

import pytest

from lab.daemons.server import Add, Delete
from lab.daemons.servers import WITH_FILES
from lab.process import until
from lab.zones import PARENT, ParentZone
from signer import DS, NS, A, Signer, address, ds, name
from world import World, stop_cleanly
from zonecut.protocol import message

ONE, TWO, THREE, FOUR = (Signer.generate(f"child{number}") for number in range(4))
AWAY = "ns.elsewhere.test."


@pytest.fixture(scope="module", params=WITH_FILES)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    zone = ParentZone(PARENT, delegations=4)
    with World(tmp_path_factory.mktemp("d"), zone, server=request.param, keys=[ONE, TWO, THREE, FOUR]) as world:
        yield world
        stop_cleanly(world)


def moved(child: Signer, *servers: str) -> list[bytes]:
    return [
        message.delete_rrset(child.owner, NS),
        *(message.add(child.owner, NS, 60, name(server)) for server in servers),
    ]


def has_addresses(world: World, host: str) -> bool:
    return any(record.startswith(f"{host} ") for record in world.records(host))


def test_a_change_of_one_leaves_the_address_that_another_has_in_it(world: World) -> None:
    """RFC 9471 section 2.3: two that name each other's hosts alone."""
    hosts = [f"ns1.{ONE.text}", f"ns1.{TWO.text}"]
    for child, host in ((ONE, hosts[1]), (TWO, hosts[0])):
        assert world.udp(child.update(*moved(child, host))).rcode == "NOERROR"
    for child in (ONE, TWO):
        assert world.udp(child.update(message.add(child.owner, DS, 60, ds(99)))).rcode == "NOERROR"
    assert [has_addresses(world, host) for host in hosts] == [True, True]
    assert not world.zonecut.log_events("delegation.foreign-change")


def test_an_address_that_another_delegation_uses_stays_until_nobody_does_and_the_child_is_told(world: World) -> None:
    host = f"ns1.{THREE.text}"
    assert world.udp(FOUR.update(*moved(FOUR, host))).rcode == "NOERROR"
    told = world.udp(THREE.update(*moved(THREE, AWAY), message.delete_name(name(host))))
    assert told.rcode == "NOERROR"
    assert told.extended_error == (0, f"{host} keeps its addresses: {FOUR.text} NS names it")
    assert has_addresses(world, host)
    assert world.zonecut.log_events("change.address-kept")[-1]["child"] == THREE.text
    assert world.audit("change.address-kept")[-1]["detail"]["reason"] == told.extended_error[1]
    # the child in which it lies may give it another one, and what others say of it is none
    other = [message.delete_rrset(name(host), A), message.add(name(host), A, 60, address("11.1.1.9"))]
    assert world.udp(THREE.update(*other)).rcode == "NOERROR"
    assert any(f"{host} " in record and "11.1.1.9" in record for record in world.records(host))
    assert world.zonecut.cli("delegation", "show", THREE.text)["difference"] == {"removed": [], "added": []}
    assert world.udp(FOUR.update(*moved(FOUR, AWAY))).rcode == "NOERROR"
    until(lambda: not has_addresses(world, host), timeout=5, what="the address goes with the last who named its host")


def test_what_an_operator_put_into_a_child_stays_when_the_one_that_named_it_moves_away(world: World) -> None:
    host = f"ns9.{TWO.text}"
    world.server.edit(Add(host, 60, "A", "11.1.1.7"))
    until(lambda: has_addresses(world, host), timeout=5, what="the edit is served")
    for server in (host, AWAY):
        assert world.udp(FOUR.update(*moved(FOUR, server))).rcode == "NOERROR"
    until(lambda: bool(world.zonecut.log_events("glue.left")), timeout=40, what="it is seen that nobody names the host")
    assert has_addresses(world, host)


def test_who_names_a_host_by_an_operator_s_hand_is_known(world: World) -> None:
    host = f"ns1.{ONE.text}"
    assert world.udp(
        ONE.update(*moved(ONE, host, AWAY), message.add(name(host), A, 60, address("11.1.1.1")))
    ).rcode == ("NOERROR")
    assert world.udp(TWO.update(*moved(TWO, AWAY))).rcode == "NOERROR"
    world.server.edit(Delete(FOUR.text, "NS"), Add(FOUR.text, 60, "NS", host))
    until(lambda: any(host in each for each in world.records(FOUR.text)), timeout=5, what="the edit is served")

    # where only a listing tells who names a host, the address may go, and comes back
    answer = world.udp(ONE.update(*moved(ONE, AWAY)))
    assert answer.rcode == "NOERROR"
    until(lambda: has_addresses(world, host), timeout=40, what="the address is there")
    assert answer.extended_error is not None or world.zonecut.log_events("glue.restored")
