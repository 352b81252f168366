"""TCP with clients that are slow, rude or broken: nobody else notices, and nothing is kept for them for ever."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.process import until
from lab.zones import PARENT, ParentZone
from peer import TcpPeer
from signer import ZONE, Signer
from world import GENEROUS, World, stop_cleanly
from zonecut.net.streams import framed
from zonecut.protocol import message

CHILDREN = [Signer.generate(f"child{number}") for number in range(4)]
CHILD = CHILDREN[0]
IDLE = 1.0
CONNECTIONS = 3
QUERY = message.query(4711, ZONE, 6)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    limits = {**GENEROUS, "tcp_idle": IDLE, "tcp_connections": CONNECTIONS}
    with World(tmp_path, ParentZone(PARENT, delegations=4), keys=CHILDREN, receiver={"limits": limits}) as world:
        yield world
        stop_cleanly(world)


def test_an_idle_connection_is_closed_in_time(world: World) -> None:
    with TcpPeer(world.port) as silent, TcpPeer(world.port) as busy:
        began = time.monotonic()
        while time.monotonic() - began < 2 * IDLE:
            assert busy.ask(QUERY).rcode == "NOERROR"
            time.sleep(IDLE / 4)
        assert silent.is_closed(0.1)
        quiet = time.monotonic()
        assert busy.is_closed(3 * IDLE)
        assert 0.5 * IDLE < time.monotonic() - quiet < 2.5 * IDLE


def test_a_client_that_trickles_is_not_waited_for(world: World) -> None:
    """One octet at a time, never a whole message."""
    with TcpPeer(world.port) as slow:
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for octet in framed(CHILD.fresh())[:-1]:
                slow.send_octets(bytes((octet,)))
                time.sleep(0.05)
            raise AssertionError("it was waited for")
        assert time.monotonic() - began < 3 * IDLE


def test_a_client_that_has_closed_its_side_gets_its_answers(world: World) -> None:
    wires = [child.fresh() for child in CHILDREN]
    with TcpPeer(world.port) as connection:
        connection.send(*wires)
        connection.half_close()
        answers = [connection.receive() for _ in wires]
        assert {answer and answer.rcode for answer in answers} == {"NOERROR"}
        assert connection.is_closed(IDLE / 2)
    with TcpPeer(world.port) as connection:
        connection.half_close()
        assert connection.is_closed(IDLE / 2)


def test_a_client_that_leaves_without_its_answer_loses_nothing_of_its_change(world: World) -> None:
    before = world.records()
    with TcpPeer(world.port) as connection:
        connection.send(CHILD.fresh())
    until(lambda: world.records() != before, timeout=5, what="the change is in the zone")


def test_no_more_connections_than_allowed(world: World) -> None:
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(TcpPeer(world.port)) for _ in range(CONNECTIONS)]
        assert {peer.ask(QUERY).rcode for peer in peers} == {"NOERROR"}
        with TcpPeer(world.port) as one_too_many:
            assert one_too_many.is_closed(IDLE / 2)
        assert {peer.ask(CHILD.fresh()).rcode for peer in peers} == {"NOERROR"}
        assert world.udp(CHILD.fresh()).rcode == "NOERROR"
    until(lambda: _is_served(world), timeout=5, what="a place is free again")


def test_one_source_that_takes_all_places_keeps_no_other_source_out(world: World) -> None:
    with contextlib.ExitStack() as stack:
        greedy = [stack.enter_context(TcpPeer(world.port, source="127.0.0.7")) for _ in range(CONNECTIONS)]
        assert {peer.ask(QUERY).rcode for peer in greedy} == {"NOERROR"}
        with TcpPeer(world.port) as other:
            assert other.ask(CHILD.fresh()).rcode == "NOERROR"
            # the one gave way on which nothing had happened for longest
            assert greedy[0].is_closed(IDLE / 4)
            assert not greedy[1].is_closed(0.05)
            with TcpPeer(world.port, source="127.0.0.7") as one_too_many:
                assert one_too_many.is_closed(IDLE / 4)
            assert other.ask(QUERY).rcode == "NOERROR"


def _is_served(world: World) -> bool:
    with TcpPeer(world.port) as peer:
        peer.send(QUERY)
        return peer.receive() is not None


def test_clients_that_never_read_do_not_keep_their_places(world: World) -> None:
    """They ask until nothing goes through any more, in both directions."""
    question = framed(QUERY) * 500
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            rude = stack.enter_context(TcpPeer(world.port, receive_buffer=4096))
            with contextlib.suppress(TimeoutError, ConnectionError):
                deadline = time.monotonic() + 4
                while time.monotonic() < deadline:
                    rude.send_octets(question, timeout=0.2)
        assert world.udp(CHILD.fresh()).rcode == "NOERROR"
        until(lambda: _is_served(world), timeout=4 * IDLE, what="a place is free again")
        resident = Path(f"/proc/{world.zonecut.pid}/statm").read_text().split()[1]
        assert int(resident) * 4096 < 200 << 20


@pytest.mark.parametrize(
    "octets",
    [
        b"\0\0" * 1000,
        b"\0\1x" * 1000,
        b"\xff\xff" + b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: zonecut\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"\xff",
    ],
    ids=["empty messages", "messages of one octet", "a length that never comes", "HTTP", "TLS", "half a length"],
)
def test_octets_that_are_no_dns_end_with_the_connection(world: World, octets: bytes) -> None:
    with TcpPeer(world.port) as connection:
        connection.send_octets(octets)
        assert connection.is_closed(3 * IDLE)
    assert world.tcp(CHILD.fresh()).rcode == "NOERROR"


def test_good_messages_between_empty_ones_are_answered(world: World) -> None:
    with TcpPeer(world.port) as connection:
        connection.send(b"", b"x", QUERY, b"", CHILD.fresh(), b"")
        assert [answer and answer.rcode for answer in (connection.receive(), connection.receive())] == ["NOERROR"] * 2


def test_a_client_that_sends_more_than_is_taken_at_once_is_served_to_the_end(world: World) -> None:
    count = 3000
    with TcpPeer(world.port) as connection:
        connection.send(*[QUERY] * count)
        assert sum(connection.receive() is not None for _ in range(count)) == count
