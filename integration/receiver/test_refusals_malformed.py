"""Octets that are no message, or not one for us: answered in few octets or not at all, and nothing is harmed."""

import secrets
from collections.abc import Iterator

import pytest

from lab.zones import PARENT, ParentZone
from peer import Answer, TcpPeer, UdpPeer
from refusals import CHILD, REFUSAL_ZONE, TARGET, Refusals
from signer import DS, ZONE, another_ds, ds, name, unsigned
from world import World
from zonecut.protocol import message
from zonecut.protocol.envelope import walk

LONG_ZONE = ".".join(("l" * 63, "o" * 63, "n" * 63, PARENT))
NOT_SUPPORTED = 21


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[Refusals]:
    directory, zones = tmp_path_factory.mktemp("malformed"), (REFUSAL_ZONE, ParentZone(LONG_ZONE))
    with World(directory, *zones, server=server, keys=[CHILD], parents=[{"target": TARGET}]) as world:
        yield Refusals(world)


@pytest.fixture(autouse=True)
def untouched(refusals: Refusals, request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test sends: the zone stays as it is (unless a test says `accepted`), the next child is served."""
    before = refusals.world.snapshot()
    yield
    if "accepted" not in request.node.name:
        assert refusals.world.snapshot() == before
    assert refusals.world.udp(CHILD.fresh()).rcode == "NOERROR"
    assert not refusals.world.zonecut.stray_lines()
    assert [event for event in refusals.world.zonecut.log_events() if event["level"] == "error"] == []


def _with_counts(wire: bytes, **changed: int) -> bytes:
    """The message with other counts in its header."""
    places = {"questions": 4, "prerequisites": 6, "updates": 8, "additional": 10}
    head = bytearray(wire)
    for section, count in changed.items():
        head[places[section] : places[section] + 2] = count.to_bytes(2)
    return bytes(head)


def _raw(updates: bytes, count: int = 1) -> bytes:
    """An unsigned UPDATE whose update section is these octets."""
    return _with_counts(message.update(secrets.randbits(16), ZONE, (), ()) + updates, updates=count)


def _tail(rtype: int = 2, rdata: bytes = b"") -> bytes:
    return message.record(b"", rtype, 1, 60, rdata)


def _pointer(target: int) -> bytes:
    return (0xC000 | target).to_bytes(2)


HERE = len(message.update(0, ZONE, (), ()))
"""Where the update section of `_raw` begins."""

MALFORMED = {
    "octets after the message": CHILD.fresh() + b"\0",
    "another message after the message": CHILD.fresh() + CHILD.fresh(),
    "a name that points at itself": _raw(_pointer(HERE) + _tail()),
    "a name that points at its own second label": _raw(b"\1a" + _pointer(HERE + 2) + _tail()),
    "two names that point at each other": _raw(_pointer(HERE + 2) + _pointer(HERE) + _tail()),
    "a name that points forward": _raw(_pointer(HERE + 12) + _tail() + b"\1a\0"),
    "a name that points behind the end": _raw(_pointer(0x3FFF) + _tail()),
    "a label type that does not exist": _raw(b"\x40a\0" + _tail()),
    "another label type that does not exist": _raw(b"\x80a\0" + _tail()),
    "a name of 256 octets": _raw(b"\x3f" + b"a" * 63 + b"\x3f" + b"b" * 63 + b"\x3f" + b"c" * 63 + b"\x3f" + b"d" * 63),
    "RDATA that is longer than the message": _raw(ZONE + _tail(rdata=b"x" * 20)[:-1]),
    "more records than there are": _with_counts(CHILD.fresh(), updates=3),
    "fewer records than there are": _with_counts(CHILD.fresh(), updates=1),
    "no record": _with_counts(CHILD.fresh(), updates=0),
    "65,535 records everywhere": _with_counts(
        CHILD.fresh(), questions=65535, prerequisites=65535, updates=65535, additional=65535
    ),
    "65,535 questions": _with_counts(CHILD.fresh(), questions=65535),
    "OPT in the update section": CHILD.update(message.opt_record()),
    "OPT in the prerequisite section": CHILD.update(*another_ds(CHILD.owner), prerequisites=[message.opt_record()]),
    "two OPT": CHILD.sign(message.update(7, ZONE, (), another_ds(CHILD.owner), [message.opt_record()] * 2)),
    "OPT with an owner": CHILD.sign(message.update(7, ZONE, (), (), [ZONE + message.opt_record()[1:]])),
    "SIG in the update section": CHILD.update(message.add(CHILD.owner, 24, 60, b"x" * 40), edns=False),
    "a header alone that counts a zone": message.update(7, ZONE, (), ())[:12],
}


@pytest.mark.parametrize("wire", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_message_is_a_format_error(refusals: Refusals, wire: bytes) -> None:
    for answer in (refusals.world.udp(wire), refusals.world.tcp(wire)):
        assert answer.rcode == "FORMERR"
        assert (answer.identity, answer.opcode) == (int.from_bytes(wire[:2]), 5)
        assert len(answer.wire) <= len(wire) + 128


def test_a_message_cut_anywhere_is_a_format_error(refusals: Refusals) -> None:
    wire = CHILD.fresh()
    with UdpPeer(refusals.world.port) as peer:
        for length in range(12, len(wire)):
            assert peer.ask(wire[:length]).rcode == "FORMERR", length


def test_octets_too_few_for_a_header_are_not_answered(refusals: Refusals) -> None:
    query = message.query(4711, ZONE, 6)
    with UdpPeer(refusals.world.port) as peer:
        for length in range(12):
            peer.send(query[:length])
        answers = _all_until(peer, query)
    assert [answer.identity for answer in answers] == [4711]
    with TcpPeer(refusals.world.port) as connection:
        connection.send(*(query[:length] for length in range(12)), query)
        answer = connection.receive()
        assert answer is not None
        assert answer.identity == 4711


def test_a_message_with_the_response_bit_is_not_answered(refusals: Refusals) -> None:
    """Two servers that answer each other's answers never stop."""
    query = message.query(4711, ZONE, 6)
    wires = [CHILD.fresh(), unsigned(), query, b"\0\0" + bytes(10), CHILD.fresh()[:20]]
    with UdpPeer(refusals.world.port) as peer:
        for wire in wires:
            peer.send(_with_response_bit(wire))
        assert [answer.wire for answer in _all_until(peer, query)] == [peer.ask(query).wire]
    with TcpPeer(refusals.world.port) as connection:
        connection.send(*map(_with_response_bit, wires), query)
        answer = connection.receive()
        assert answer is not None
        assert answer.identity == 4711


def _with_response_bit(wire: bytes) -> bytes:
    return wire[:2] + bytes((wire[2] | 0x80,)) + wire[3:]


def _all_until(peer: UdpPeer, query: bytes) -> list[Answer]:
    """What comes in until the answer to a query that is sent now has come, and shortly after."""
    peer.send(query)
    answers: list[Answer] = []
    while (answer := peer.receive(10 if not answers else 0.2)) is not None:
        answers.append(answer)
    return answers


@pytest.mark.parametrize("opcode", [1, 2, 3, 4, *range(6, 16)])
def test_another_opcode_is_not_implemented(refusals: Refusals, opcode: int) -> None:
    for wire in (CHILD.fresh(), CHILD.fresh(edns=False), message.query(7, ZONE, 6)):
        other = wire[:2] + bytes((wire[2] & 0x87 | opcode << 3,)) + wire[3:]
        answer = refusals.world.udp(other)
        assert (answer.rcode, answer.opcode) == ("NOTIMP", opcode)
        assert len(answer.wire) <= len(other) + 128


@pytest.mark.parametrize("opcode", [0, 5])
def test_64_kib_of_zeros_are_a_format_error(refusals: Refusals, opcode: int) -> None:
    zeros = bytes((0, 0, opcode << 3)) + bytes(65535 - 3)
    assert refusals.world.tcp(zeros).rcode == "FORMERR"
    assert refusals.world.udp(zeros[:65507]).rcode == "FORMERR"


def test_as_many_records_as_fit_are_refused_quickly(refusals: Refusals) -> None:
    root = _tail(1, b"\x0b\1\1\1")
    count = (65535 - HERE) // (len(root) + 1)
    # each name is a chain of pointers through all the names before it
    chained = b"".join(b"\1a" + _pointer(12) + root for _ in range((65535 - HERE) // (len(root) + 4)))
    for wire in (
        _raw((b"\0" + root) * count, count),
        _raw(chained, len(chained) // (len(root) + 4)),
        _with_counts(message.update(7, ZONE, (), ()) + b"\0\0\1\0\1" * 13000, questions=13001),
        CHILD.sign(_raw((b"\0" + root) * 4000, 4000)),
    ):
        answer = refusals.world.tcp(wire)
        assert answer.rcode in {"REFUSED", "FORMERR"}
        assert len(answer.wire) <= len(wire) + 128


def test_names_that_point_back_are_accepted(refusals: Refusals) -> None:
    """Clients compress; only what points forward is wrong."""
    zone = _pointer(12)
    child = b"\x06child0" + zone
    wire = CHILD.sign(_raw(child + message.record(b"", DS, 255, 0) + child + message.add(b"", DS, 9, ds()), 2))
    walk(wire)
    serial = refusals.world.serial()
    assert refusals.world.udp(wire).rcode == "NOERROR"
    assert refusals.world.serial() != serial


def test_edns_of_another_version_is_told_ours(refusals: Refusals) -> None:
    for wire in (
        CHILD.sign(message.update(7, ZONE, (), another_ds(CHILD.owner), [message.opt_record(flags=1 << 16)])),
        message.query(8, ZONE, 6, additional=[message.opt_record(flags=255 << 16)]),
    ):
        answer = refusals.world.udp(wire)
        # 16 is BADVERS where nothing was verified; the peer reads it as BADSIG.
        assert answer.message.rcode() == 16
        assert answer.edns == 0
        assert answer.extended_error is None


def test_unknown_edns_options_and_flags_are_accepted(refusals: Refusals) -> None:
    option = message.option(65001, b"x" * 30)
    wire = CHILD.sign(
        message.update(7, ZONE, (), another_ds(CHILD.owner), [message.opt_record(option, payload=0, flags=0x8000)])
    )
    before = refusals.world.records()
    assert refusals.world.udp(wire).rcode == "NOERROR"
    assert refusals.world.records() != before


def test_only_the_soa_of_our_zones_is_answered(refusals: Refusals) -> None:
    for owner, qtype in (
        (ZONE, 2),
        (CHILD.owner, 2),
        (ZONE, 255),
        (ZONE, 252),
        (name("elsewhere.test."), 6),
        (b"\0", 6),
    ):
        query = message.query(7, owner, qtype, additional=[message.opt_record()])
        # over UDP, a signed refusal may be more than a stranger gets; TC says to ask again
        in_short = refusals.world.udp(query)
        assert in_short.truncated or in_short.rcode == "REFUSED"
        answer = refusals.world.tcp(query)
        assert answer.rcode == "REFUSED"
        assert answer.extended_error is not None
        assert answer.extended_error[0] == NOT_SUPPORTED
    apex = refusals.world.udp(message.query(7, ZONE, 6)).message
    assert [str(rrset.name) for rrset in apex.answer] == [PARENT]
    below = refusals.world.udp(message.query(7, name("ns.a.child0"), 6)).message
    assert [str(rrset.name) for rrset in below.authority] == [PARENT]


@pytest.mark.parametrize("edns", [True, False], ids=["edns", "plain"])
def test_no_answer_to_a_stranger_over_udp_is_a_lever(refusals: Refusals, edns: bool) -> None:
    additional = [message.opt_record()] if edns else []
    for owner in (name(LONG_ZONE), b"\1x" + name(LONG_ZONE), ZONE, CHILD.owner):
        query = message.query(7, owner, 6, additional=additional)
        answer = refusals.world.udp(query)
        assert len(answer.wire) <= len(query) + 128
        full = refusals.world.tcp(query)
        assert full.message.answer or full.message.authority
        # What does not fit is fetched over TCP.
        assert answer.truncated == (len(full.wire) > len(query) + 128)
    for zone in (name(LONG_ZONE), b"\x3f" + b"x" * 48 + name(LONG_ZONE)[15:]):
        wire = unsigned(*another_ds(CHILD.owner), zone=zone, edns=edns)
        assert len(refusals.world.udp(wire).wire) <= len(wire) + 128
