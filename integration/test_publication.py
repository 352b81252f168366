"""What a parent announces, on a real named: written, repaired, withdrawn; and a roll of the receiver's key."""

import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import dns.rdatatype
import pytest

from lab.child import dig
from lab.named import Named, StartNamed
from lab.process import find_command, run, until
from lab.zonecut import StartZonecut, ZonecutProcess
from lab.zones import PARENT, ParentZone, Signing
from zonecut.plugin import BackendConflict, BackendContext, BackendMisconfigured, BackendRejected
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Ttls
from zonecut.protocol.dsync import Dsync
from zonecut.protocol.rrset import RRset
from zonecut.protocol.svcb import Method, Svcb
from zonecut_bind import BindOptions
from zonecut_bind.backend import BindBackend
from zonecut_zonefile import ZonefileBackend, ZonefileOptions

TARGET = names.from_text(f"updater.{PARENT}")
APEX_DSYNC = names.from_text(f"_dsync.{PARENT}")
UPDATE = RRset(APEX_DSYNC, RRType.DSYNC, 60, (Dsync(RRType.ANY, 2, 5354, TARGET).to_wire(),))
ADDRESS = RRset(TARGET, RRType.A, 60, (b"\x0b\0\0\1", b"\x0b\0\0\2"))
SVCB = RRset(TARGET, RRType.SVCB, 60, (Svcb.announcing([Method.MANUAL]).to_wire(),))
KEY = RRset(TARGET, RRType.KEY, 60, (b"\2\0\3\x0f" + bytes(32),))
ALL = (UPDATE, ADDRESS, SVCB, KEY)

# The adapter


@pytest.fixture(params=Signing)
async def signed(request: pytest.FixtureRequest, start_named: StartNamed) -> AsyncIterator[tuple[Named, BindBackend]]:
    """A named whose parent zone is signed in one of the ways there are, and the adapter on it."""
    named = start_named(ParentZone(PARENT, delegations=2, signing=request.param))
    backend = backend_on(named)
    await backend.open()
    yield named, backend
    await backend.close()


@pytest.fixture
async def backend(named: Named) -> AsyncIterator[BindBackend]:
    opened = backend_on(named)
    await opened.open()
    yield opened
    await opened.close()


def backend_on(named: Named) -> BindBackend:
    options = BindOptions(server=named.server, tsig=named.tsig_file)
    return BindBackend(BackendContext(names.from_text(PARENT), Ttls()), options)


async def test_what_is_written_is_read_and_what_is_removed_is_gone(signed: tuple[Named, BindBackend]) -> None:
    _, backend = signed
    await backend.replace_rrsets((), ALL)
    assert set(await eventually(backend, 4)) == set(ALL)
    later = RRset(TARGET, RRType.A, 61, ADDRESS.rdatas[:1])
    await backend.replace_rrsets((ADDRESS, KEY), (later,))
    assert set(await eventually(backend, 3)) == {UPDATE, later, SVCB}
    only_ttl = RRset(TARGET, RRType.A, 62, later.rdatas)
    await backend.replace_rrsets((later,), (only_ttl,))
    for _ in range(20):
        found = set(await backend.read_rrsets([TARGET]))
        if only_ttl in found:
            break
    assert found == {only_ttl, SVCB}
    await backend.replace_rrsets((UPDATE, only_ttl, SVCB), ())
    assert await eventually(backend, 0) == ()


async def eventually(backend: BindBackend, count: int) -> tuple[RRset, ...]:
    """What is read at our names, once there are so many RRsets: inline signing shows them a moment later."""
    for _ in range(50):
        found = await backend.read_rrsets([APEX_DSYNC, TARGET])
        if len(found) == count:
            break
    return found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), (UPDATE, ADDRESS)),
        ((RRset(TARGET, RRType.A, 60, ADDRESS.rdatas[:1]),), (KEY,)),
        ((RRset(TARGET, RRType.A, 60, (*ADDRESS.rdatas, b"\x0b\0\0\3")),), ()),
        ((ADDRESS, UPDATE), ()),
        ((RRset(TARGET, RRType.KEY, 60, KEY.rdatas),), ()),
    ],
)
async def test_a_conflict_writes_nothing(
    backend: BindBackend, before: tuple[RRset, ...], after: tuple[RRset, ...]
) -> None:
    await backend.replace_rrsets((), (ADDRESS,))
    with pytest.raises(BackendConflict):
        await backend.replace_rrsets(before, after)
    assert await backend.read_rrsets([APEX_DSYNC, TARGET]) == (ADDRESS,)


async def test_the_ttl_is_no_condition(backend: BindBackend) -> None:
    await backend.replace_rrsets((), (ADDRESS,))
    await backend.replace_rrsets((RRset(TARGET, RRType.A, 5, ADDRESS.rdatas),), ())
    assert await backend.read_rrsets([TARGET]) == ()


async def test_what_a_wildcard_would_answer_is_not_read(backend: BindBackend) -> None:
    wildcard = names.from_text(f"*._dsync.{PARENT}")
    await backend.replace_rrsets((), (RRset(wildcard, RRType.DSYNC, 60, UPDATE.rdatas),))
    assert len(await backend.read_rrsets([wildcard])) == 1
    assert await backend.read_rrsets([names.from_text(f"child._dsync.{PARENT}")]) == ()


async def test_what_a_zone_below_would_answer_is_not_read(start_named: StartNamed) -> None:
    below = ParentZone(
        f"updater.{PARENT}", text="$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\n@ A 11.0.0.9\nns A 127.0.0.1\n"
    )
    named = start_named(ParentZone(PARENT), below)
    backend = backend_on(named)
    await backend.open()
    assert await backend.read_rrsets([TARGET]) == ()
    named.nsupdate(f"update add updater.{PARENT} 60 NS ns.updater.{PARENT}\nsend")
    with pytest.raises(BackendRejected, match=f"lies in the delegation of updater.{PARENT}"):
        await backend.read_rrsets([TARGET])
    with pytest.raises(BackendRejected, match=f"x.updater.{PARENT} lies in the delegation of updater.{PARENT}"):
        await backend.read_rrsets([names.from_text(f"x.updater.{PARENT}")])
    with pytest.raises(BackendRejected, match="is not in"):
        await backend.read_rrsets([names.from_text("updater.elsewhere.test.")])
    await backend.close()


async def test_the_apex_of_a_signed_zone_is_read_without_what_named_makes(signed: tuple[Named, BindBackend]) -> None:
    _, backend = signed
    found = {int(rrset.rtype) for rrset in await backend.read_rrsets([names.from_text(PARENT)])}
    # CDS and CDNSKEY are not always there yet
    assert {RRType.SOA, RRType.NS} <= found <= {RRType.SOA, RRType.NS, RRType.CDS, 60}


async def test_a_policy_of_the_server_that_forbids_it_is_a_misconfiguration(named: Named) -> None:
    text = (named.directory / "named.conf").read_text()
    (named.directory / "named.conf").write_text(
        text.replace(
            'allow-update { key "update.lab."; };', "update-policy { grant update.lab. zonesub NS DS A AAAA; };"
        )
    )
    named.rndc("reconfig")
    backend = backend_on(named)
    await backend.open()
    with pytest.raises(BackendMisconfigured, match=r"must grant the key NS, DS, A and AAAA .* KEY, SVCB and DSYNC"):
        await backend.replace_rrsets((), ALL)
    (named.directory / "named.conf").write_text(
        text.replace(
            'allow-update { key "update.lab."; };',
            "update-policy { grant update.lab. zonesub NS DS A AAAA KEY SVCB DSYNC; };",
        )
    )
    named.rndc("reconfig")
    await backend.replace_rrsets((), ALL)
    await backend.close()


async def test_named_serves_what_is_published_in_a_zone_file(tmp_path: Path) -> None:
    include = tmp_path / f"{PARENT}delegations"
    notify = Dsync(RRType.CDS, 1, 53, names.from_text(f"notify.{PARENT}")).to_generic_text()
    text = f"{ParentZone(PARENT).master_file}_dsync 9 TYPE66 {notify}\n$INCLUDE {include} {PARENT}\n"
    zone_file = tmp_path / f"{PARENT}zone"
    zone_file.write_text(text)
    options = ZonefileOptions(zone_file=zone_file, directory=tmp_path)
    backend = ZonefileBackend(BackendContext(names.from_text(PARENT), Ttls()), options)
    include.touch()
    await backend.open()
    (foreign,) = await backend.read_rrsets([APEX_DSYNC])
    both = RRset(APEX_DSYNC, RRType.DSYNC, 60, (*foreign.rdatas, *UPDATE.rdatas))
    await backend.replace_rrsets((foreign,), (both, ADDRESS, SVCB, KEY))
    run([find_command("named-checkzone"), "-i", "local", PARENT, zone_file])
    compiled = run([find_command("named-compilezone"), "-i", "local", "-o", "-", PARENT, zone_file])
    served = {line.split(maxsplit=4)[3] for line in compiled.splitlines() if line.startswith(("updater.", "_dsync."))}
    assert served == {"DSYNC", "A", "SVCB", "KEY"}
    assert 'key65282="manual"' in compiled


# The daemon and the commands

Start = Callable[..., ZonecutProcess]


@pytest.fixture
def start(named: Named, start_zonecut: StartZonecut) -> Start:
    """`start(**keys of the parent)`: zonecut in front of named."""

    def started(**keys: Any) -> ZonecutProcess:
        return start_zonecut({"parents": [parent(named, **keys)]})

    return started


def parent(named: Named, **keys: Any) -> dict[str, Any]:
    backend = {"adapter": "bind", "server": named.server, "tsig": str(named.tsig_file)}
    return {"zone": PARENT, "addresses": ["11.0.0.53", "2610::53"], "publish": True, "backend": backend, **keys}


def records(named: Named, name: str, rdtype: str) -> set[str]:
    """TTL and RDATA of an RRset as named serves it."""
    answer = named.query(name, rdtype).answer
    wanted = dns.rdatatype.from_text(rdtype)
    return {f"{rrset.ttl} {data.to_text()}" for rrset in answer if rrset.rdtype == wanted for data in rrset}


def tags(zonecut: ZonecutProcess) -> list[int]:
    return [key["tag"] for key in key_state(zonecut)["published"]]


def status(zonecut: ZonecutProcess, *, expect: int | None = None) -> Any:
    return zonecut.cli("parent", "status", PARENT, expect=expect)


def key_state(zonecut: ZonecutProcess) -> Any:
    return status(zonecut)["key"]


def published(named: Named) -> bool:
    return bool(named.query(f"_dsync.{PARENT}", "TYPE66").answer)


def test_a_daemon_publishes_what_others_look_for(named: Named, start: Start) -> None:
    zonecut = start(publication={"names": ["apex", "wildcard"], "ttl": 300})
    until(lambda: published(named), timeout=10, what="published")
    rdata = Dsync(RRType.ANY, 2, zonecut.port, TARGET)
    for name in (f"_dsync.{PARENT}", f"child0._dsync.{PARENT}"):
        assert (
            rdata.to_wire().hex()
            in dig(name, "TYPE66", "+unknownformat", "+short", port=named.port).text.replace(" ", "").lower()
        )
    assert f"ANY 2 {zonecut.port} updater.{PARENT}" in dig(f"_dsync.{PARENT}", "DSYNC", "+short", port=named.port).text
    assert '1 . key65282="manual"' in dig(f"updater.{PARENT}", "SVCB", "+short", port=named.port).text
    assert "512 3 15 " in dig(f"updater.{PARENT}", "KEY", "+short", port=named.port).text
    assert records(named, f"updater.{PARENT}", "A") == {"300 11.0.0.53"}
    assert records(named, f"updater.{PARENT}", "AAAA") == {"300 2610::53"}
    assert status(zonecut, expect=0)["key"]["phase"] == "steady"
    written = zonecut.log_events("publication.written")
    assert len(written) == 1
    assert len(written[0]["added"]) == 6


def test_a_restart_keeps_the_key_and_writes_nothing(named: Named, start: Start) -> None:
    zonecut = start()
    until(lambda: published(named), timeout=10, what="published")
    before = tags(zonecut)
    serial = records(named, PARENT, "SOA")
    zonecut.stop()
    zonecut.start()
    until(lambda: bool(zonecut.log_events("zone.ready")), timeout=10, what="ready")
    time.sleep(0.5)
    assert tags(zonecut) == before
    assert records(named, PARENT, "SOA") == serial


def test_what_was_deleted_by_hand_is_repaired_at_reload(named: Named, start: Start) -> None:
    zonecut = start()
    until(lambda: published(named), timeout=10, what="published")
    named.nsupdate(f"update delete _dsync.{PARENT}\nupdate delete updater.{PARENT} KEY\nsend")
    assert status(zonecut, expect=3)["difference"]["removed"] == []
    zonecut.send_signal(signal.SIGHUP)
    until(lambda: published(named), timeout=10, what="repaired")
    assert status(zonecut, expect=0)["difference"] == {"removed": [], "added": []}


def test_what_others_put_beside_ours_stays(named: Named, start: Start) -> None:
    notify = Dsync(RRType.CDS, 1, 53, names.from_text(f"notify.{PARENT}"))
    named.nsupdate(
        f"update add _dsync.{PARENT} 900 TYPE66 {notify.to_generic_text()}\n"
        f'update add updater.{PARENT} 900 TXT "mine"\n'
        f'update add _dsync.{PARENT} 900 TXT "mine"\nsend'
    )
    zonecut = start()
    until(lambda: len(records(named, f"_dsync.{PARENT}", "TYPE66")) == 2, timeout=10, what="published")
    zonecut.stop()
    zonecut.cli("parent", "withdraw", PARENT)
    content = named.axfr()
    left = {
        (str(owner), dns.rdatatype.to_text(data.rdtype))
        for owner, _, data in content.iterate_rdatas()
        if str(owner).startswith(("_dsync", "updater", "*"))
    }
    assert left == {(f"_dsync.{PARENT}", "DSYNC"), (f"_dsync.{PARENT}", "TXT"), (f"updater.{PARENT}", "TXT")}
    assert len(records(named, f"_dsync.{PARENT}", "TYPE66")) == 1


def test_without_publish_nothing_is_written_until_an_operator_says_so(named: Named, start: Start) -> None:
    zonecut = start(publish=False)
    until(lambda: bool(zonecut.log_events("zone.ready")), timeout=10, what="ready")
    assert zonecut.cli("parent", "publish", PARENT, "--dry-run", expect=3)["written"] is False
    assert not published(named)
    assert zonecut.cli("parent", "publish", PARENT)["written"] is True
    assert published(named)
    assert zonecut.cli("parent", "publish", PARENT, "--dry-run", expect=0)["written"] is False
    assert zonecut.cli("parent", "withdraw", PARENT)["written"] is True
    assert not published(named)
    zonecut.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert not published(named)


def test_a_reload_publishes_what_the_new_configuration_says(named: Named, start: Start) -> None:
    zonecut = start()
    until(lambda: published(named), timeout=10, what="published")
    changed = parent(named, addresses=["11.0.0.54"], publication={"names": ["wildcard"], "ttl": 60})
    zonecut.configure({**zonecut.configuration, "parents": [changed]})
    zonecut.send_signal(signal.SIGHUP)
    until(lambda: records(named, f"updater.{PARENT}", "A") == {"60 11.0.0.54"}, timeout=10, what="published")
    assert not published(named)
    assert records(named, f"child0._dsync.{PARENT}", "TYPE66")
    assert not records(named, f"updater.{PARENT}", "AAAA")


@pytest.mark.parametrize("publish", [True, False])
def test_a_roll_goes_through_its_phases_while_the_daemon_runs(named: Named, start: Start, publish: bool) -> None:
    zonecut = start(publish=publish, publication={"ttl": 2})
    zonecut.cli("parent", "publish", PARENT)
    (old,) = tags(zonecut)
    begun = zonecut.cli("parent", "roll", PARENT)["key"]
    started = time.monotonic()
    new = begun["published"][1]["tag"]
    assert (begun["phase"], begun["signer"]["tag"]) == ("introducing", old)
    assert len(records(named, f"updater.{PARENT}", "KEY")) == 2
    until(lambda: key_state(zonecut)["phase"] == "retiring", timeout=10, what="the new key signing")
    assert time.monotonic() - started >= 1.9
    assert key_state(zonecut)["signer"]["tag"] == new
    assert len(records(named, f"updater.{PARENT}", "KEY")) == 2
    until(lambda: key_state(zonecut)["phase"] == "steady", timeout=10, what="the end of the roll")
    assert 3.9 <= time.monotonic() - started < 8
    assert tags(zonecut) == [new]
    assert len(records(named, f"updater.{PARENT}", "KEY")) == 1
    assert status(zonecut, expect=0)["difference"] == {"removed": [], "added": []}
    assert retired(zonecut) == {str(old).zfill(5)}
    phases = [event["phase"] for event in zonecut.log_events("identity.phase")]
    # the last phase is over as soon as the zone is written, and may pass unseen
    assert phases in (["introducing", "retiring", "steady"], ["introducing", "retiring", "withdrawing", "steady"])


def retired(zonecut: ZonecutProcess) -> set[str]:
    directory = Path(zonecut.directory) / "keys" / "retired"
    return {path.stem.rpartition("+")[2] for path in directory.iterdir()}


def test_a_roll_goes_on_after_the_daemon_was_killed(named: Named, start: Start) -> None:
    zonecut = start(publication={"ttl": 2})
    until(lambda: published(named), timeout=10, what="published")
    new = zonecut.cli("parent", "roll", PARENT)["key"]["published"][1]["tag"]
    zonecut.kill()
    time.sleep(5)
    assert key_state(zonecut)["phase"] == "withdrawing"
    zonecut.start()
    until(lambda: key_state(zonecut)["phase"] == "steady", timeout=10, what="the end of the roll")
    assert tags(zonecut) == [new]


def test_a_server_that_is_away_is_retried_and_does_not_stop_the_daemon(named: Named, start: Start) -> None:
    named.nsupdate(f"update add updater.{PARENT} 60 CNAME ns1.{PARENT}\nsend")
    zonecut = start()
    until(lambda: bool(zonecut.log_events("publication.failed")), timeout=10, what="refused")
    (failed,) = zonecut.log_events("publication.failed")
    assert "is a CNAME: nothing can be published beside it" in failed["reason"]
    named.nsupdate(f"update delete updater.{PARENT} CNAME\nsend")
    zonecut.send_signal(signal.SIGHUP)
    until(lambda: published(named), timeout=10, what="published")
