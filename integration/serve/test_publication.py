"""What a parent announces, written by the adapter `bind` to a real named and by `zonefile` for one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.daemons.named import Named, StartNamed
from lab.process import find_command, run
from lab.zones import PARENT, ParentZone, Signing
from zonecut.plugin import BackendConflict, BackendContext, BackendMisconfigured, BackendRejected
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.announced.svcb import Method, Svcb
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Ttls
from zonecut.protocol.rrset import RRset
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
    with pytest.raises(BackendMisconfigured, match=r"may not write DSYNC, KEY, SVCB at _dsync\..*update-policy"):
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
