"""The adapter `zonefile` with a real named: its checker accepts the files, and a reload serves what was written."""

import re
import subprocess
from pathlib import Path
from typing import Any

import dns.rdatatype
import pytest

from lab.daemons.knotd import Knotd
from lab.daemons.named import Named
from lab.process import LabError, find_command, run
from lab.zones import PARENT, ParentZone
from zonecut.plugin import BackendContext, BackendRejected, BackendUnavailable, Change
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import RR, Delegation, Ttls
from zonecut_zonefile import ZonefileBackend, ZonefileOptions

CHILD = names.from_text(f"child1.{PARENT}")
NEW_SERVER = names.from_text(f"ns9.child1.{PARENT}")
GLUE = RR(NEW_SERVER, RRType.A, bytes((11, 9, 9, 9)))


def _after(before: Delegation) -> Delegation:
    return Delegation.of(CHILD, [*before.records, RR(CHILD, RRType.NS, NEW_SERVER), GLUE])


def _served(named: Named) -> set[str]:
    answer = named.query(f"x.child1.{PARENT}", "A")
    return {str(rdata) for rrset in answer.authority if rrset.rdtype == dns.rdatatype.NS for rdata in rrset}


def _lab(directory: Path) -> tuple[Named, Path]:
    """A named whose zone is a plain file, as for an operator who edits it, and that file."""
    zone = ParentZone(PARENT, delegations=3)
    include = directory / f"{PARENT}delegations".replace("..", ".")
    text = f"$INCLUDE {include} {PARENT}\n{zone.master_file} TXT inherits\n"
    named = Named(directory, ParentZone(PARENT, text=text))
    configuration = directory / "named.conf"
    # named refuses to load a zone again that it may change itself.
    configuration.write_text(re.sub(r"allow-update \{[^}]*\};", "", configuration.read_text()))
    return named, directory / f"{PARENT}zone"


async def _backend(zone_file: Path, reload: list[str] | None) -> ZonefileBackend:
    options = ZonefileOptions(zone_file=zone_file, directory=zone_file.parent, reload=tuple(reload) if reload else None)
    backend = ZonefileBackend(BackendContext(names.from_text(PARENT), Ttls()), options)
    await backend.open()
    return backend


def _check(zone_file: Path) -> str:
    argv = [find_command("named-checkzone"), "-i", "local", PARENT, str(zone_file)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_named_checkzone_accepts_what_is_written(tmp_path: Path) -> None:
    _, zone_file = _lab(tmp_path)
    backend = await _backend(zone_file, None)
    before = (await backend.read(CHILD)).delegation
    odd = Delegation.of(
        child := names.from_text(f'a\\;b\\ \\"\\(\\007.{PARENT}'), [RR(child, RRType.NS, b"\x03n s\x02\\@\0")]
    )
    await backend.write([Change(before, _after(before)), Change(Delegation(child), odd)])
    assert "loaded serial 2" in _check(zone_file)
    assert await (await _backend(zone_file, None)).verify([Change(before, _after(before)), Change(odd, odd)]) == ()
    await backend.write([Change(_after(before), Delegation(CHILD))])
    assert "loaded serial 3" in _check(zone_file)


async def test_named_serves_a_changed_delegation_after_the_reload(tmp_path: Path) -> None:
    named, zone_file = _lab(tmp_path)
    rndc = ["-s", "127.0.0.1", "-p", str(named._rndc_port), "-k", str(tmp_path / "rndc.key")]
    backend = await _backend(zone_file, [find_command("rndc"), *rndc, "reload", PARENT])
    before = (await backend.read(CHILD)).delegation
    with named:
        old = _served(named)
        assert old == {names.to_text(server) for server in before.ns}
        await backend.write([Change(before, _after(before))])
        # rndc returns when the load is queued.
        for _ in range(200):
            if (new := _served(named)) != old:
                break
        assert new == old | {names.to_text(NEW_SERVER)}
        assert await backend.verify([Change(before, _after(before))]) == ()
    gone = Change(_after(before), before)
    with pytest.raises(BackendUnavailable, match=r"the reload command .*rndc ended with exit status 1: rndc: connect"):
        await backend.write([gone])
    with named:
        assert await backend.verify([gone]) == ()
        assert _served(named) == old


_NEW = names.from_text(f"new.{PARENT}")
_UNFIT = names.from_text(f"_ns.new.{PARENT}")
UNFIT = Delegation.of(_NEW, [RR(_NEW, RRType.NS, _UNFIT), RR(_UNFIT, RRType.A, bytes((11, 9, 9, 8)))])
"""An address at a name that is no host's: named's `check-names` refuses the whole zone for it."""
SHORT = Delegation.of(_NEW, [RR(_NEW, RRType.NS, NEW_SERVER), RR(_NEW, RRType.DS, bytes((0, 1, 13, 2, 171, 205)))])
"""A digest that is too short for its type: kzonecheck refuses it, and knotd does not."""
_BELOW = names.from_text(f"new.moved.{PARENT}")
BELOW_DNAME = Delegation.of(_BELOW, [RR(_BELOW, RRType.NS, NEW_SERVER)])
"""knotd loads no zone with names below a DNAME (RFC 6672 section 2.4)."""


async def _opened(zone_file: Path, **options: Any) -> ZonefileBackend:
    model = ZonefileOptions.model_validate({"zone_file": zone_file, "directory": zone_file.parent, **options})
    backend = ZonefileBackend(BackendContext(names.from_text(PARENT), Ttls()), model)
    await backend.open()
    return backend


async def test_what_named_does_not_load_is_taken_back_and_named_starts_again(tmp_path: Path) -> None:
    """`rndc reload` ends with 0 all the same."""
    named, zone_file = _lab(tmp_path)
    (tmp_path / f"{PARENT}delegations").touch()
    with named:
        reload = named.rndc_argv("reload", PARENT)
        backend = await _opened(zone_file, reload=reload, dns=named.server, served_within=1)
        with pytest.raises(BackendRejected, match=r"does not serve the zone file within 1 s, and it was taken back"):
            await backend.write([Change(Delegation(_NEW), UNFIT)])
        assert named.serial() == 3
        before = (await backend.read(CHILD)).delegation
        await backend.write([Change(before, _after(before))])
        assert named.serial() == 4
        assert await backend.verify([Change(before, _after(before))]) == ()
        named.kill()
        named.start()
        assert names.to_text(NEW_SERVER) in _served(named)


async def test_named_checkzone_refuses_before_anything_is_written(tmp_path: Path) -> None:
    _, zone_file = _lab(tmp_path)
    argv = [find_command("named-checkzone"), "-i", "local", "-k", "fail", PARENT, "{file}"]
    backend = await _opened(zone_file, check=argv)
    before = zone_file.read_bytes()
    with pytest.raises(BackendRejected, match=r"named-checkzone refuses the zone .* bad owner name \(check-names\)"):
        await backend.write([Change(Delegation(_NEW), UNFIT)])
    assert zone_file.read_bytes() == before
    held = (await backend.read(CHILD)).delegation
    await backend.write([Change(held, _after(held))])
    assert "loaded serial 2" in _check(zone_file)


async def test_a_last_line_without_its_newline_is_one_that_named_loads_after_the_opening(tmp_path: Path) -> None:
    named, zone_file = _lab(tmp_path)
    *others, include = sorted(zone_file.read_text().splitlines(), key=lambda line: line.startswith("$INCLUDE"))
    zone_file.write_text("\n".join([*others, include]))
    (tmp_path / f"{PARENT}delegations").touch()
    with pytest.raises(LabError):
        run([find_command("named-checkzone"), PARENT, zone_file])
    await _opened(zone_file)
    with named:
        assert named.serial() == 2


async def test_knotd_is_asked_what_it_serves_and_kzonecheck_what_it_would(tmp_path: Path) -> None:
    zone = ParentZone(PARENT, delegations=3)
    include = tmp_path / f"{PARENT}delegations"
    text = f"{zone.master_file}moved DNAME elsewhere.test.\n$INCLUDE {include} {PARENT}\n"
    knotd = Knotd(tmp_path, ParentZone(PARENT, text=text))
    include.touch()
    zone_file = knotd.zone_file(PARENT)
    check = [find_command("kzonecheck"), "-o", PARENT, "{file}"]
    with knotd:
        reload = [find_command("knotc"), "-s", str(knotd.socket), "zone-reload", PARENT]
        served = {"reload": reload, "dns": knotd.server, "served_within": 1}
        backend = await _opened(zone_file, check=check, **served)
        with pytest.raises(BackendRejected, match=r"kzonecheck refuses the zone .*invalid digest length in DS"):
            await backend.write([Change(Delegation(_NEW), SHORT)])
        assert knotd.serial() == 1
        unchecked = await _opened(zone_file, **served)
        with pytest.raises(BackendRejected, match=r"does not serve the zone file within 1 s, and it was taken back"):
            await unchecked.write([Change(Delegation(_BELOW), BELOW_DNAME)])
        assert knotd.serial() == 3
        before = (await backend.read(CHILD)).delegation
        await backend.write([Change(before, _after(before))])
        assert knotd.serial() == 4
        zone_file.write_text(f"{zone_file.read_text()}this is ( no zone\n")
        with pytest.raises(BackendUnavailable, match=rf"{PARENT}zone, line"):
            await backend.write([Change(_after(before), before)])
