"""The hook for front ends of PowerDNS: the same PATCH, the same effect, and zonecut's policy and ledger in between."""

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hook_world import hook, poster
from lab.daemons.pdns import PowerDns
from lab.daemons.servers import SERVERS
from lab.ports import LOOPBACK, free_port
from lab.process import until
from lab.tls import self_signed
from lab.zones import PARENT, ParentZone, Signing
from poster import ZONES, Poster, Reply, rrset
from signer import Signer, another_ds
from world import World, stop_cleanly, unexpected_lines


@pytest.fixture
def section(tmp_path: Path) -> dict[str, Any]:
    return hook(tmp_path)


@pytest.fixture
def portal(section: dict[str, Any]) -> Poster:
    return poster(section)


ROUNDS = int(os.environ.get("ZONECUT_ROUNDS", "6"))
CHILDREN = 6
DIGEST = "ab" * 32


@pytest.fixture
def world(tmp_path: Path, section: dict[str, Any]) -> Iterator[World]:
    """In front of a named."""
    with World(tmp_path, ParentZone(PARENT, delegations=CHILDREN), receiver={"hook": section}) as world:
        yield world


# What it does


@pytest.mark.parametrize("server", sorted(SERVERS))
def test_a_patch_is_carried_out_on_any_server(
    tmp_path: Path, section: dict[str, Any], portal: Poster, server: str
) -> None:
    zone = ParentZone(PARENT, delegations=3, signing=Signing.IN_PLACE)
    with World(tmp_path, zone, server=server, receiver={"hook": section}) as world:
        reply = portal.patch(
            rrset("child1", "NS", f"ns9.child1.{PARENT}", "ns.elsewhere.test."),
            rrset("child1", "DS", f"12345 13 2 {DIGEST}"),
            rrset("ns9.child1", "AAAA", "2610::9"),
            rrset("child2", "DS"),
        )
        assert (reply.status, reply.document) == (204, None)
        expected = {
            f"child1.{PARENT} 86400 NS ns9.child1.{PARENT}",
            f"child1.{PARENT} 86400 NS ns.elsewhere.test.",
            f"child1.{PARENT} 3600 DS 12345 13 2 {DIGEST}",
            f"ns9.child1.{PARENT} 86400 AAAA 2610::9",
        }
        until(lambda: world.records(f"child1.{PARENT}") == expected, timeout=5, what="the delegation is served")
        assert not any(" DS " in record for record in world.records(f"child2.{PARENT}"))
        world.server.verify()
        accepted = world.audit("change.accepted")
        assert {entry["actor"] for entry in accepted} == {"hook:portal"}
        assert all(entry["source"].startswith(f"{LOOPBACK}#") for entry in accepted)
        assert all(change["source"].endswith(" by hook:portal") for change in world.changes())
        stop_cleanly(world)


def test_what_powerdns_takes_the_hook_takes_in_its_place(tmp_path: Path) -> None:
    """The very same requests, to the API itself and to the hook in front of another PowerDNS."""
    section = hook(tmp_path)
    zone = ParentZone(PARENT, delegations=3)
    direct = PowerDns(tmp_path / "direct", zone)
    with direct, World(tmp_path, zone, server="powerdns", receiver={"hook": section}):
        itself = Poster(direct.api_port, direct.api_key_file.read_text().strip())
        for rrsets in (
            [rrset("child0", "NS", "ns.elsewhere.test.", comments=[])],
            [rrset("child1", "DS", f"1 13 2 {DIGEST}", f"2 13 2 {DIGEST}"), rrset("child2", "DS")],
            [rrset("ns1.child1", "A", "11.9.9.9"), rrset("ns1.child1", "AAAA")],
            [rrset("CHILD2", "DS", f"1 13 2 {DIGEST}")],
            [],
        ):
            for place in (itself, poster(section)):
                assert place.patch(*rrsets).status == 204
        assert poster(section).patch(rrset("child0", "DS"), zone=PARENT.rstrip(".")).status == 204
        for name in (f"child1.{PARENT}", f"ns1.child1.{PARENT}", f"child2.{PARENT}"):
            here, there = poster(section).get(name).document, itself.get(name).document
            assert sorted(map(_plain, here["rrsets"])) == sorted(map(_plain, there["rrsets"]))
        here, there = (
            sorted(_plain(each) for each in shown["rrsets"] if each["name"].endswith(f"child1.{PARENT}"))
            for shown in (place.ask("GET", f"{ZONES}/{PARENT}").document for place in (poster(section), itself))
        )
        assert here == there


def _plain(found: dict[str, Any]) -> tuple[Any, ...]:
    """An RRset without its TTL, which is the parent's."""
    return found["name"], found["type"], sorted(record["content"] for record in found["records"])


def test_a_refusal_names_record_and_rule_and_changes_nothing(world: World, portal: Poster) -> None:
    before = world.snapshot()
    for entry, words in (
        (rrset("child0", "NS"), f"child0.{PARENT} NS: the last name server is removed"),
        (rrset("ns1.child0", "A", "127.0.0.1"), f"ns1.child0.{PARENT} A 127.0.0.1: a special-purpose address"),
        (rrset("child0", "TXT", '"x"'), f"child0.{PARENT} TXT: a delegation consists of NS, DS, A and AAAA"),
        (rrset("nobody", "NS", "ns.elsewhere.test."), f"nobody.{PARENT} is not delegated (child-delegated)"),
        (rrset(PARENT, "NS", "ns.elsewhere.test."), f"{PARENT} is not below {PARENT}"),
        (rrset("ns1", "A", "11.0.0.1"), "it lies in no delegation"),
        (rrset("elsewhere.test.", "NS", "ns.elsewhere.test."), "elsewhere.test. is not in"),
    ):
        reply = portal.patch(rrset("child1", "DS"), entry)
        assert reply.status == 422
        assert words in reply.error
    assert world.snapshot() == before
    assert world.changes() == []
    assert {entry["actor"] for entry in world.audit("change.refused")} == {"hook:portal"}


def test_a_child_and_a_portal_take_turns(tmp_path: Path, section: dict[str, Any], portal: Poster) -> None:
    signer = Signer.generate("child0")
    # about turns, and not about which message was signed first within a second
    with World(tmp_path, keys=[signer], receiver={"hook": section}, parents=[{"ordering": "off"}]) as world:
        replies: list[Reply] = []
        posting = threading.Thread(
            target=lambda: replies.extend(
                portal.patch(rrset("child0", "DS", f"{number} 13 2 {DIGEST}")) for number in range(20)
            )
        )
        posting.start()
        answers = [world.tcp(signer.update(*another_ds(signer.owner))) for _ in range(20)]
        posting.join()
        assert {answer.rcode for answer in answers} == {"NOERROR"}
        assert {reply.status for reply in replies} == {204}
        changes = world.changes()[::-1]
        assert len(changes) == 40
        for earlier, later in pairwise(changes):
            assert later["before"] == earlier["after"]
        stop_cleanly(world)


def test_a_server_that_is_away_makes_a_change_wait(tmp_path: Path, section: dict[str, Any], portal: Poster) -> None:
    with World(tmp_path, server="powerdns", receiver={"hook": section}) as world:
        assert portal.patch(rrset("child0", "DS", f"1 13 2 {DIGEST}")).status == 204
        world.server.kill()
        pending = portal.patch(rrset("child0", "DS", f"2 13 2 {DIGEST}"))
        assert (pending.status, pending.document["pending"]) == (202, [f"child0.{PARENT}"])
        # what the server holds for this one is not known
        unknown = portal.patch(rrset("child1", "DS"))
        assert (unknown.status, "the parent's server cannot be read" in unknown.error) == (503, True)
        waits = portal.patch(rrset("child0", "DS"))
        assert (waits.status, "an earlier change of this child waits" in waits.error) == (503, True)
        world.server.start()
        until(lambda: not world.changes("--state", "accepted"), timeout=40, what="the change is written")
        assert f"child0.{PARENT} 3600 DS 2 13 2 {DIGEST}" in world.records(f"child0.{PARENT}")


def test_a_delegation_is_shown_name_by_name(world: World, portal: Poster) -> None:
    shown = portal.get(f"ns1.child0.{PARENT}").document
    assert [(each["type"], each["records"][0]["content"]) for each in shown["rrsets"]] == [
        ("A", "11.0.0.0"),
        ("AAAA", "2610::"),
    ]
    assert portal.get(f"nobody.{PARENT}").document["rrsets"] == []
    assert portal.get(f"ns1.{PARENT}").document["rrsets"] == []  # the parent's own data is nobody's here


# Who may


def test_no_key_but_the_right_one_opens(world: World, portal: Poster) -> None:
    for key in ("", "x", "wrong-but-as-long-as-a-right-one", "\xe4\xf6\xfc", "' or 1=1 --", "portal", "x" * 8000):
        stranger = Poster(portal.port, key)
        for reply in (
            stranger.patch(rrset("child0", "DS")),
            stranger.get(f"child0.{PARENT}"),
            stranger.ask("GET", "/"),
            stranger.ask("PATCH", f"{ZONES}/elsewhere.test."),
        ):
            assert (reply.status, reply.document) == (401, {"error": "Unauthorized"})
        if len(key) > 10:
            assert key not in world.zonecut.log_text()
    assert world.change_count() == 0
    assert world.audit("change.refused") == []


def test_every_key_has_its_name_and_none_is_logged(world: World, section: dict[str, Any]) -> None:
    for name in ("portal", "other"):
        assert poster(section, name).patch(rrset("child0", "DS", f"1 13 2 {DIGEST}")).status == 204
        assert poster(section, name).patch(rrset("child0", "DS")).status == 204
        assert poster(section, name).key not in world.zonecut.log_text()
    actors = [entry["actor"] for entry in world.audit("change.accepted")]
    assert actors == ["hook:portal", "hook:portal", "hook:other", "hook:other"]


def test_there_is_nothing_else(world: World, portal: Poster) -> None:
    for method, target in (
        ("GET", "/"),
        ("GET", "/api/v1/servers/localhost/config"),
        ("GET", f"{ZONES}/"),
        ("GET", f"{ZONES}/{PARENT}?rrset_type=NS"),
        ("PUT", f"{ZONES}/{PARENT}/rectify"),
        ("GET", f"{ZONES}/{PARENT}?rrset_name=a..b"),
        ("GET", f"{ZONES}/{PARENT}?rrset_name=a.{PARENT}&rrset_name=b.{PARENT}"),
        ("GET", f"{ZONES}/{PARENT}/export"),
        ("GET", f"{ZONES}/../zones/{PARENT}?rrset_name=child0.{PARENT}"),
        ("PUT", f"{ZONES}/{PARENT}"),
        ("POST", ZONES),
        ("DELETE", f"{ZONES}/{PARENT}"),
        ("HEAD", f"{ZONES}/{PARENT}"),
        ("OPTIONS", f"{ZONES}/{PARENT}"),
        ("PATCH", f"{ZONES}/"),
        ("PATCH", f"{ZONES}/{PARENT}/"),
        ("PATCH", f"{ZONES}/a..b"),
        ("PATCH", f"/api/v1/servers/other/zones/{PARENT}"),
        ("TRACE", "/"),
    ):
        body = b'{"rrsets": []}' if method == "PATCH" else None
        reply = portal.ask(method, target, body, **({"Content-Type": "application/json"} if body else {}))
        assert reply.status == 404, f"{method} {target}"
        # what there is instead
        assert method == "HEAD" or reply.error.startswith("Not Found: of the PowerDNS API there is here GET of /api,")


def test_a_patch_has_a_type_a_host_a_zone_and_a_size(world: World, portal: Poster) -> None:
    entry = rrset("child0", "DS")
    assert portal.patch(entry, **{"Content-Type": "text/plain"}).status == 415
    assert portal.patch(entry, **{"Content-Type": "application/x-www-form-urlencoded"}).status == 204  # as by curl -d
    assert portal.patch(entry, **{"Content-Encoding": "gzip"}).status == 415
    assert portal.patch(entry, **{"Content-Type": "application/json; charset=utf-8"}).status == 204
    assert portal.patch(entry, Host="attacker.example").status == 421
    assert portal.patch(entry, Host=f"localhost:{portal.port}").status == 204
    absolute = f"{ZONES}/{PARENT}?rrset_name=child0.{PARENT}"
    assert portal.ask("GET", f"http://attacker.example{absolute}").status == 421
    assert portal.ask("GET", f"http://localhost:{portal.port}{absolute}").status == 200
    unknown = portal.patch(entry, zone="elsewhere.test.")
    assert (unknown.status, unknown.error) == (404, "Could not find domain 'elsewhere.test.'")
    target = f"{ZONES}/{PARENT}"
    for body, status in ((b"{", 400), (b"\0" * 2000, 400), (b" " * (2 * 2**20), 413)):
        reply = portal.ask("PATCH", target, body, **{"Content-Type": "application/json"})
        assert reply.status == status
    assert world.change_count() == 3


def test_records_come_and_go_one_by_one(world: World, portal: Poster) -> None:
    """EXTEND and PRUNE, since PowerDNS 4.9.12 and 5.0.2."""
    for kind, left in (("EXTEND", 3), ("EXTEND", 3), ("PRUNE", 2), ("PRUNE", 2)):
        assert portal.patch(rrset("child0", "NS", "ns9.elsewhere.test.", changetype=kind)).status == 204
        (held,) = (each for each in portal.get(f"child0.{PARENT}").document["rrsets"] if each["type"] == "NS")
        assert len(held["records"]) == left
    assert portal.patch(rrset("child0", "NS", "a.test.", "b.test.", changetype="EXTEND")).status == 400


def test_what_programs_ask_for_before_they_write_is_answered(world: World, portal: Poster) -> None:
    assert portal.ask("GET", "/api").document == [{"url": "/api/v1", "version": 1}]
    (server,) = portal.ask("GET", "/api/v1/servers").document
    assert portal.ask("GET", "/api/v1/servers/localhost").document == server
    assert (server["id"], server["daemon_type"]) == ("localhost", "authoritative")
    (zone,) = portal.ask("GET", ZONES).document
    assert (zone["name"], zone["kind"], "rrsets" in zone) == (PARENT, "Native", False)
    assert portal.ask("GET", f"{ZONES}?zone=elsewhere.test.").document == []
    assert portal.ask("GET", f"{ZONES}/elsewhere.test.").status == 404
    shown = portal.ask("GET", f"{ZONES}/{PARENT}").document
    assert len(shown["rrsets"]) == 5 * CHILDREN
    assert portal.ask("PUT", f"{ZONES}/{PARENT}/notify").status == 200
    assert portal.ask("PUT", f"{ZONES}/elsewhere.test./notify").status == 404


def test_a_zone_whose_name_has_a_slash_is_found_however_that_is_written(
    tmp_path: Path, section: dict[str, Any], portal: Poster
) -> None:
    name = "0/25.2.0.192.in-addr.arpa."
    text = "@ 60 SOA ns.test. h.test. 1 3600 900 604800 300\n@ 60 NS ns.test.\n5 60 NS a.test.\n5 60 NS b.test.\n"
    zone = ParentZone(name, text=f"$ORIGIN {name}\n{text}")
    with World(tmp_path, zone, server="database", receiver={"hook": section}):
        for number, written in enumerate((name.replace("/", "=2F"), name.replace("/", "%2F"))):
            entry = rrset(f"5.{name}", "NS", "a.test.", f"c{number}.test.")
            assert portal.patch(entry, zone=written).status == 204
            assert portal.get(f"5.{name}".replace("/", "%2F"), zone=written).document["name"] == name


def test_octets_that_are_no_http_get_an_answer_or_none_and_do_no_harm(world: World, portal: Poster) -> None:
    key = f"X-API-Key: {portal.key}\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    patch = f"PATCH {ZONES}/{PARENT} HTTP/1.1\r\n{key}"
    for octets, status in (
        (b"\0\0\0\0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 421),
        (f"PATCH http://[/ HTTP/1.1\r\n{key}\r\n".encode(), 404),
        (b"GET /" + b"a" * 40_000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 10_000, 431),
        (f"{patch}Content-Length: 5\r\nContent-Length: 6\r\n\r\n{{}}".encode(), 400),
        (f"{patch}Content-Length: -1\r\n\r\n".encode(), 400),
        (f"{patch}Transfer-Encoding: chunked\r\n\r\nzz\r\n".encode(), 400),
        (f"{patch}Transfer-Encoding: gzip, chunked\r\n\r\n".encode(), 501),
        (f"{patch}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode(), 400),
    ):
        with socket.create_connection((LOOPBACK, portal.port), timeout=20) as connection:
            with suppress(ConnectionError):
                connection.sendall(octets)
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            with suppress(ConnectionError):
                while part := connection.recv(65536):
                    answer += part
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
        assert portal.key.encode() not in answer
    assert portal.key not in world.zonecut.log_text()
    assert portal.patch(rrset("child0", "DS")).status == 204
    assert unexpected_lines(world.zonecut) == []


def test_a_source_has_a_limit(tmp_path: Path, section: dict[str, Any], portal: Poster) -> None:
    limits = {"source_burst": 5, "source_rate": 0.001}
    with World(tmp_path, receiver={"hook": section, "limits": limits}):
        statuses = [portal.get(f"child0.{PARENT}").status for _ in range(7)]
        assert statuses == [200] * 5 + [429] * 2


# How it is run


def test_over_tls(tmp_path: Path) -> None:
    key, certificate = self_signed(tmp_path)
    section = hook(tmp_path, certificate=str(certificate), private_key=str(key))
    with World(tmp_path, receiver={"hook": section}) as world:
        assert poster(section, ca=certificate).patch(rrset("child0", "DS")).status == 204
        with suppress(HTTPException, OSError):
            assert poster(section).patch(rrset("child0", "DS")).status == 400
        (tmp_path / "renewed").mkdir()
        new_key, new_certificate = self_signed(tmp_path / "renewed")
        key.write_bytes(new_key.read_bytes())
        certificate.write_bytes(new_certificate.read_bytes())
        world.zonecut.send_signal(signal.SIGHUP)
        world.wait_for_event("reload.done")
        assert poster(section, ca=new_certificate).patch(rrset("child1", "DS")).status == 204


def test_keys_and_addresses_change_at_a_reload_and_a_wrong_file_changes_nothing(
    tmp_path: Path, world: World, section: dict[str, Any], portal: Poster
) -> None:
    def reloaded(event: str, **receiver: Any) -> None:
        count = len(world.zonecut.log_events(event))
        given = {**world.configuration["receiver"], **receiver}
        world.zonecut.configure({**world.configuration, "receiver": given})
        world.zonecut.send_signal(signal.SIGHUP)
        world.wait_for_event(event, count=count + 1)

    file = Path(section["api_keys"]["portal"])
    file.write_text("another-key-of-some-length")
    assert portal.patch(rrset("child0", "DS")).status == 204
    reloaded("reload.done")
    assert portal.patch(rrset("child0", "DS")).status == 401
    assert poster(section).patch(rrset("child0", "DS")).status == 204
    file.chmod(0o644)
    reloaded("reload.refused")
    assert "chmod 600" in str(world.zonecut.log_events("reload.refused")[-1])
    assert poster(section).patch(rrset("child0", "DS")).status == 204
    file.chmod(0o600)
    moved = {**section, "listen": [f"{LOOPBACK}:{free_port()}"]}
    reloaded("reload.done", hook=moved)
    assert poster(moved).patch(rrset("child0", "DS")).status == 204
    with pytest.raises(ConnectionRefusedError):
        poster(section).patch(rrset("child0", "DS"))
    reloaded("reload.done", hook=None)
    with pytest.raises(ConnectionRefusedError):
        poster(moved).patch(rrset("child0", "DS"))


def test_a_key_that_cannot_be_used_is_said_at_the_start(world: World, section: dict[str, Any]) -> None:
    Path(section["api_keys"]["portal"]).write_text("short")
    world.zonecut.stop()
    failed = world.zonecut.cli("serve", "--log-format", "json", json=False, expect=1)
    assert failed == ""
    said = world.zonecut.cli("check-config", "--strict", expect=1)
    (problem,) = said["problems"]
    assert problem.startswith(f"receiver.hook.api_keys.portal: API key {section['api_keys']['portal']} cannot be used")
    assert "16 characters or more" in problem


def test_an_answer_that_is_on_its_way_is_given_before_the_end(world: World, portal: Poster) -> None:
    world.server.send_signal(signal.SIGSTOP)
    replies: list[Reply] = []
    posting = threading.Thread(target=lambda: replies.append(portal.patch(rrset("child0", "DS"))))
    posting.start()
    time.sleep(0.5)
    world.server.send_signal(signal.SIGCONT)
    world.zonecut.stop()
    posting.join()
    assert [reply.status for reply in replies] == [204]


@pytest.mark.crash
@pytest.mark.parametrize("server", ["bind", "powerdns"])
def test_zonecut_is_killed_while_a_portal_posts(
    tmp_path: Path, section: dict[str, Any], portal: Poster, server: str
) -> None:
    """What was answered 204 or 202 is in the zone, for each child the last one or one that came after it."""
    told = dict.fromkeys(range(CHILDREN), 0)
    sent = dict.fromkeys(range(CHILDREN), 0)
    odd: list[str] = []
    ended = threading.Event()

    def post(child: int) -> None:
        while not ended.is_set():
            number = sent[child] = sent[child] + 1
            try:
                reply = portal.patch(
                    rrset(f"child{child}", "DS", f"{number % 65536} 13 2 {number:064x}"),
                    rrset(f"ns1.child{child}", "A", f"11.{child}.{number // 256 % 256}.{number % 256}"),
                )
            except (OSError, HTTPException):
                time.sleep(0.02)
                continue
            if reply.status in (202, 204):
                told[child] = number
            elif reply.status != 503:
                odd.append(f"{reply.status} {reply.document}")

    seed = random.randrange(2**32)
    moments = random.Random(seed)
    zone = ParentZone(PARENT, delegations=CHILDREN)
    with World(tmp_path, zone, server=server, receiver={"hook": section}) as world:
        threads = [threading.Thread(target=post, args=(child,)) for child in range(CHILDREN)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(ROUNDS):
                time.sleep(moments.uniform(0.2, 0.6))
                world.zonecut.kill()
                world.zonecut.start()
            time.sleep(0.5)
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        until(lambda: not world.changes("--state", "accepted"), timeout=30, what="nothing is left to write")
        assert odd == []
        assert sum(told.values()) > ROUNDS
        records = world.records()
        for child in range(CHILDREN):
            (ds,) = [record for record in records if record.startswith(f"child{child}.{PARENT} 3600 DS ")]
            number = int(ds.rpartition(" ")[2], 16)
            assert told[child] <= number <= sent[child], f"seed {seed}"
            octets = f"11.{child}.{number // 256 % 256}.{number % 256}"
            assert f"ns1.child{child}.{PARENT} 86400 A {octets}" in records, f"half a change: seed {seed}"
        assert world.changes("--state", "failed") == []
        assert not [line for line in unexpected_lines(world.zonecut) if "Traceback" in line]
