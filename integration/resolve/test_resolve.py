"""Every verdict in a tree of real zones, through a real unbound and a real named, held against theirs and delv's."""

import asyncio
import re
import socket
import subprocess
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from lab.ports import LOOPBACK
from lab.process import find_command
from resolve_tree import KEY, SVCB
from resolve_world import (
    ALIAS,
    BOGUS,
    CASES,
    DELV_DIFFERS,
    FAILED,
    FOUND,
    INDETERMINATE,
    INSECURE,
    NXDOMAIN,
    OURS_ONLY,
    SECURE,
    WILDCARD,
    World,
    question,
    running,
)
from zonecut.protocol import names
from zonecut.resolve import Nameserver, Resolver


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("resolve")) as world:
        yield world


@pytest.mark.parametrize("server", ["unbound", "named"])
async def test_every_verdict_is_right_through_either_resolver(world: World, server: str) -> None:
    resolver = world.resolver(server)
    answers = await asyncio.gather(*(resolver.lookup(*question(case)) for case in CASES | OURS_ONLY))
    found = {case: (answer.verdict, answer.status) for case, answer in zip(CASES | OURS_ONLY, answers, strict=True)}
    assert found == CASES | OURS_ONLY
    for answer in answers:
        assert answer.is_proven == ((answer.verdict, answer.status) == (SECURE, FOUND))
        assert answer.is_proven == bool(answer.signer and answer.rdatas and answer.status is FOUND)
        assert not answer.rdatas or answer.verdict in (SECURE, INSECURE)
        assert answer.reason


@pytest.mark.parametrize("case", CASES)
def test_unbound_says_the_same(world: World, case: str) -> None:
    name, rtype = case.split()
    query = dns.message.make_query(name, rtype, want_dnssec=True)
    # dnspython cannot read the answer with the SVCB: its header is enough.
    with socket.create_connection((LOOPBACK, world.unbound.port), timeout=10) as connection:
        dns.query.send_tcp(connection, query)
        header = connection.makefile("rb").read(2 + 12)[2:]
    reply = dns.message.from_wire(header[:4] + bytes(8))
    validated = SECURE if reply.flags & dns.flags.AD else INSECURE
    assert (BOGUS if reply.rcode() == dns.rcode.SERVFAIL else validated) is CASES[case][0]


@pytest.mark.parametrize("case", sorted(set(CASES) - DELV_DIFFERS))
def test_delv_says_the_same(world: World, case: str) -> None:
    name, rtype = case.split()
    server = [f"@{LOOPBACK}", "-p", str(world.unbound.port)]
    done = subprocess.run(
        [find_command("delv"), *server, "-a", world.tree.bind_anchors, "+root=.", name, rtype],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    output = done.stdout + done.stderr
    if re.search(r"^; .*fully validated", output, re.MULTILINE):
        said = SECURE
    elif re.search(r"^; (unsigned answer|negative response, unsigned)", output, re.MULTILINE):
        said = INSECURE
    else:
        assert "resolution failed" in output
        said = BOGUS
    assert said is CASES[case][0]


async def test_a_key_beside_which_an_alias_would_stand_is_an_alias(world: World) -> None:
    """Through unbound; named 9.18 answers SERVFAIL, since to it KEY is a type that may stand beside a CNAME."""
    answer = await world.resolver().lookup(*question("alias.secure.test. KEY"))
    assert (answer.verdict, answer.status, answer.rdatas) == (SECURE, ALIAS, ())
    answer = await world.resolver("named").lookup(*question("alias.secure.test. KEY"))
    assert (answer.verdict, answer.status) in ((INDETERMINATE, FAILED), (SECURE, ALIAS))
    assert answer.rdatas == ()


async def test_an_answer_tells_its_records_its_signer_and_its_chain(world: World) -> None:
    answer = await world.resolver().lookup(*question("SECURE.SECURE.test. KEY"))
    flags, protocol, algorithm = (int(word) for word in KEY.split()[1:4])
    assert [rdata[:4] for rdata in answer.rdatas] == [flags.to_bytes(2) + bytes([protocol, algorithm])]
    assert answer.signer == answer.name == names.from_text("secure.secure.test.")
    assert 0 < answer.ttl <= 300
    assert answer.reason.endswith("chain: . > test. > secure.test. > secure.secure.test.")


async def test_reasons_name_the_cut_the_record_and_the_rule(world: World) -> None:
    resolver = world.resolver()
    for case, reason in {
        "expired.test. KEY": r"DNSKEY of expired\.test\.: .*expired 2020-02-01T00:00:00Z, \d+ d ago",
        "early.test. KEY": r"DNSKEY of early\.test\.: .*is not valid before .*, 9 d from now",
        "wrongds.test. KEY": r"no DNSKEY of wrongds\.test\. matches its DS \(key tag 12345\)",
        "stripped.test. KEY": r"stripped\.test\. has a DS \(key tag 12345\) but no DNSKEY",
        "broken.test. KEY": r"KEY of broken\.test\.: the signature with key tag \d+ .*does not verify",
        "secure.insecure.test. KEY": r"test\. proves that insecure\.test\. is delegated without DS",
        "insecure.optout.test. KEY": r"insecure\.optout\.test\. lies in an opt-out span of optout\.test\.",
        "unknown.test. KEY": r"the DS of unknown\.test\. has only algorithms and digests that are not supported",
        "nothing.iterated.test. KEY": r"have 150 iterations; no proof is accepted above 100",
    }.items():
        assert re.search(reason, (await resolver.lookup(*question(case))).reason), case


async def test_an_svcb_in_the_form_of_the_drafts_is_handed_out_as_octets(world: World) -> None:
    answer = await world.resolver().lookup(*question("svcb.secure.test. SVCB"))
    assert answer.rdatas == (SVCB,)


async def test_addresses_come_in_one_go(world: World) -> None:
    found = await world.resolver().addresses(names.from_text("ns1.secure.test."))
    assert found.ipv4.rdatas == (socket.inet_aton("192.0.2.4"),)
    assert found.ipv4.is_proven
    assert found.ipv6.is_proven_absent


@pytest.mark.parametrize("server", ["unbound", "named"])
async def test_a_trusted_resolver_on_loopback_is_believed(world: World, server: str) -> None:
    resolver = Resolver([Nameserver(LOOPBACK, world.port(server))], trusted=True)
    for case, expected in {
        "secure.test. KEY": (SECURE, FOUND),
        "insecure.test. KEY": (INSECURE, FOUND),
        "expired.test. KEY": (BOGUS, FAILED),
        "nothing.secure.test. KEY": (SECURE, NXDOMAIN),
        "x.wild.secure.test. KEY": (SECURE, WILDCARD),
        "alias.secure.test. A": (SECURE, ALIAS),
    }.items():
        answer = await resolver.lookup(*question(case))
        assert (answer.verdict, answer.status) == expected, case
    assert (await resolver.lookup(*question("secure.test. KEY"))).signer == names.from_text("secure.test.")
