"""Somebody stands between us and a real resolver and changes what passes: nothing false is ever believed."""

import random
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager

import dns.message
import dns.rcode
import dns.rrset
import pytest
from dns.rdatatype import RdataType

from hostile_peer import Peer
from lab.ports import LOOPBACK
from resolve_servers import Unbound
from resolve_tree import DSYNC, OTHER_KEY, Tree
from zonecut.agent.parent.discovery import discover
from zonecut.net.streams import framed
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.resolve import Answer, Limits, Nameserver, Resolver, Status, TrustAnchors, Verdict

LIMITS = Limits(seconds=3.0, patience=0.2)

TRUTH = {
    "secure.test. KEY": (Verdict.SECURE, Status.FOUND),
    "secure.optout.test. KEY": (Verdict.SECURE, Status.FOUND),
    "_sig0key.child._signal.ns1.nsec3.test. KEY": (Verdict.SECURE, Status.FOUND),
    "www.nsec3.test. KEY": (Verdict.SECURE, Status.NODATA),
    "nothing.secure.test. KEY": (Verdict.SECURE, Status.NXDOMAIN),
    "x.wild.nsec3.test. KEY": (Verdict.SECURE, Status.WILDCARD),
    "alias.secure.test. A": (Verdict.SECURE, Status.ALIAS),
    "insecure.test. KEY": (Verdict.INSECURE, Status.FOUND),
    "broken.test. KEY": (Verdict.BOGUS, Status.FOUND),
}

Tamper = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tree, Unbound]]:
    directory = tmp_path_factory.mktemp("tampered")
    tree = Tree(directory / "tree")
    with ExitStack() as running:
        running.enter_context(tree)
        yield tree, running.enter_context(Unbound(directory / "unbound", tree))


@asynccontextmanager
async def tampered(world: tuple[Tree, Unbound], tamper: Tamper) -> AsyncIterator[Resolver]:
    """A resolver to which every reply is tampered with on its way."""
    tree, unbound = world

    def between(query: bytes) -> bytes:
        with socket.create_connection((LOOPBACK, unbound.port), timeout=5) as connection:
            connection.sendall(framed(query))
            stream = connection.makefile("rb")
            return tamper(stream.read(int.from_bytes(stream.read(2))))

    async with Peer(lambda query: [between(query)], lambda query: [framed(between(query))]) as peer:
        anchors = TrustAnchors.from_file(tree.anchors)
        yield Resolver([Nameserver(LOOPBACK, peer.port)], anchors, limits=LIMITS)


async def look_up(world: tuple[Tree, Unbound], case: str, tamper: Tamper) -> Answer:
    """The answer when every reply is tampered with on its way."""
    async with tampered(world, tamper) as resolver:
        name, rtype = case.split()
        return await resolver.lookup(names.from_text(name), RdataType[rtype])


def is_no_lie(case: str, answer: Answer) -> bool:
    """True for the truth, and for anything that nobody builds on."""
    told = (answer.verdict, answer.status)
    return told == TRUTH[case] or answer.verdict in (Verdict.BOGUS, Verdict.INDETERMINATE)


def without(*rtypes: str) -> Tamper:
    """Leave the records of these types out of answer and authority section."""

    def tamper(wire: bytes) -> bytes:
        message = dns.message.from_wire(wire)
        for section in (message.answer, message.authority):
            section[:] = [rrset for rrset in section if rrset.rdtype not in {RdataType[rtype] for rtype in rtypes}]
        return message.to_wire()

    return tamper


def with_another_key(wire: bytes) -> bytes:
    message = dns.message.from_wire(wire)
    message.answer = [
        dns.rrset.from_text(rrset.name, 300, "IN", *OTHER_KEY.split(None, 1))
        if rrset.rdtype == RdataType.KEY
        else rrset
        for rrset in message.answer
    ]
    return message.to_wire()


def as_nothing(rcode: dns.rcode.Rcode) -> Tamper:
    def tamper(wire: bytes) -> bytes:
        message = dns.message.from_wire(wire)
        if message.question[0].rdtype == RdataType.KEY:
            message.set_rcode(rcode)
            message.answer.clear()
        return message.to_wire()

    return tamper


TAMPERS: dict[str, Tamper] = {
    "no signatures": without("RRSIG"),
    "no DS": without("DS"),
    "no DS and no signatures": without("DS", "RRSIG"),
    "no DNSKEY": without("DNSKEY"),
    "no NSEC": without("NSEC", "NSEC3"),
    "no NSEC and no DS": without("NSEC", "NSEC3", "DS"),
    "no DNSSEC at all": without("NSEC", "NSEC3", "DS", "DNSKEY", "RRSIG"),
    "no KEY": without("KEY"),
    "another KEY": with_another_key,
    "NODATA": as_nothing(dns.rcode.NOERROR),
    "NXDOMAIN": as_nothing(dns.rcode.NXDOMAIN),
}


@pytest.mark.parametrize("tamper", TAMPERS)
@pytest.mark.parametrize("case", TRUTH)
async def test_what_is_left_out_or_replaced_deceives_nobody(
    world: tuple[Tree, Unbound], case: str, tamper: str
) -> None:
    answer = await look_up(world, case, TAMPERS[tamper])
    if TRUTH[case][0] is Verdict.INSECURE:
        # There, anybody can write the records; but not the proof that makes it so.
        assert answer.verdict in (Verdict.INSECURE, Verdict.BOGUS, Verdict.INDETERMINATE)
    else:
        assert is_no_lie(case, answer), answer


@pytest.mark.parametrize("case", TRUTH)
async def test_octets_that_were_changed_deceive_nobody(world: tuple[Tree, Unbound], case: str) -> None:
    chance = random.Random(case)  # the same changes in every run

    def tamper(wire: bytes) -> bytes:
        changed = bytearray(wire)
        for _ in range(chance.choice((0, 1, 1, 2, 4))):
            changed[chance.randrange(2, len(changed))] = chance.randrange(256)
        return bytes(changed)

    honest = await look_up(world, case, lambda wire: wire)
    assert (honest.verdict, honest.status) == TRUTH[case]
    for _ in range(40):
        answer = await look_up(world, case, tamper)
        assert TRUTH[case][0] is Verdict.INSECURE or is_no_lie(case, answer), answer
        if answer.is_proven:
            assert answer.rdatas == honest.rdatas


@pytest.mark.parametrize("forged", ["another receiver", "another parent", "nothing"])
async def test_a_forged_answer_at_the_childs_own_name_does_not_hide_a_secure_announcement(
    world: tuple[Tree, Unbound], forged: str
) -> None:
    """Below an opt-out span it cannot be told from a genuine one."""

    def tamper(wire: bytes) -> bytes:
        message = dns.message.from_wire(wire)
        (question,) = message.question
        if question.name.to_text() != "child._dsync.optout.test." or question.rdtype != RdataType.DSYNC:
            return wire
        message.answer, message.authority = [], []
        message.set_rcode(dns.rcode.NOERROR)
        if forged == "another receiver":
            evil = Dsync.from_text("ANY UPDATE 53 receiver.secure.test.").to_generic_text()
            message.answer = [dns.rrset.from_text(question.name, 60, "IN", "TYPE66", evil)]
        elif forged == "another parent":
            soa = "ns.test. hostmaster.test. 1 3600 900 604800 60"
            message.authority = [dns.rrset.from_text("test.", 60, "IN", "SOA", soa)]
        return message.to_wire()

    async with tampered(world, tamper) as resolver:
        found = await discover(resolver, names.from_text("child.optout.test."))
    assert (found.verdict, found.records) == (Verdict.SECURE, (Dsync.from_wire(DSYNC),)), found.to_json()
    assert found.parent == names.from_text("optout.test.")
