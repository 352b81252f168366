"""How far a server keeps to prerequisites: what its answers to UPDATEs that change nothing tell."""

import asyncio
import socket
from collections.abc import Callable, Sequence

import pytest

from zonecut.net.streams import framed
from zonecut.plugin import BackendRejected, Change
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode, RRClass, RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls
from zonecut.protocol.envelope import PREREQUISITE, UPDATE, Envelope, walk
from zonecut.protocol.rrset import ResourceRecord, RRset
from zonecut_bind import compared, updates
from zonecut_bind.anyserver.conditions import Ask, Conditions, Place, conditions, places, said, worth
from zonecut_bind.dialect import Operation
from zonecut_bind.draining import Drain

ZONE = names.from_text("parent.example.")
CHILD = names.from_text("child.parent.example.")
HOST = names.from_text("ns1.child.parent.example.")
OTHER = names.from_text("ns.other.example.")
TWO = (HOST, OTHER)

Judge = Callable[[list[tuple[int, int, bytes]]], int]
"""What a server answers to prerequisites: class, type and RDATA each."""


def exact(asked: list[tuple[int, int, bytes]]) -> int:
    values = {rdata for rclass, _, rdata in asked if rclass == RRClass.IN}
    if values and values != set(TWO):
        return Rcode.NXRRSET
    return coarse(asked)


def each_record(asked: list[tuple[int, int, bytes]]) -> int:
    """It looks whether each record is there, and not whether there are others."""
    values = {rdata for rclass, _, rdata in asked if rclass == RRClass.IN}
    return Rcode.NOERROR if values < set(TWO) and values else exact(asked)


def coarse(asked: list[tuple[int, int, bytes]]) -> int:
    return Rcode.YXRRSET if any(rclass == RRClass.NONE and not rdata for rclass, _, rdata in asked) else Rcode.NOERROR


def nothing(_: list[tuple[int, int, bytes]]) -> int:
    return Rcode.NOERROR


def refused(_: list[tuple[int, int, bytes]]) -> int:
    return Rcode.REFUSED


def unsupported(asked: list[tuple[int, int, bytes]]) -> int:
    return Rcode.NOTIMP if any(rclass == RRClass.IN for rclass, _, _ in asked) else exact(asked)


def asking(judge: Judge) -> Ask:
    async def ask(asked: Sequence[tuple[bytes, Operation]]) -> list[Envelope]:
        answers = []
        for wire, operation in asked:
            question = walk(wire)
            assert operation is Operation.UPDATE
            assert not list(question.section(UPDATE)), "nothing is changed to find that out"
            said = [
                (each.rclass, each.rtype, question.rdata(each))
                for each in question.section(PREREQUISITE)
                # what no zone has is absent everywhere
                if question.name(each.start) == CHILD
            ]
            answers.append(walk(wire[:2] + bytes([0xA8, judge(said)]) + wire[4:]))
        return answers

    return ask


def tried(judge: Judge, targets: Sequence[bytes] = TWO) -> Conditions | None:
    return asyncio.run(conditions(ZONE, Place(CHILD, RRType.NS, tuple(targets)), asking(judge)))


@pytest.mark.parametrize(
    ("judge", "found"),
    [
        (exact, Conditions.EXACT),
        (each_record, Conditions.COARSE),
        (coarse, Conditions.COARSE),
        (unsupported, Conditions.COARSE),
        (nothing, Conditions.NONE),
        (refused, None),
    ],
)
def test_what_prerequisites_are_worth_is_found_out(judge: Judge, found: Conditions | None) -> None:
    assert tried(judge) is found


def test_an_rrset_of_one_record_does_not_show_whether_it_is_compared_as_a_whole() -> None:
    def judge(asked: list[tuple[int, int, bytes]]) -> int:
        values = {rdata for rclass, _, rdata in asked if rclass == RRClass.IN}
        return Rcode.NXRRSET if values - {HOST} else coarse(asked)

    assert tried(judge, (HOST,)) is None
    assert tried(coarse, (HOST,)) is Conditions.COARSE
    assert tried(nothing, (HOST,)) is Conditions.NONE


@pytest.mark.parametrize("found", [Conditions.COARSE, Conditions.NONE])
def test_what_is_lost_is_told_with_the_cure(found: Conditions) -> None:
    words = said(found, "the server at 192.0.2.1:53", ZONE)
    assert "parent.example." in words
    assert "overwritten" in words
    assert "use an adapter for this kind of server" in words


def test_what_is_not_known_of_prerequisites_is_told_as_not_known_and_what_is_well_is_not_told() -> None:
    words = said(None, "the server at 192.0.2.1:53", ZONE)
    assert "is not known" in words
    assert "two name servers" in words
    assert "tried again" in words
    assert said(Conditions.EXACT, "the server at 192.0.2.1:53", ZONE) == ""


def gone(asked: list[tuple[int, int, bytes]]) -> int:
    """Of an RRset that somebody has taken away: prerequisites are looked at all the same."""
    absent = any(rclass == RRClass.NONE and not rdata for rclass, _, rdata in asked)
    return Rcode.NOERROR if absent or not asked else Rcode.NXRRSET


def octets(asked: list[tuple[int, int, bytes]]) -> int:
    """Of an RRset with a name in capitals, where octets are compared."""
    return Rcode.NXRRSET if any(rclass == RRClass.IN for rclass, _, _ in asked) else coarse(asked)


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        (gone, exact, Conditions.EXACT),
        (octets, exact, Conditions.EXACT),
        (octets, each_record, Conditions.COARSE),
        (gone, octets, None),
        (nothing, nothing, Conditions.NONE),
        (refused, refused, None),
    ],
)
def test_one_rrset_that_is_not_as_it_was_shown_decides_nothing_about_the_server(
    first: Judge, second: Judge, found: Conditions | None
) -> None:
    judges = {Place(CHILD, RRType.NS, TWO): first, Place(CHILD, RRType.NS, TWO[::-1]): second}
    asks = iter([asking(judge) for judge in judges.values()])

    async def ask(asked: Sequence[tuple[bytes, Operation]]) -> list[Envelope]:
        return await next(asks)(asked)

    assert asyncio.run(worth(ZONE, list(judges), ask)) is found


def test_it_is_tried_on_the_largest_rrsets_of_each_type_and_on_the_apex() -> None:
    one = Delegation.of(CHILD, [RR(CHILD, RRType.NS, each) for each in TWO])
    host = names.from_text("ns1.two.parent.example.")
    addresses = (b"\x0b\0\0\1", b"\x0b\0\0\2", b"\x0b\0\0\3")
    two = Delegation.of(
        names.parent(host), [RR(names.parent(host), RRType.NS, host), *(RR(host, RRType.A, each) for each in addresses)]
    )
    assert places(ZONE, [OTHER], [one, two]) == [
        Place(host, RRType.A, addresses),
        Place(CHILD, RRType.NS, tuple(sorted(TWO))),
        Place(ZONE, RRType.NS, (OTHER,)),
        Place(names.parent(host), RRType.NS, (host,)),
    ]


def test_only_the_ns_that_a_server_does_not_know_again_are_not_compared() -> None:
    """Those of other children in the same UPDATE are, and so is what else stands at that child."""
    others = Delegation(names.from_text("other.parent.example."), TWO)
    before = Delegation.of(CHILD, [RR(CHILD, RRType.NS, OTHER), RR(CHILD, RRType.DS, b"\0\1\r\2" + bytes(32))])
    changes = [Change(each, Delegation(each.child, (HOST,))) for each in (before, others)]
    message = walk(updates.write_message(ZONE, changes, Ttls(), loosely=[CHILD]))
    stated = [(message.name(each.start), each.rtype, message.rdata(each)) for each in message.section(PREREQUISITE)]
    assert stated == [
        (CHILD, RRType.NS, b""),
        (CHILD, RRType.DS, before.ds[0]),
        *[(others.child, RRType.NS, target) for target in others.ns],
        (others.child, RRType.DS, b""),
    ]


BEFORE = Delegation.of(CHILD, [RR(CHILD, RRType.NS, HOST), RR(HOST, RRType.A, b"\x0b\0\0\1")])
AFTER = Delegation.of(CHILD, [RR(CHILD, RRType.NS, OTHER), RR(CHILD, RRType.DS, b"\0\1\r\2" + bytes(32))])


def in_zone(delegation: Delegation, *more: RR) -> compared.Held:
    return compared.held(ResourceRecord(*each[:2], 60, each.rdata) for each in (*delegation.records, *more))


def test_a_change_is_compared_at_the_owners_that_it_names() -> None:
    change = Change(BEFORE, AFTER)
    assert compared.owners([change]) == {CHILD, HOST}
    assert compared.is_before(change, in_zone(BEFORE))
    assert not compared.is_before(change, in_zone(BEFORE, RR(CHILD, RRType.NS, OTHER)))
    assert not compared.is_before(change, in_zone(BEFORE, RR(HOST, RRType.AAAA, bytes(16))))
    assert not compared.is_before(change, in_zone(AFTER))
    assert compared.is_after(change, in_zone(AFTER))
    assert not compared.is_after(change, in_zone(AFTER, RR(HOST, RRType.A, b"\x0b\0\0\1")))
    elsewhere = RR(names.from_text("ns9.child.parent.example."), RRType.A, b"\x0b\0\0\1")
    assert compared.is_after(change, in_zone(AFTER, elsewhere))


@pytest.mark.parametrize(
    "record",
    [
        RR(CHILD, RRType.NS, b"\3not-a-name"),
        RR(CHILD, RRType.NS, OTHER + b"\0"),
        RR(CHILD, RRType.DS, b"\0\1\r\2"),
        RR(HOST, RRType.A, b"\1\2\3"),
        RR(HOST, RRType.AAAA, b"\1\2\3\4"),
    ],
)
def test_a_record_that_can_be_none_is_named(record: RR) -> None:
    after = Delegation.of(CHILD, [*BEFORE.records, record])
    (words,) = compared.senseless([Change(BEFORE, after)]).values()
    assert "malformed value" in words
    assert compared.senseless([Change(BEFORE, AFTER)]) == {}


def test_rrsets_are_read_where_no_delegation_lies_above() -> None:
    target = names.from_text("updater.parent.example.")
    records = [ResourceRecord(target, RRType.A, 60, bytes([11, 0, 0, number])) for number in (1, 2)]
    records.append(ResourceRecord(CHILD, RRType.NS, 60, OTHER))
    assert compared.places([HOST], ZONE) == {HOST, CHILD}
    found = compared.rrsets_at([target], ZONE, records)
    assert found == (RRset(target, RRType.A, 60, tuple(each.rdata for each in records[:2])),)
    for name in (CHILD, HOST):
        with pytest.raises(BackendRejected, match="lies in the delegation of child"):
            compared.rrsets_at([name], ZONE, records)
    with pytest.raises(BackendRejected, match="is not in"):
        compared.places([OTHER], ZONE)


async def test_a_stream_is_read_as_it_comes_and_its_messages_are_kept() -> None:
    ours, theirs = socket.socketpair()
    messages = [bytes([number % 256]) * 60_000 for number in range(40)]
    with theirs:
        theirs.settimeout(5)
        async with Drain(ours) as drain:
            for message in messages:
                # nobody takes one before all are sent: more than any socket holds
                theirs.sendall(framed(message))
            assert [await drain.next() for _ in messages] == messages
            theirs.sendall(b"\0\5abc")
            theirs.shutdown(socket.SHUT_WR)
            for _ in range(2):
                with pytest.raises(asyncio.IncompleteReadError):
                    await drain.next()


async def test_whoever_wants_no_more_of_a_stream_does_not_wait_for_its_end() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        async with Drain(ours) as drain:
            theirs.sendall(b"\0\3abc")
            assert await drain.next() == b"abc"
        assert theirs.recv(1) == b""
