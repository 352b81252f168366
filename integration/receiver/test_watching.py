"""Watching a zonecut that runs, or has ended: metrics for Prometheus, and what waits for a server that is away."""

import http.client
import os
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from lab.ports import LOOPBACK
from lab.process import until
from lab.zonecut import CommandFailed
from lab.zones import PARENT, ParentZone
from peer import TcpPeer
from signer import NS, Signer, name
from watched import CHILDREN, Watched
from world import stop_cleanly
from zonecut.protocol import message


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    zone = ParentZone(PARENT, delegations=6)
    with Watched(tmp_path_factory.mktemp("w"), zone, keys=CHILDREN) as world:
        yield world


STRANGER = Signer.generate("child5")


def test_metrics_tell_of_traffic_and_of_a_server_that_is_away(world: Watched) -> None:
    with TcpPeer(world.port) as peer:
        peer.send(*(child.fresh() for child in CHILDREN))
        answers = [peer.receive() for _ in CHILDREN]
    assert {answer.rcode for answer in answers if answer} == {"NOERROR"}
    child = CHILDREN[0]
    assert world.udp(child.update(message.delete_rrset(name(child.text), NS))).rcode == "REFUSED"
    assert world.udp(STRANGER.fresh()).rcode != "NOERROR"
    assert world.metric("zonecut_requests_total", result="accepted", rule="accepted") == 5
    assert world.metric("zonecut_requests_total", result="refused", rule="ns-count") == 1
    assert world.metric("zonecut_requests_total", result="refused") == 2
    assert world.metric("zonecut_responses_total", rcode="NOERROR") >= 5
    assert world.metric("zonecut_responses_total", rcode="REFUSED") >= 1
    assert world.metric("zonecut_changes_total", zone=PARENT, state="applied") == 5
    assert world.metric("zonecut_batch_changes_sum", zone=PARENT) >= 5
    assert world.metric("zonecut_backend_write_seconds_count", zone=PARENT, result="written") >= 1
    assert world.metric("zonecut_backend_up", zone=PARENT) == 1
    assert world.metric("zonecut_keys", state="trusted") == 5
    assert world.metric("zonecut_info") == 1
    assert CHILDREN[0].text not in world.get()[1]
    until(lambda: world.metric("zonecut_changes_waiting") == 0, timeout=5, what="all is on record as applied")

    world.server.kill()
    for child in CHILDREN[:3]:
        assert world.udp(child.fresh()).rcode == "NOERROR"
    until(lambda: world.metric("zonecut_backend_up", zone=PARENT) == 0, timeout=10, what="the server is down")
    assert world.metric("zonecut_changes_waiting", zone=PARENT) == 3
    assert world.metric("zonecut_oldest_waiting_change_seconds", zone=PARENT) > 0
    assert world.metric("zonecut_backend_write_seconds_count", zone=PARENT, result="unavailable") >= 1
    world.server.start()
    until(lambda: world.metric("zonecut_changes_waiting") == 0, timeout=60, what="what waited is written")
    assert world.metric("zonecut_backend_up", zone=PARENT) == 1
    assert world.metric("zonecut_changes_total", state="applied") == 8
    stop_cleanly(world, ["backend.unavailable"])


def test_the_list_of_changes_says_what_waits_and_why_with_a_daemon_and_without(world: Watched) -> None:
    assert world.udp(CHILDREN[0].fresh()).rcode == "NOERROR"
    until(lambda: world.server_state()["state"] == "ready", timeout=5, what="the state is in the store")
    ready = world.server_state()
    assert (ready["waiting"], ready["reason"]) == (0, None)

    world.server.kill()
    assert world.udp(CHILDREN[0].fresh()).rcode == "NOERROR"
    until(lambda: world.server_state()["state"] == "away", timeout=10, what="the state is in the store")
    until(lambda: world.listed()["changes"][0]["attempts"] >= 2, timeout=10, what="it was tried again")
    document = world.listed()
    (zone,) = document["zones"]
    assert (zone["zone"], zone["waiting"]) == (PARENT, 1)
    assert zone["since"] > ready["since"]
    assert "refused" in zone["reason"]
    waiting, applied = document["changes"]
    assert (waiting["state"], applied["state"]) == ("accepted", "applied")
    assert waiting["reason"] == zone["reason"]
    assert waiting["next_at"] > waiting["accepted_at"]
    assert waiting["waiting_seconds"] > 0
    text = world.zonecut.cli("change", "list", json=False)
    assert "away" in text
    assert waiting["reason"] in text

    world.zonecut.stop()
    stopped = world.listed()
    assert stopped["zones"][0]["state"] == "stopped"
    assert stopped["changes"][0]["reason"] == waiting["reason"]
    world.zonecut.start()
    until(lambda: world.server_state()["state"] == "away", timeout=10, what="the state is in the store")
    world.server.start()
    until(lambda: world.server_state()["waiting"] == 0, timeout=60, what="what waited is written")
    assert world.server_state()["state"] == "ready"


def test_a_server_that_goes_or_comes_while_nobody_asks_is_noticed(world: Watched) -> None:
    """Nothing is written, and nobody asks: it is looked at all the same, though not at once."""
    world.server.kill()
    until(lambda: world.metric("zonecut_backend_up") == 0, timeout=30, what="it is noticed that the server is away")
    world.server.start()
    until(lambda: world.metric("zonecut_backend_up") == 1, timeout=15, what="it is noticed that the server is back")
    assert world.server_state()["state"] == "ready"


def test_a_server_that_refuses_us_is_misconfigured(world: Watched) -> None:
    key = world.named.tsig_file
    good = key.read_text()
    # zonecut's key is another one than named's from the next start on
    key.write_text(good.replace(good.split('secret "')[1][:8], "AAAAAAAA"))
    world.zonecut.stop()
    world.zonecut.start()
    until(lambda: world.server_state()["state"] == "misconfigured", timeout=10, what="the state is in the store")
    assert world.server_state()["reason"]
    assert world.metric("zonecut_backend_up") == 0


def test_only_a_get_of_metrics_is_answered_and_nobody_blocks_the_endpoint(world: Watched) -> None:
    assert world.get(path="/")[0] == 404
    assert world.get(method="POST")[0] == 405
    assert world.get(method="HEAD") == (200, "")
    idle = [socket.create_connection((LOOPBACK, world.metrics_port)) for _ in range(8)]
    try:
        idle[0].sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 10_000)
        for peer in idle[1:]:
            peer.sendall(os.urandom(100))
        # the first is too long and ends at once, the others when their time is up
        until(lambda: _answers(world), timeout=10, what="the endpoint answers")
    finally:
        for peer in idle:
            peer.close()
    assert world.udp(CHILDREN[0].fresh()).rcode == "NOERROR"
    stop_cleanly(world)


def _answers(world: Watched) -> bool:
    try:
        return world.get()[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_an_address_that_is_taken_is_told_and_nothing_listens_by_default(world: Watched) -> None:
    world.zonecut.stop()
    with closing(socket.create_server((LOOPBACK, world.metrics_port))), pytest.raises(CommandFailed) as failed:
        world.zonecut.cli("serve")
    assert failed.value.exit_status == 1
    assert f"metrics.listen: {LOOPBACK}:{world.metrics_port}: " in failed.value.stderr
    world.zonecut.configure({key: value for key, value in world.zonecut.configuration.items() if key != "metrics"})
    world.zonecut.start()
    assert not _answers(world)
