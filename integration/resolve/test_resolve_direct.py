"""Single servers asked themselves, other transports, dead resolvers, other clocks and anchors, many at once."""

import asyncio
import re
import time
from collections.abc import Iterator

import pytest

from lab.ports import LOOPBACK, free_port
from resolve_tree import CHILD_SERVER, GRANDCHILD_SERVER, ROOT_SERVER, TEST_SERVER
from resolve_world import (
    BOGUS,
    CASES,
    FAILED,
    FOUND,
    INDETERMINATE,
    INSECURE,
    NXDOMAIN,
    SECURE,
    WILDCARD,
    World,
    question,
    running,
)
from zonecut.resolve import Limits, Nameserver, Resolver, Transport, TrustAnchors


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("resolve")) as world:
        yield world


async def test_with_another_anchor_all_is_bogus_and_with_none_indeterminate(world: World) -> None:
    nameservers = [Nameserver(LOOPBACK, world.unbound.port)]
    answer = await Resolver(nameservers).lookup(*question("secure.test. KEY"))
    assert answer.verdict is BOGUS
    assert re.search(r"no DNSKEY of \. matches its DS \(key tag 20326, 38696\)", answer.reason)
    elsewhere = TrustAnchors.from_text("other. DS 1 15 2 " + "00" * 32)
    answer = await Resolver(nameservers, elsewhere).lookup(*question("secure.test. KEY"))
    assert (answer.verdict, answer.status) == (INDETERMINATE, FAILED)


async def test_the_clock_that_is_given_counts(world: World) -> None:
    nameservers = [Nameserver(LOOPBACK, world.unbound.port)]
    later = Resolver(nameservers, world.anchors, clock=lambda: time.time() + 366 * 86400)
    answer = await later.lookup(*question("secure.test. KEY"))
    assert answer.verdict is BOGUS
    assert "expired" in answer.reason


@pytest.mark.parametrize("tcp", [True, False])
async def test_a_server_is_asked_itself_and_its_answer_validated(world: World, tcp: bool) -> None:
    resolver = world.resolver()
    direct = await resolver.ask(CHILD_SERVER, 53, *question("secure.test. KEY"), tcp=tcp, source="127.0.0.9")
    assert direct.is_answer
    assert (direct.status, direct.rcode, len(direct.rdatas)) == (FOUND, 0, 1)
    answer = await resolver.validate(direct)
    assert answer.is_proven
    assert answer.rdatas == direct.rdatas
    for case, expected in {
        "insecure.test. KEY": (INSECURE, FOUND),
        "broken.test. KEY": (BOGUS, FOUND),
        "expired.test. KEY": (BOGUS, FAILED),
        "nothing.secure.test. KEY": (SECURE, NXDOMAIN),
        "x.wild.secure.test. KEY": (SECURE, WILDCARD),
    }.items():
        direct = await resolver.ask(CHILD_SERVER, 53, *question(case), tcp=tcp)
        assert direct.is_answer
        answer = await resolver.validate(direct)
        assert (answer.verdict, answer.status) == expected, case


async def test_a_server_without_authority_gives_no_answer(world: World) -> None:
    resolver = world.resolver()
    referral = await resolver.ask(TEST_SERVER, 53, *question("secure.test. KEY"))
    assert not referral.is_answer
    assert not referral.authoritative
    assert "without authority" in referral.reason
    lame = await resolver.ask(GRANDCHILD_SERVER, 53, *question("secure.test. KEY"))
    assert (lame.status, lame.rcode) == (FAILED, 5)
    assert not lame.is_answer
    assert "REFUSED" in lame.reason
    answer = await resolver.validate(lame)
    assert (answer.verdict, answer.status) == (INDETERMINATE, FAILED)


async def test_a_port_where_nobody_listens_is_a_failure_with_its_reason(world: World) -> None:
    for tcp in (True, False):
        direct = await world.resolver().ask(ROOT_SERVER, free_port(), *question("secure.test. KEY"), tcp=tcp)
        assert (direct.status, direct.rcode, direct.reply) == (FAILED, None, None)
        assert "refused" in direct.reason.lower()
    answer = await world.resolver().validate(direct)
    assert (answer.verdict, answer.status) == (INDETERMINATE, FAILED)


@pytest.fixture
def tls(world: World) -> Nameserver:
    return Nameserver(LOOPBACK, world.unbound.tls_port, Transport.TLS, "dns.lab", world.certificate)


async def test_dns_over_tls_checks_the_certificate(world: World, tls: Nameserver) -> None:
    answer = await Resolver([tls], world.anchors).lookup(*question("secure.test. KEY"))
    assert answer.is_proven
    other = Nameserver(tls.address, tls.port, tls.transport, "other.lab", world.certificate)
    unknown = Nameserver(tls.address, tls.port, tls.transport, "dns.lab")
    for server in (other, unknown):
        answer = await Resolver([server], world.anchors).lookup(*question("secure.test. KEY"))
        assert (answer.verdict, answer.status) == (INDETERMINATE, FAILED)
        assert "certificate verify failed" in answer.reason


async def test_tcp_alone_is_enough(world: World) -> None:
    server = Nameserver(LOOPBACK, world.unbound.port, Transport.TCP)
    assert (await Resolver([server], world.anchors).lookup(*question("secure.test. KEY"))).is_proven


async def test_the_next_resolver_is_asked_when_one_is_dead_and_that_is_remembered(world: World) -> None:
    dead = Nameserver(LOOPBACK, free_port())
    resolver = Resolver([dead, Nameserver(LOOPBACK, world.unbound.port)], world.anchors)
    assert (await resolver.lookup(*question("secure.test. KEY"))).is_proven
    answer = await Resolver([dead], world.anchors).lookup(*question("secure.test. KEY"))
    assert (answer.verdict, answer.status) == (INDETERMINATE, FAILED)
    assert str(dead) in answer.reason


async def test_a_proven_lack_of_a_chain_is_known_without_an_answer(world: World) -> None:
    """A name server is skipped only if its signalling name is provably insecure."""
    limits = Limits(seconds=1, patience=0.3)
    resolver = Resolver([Nameserver(LOOPBACK, world.unbound.port)], world.anchors, limits=limits)
    assert (await resolver.lookup(*question("insecure.test. KEY"))).verdict is INSECURE
    world.unbound.stop()
    try:
        answer = await resolver.lookup(*question("other.insecure.test. KEY"))
        assert (answer.verdict, answer.status) == (INSECURE, FAILED)
        answer = await resolver.lookup(*question("other.secure.test. KEY"))
        assert (answer.verdict, answer.status) == (INDETERMINATE, FAILED)
    finally:
        world.unbound.start()


async def test_many_look_ups_at_once_are_all_right(world: World) -> None:
    resolver = world.resolver()
    cases = [case for case in CASES for _ in range(5)]
    answers = await asyncio.gather(*(resolver.lookup(*question(case)) for case in cases))
    assert [(answer.verdict, answer.status) for answer in answers] == [CASES[case] for case in cases]
