"""The daemon as its operator sees it: stopped, told to read its configuration again, and in trouble."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.ports import LOOPBACK, free_port
from lab.process import until
from lab.zonecut import COMMAND, CommandFailed
from lab.zones import PARENT, ParentZone
from peer import TcpPeer, UdpPeer
from signer import NS, A, Signer, address, name
from world import World, stop_cleanly
from zonecut.protocol import message

CHILDREN = [Signer.generate(f"child{number}") for number in range(20)]
CHILD = CHILDREN[0]
SECOND = "second.test."
IN_SECOND = Signer.generate(f"child0.{SECOND}")
ZONE = ParentZone(PARENT, delegations=len(CHILDREN))


def _fresh_in_second(**options: Any) -> bytes:
    return IN_SECOND.update(message.delete_rrset(IN_SECOND.owner, 43), zone=name(SECOND), **options)


WHERE: dict[str, Callable[[dict[str, str]], str]] = {
    "bind": lambda backend: backend["server"].partition(":")[2],
    "knot": lambda backend: backend["socket"],
    "powerdns": lambda backend: backend["url"],
}
"""How an error names a server, by the configuration of the adapter."""


def _unsettled(world: World) -> list[dict[str, Any]]:
    return world.changes("--state", "accepted")


def test_sigterm_lets_what_is_in_work_end(tmp_path: Path, server: str) -> None:
    with World(tmp_path, ZONE, server=server, keys=CHILDREN) as world:
        before = world.records()
        with TcpPeer(world.port) as connection:
            connection.send(*(child.fresh() for _ in range(4) for child in CHILDREN))
            first = connection.receive()
            world.zonecut.send_signal(signal.SIGTERM)
            answers = [first]
            while (answer := connection.receive()) is not None:
                answers.append(answer)
        # It ends by itself, with exit status 0, or `stop` complains.
        until(lambda: not world.zonecut.running, timeout=10, what="zonecut ended")
        assert world.zonecut.exit_status == 0
        assert {answer.rcode for answer in answers if answer} == {"NOERROR"}
        assert [event["event"] for event in world.zonecut.log_events()][-1] == "serve.stopped"
        changes = world.changes()
        assert len(changes) >= len(answers)
        assert {change["state"] for change in changes} == {"applied"}
        assert world.records() != before
        world.zonecut.start()
        assert world.udp(CHILD.fresh()).rcode == "NOERROR"
        stop_cleanly(world)


def test_sigterm_leaves_what_the_server_cannot_take_in_the_ledger(tmp_path: Path, server: str) -> None:
    with World(tmp_path, ZONE, server=server, keys=CHILDREN) as world:
        for child in CHILDREN[:3]:
            assert world.udp(child.fresh()).rcode == "NOERROR"
        world.server.kill()
        began = time.monotonic()
        with TcpPeer(world.port) as connection:
            connection.send(*(_moved(child) for child in CHILDREN[:3]))
            answers = [connection.receive() for _ in range(3)]
        assert {answer and answer.rcode for answer in answers} == {"NOERROR"}
        assert time.monotonic() - began < 3
        world.zonecut.stop()
        assert len(_unsettled(world)) == 3
        world.zonecut.start()
        assert len(_unsettled(world)) == 3
        world.server.start()
        until(lambda: not _unsettled(world), timeout=15, what="the ledger is empty")
        for child in CHILDREN[:3]:
            assert [record for record in world.records(child.text) if record.endswith(" A 11.99.99.99")]
        stop_cleanly(world, expected=["backend.unavailable"])


def _moved(child: Signer) -> bytes:
    host = name(f"ns2.{child.text}")
    return child.update(message.delete_rrset(host, A), message.add(host, A, 60, address("11.99.99.99")))


def test_the_server_may_come_up_after_zonecut(tmp_path: Path, server: str) -> None:
    with World(tmp_path, ZONE, server=server, keys=[CHILD]) as world:
        world.zonecut.stop()
        world.server.stop()
        world.zonecut.start()
        answer = world.udp(CHILD.fresh())
        assert answer.rcode == "SERVFAIL"
        assert answer.extended_error is not None
        assert answer.extended_error == (0, "the parent's server cannot be read or written now")
        # where it is, is for the log
        assert WHERE[server](world.server.backend()) in world.wait_for_event("backend.unavailable")["reason"]
        assert world.change_count() == 0
        world.server.start()
        until(lambda: world.udp(CHILD.fresh()).rcode == "NOERROR", timeout=10, what="changes are taken")
        stop_cleanly(world, expected=["backend.unavailable"])


def test_sighup_takes_a_right_configuration(tmp_path: Path, server: str) -> None:
    zones = (ZONE, ParentZone(SECOND, delegations=1))
    with World(tmp_path, *zones, server=server, keys=[CHILD, IN_SECOND]) as world:
        configuration = dict(world.configuration)
        first, second = configuration["parents"]
        receiver = configuration["receiver"]
        assert world.udp(_fresh_in_second()).rcode == "NOERROR"
        one_server = CHILD.update(
            message.delete_record(CHILD.owner, NS, name("ns2.child0")), message.delete_rrset(name("ns2.child0"), A)
        )

        # A stricter policy, and one zone less.
        _reload(world, {**configuration, "parents": [{**first, "policy": {"min_ns": 2}}]})
        assert world.udp(one_server).rcode == "REFUSED"
        assert world.udp(_fresh_in_second()).rcode == "NOTAUTH"

        # The zone again, and more addresses to listen on.
        added = free_port()
        listen = [*receiver["listen"], f"{LOOPBACK}:{added}"]
        _reload(world, {**configuration, "receiver": {**receiver, "listen": listen}})
        assert world.udp(one_server).rcode == "NOERROR"
        with UdpPeer(added) as udp, TcpPeer(added) as tcp, TcpPeer(world.port6, "::1") as kept:
            until(lambda: udp.ask(_fresh_in_second()).rcode == "NOERROR", timeout=5, what="the zone is served again")
            assert tcp.ask(CHILD.fresh()).rcode == "NOERROR"

            # The IPv6 address goes; who is connected there already is still served.
            _reload(world, {**configuration, "receiver": {**receiver, "listen": [listen[0], listen[2]]}})
            assert udp.ask(CHILD.fresh()).rcode == "NOERROR"
            assert tcp.ask(CHILD.fresh()).rcode == "NOERROR"
            assert kept.ask(CHILD.fresh()).rcode == "NOERROR"
        with pytest.raises(ConnectionRefusedError):
            TcpPeer(world.port6, "::1")
        assert second["zone"] == SECOND
        stop_cleanly(world)


def _reload(world: World, configuration: dict[str, Any]) -> None:
    done = len(world.zonecut.log_events("reload.done"))
    world.zonecut.configure(configuration)
    world.zonecut.send_signal(signal.SIGHUP)
    world.wait_for_event("reload.done", count=done + 1)


def test_changes_go_on_while_the_configuration_is_read_again(tmp_path: Path, server: str) -> None:
    with World(tmp_path, ZONE, server=server, keys=CHILDREN) as world:
        first = world.configuration["parents"][0]
        with TcpPeer(world.port) as connection:
            for turn in range(6):
                # other TTLs make another backend of it, with a writer of its own
                policy = {"ttl": {"ds": 100 + turn}}
                world.zonecut.configure({**world.configuration, "parents": [{**first, "policy": policy}]})
                connection.send(*(child.fresh() for child in CHILDREN))
                world.zonecut.send_signal(signal.SIGHUP)
                answers = [connection.receive() for _ in CHILDREN]
                assert {answer and answer.rcode for answer in answers} <= {"NOERROR", "SERVFAIL"}
                world.wait_for_event("reload.done", count=turn + 1)
            until(lambda: world.udp(CHILD.fresh()).rcode == "NOERROR", timeout=5, what="changes are taken")
        assert [record for record in world.records(CHILD.text) if " 105 DS " in record]
        stop_cleanly(world)
        assert _unsettled(world) == []


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown key": ({"parentz": []}, "parentz", "parents"),
    "a wrong type": ({"receiver": {"listen": "nowhere"}}, "receiver.listen", "list"),
    "an address without a port": ({"receiver": {"listen": ["127.0.0.1"]}}, "receiver.listen", "192.0.2.1:53"),
    "no such adapter": ({"parents": [{"zone": PARENT, "backend": {"adapter": "bund"}}]}, "backend.adapter", "bind"),
    "two workers": ({"receiver": {"workers": 2}}, "receiver.workers", "1"),
    "another store": ({"store": {"url": "sqlite:////nowhere/else.db"}}, "store", "restart"),
}


def test_sighup_with_a_wrong_configuration_changes_nothing(tmp_path: Path) -> None:
    with World(tmp_path, ZONE, keys=[CHILD]) as world:
        right = world.configuration
        for number, (change, key, hint) in enumerate(WRONG.values()):
            world.zonecut.configure({**right, **change})
            world.zonecut.send_signal(signal.SIGHUP)
            event = world.wait_for_event("reload.refused", count=number + 1)
            assert event["level"] == "error"
            assert str(world.zonecut.config_file) in str(event)
            (problem,) = event["problems"]
            assert key in problem
            assert hint in problem
            assert world.udp(CHILD.fresh()).rcode == "NOERROR"
        world.zonecut.config_file.write_text("version: [1")
        world.zonecut.send_signal(signal.SIGHUP)
        assert "YAML" in str(world.wait_for_event("reload.refused", count=len(WRONG) + 1))
        world.zonecut.config_file.unlink()
        world.zonecut.send_signal(signal.SIGHUP)
        assert "No such file" in str(world.wait_for_event("reload.refused", count=len(WRONG) + 2))
        assert world.udp(CHILD.fresh()).rcode == "NOERROR"
        with TcpPeer(world.port6, "::1") as connection:
            assert connection.ask(CHILD.fresh()).rcode == "NOERROR"
        world.zonecut.configure(right)
        _reload(world, right)
        stop_cleanly(world, expected=["reload.refused"])


def test_an_address_that_is_taken_does_not_come_in_by_sighup(tmp_path: Path) -> None:
    with World(tmp_path, ZONE, keys=[CHILD]) as world:
        receiver = world.configuration["receiver"]
        taken = f"{LOOPBACK}:{world.server.port}"
        listen = [receiver["listen"][0], taken]
        world.zonecut.configure({**world.configuration, "receiver": {**receiver, "listen": listen}})
        world.zonecut.send_signal(signal.SIGHUP)
        assert taken in str(world.wait_for_event("reload.refused"))
        with TcpPeer(world.port6, "::1") as connection:
            assert connection.ask(CHILD.fresh()).rcode == "NOERROR"


def test_two_workers_are_refused_by_check_config(tmp_path: Path) -> None:
    file = tmp_path / "zonecut.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "receiver": {"workers": 2}}))
    for command in (["check-config"], ["serve"]):
        done = _run(*command, "--config", str(file))
        assert done.returncode == 2
        assert f"{file}: receiver.workers: " in done.stderr


def test_a_second_instance_on_the_same_address_fails_clearly(tmp_path: Path) -> None:
    with World(tmp_path, ZONE, keys=[CHILD]) as world:
        for host in (f"{LOOPBACK}:{world.port}", f"[::1]:{world.port6}"):
            other = {**world.configuration, "store": {"url": f"sqlite:///{tmp_path}/other.db"}}
            file = tmp_path / "other.yaml"
            file.write_text(yaml.safe_dump({**other, "receiver": {"listen": [host]}}))
            file.chmod(0o600)
            done = _run("serve", "--config", str(file))
            assert done.returncode == 1
            assert f"{host}: " in done.stderr
            assert "in use" in done.stderr
            assert "Traceback" not in done.stderr
        assert world.udp(CHILD.fresh()).rcode == "NOERROR"
        stop_cleanly(world)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
    )


def test_a_key_is_revoked_and_trusted_within_one_second(tmp_path: Path) -> None:
    newcomer = Signer.generate("child1")
    with World(tmp_path, ZONE, keys=[CHILD]) as world:
        assert world.udp(CHILD.fresh()).rcode == "NOERROR"
        world.zonecut.cli("key", "revoke", CHILD.text, "--reason", "lost")
        told = time.monotonic()
        until(lambda: world.udp(CHILD.fresh()).rcode == "REFUSED", timeout=1, what="the revoked key is refused")
        assert time.monotonic() - told < 1
        assert world.udp(CHILD.fresh()).rcode == "REFUSED"

        assert world.udp(newcomer.fresh()).rcode == "BADKEY"
        world.zonecut.cli("key", "import", newcomer.write_public(tmp_path / "keys"))
        until(lambda: world.udp(newcomer.fresh()).rcode == "REFUSED", timeout=1, what="the new key is known")
        world.zonecut.cli("key", "trust", newcomer.text)
        until(lambda: world.udp(newcomer.fresh()).rcode == "NOERROR", timeout=1, what="the new key is trusted")
        # A revoked key stays revoked.
        with pytest.raises(CommandFailed):
            world.zonecut.cli("key", "trust", CHILD.text)
        stop_cleanly(world)
