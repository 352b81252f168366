"""The adapter `zonefile` with a real named: its checker accepts the files, and a reload serves what was written."""

import re
import subprocess
from pathlib import Path

import dns.rdatatype
import pytest

from lab.named import Named
from lab.process import find_command
from lab.zones import PARENT, ParentZone
from zonecut.plugin import BackendContext, BackendUnavailable, Change
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
