"""The adapter `zonefile` with RRsets of any type: what stands in which file, and what a conflict is."""

import asyncio
from pathlib import Path

import pytest

from zonecut.plugin import BackendConflict, BackendMisconfigured, BackendRejected, BackendUnavailable
from zonecut.protocol import names
from zonecut.protocol.announced.dsync import Dsync
from zonecut.protocol.announced.svcb import Method, Svcb
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.rrset import RRset
from zonefile_support import APEX, PARENT, Parent, change, delegation

DSYNC_NAME = names.from_text("_dsync.parent.example.")
TARGET = names.from_text("updater.parent.example.")
UPDATE = RRset(DSYNC_NAME, RRType.DSYNC, 60, (Dsync(RRType.ANY, 2, 5354, TARGET).to_wire(),))
ADDRESS = RRset(TARGET, RRType.A, 60, (b"\x0b\0\0\1",))
SVCB = RRset(TARGET, RRType.SVCB, 60, (Svcb.announcing([Method.MANUAL]).to_wire(),))
PRIORITY_0 = RRset(TARGET, RRType.SVCB, 60, (Svcb.announcing([Method.MANUAL], priority=0).to_wire(),))
KEY = RRset(TARGET, RRType.KEY, 60, (b"\2\0\3\x0f" + bytes(32),))
ALL = (UPDATE, ADDRESS, SVCB, KEY)
CHILD = delegation("a.parent.example.", "NS ns1.a.parent.example.", "ns1.a.parent.example. A 11.0.0.2")


async def test_what_is_written_is_read_and_what_is_removed_is_gone(tmp_path: Path) -> None:
    parent = Parent(tmp_path).hold(APEX)
    backend = await parent.opened()
    await backend.replace_rrsets((), ALL)
    assert set(await backend.read_rrsets([DSYNC_NAME, TARGET])) == set(ALL)
    assert set(await (await parent.opened()).read_rrsets([TARGET])) == {ADDRESS, SVCB, KEY}
    text = parent.include.read_text()
    assert "_dsync.parent.example.\t60\tIN\tTYPE66\t\\# 29 00FF0214EA" in text
    assert "\t; DSYNC ANY UPDATE 5354 updater.parent.example.\n" in text
    assert parent.serial() == 2024010101
    await backend.replace_rrsets(ALL, (KEY,))
    assert await backend.read_rrsets([DSYNC_NAME, TARGET]) == (KEY,)
    await backend.replace_rrsets((KEY,), ())
    assert await backend.read_rrsets([DSYNC_NAME, TARGET]) == ()
    assert "publishes" not in parent.include.read_text()


async def test_changes_of_delegations_leave_the_records_of_the_zone_alone(tmp_path: Path) -> None:
    parent = Parent(tmp_path).hold(APEX)
    backend = await parent.opened()
    await backend.replace_rrsets((), ALL)
    await backend.write([change(Delegation(CHILD.child), CHILD)])
    assert set(await backend.read_rrsets([DSYNC_NAME, TARGET])) == set(ALL)
    await backend.replace_rrsets((ADDRESS,), ())
    assert (await backend.read(CHILD.child)).delegation == CHILD
    assert await backend.verify([change(Delegation(CHILD.child), CHILD)]) == ()
    assert {each.delegation.child async for each in backend.children()} == {CHILD.child}
    assert (await (await parent.opened()).read(CHILD.child)).delegation == CHILD


async def test_an_rrset_of_the_operator_moves_as_a_whole_when_it_changes(tmp_path: Path) -> None:
    parent = Parent(tmp_path).hold(APEX + "_dsync DSYNC CDS NOTIFY 53 notify\nupdater 7 A 11.9.9.9\n 7 TXT mine\n")
    backend = await parent.opened()
    notify = Dsync(RRType.CDS, 1, 53, names.from_text("notify.parent.example.")).to_wire()
    foreign = RRset(DSYNC_NAME, RRType.DSYNC, 3600, (notify,))
    text = RRset(TARGET, 16, 7, (b"\4mine",))
    by_hand = RRset(TARGET, RRType.A, 7, (b"\x0b\x09\x09\x09",))
    assert set(await backend.read_rrsets([DSYNC_NAME, TARGET])) == {foreign, by_hand, text}
    both = RRset(DSYNC_NAME, RRType.DSYNC, 60, (notify, *UPDATE.rdatas))
    await backend.replace_rrsets((foreign, by_hand), (both, ADDRESS))
    assert set(await backend.read_rrsets([DSYNC_NAME, TARGET])) == {both, ADDRESS, text}
    assert "; zonecut moved: _dsync DSYNC CDS NOTIFY 53 notify\n; zonecut moved: updater 7 A" in parent.text()
    assert "updater.parent.example. 7 TXT mine\n" in parent.text()


async def test_a_ttl_alone_is_changed(tmp_path: Path) -> None:
    parent = Parent(tmp_path).hold(APEX)
    backend = await parent.opened()
    await backend.replace_rrsets((), (ADDRESS,))
    later = RRset(TARGET, RRType.A, 61, ADDRESS.rdatas)
    await backend.replace_rrsets((ADDRESS,), (later,))
    assert await backend.read_rrsets([TARGET]) == (later,)


async def test_writing_what_is_there_writes_nothing(tmp_path: Path) -> None:
    parent = Parent(tmp_path).hold(APEX)
    backend = await parent.opened()
    await backend.replace_rrsets((), (ADDRESS,))
    serial = parent.serial()
    await backend.replace_rrsets((ADDRESS,), (ADDRESS,))
    assert parent.serial() == serial


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), (UPDATE, ADDRESS)),
        ((RRset(TARGET, RRType.A, 60, (b"\x0b\0\0\2",)),), (ADDRESS,)),
        ((ADDRESS, UPDATE), ()),
    ],
)
async def test_a_conflict_writes_nothing(tmp_path: Path, before: tuple[RRset, ...], after: tuple[RRset, ...]) -> None:
    parent = Parent(tmp_path).hold(APEX)
    backend = await parent.opened()
    await backend.replace_rrsets((), (ADDRESS,))
    content = parent.text(), parent.include.read_bytes()
    with pytest.raises(BackendConflict, match="the zone file holds something else than expected at "):
        await backend.replace_rrsets(before, after)
    assert (parent.text(), parent.include.read_bytes()) == content


async def test_names_outside_the_zone_and_in_delegations_are_refused(tmp_path: Path) -> None:
    parent = Parent(tmp_path).hold(APEX + "a NS ns.other.example.\n")
    backend = await parent.opened()
    for owner, reason in (
        ("updater.other.example.", "is not in the zone"),
        ("a.parent.example.", "lies in the delegation of a"),
        ("updater.a.parent.example.", "lies in the delegation of a"),
    ):
        name = names.from_text(owner)
        with pytest.raises(BackendRejected, match=reason):
            await backend.read_rrsets([name])
        with pytest.raises(BackendRejected, match=reason):
            await backend.replace_rrsets((), [RRset(name, RRType.A, 5, ADDRESS.rdatas)])


async def test_a_record_in_a_file_that_is_included_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "more").write_text("updater.parent.example. 60 A 11.0.0.1\n")
    parent = Parent(tmp_path).hold(APEX + "$INCLUDE more\n")
    backend = await parent.opened()
    assert await backend.read_rrsets([TARGET]) == (ADDRESS,)
    with pytest.raises(BackendRejected, match=r"more, line 1: a record of updater.parent.example. stands in a file"):
        await backend.replace_rrsets((ADDRESS,), ())


async def test_what_a_signer_makes_is_not_shown(tmp_path: Path) -> None:
    parent = Parent(tmp_path).hold(APEX + "updater 60 A 11.0.0.1\nupdater DNSKEY 256 3 13 AAAA\n")
    assert await (await parent.opened()).read_rrsets([TARGET]) == (ADDRESS,)


async def test_the_apex_has_its_records_too(tmp_path: Path) -> None:
    backend = await Parent(tmp_path).hold(APEX).opened()
    assert {rrset.rtype for rrset in await backend.read_rrsets([PARENT])} == {RRType.SOA, RRType.NS}


@pytest.mark.parametrize(
    ("line", "rrset"),
    [
        ("_dsync 60 DSYNC ANY UPDATE 5354 updater", UPDATE),
        ("_dsync 60 DSYNC ANY 2 5354 updater.parent.example.", UPDATE),
        (f"_dsync 60 TYPE66 {Dsync.from_wire(UPDATE.rdatas[0]).to_generic_text()}", UPDATE),
        ('updater 60 SVCB 1 . key65282="manual"', SVCB),
        ("updater 60 SVCB 1 . key65282=manual", SVCB),
        ('updater 60 SVCB 0 . key65282="manual"', PRIORITY_0),
        (f"updater 60 SVCB {Svcb.from_wire(PRIORITY_0.rdatas[0]).to_generic_text()}", PRIORITY_0),
        (f"updater 60 IN KEY 512 3 15 {'A' * 43}=", KEY),
    ],
)
async def test_the_operator_may_write_them_in_any_form(tmp_path: Path, line: str, rrset: RRset) -> None:
    backend = await Parent(tmp_path).hold(f"{APEX}{line}\n").opened()
    assert await backend.read_rrsets([rrset.owner]) == (rrset,)


async def test_a_crash_between_the_files_is_mended(tmp_path: Path) -> None:
    parent = Parent(tmp_path).hold(APEX + "updater 7 A 11.9.9.9\n")
    old = parent.text()
    backend = await parent.opened()
    await backend.replace_rrsets((RRset(TARGET, RRType.A, 7, (b"\x0b\x09\x09\x09",)),), (ADDRESS,))
    parent.zone_file.write_text(old)
    backend = await parent.opened()
    assert parent.serial() == 2024010101
    (both,) = await backend.read_rrsets([TARGET])
    assert set(both.rdatas) == {b"\x0b\x09\x09\x09", *ADDRESS.rdatas}
    await backend.replace_rrsets((both,), (ADDRESS,))
    assert await backend.read_rrsets([TARGET]) == (ADDRESS,)


async def test_nonsense_in_the_part_for_the_zone_itself_is_named(tmp_path: Path) -> None:
    parent = Parent(tmp_path).hold(APEX)
    backend = await parent.opened()
    await backend.replace_rrsets((), (ADDRESS,))
    parent.include.write_text(parent.include.read_text() + "nonsense\n")
    with pytest.raises(BackendUnavailable, match=r"parent.example.delegations, line 6: has no type"):
        await backend.read_rrsets([TARGET])


async def test_the_reload_command_runs_after_a_write(tmp_path: Path) -> None:
    parent = Parent(tmp_path, reload=["/bin/touch", str(tmp_path / "reloaded")]).hold(APEX)
    backend = await parent.opened()
    await backend.replace_rrsets((), (ADDRESS,))
    assert (tmp_path / "reloaded").exists()
    broken = Parent(tmp_path, reload=[str(tmp_path / "missing")])
    backend = await broken.opened()
    with pytest.raises(BackendMisconfigured, match="cannot run the reload command"):
        await backend.replace_rrsets((ADDRESS,), ())


async def test_writers_of_both_kinds_do_not_lose_each_others_changes(tmp_path: Path) -> None:
    parent = Parent(tmp_path).hold(APEX)
    one, other = await parent.opened(), await parent.opened()
    for turn in range(5):
        before, after = ((), (ADDRESS,)) if turn % 2 == 0 else ((ADDRESS,), ())
        old, new = (Delegation(CHILD.child), CHILD) if turn % 2 == 0 else (CHILD, Delegation(CHILD.child))
        await asyncio.gather(one.replace_rrsets(before, after), other.write([change(old, new)]))
    assert await other.read_rrsets([TARGET]) == (ADDRESS,)
    assert (await one.read(CHILD.child)).delegation == CHILD
