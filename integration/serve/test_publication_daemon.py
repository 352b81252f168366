"""What a parent announces through each server, by daemon and commands: written, repaired, withdrawn; and a key roll."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.rdatatype
import pytest
from dns.dnssec import key_id

from lab.child import dig
from lab.daemons.server import Add, Delete, Server
from lab.daemons.servers import SERVERS
from lab.process import LabError, until
from lab.zonecut import StartZonecut, ZonecutProcess
from lab.zones import PARENT, ParentZone
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.codepoints import RRType

TARGET = f"updater.{PARENT}"
Start = Callable[..., ZonecutProcess]


@pytest.fixture
def parent(tmp_path: Path, server: str) -> Iterator[Server]:
    """Each of the servers, with an unsigned zone."""
    with SERVERS[server](tmp_path / "server", ParentZone(PARENT, delegations=3)) as running:
        yield running
        running.verify()


@pytest.fixture
def start(parent: Server, start_zonecut: StartZonecut) -> Start:
    """`start(**keys of the parent)`: zonecut in front of the server."""

    def started(**keys: Any) -> ZonecutProcess:
        return start_zonecut({"parents": [entry(parent, **keys)]})

    return started


def entry(parent: Server, **keys: Any) -> dict[str, Any]:
    addresses = ["11.0.0.53", "2610::53"]
    return {"zone": PARENT, "addresses": addresses, "publish": True, "backend": parent.backend(), **keys}


def records(parent: Server, name: str, rdtype: str) -> set[str]:
    """TTL and RDATA of an RRset as the server has it."""
    answer = parent.query(name, rdtype).answer
    wanted = dns.rdatatype.from_text(rdtype)
    return {f"{rrset.ttl} {data.to_text()}" for rrset in answer if rrset.rdtype == wanted for data in rrset}


def tags(zonecut: ZonecutProcess) -> list[int]:
    return [key["tag"] for key in key_state(zonecut)["published"]]


def status(zonecut: ZonecutProcess, *, expect: int | None = None) -> Any:
    return zonecut.cli("parent", "status", PARENT, expect=expect)


def key_state(zonecut: ZonecutProcess) -> Any:
    return status(zonecut)["key"]


def published(parent: Server) -> bool:
    return bool(parent.query(f"_dsync.{PARENT}", "TYPE66").answer)


def test_a_daemon_publishes_what_others_look_for(parent: Server, start: Start) -> None:
    zonecut = start(publication={"names": ["apex", "wildcard"], "ttl": 300})
    until(lambda: published(parent), timeout=10, what="published")
    rdata = Dsync(RRType.ANY, 2, zonecut.port, names.from_text(TARGET))
    for name in (f"_dsync.{PARENT}", f"child0._dsync.{PARENT}"):
        assert (
            rdata.to_wire().hex()
            in dig(name, "TYPE66", "+unknownformat", "+short", port=parent.port).text.replace(" ", "").lower()
        )
    assert f"ANY 2 {zonecut.port} updater.{PARENT}" in dig(f"_dsync.{PARENT}", "DSYNC", "+short", port=parent.port).text
    assert '1 . key65282="manual"' in dig(TARGET, "SVCB", "+short", port=parent.port).text
    assert "512 3 15 " in dig(TARGET, "KEY", "+short", port=parent.port).text
    assert records(parent, TARGET, "A") == {"300 11.0.0.53"}
    assert records(parent, TARGET, "AAAA") == {"300 2610::53"}
    assert status(zonecut, expect=0)["key"]["phase"] == "steady"
    written = zonecut.log_events("publication.written")
    assert len(written) == 1
    assert len(written[0]["added"]) == 6


def test_a_restart_keeps_the_key_and_writes_nothing(parent: Server, start: Start) -> None:
    zonecut = start()
    until(lambda: published(parent), timeout=10, what="published")
    before = tags(zonecut)
    serial = records(parent, PARENT, "SOA")
    zonecut.stop()
    keys = zonecut.directory / "keys"
    keys.rename(keys.with_name("away"))
    with pytest.raises(
        LabError, match=rf"holds no key of {TARGET}, and by the store it had the key with tag {before[0]}"
    ):
        zonecut.start()
    assert not keys.exists()
    keys.with_name("away").rename(keys)
    zonecut.start()
    until(lambda: bool(zonecut.log_events("zone.ready")), timeout=10, what="ready")
    time.sleep(0.5)
    assert tags(zonecut) == before
    assert records(parent, PARENT, "SOA") == serial


def test_what_was_deleted_by_hand_is_repaired_at_reload(parent: Server, start: Start) -> None:
    zonecut = start()
    until(lambda: published(parent), timeout=10, what="published")
    parent.edit(Delete(f"_dsync.{PARENT}", "TYPE66"), Delete(TARGET, "KEY"))
    assert status(zonecut, expect=3)["difference"]["removed"] == []
    zonecut.send_signal(signal.SIGHUP)
    until(lambda: published(parent), timeout=10, what="repaired")
    assert status(zonecut, expect=0)["difference"] == {"removed": [], "added": []}


def test_what_others_put_beside_ours_stays(parent: Server, start: Start) -> None:
    notify = Dsync(RRType.CDS, 1, 53, names.from_text(f"notify.{PARENT}"))
    parent.edit(
        Add(f"_dsync.{PARENT}", 900, "TYPE66", notify.to_generic_text()),
        Add(TARGET, 900, "TXT", '"mine"'),
        Add(f"_dsync.{PARENT}", 900, "TXT", '"mine"'),
    )
    zonecut = start()
    until(lambda: len(records(parent, f"_dsync.{PARENT}", "TYPE66")) == 2, timeout=10, what="published")
    zonecut.stop()
    zonecut.cli("parent", "withdraw", PARENT)
    content = parent.axfr()
    left = {
        (str(owner), dns.rdatatype.to_text(data.rdtype))
        for owner, _, data in content.iterate_rdatas()
        if str(owner).startswith(("_dsync", "updater", "*"))
    }
    assert left == {(f"_dsync.{PARENT}", "DSYNC"), (f"_dsync.{PARENT}", "TXT"), (TARGET, "TXT")}
    assert len(records(parent, f"_dsync.{PARENT}", "TYPE66")) == 1


def test_without_publish_nothing_is_written_until_an_operator_says_so(parent: Server, start: Start) -> None:
    zonecut = start(publish=False)
    until(lambda: bool(zonecut.log_events("zone.ready")), timeout=10, what="ready")
    assert zonecut.cli("parent", "publish", PARENT, "--dry-run", expect=3)["written"] is False
    assert not published(parent)
    assert zonecut.cli("parent", "publish", PARENT)["written"] is True
    assert published(parent)
    assert zonecut.cli("parent", "publish", PARENT, "--dry-run", expect=0)["written"] is False
    assert zonecut.cli("parent", "withdraw", PARENT)["written"] is True
    assert not published(parent)
    zonecut.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert not published(parent)


def test_a_reload_publishes_what_the_new_configuration_says(parent: Server, start: Start) -> None:
    zonecut = start()
    until(lambda: published(parent), timeout=10, what="published")
    changed = entry(parent, addresses=["11.0.0.54"], publication={"names": ["wildcard"], "ttl": 60})
    zonecut.configure({**zonecut.configuration, "parents": [changed]})
    zonecut.send_signal(signal.SIGHUP)
    until(lambda: records(parent, TARGET, "A") == {"60 11.0.0.54"}, timeout=10, what="published")
    assert not published(parent)
    assert records(parent, f"child0._dsync.{PARENT}", "TYPE66")
    assert not records(parent, TARGET, "AAAA")


@contextmanager
def watched_keys(parent: Server) -> Iterator[list[tuple[float, set[int]]]]:
    """The tags of the KEY records that are served and since when, each time that they are others."""
    seen: list[tuple[float, set[int]]] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            found = {key_id(data) for rrset in parent.query(TARGET, "KEY").answer for data in rrset}
            if not seen or seen[-1][1] != found:
                seen.append((time.monotonic(), found))
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


@pytest.mark.parametrize("publish", [True, False])
def test_a_roll_goes_through_its_phases_while_the_daemon_runs(parent: Server, start: Start, publish: bool) -> None:
    zonecut = start(publish=publish, publication={"ttl": 2})
    zonecut.cli("parent", "publish", PARENT)
    (old,) = tags(zonecut)

    def phases() -> list[tuple[str, int]]:
        return [(event["phase"], event["signer"]) for event in zonecut.log_events("identity.phase")]

    with watched_keys(parent) as seen:
        begun = zonecut.cli("parent", "roll", PARENT)["key"]
        new = begun["published"][1]["tag"]
        assert (begun["phase"], begun["signer"]["tag"]) == ("introducing", old)
        until(lambda: ("steady", new) in phases(), timeout=15, what="the end of the roll")
        until(lambda: seen[-1][1] == {new}, timeout=2, what="the new key alone")
    (_, first), (both_from, both), (both_until, last) = seen
    assert (first, both, last) == ({old}, {old, new}, {new})
    # one TTL until the new key signs, another until the old one goes
    assert 3.9 <= both_until - both_from < 8
    # the last phase is over as soon as the zone is written, and may pass unseen
    assert [each for each in phases() if each[0] != "withdrawing"] == [
        ("introducing", old),
        ("retiring", new),
        ("steady", new),
    ]
    assert status(zonecut, expect=0)["difference"] == {"removed": [], "added": []}
    assert tags(zonecut) == [new]
    assert retired(zonecut) == {str(old).zfill(5)}


def retired(zonecut: ZonecutProcess) -> set[str]:
    directory = Path(zonecut.directory) / "keys" / "retired"
    return {path.stem.rpartition("+")[2] for path in directory.iterdir()}


def test_a_roll_goes_on_after_the_daemon_was_killed(parent: Server, start: Start) -> None:
    zonecut = start(publication={"ttl": 2})
    until(lambda: published(parent), timeout=10, what="published")
    new = zonecut.cli("parent", "roll", PARENT)["key"]["published"][1]["tag"]
    zonecut.kill()
    time.sleep(5)
    assert key_state(zonecut)["phase"] == "withdrawing"
    zonecut.start()
    until(lambda: key_state(zonecut)["phase"] == "steady", timeout=10, what="the end of the roll")
    assert tags(zonecut) == [new]


def test_a_server_that_is_away_is_retried_and_does_not_stop_the_daemon(parent: Server, start: Start) -> None:
    parent.edit(Add(TARGET, 60, "CNAME", f"ns1.{PARENT}"))
    zonecut = start()
    until(lambda: bool(zonecut.log_events("publication.failed")), timeout=10, what="refused")
    (failed,) = zonecut.log_events("publication.failed")
    assert "is a CNAME: nothing can be published beside it" in failed["reason"]
    parent.edit(Delete(TARGET, "CNAME"))
    zonecut.send_signal(signal.SIGHUP)
    until(lambda: published(parent), timeout=10, what="published")
