"""Resolvers that are silent, slow, lying or broken: every look-up ends in time, and nothing is believed."""

import re
import time
from collections.abc import Callable

import pytest

from hostile_peer import LIMITS, Behaviour, Peer
from lab.ports import LOOPBACK
from zonecut.net.streams import framed
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import RRClass, RRType
from zonecut.resolve import Limits, Nameserver, Resolver, Status, Transport, Verdict

NAME = names.from_text("child.test.")


def echo(query: bytes, flags: int = 0x8000, records: bytes = b"", count: int = 0) -> bytes:
    """An answer that repeats identity and question."""
    question = query[12 : query.index(b"\0", 12) + 5]
    counts = (1).to_bytes(2) + count.to_bytes(2) + b"\0\0\0\0"
    return query[:2] + flags.to_bytes(2) + counts + question + records


def silent(_: bytes) -> list[bytes]:
    return []


async def test_silence_ends_in_time_and_is_no_proof_of_anything() -> None:
    async with Peer(silent) as peer:
        started = time.monotonic()
        answer = await peer.resolver().lookup(NAME, RRType.KEY)
        assert time.monotonic() - started < LIMITS.seconds + 0.5
        assert (answer.verdict, answer.status) == (Verdict.INDETERMINATE, Status.FAILED)
        assert "silent for 0.3 s" in answer.reason
        direct = await peer.resolver().ask(LOOPBACK, peer.port, NAME, RRType.KEY, tcp=False)
        assert (direct.status, direct.rcode) == (Status.FAILED, None)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda query: bytes([query[0] ^ 1]) + echo(query)[1:],  # another identity
        lambda query: echo(query).replace(b"\x05child", b"\x05other"),  # another question
        lambda query: echo(query, flags=0),  # a query
        lambda query: echo(query)[:9],  # no header
        lambda query: b"",
    ],
)
async def test_datagrams_that_are_not_the_reply_are_passed_over(wrong: Callable[[bytes], bytes]) -> None:
    async with Peer(lambda query: [wrong(query), wrong(query), echo(query, flags=0x8403)]) as peer:
        direct = await peer.resolver().ask(LOOPBACK, peer.port, NAME, RRType.KEY, tcp=False)
        assert (direct.rcode, direct.status) == (3, Status.NXDOMAIN)


async def test_a_truncated_reply_is_asked_for_over_tcp() -> None:
    key = message.record(NAME, RRType.KEY, RRClass.IN, 60, b"\2\0\3\x0f" + b"k" * 32)
    async with Peer(
        lambda query: [echo(query, flags=0x8600)],
        lambda query: [framed(echo(query, flags=0x8400, records=key, count=1))],
    ) as peer:
        direct = await peer.resolver().ask(LOOPBACK, peer.port, NAME, RRType.KEY, tcp=False)
        assert direct.is_answer
        assert direct.rdatas == (b"\2\0\3\x0f" + b"k" * 32,)
        # An unsigned answer of a resolver that has no chain to show is worth nothing.
        answer = await peer.resolver().validate(direct)
        assert not answer.is_proven
        assert answer.rdatas == ()


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (lambda query: [b"\0"], "closed before the reply was complete"),
        (lambda query: [framed(echo(query))[:-3]], "closed before the reply was complete"),
        (lambda query: [framed(b"")], "NoAnswer|malformed|identity"),
        (lambda query: [framed(b"\xff" * 65535)], "identity|malformed"),
        (lambda query: [framed(bytes([query[0] ^ 1]) + echo(query)[1:])], "another identity"),
        (lambda query: [framed(echo(query) + b"junk")], "malformed"),
        (lambda query: [framed(echo(query, count=9))], "malformed"),
    ],
)
async def test_broken_streams_are_failures_with_a_reason(octets: Behaviour, reason: str) -> None:
    async with Peer(silent, octets) as peer:
        direct = await peer.resolver().ask(LOOPBACK, peer.port, NAME, RRType.KEY)
        assert (direct.status, direct.rcode) == (Status.FAILED, None)
        assert re.search(reason, direct.reason)
        answer = await peer.resolver(Transport.TCP).lookup(NAME, RRType.KEY)
        assert (answer.verdict, answer.status) == (Verdict.INDETERMINATE, Status.FAILED)


@pytest.mark.parametrize("rcode", [1, 2, 4, 5])
async def test_a_resolver_that_refuses_proves_nothing(rcode: int) -> None:
    async with Peer(lambda query: [echo(query, flags=0x8180 | rcode)]) as peer:
        answer = await peer.resolver().lookup(NAME, RRType.KEY)
        assert (answer.verdict, answer.status) == (Verdict.INDETERMINATE, Status.FAILED)


async def test_a_resolver_that_leaves_all_signatures_out_cannot_make_anything_insecure() -> None:
    async with Peer(lambda query: [echo(query, flags=0x81A0)]) as peer:
        answer = await peer.resolver().lookup(NAME, RRType.KEY)
        assert answer.verdict is Verdict.BOGUS
        assert "but no DNSKEY" in answer.reason


async def test_the_queries_of_a_look_up_are_bounded() -> None:
    async with Peer(lambda query: [echo(query, flags=0x8182)]) as peer:
        limits = Limits(seconds=2.0, patience=0.3, queries=1)
        answer = await peer.resolver(limits=limits).lookup(NAME, RRType.KEY)
        assert "takes more than 1 queries" in answer.reason
        assert len(peer.queries) == 1


async def test_identities_and_ports_cannot_be_guessed_and_validation_is_ours() -> None:
    async with Peer(lambda query: [echo(query, flags=0x8183)]) as peer:
        resolver = peer.resolver()
        for _ in range(20):
            await resolver.lookup(NAME, RRType.KEY)
        assert len({query[:2] for query in peer.queries}) > 15
        # RD and CD, no AD; EDNS with 1232 octets and DO
        assert {query[2:4] for query in peer.queries} == {b"\x01\x10"}
        assert all(query.endswith(b"\0\0\x29\x04\xd0\0\0\x80\0\0\0") for query in peer.queries)


async def test_a_trusted_resolver_that_does_not_validate_makes_nothing_insecure() -> None:
    async with Peer(lambda query: [echo(query, flags=0x8180)]) as peer:
        resolver = Resolver([Nameserver(LOOPBACK, peer.port)], trusted=True, limits=LIMITS)
        answer = await resolver.lookup(NAME, RRType.KEY)
        assert (answer.verdict, answer.status) == (Verdict.INDETERMINATE, Status.NODATA)
