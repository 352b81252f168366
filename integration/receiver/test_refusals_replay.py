"""The same signed data again, by a child that lost our answer or by somebody who listened: one change, one answer."""

from collections.abc import Callable, Iterator

import pytest

from lab.daemons.server import Delete
from peer import TcpPeer, UdpPeer
from refusals import CHILD, REFUSAL_ZONE, TARGET
from signer import DS, Signer, ds
from world import World
from zonecut.protocol import message
from zonecut.protocol.codepoints import Algorithm
from zonecut.protocol.envelope import walk

# The order of the group of NIST P-256: with (r, s) is (r, ORDER - s) a signature over the same data.
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ECDSA = Signer.generate("child1", Algorithm.ECDSAP256SHA256)
PLAIN = Signer.generate("child2")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[World]:
    directory, keys = tmp_path_factory.mktemp("replay"), [CHILD, ECDSA, PLAIN]
    with World(directory, REFUSAL_ZONE, server=server, keys=keys, parents=[{"target": TARGET}]) as world:
        yield world


def _same(wire: bytes) -> bytes:
    return wire


def _with_class_in(wire: bytes) -> bytes:
    start = walk(wire).records[-1].start
    return wire[: start + 3] + b"\0\1" + wire[start + 5 :]


def _with_other_signature(wire: bytes) -> bytes:
    s = ORDER - int.from_bytes(wire[-32:])
    return wire[:-32] + s.to_bytes(32)


def _both(wire: bytes) -> bytes:
    return _with_class_in(_with_other_signature(wire))


@pytest.mark.parametrize("alter", [_same, _with_class_in, _with_other_signature, _both])
def test_an_accepted_change_is_not_applied_twice(world: World, alter: Callable[[bytes], bytes]) -> None:
    first = ECDSA.fresh()
    assert world.udp(first).rcode == "NOERROR"
    after = world.snapshot()
    count = world.change_count()
    again = alter(first)
    assert (again == first) == (alter is _same)
    for answer in (world.udp(again), world.tcp(again)):
        assert answer.rcode == "NOERROR"
        assert answer.extended_error is None
    assert world.snapshot() == after
    assert world.change_count() == count


@pytest.mark.parametrize("alter", [_same, _with_class_in, _both])
def test_an_older_change_is_not_brought_back(world: World, alter: Callable[[bytes], bytes]) -> None:
    """Signed within the same second as the newer one, so that its time does not betray it."""
    first, second = ECDSA.fresh(), ECDSA.fresh()
    assert world.udp(first).rcode == "NOERROR"
    assert world.udp(second).rcode == "NOERROR"
    after = world.snapshot()
    assert world.udp(alter(first)).rcode == "NOERROR"
    assert world.snapshot() == after


def test_an_older_change_is_not_brought_back_after_a_manual_edit(world: World) -> None:
    wire = CHILD.fresh()
    assert world.udp(wire).rcode == "NOERROR"
    world.server.edit(Delete(CHILD.text, "DS"))
    after = world.snapshot()
    assert world.udp(wire).rcode == "NOERROR"
    assert world.snapshot() == after


@pytest.mark.parametrize("alter", [_same, _with_class_in, _with_other_signature])
def test_copies_that_arrive_together_are_one_change(world: World, alter: Callable[[bytes], bytes]) -> None:
    serial = world.serial()
    count = world.change_count()
    wire = ECDSA.fresh()
    with TcpPeer(world.port) as connection, UdpPeer(world.port) as peer:
        connection.send(*[wire, alter(wire)] * 10)
        for _ in range(10):
            peer.send(alter(wire))
        answers = [connection.receive() for _ in range(20)] + [peer.receive() for _ in range(10)]
    assert {answer and answer.rcode for answer in answers} == {"NOERROR"}
    assert world.serial() == serial + 1
    assert world.change_count() == count + 1


def test_copies_are_known_after_a_crash(world: World) -> None:
    wire = ECDSA.fresh()
    newer = ECDSA.fresh()
    assert world.udp(wire).rcode == "NOERROR"
    assert world.udp(newer).rcode == "NOERROR"
    after = world.snapshot()
    world.zonecut.kill()
    world.zonecut.start()
    for again in (wire, _both(wire), newer, _both(newer)):
        assert world.udp(again).rcode == "NOERROR"
    assert world.snapshot() == after


def test_a_held_back_message_is_stale_after_a_crash_too(world: World) -> None:
    """By more than the 300 s that are tolerated, and not expired."""
    # of a child whose DS nobody has taken out by hand: those do not come back
    held_back = ECDSA.fresh(age=330, validity=600)
    assert world.udp(ECDSA.fresh()).rcode == "NOERROR"
    world.zonecut.kill()
    world.zonecut.start()
    assert world.udp(held_back).rcode == "BADTIME"


def test_the_same_request_with_another_id_is_another_message(world: World) -> None:
    """The ID is signed: a client that asks anew signs anew, and what it asks for is there already."""
    updates = [message.delete_rrset(PLAIN.owner, DS), message.add(PLAIN.owner, DS, 60, ds(digest=b"\7" * 32))]
    first, second = PLAIN.update(*updates), PLAIN.update(*updates)
    assert first != second
    assert world.udp(first).rcode == "NOERROR"
    after = world.snapshot()
    assert world.udp(second).rcode == "NOERROR"
    assert world.snapshot() == after
