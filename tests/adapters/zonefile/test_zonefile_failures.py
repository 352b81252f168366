"""The adapter `zonefile` when things go wrong: crashes half way, edits by hand, full disks, reloads that fail."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from pydantic import ValidationError

from zonecut.plugin import BackendConflict, BackendMisconfigured, BackendUnavailable
from zonecut_zonefile import ZonefileOptions, edit, files, zonecut_adapters
from zonecut_zonefile.requirements import mounted_at
from zonefile_support import APEX, Parent, change, delegation, listed, served

NOTHING = delegation("a.parent.example.")
ONE = delegation("a.parent.example.", "NS ns1.a.parent.example.", "ns1.a.parent.example. A 192.0.2.10")
TWO = delegation("a.parent.example.", "NS ns.b.example.", "NS ns2.b.example.", "DS 1 13 2 " + "ab" * 32)
HAND = "a NS ns1.a\nns1.a A 192.0.2.10\n"
OWN = {("parent.example.", "NS", "ns1.parent.example."), ("ns1.parent.example.", "A", "192.0.2.1")}


@pytest.fixture
def parent(tmp_path: Path) -> Parent:
    return Parent(tmp_path).hold(APEX)


# --- crashes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", HAND])
async def test_a_crash_between_the_two_files_is_mended_by_open(parent: Parent, text: str) -> None:
    backend = await parent.hold(APEX + text).opened()
    half_done = parent.zone_file.read_bytes()
    await backend.write([change(ONE if text else NOTHING, TWO)])
    done = parent.zone_file.read_bytes()
    parent.zone_file.write_bytes(half_done)
    again = await parent.opened()
    assert parent.zone_file.read_bytes() == done
    assert parent.served() == OWN | served(TWO)
    assert await again.verify([change(ONE, TWO)]) == ()
    await parent.opened()
    assert parent.zone_file.read_bytes() == done


async def test_a_crash_between_the_two_files_is_mended_before_the_next_write(parent: Parent) -> None:
    backend = await parent.opened()
    await backend.write([change(NOTHING, ONE)])
    parent.zone_file.write_text(parent.text().replace("2024010101", "2024010100"))
    await backend.write([change(NOTHING, ONE)])
    assert parent.serial() == 2024010101
    await backend.write([change(ONE, TWO)])
    assert parent.serial() == 2024010102


async def test_a_crash_before_the_files_are_renamed_leaves_nothing_in_the_way(parent: Parent) -> None:
    for path in (parent.zone_file, parent.include):
        path.with_name(f".{path.name}.zonecut-new").write_text("half a fi")
    backend = await parent.opened()
    await backend.write([change(NOTHING, ONE)])
    assert parent.served() == OWN | served(ONE)
    found = {path.name for path in parent.directory.iterdir()}
    assert found == {parent.include.name, parent.zone_file.name, files.LOCK_FILE}


async def test_an_operator_who_sets_the_serial_has_the_last_word(parent: Parent) -> None:
    backend = await parent.opened()
    await backend.write([change(NOTHING, ONE)])
    parent.zone_file.write_text(parent.text().replace("2024010101", "17"))
    await parent.opened()
    assert parent.serial() == 17


# --- edits by hand -------------------------------------------------------------------------------------------------


async def test_edits_of_either_file_are_seen_at_once_and_conflict(parent: Parent) -> None:
    backend = await parent.opened()
    await backend.write([change(NOTHING, ONE)])
    for path in (parent.include, parent.zone_file):
        for digit in range(5):
            # In place, of the same size, within one tick of the clock.
            text = path.read_text()
            path.write_text(
                text.replace("192.0.2.10", f"192.0.2.1{digit}").replace(
                    f"192.0.2.1{digit - 1}\n", f"192.0.2.1{digit}\n"
                )
            )
            held = (await backend.read(ONE.child)).delegation
            assert [rr.rdata[-1] for rr in held.glue] == ([10 + digit] if path == parent.include else [14])
    with pytest.raises(BackendConflict) as error:
        await backend.write([change(ONE, TWO)])
    assert error.value.children == (ONE.child,)
    await backend.write([change((await backend.read(ONE.child)).delegation, TWO)])
    assert parent.served() == {*OWN, *served(TWO)} - {("ns1.parent.example.", "A", "192.0.2.1")} | {
        row for row in parent.served() if row[0] == "ns1.parent.example."
    }


async def test_what_an_operator_adds_to_a_delegation_in_the_zone_file_counts_until_the_child_changes(
    parent: Parent,
) -> None:
    backend = await parent.opened()
    await backend.write([change(NOTHING, TWO)])
    parent.zone_file.write_text(parent.text() + HAND)
    both = (await backend.read(TWO.child)).delegation
    assert set(both.records) == {*ONE.records, *TWO.records}
    assert await backend.verify([change(NOTHING, TWO)]) == (TWO.child,)
    other = delegation("b.parent.example.", "NS ns.x.example.")
    await backend.write([change(delegation("b.parent.example."), other)])
    again = await parent.opened()
    assert parent.served() == OWN | served(both, other)
    with pytest.raises(BackendConflict):
        await again.write([change(TWO, ONE)])
    await again.write([change(both, TWO)])
    assert parent.text().endswith("; zonecut moved: a NS ns1.a\n; zonecut moved: ns1.a A 192.0.2.10\n")
    assert parent.served() == OWN | served(TWO, other)


async def test_the_generated_file_is_rewritten_with_what_a_person_put_there(parent: Parent) -> None:
    backend = await parent.opened()
    parent.include.write_text(
        "$TTL 77\nz 55 NS ns1.z\n NS ns.x.\nns1.z A 192.0.2.9\nstray A 192.0.2.8\nd DS 1 13 2 abcd\n"
    )
    await backend.write([change(NOTHING, ONE)])
    assert parent.include.read_text().splitlines()[3:] == [
        "a.parent.example.\t86400\tIN\tNS\tns1.a.parent.example.",
        "ns1.a.parent.example.\t86400\tIN\tA\t192.0.2.10",
        "d.parent.example.\t77\tIN\tDS\t1 13 2 ABCD",
        "stray.parent.example.\t77\tIN\tA\t192.0.2.8",
        "z.parent.example.\t77\tIN\tNS\tns.x.",
        "z.parent.example.\t55\tIN\tNS\tns1.z.parent.example.",
        "ns1.z.parent.example.\t77\tIN\tA\t192.0.2.9",
    ]


@pytest.mark.parametrize("line", ["a TXT x", "@ NS ns2", "$INCLUDE parent.zone.d", "$GENERATE 1-2 g$ NS ns.x."])
async def test_what_would_be_lost_from_the_generated_file_stops_a_write(parent: Parent, line: str) -> None:
    (parent.directory / "parent.zone.d").write_text("")
    backend = await parent.opened()
    parent.include.write_text(f"b NS ns.x.\n{line}\n")
    with pytest.raises(BackendMisconfigured, match=r"delegations, line 2: .* would be lost"):
        await backend.write([change(NOTHING, ONE)])
    assert "2024010100" in parent.text()


async def test_a_file_that_breaks_between_two_operations_stops_writes_and_changes_nothing(parent: Parent) -> None:
    backend = await parent.opened()
    for path in (parent.zone_file, parent.include):
        whole = path.read_bytes()
        path.write_bytes(whole + b"x NS (\n")
        state = parent.zone_file.read_bytes(), parent.include.read_bytes()
        with pytest.raises(BackendUnavailable, match=f"{path}, line .*: a parenthesis"):
            await backend.write([change(NOTHING, ONE)])
        assert (parent.zone_file.read_bytes(), parent.include.read_bytes()) == state
        path.write_bytes(whole)
    await backend.write([change(NOTHING, ONE)])
    parent.include.unlink()
    with pytest.raises(BackendMisconfigured, match="No such file"):
        await backend.read(ONE.child)


async def test_an_edit_at_the_last_moment_is_not_overwritten(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = await parent.hold(APEX + HAND).opened()
    edits = iter(["x TXT one\n", "", "x TXT two\n", "", "", ""])
    is_unchanged = files.is_unchanged

    def edited_before(source: files.Source) -> bool:
        if source.path == parent.zone_file and (text := next(edits)):
            parent.zone_file.write_text(parent.text() + text)
        return is_unchanged(source)

    monkeypatch.setattr(files, "is_unchanged", edited_before)
    await backend.write([change(ONE, TWO)])
    txt = {("x.parent.example.", "TXT", '"one"'), ("x.parent.example.", "TXT", '"two"')}
    assert parent.served() == OWN | served(TWO) | txt
    assert parent.serial() > 2024010100
    assert await listed(backend) == await listed(await parent.opened()) == {TWO.child: TWO}


async def test_an_edit_between_the_two_renames_is_not_overwritten(
    parent: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = await parent.hold(APEX + HAND).opened()
    commit = files.Staged.commit
    edits = ["x TXT one\n"]

    def then_edited(self: files.Staged, **options: Any) -> files.Source:
        source = commit(self, **options)
        if edits:
            parent.zone_file.write_text(parent.text().replace("2024010100", "2024010101") + edits.pop())
        return source

    monkeypatch.setattr(files.Staged, "commit", then_edited)
    await backend.write([change(ONE, TWO)])
    assert parent.served() == OWN | served(TWO) | {("x.parent.example.", "TXT", '"one"')}
    assert parent.serial() == 2024010102, "the operator's serial may be out already, so ours has to be another"
    assert await backend.verify([change(ONE, TWO)]) == ()


async def test_a_file_that_never_holds_still_is_unavailable(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = await parent.opened()
    monkeypatch.setattr(files, "is_unchanged", lambda source: False)
    with pytest.raises(BackendUnavailable, match="changes whenever it is to be written"):
        await backend.write([change(NOTHING, ONE)])


# --- disks ---------------------------------------------------------------------------------------------------------

_LIMITED = """
import asyncio, resource, sys
sys.path[:0] = sys.argv[3:]
from pathlib import Path
from zonefile_support import Parent, change, delegation
from zonecut.plugin import BackendUnavailable

async def main():
    backend = await Parent(Path(sys.argv[1])).opened()
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    after = delegation("a.parent.example.", *(f"NS ns{n}.a.very.long.name.server.example." for n in range(40)))
    try:
        await backend.write([change(delegation("a.parent.example."), after)])
    except BackendUnavailable as error:
        print(error.reason)

asyncio.run(main())
"""


@pytest.mark.parametrize(("limit", "file"), [(100, "parent.zone"), (1000, "parent.example.delegations")])
async def test_a_full_disk_is_told_and_both_files_are_as_before(parent: Parent, limit: int, file: str) -> None:
    await parent.opened()
    state = parent.zone_file.read_bytes(), parent.include.read_bytes()
    argv = [sys.executable, "-c", _LIMITED, str(parent.directory), str(limit), *sys.path]
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, check=True)
    assert done.stdout == f"{parent.directory / file}: File too large\n"
    assert (parent.zone_file.read_bytes(), parent.include.read_bytes()) == state
    assert len(list(parent.directory.iterdir())) == 3


async def test_files_that_are_not_there_are_a_misconfiguration(tmp_path: Path) -> None:
    parent = Parent(tmp_path / "file")
    with pytest.raises(BackendMisconfigured, match=r"file/parent\.zone: No such file"):
        await parent.opened()
    (tmp_path / "file").write_text("where the directory should be")
    with pytest.raises(BackendMisconfigured, match="Not a directory"):
        await parent.opened()


# --- the reload command --------------------------------------------------------------------------------------------


async def test_the_reload_command_runs_after_both_files_and_only_for_changes(parent: Parent) -> None:
    script = "import shutil, sys, pathlib; p = pathlib.Path(sys.argv[1]); (p / 'runs').open('a').write('x');"
    script += "shutil.copy(p / 'parent.zone', p / 'seen')"
    parent.reload = [sys.executable, "-c", script, str(parent.directory)]
    backend = await parent.opened()
    runs = parent.directory / "runs"
    assert not runs.exists()
    await backend.write([change(NOTHING, ONE)])
    await backend.write([change(NOTHING, ONE)])
    await backend.verify([change(NOTHING, ONE)])
    assert runs.read_text() == "x"
    assert (parent.directory / "seen").read_text() == parent.text()


async def test_a_reload_that_fails_is_told_and_tried_again_before_anything_counts_as_applied(parent: Parent) -> None:
    gate = parent.directory / "gate"
    script = "import os, sys\nif not os.path.exists(sys.argv[1]): sys.stderr.write('a\\nno $HOME; no gate\\n'); exit(3)"
    parent.reload = [sys.executable, "-c", script, str(gate)]
    backend = await parent.opened()
    with pytest.raises(BackendUnavailable, match=r"ended with exit status 3: no \$HOME; no gate$"):
        await backend.write([change(NOTHING, ONE)])
    assert parent.served() == OWN | served(ONE)
    for operation in (backend.write, backend.verify):
        with pytest.raises(BackendUnavailable, match="no gate"):
            await operation([change(NOTHING, ONE)])
    assert parent.serial() == 2024010101
    gate.touch()
    assert await backend.verify([change(NOTHING, ONE)]) == ()
    gate.unlink()
    await backend.write([change(NOTHING, ONE)])


async def test_a_restart_owes_a_reload(parent: Parent) -> None:
    await (await parent.opened()).write([change(NOTHING, ONE)])
    parent.reload = ["/bin/false"]
    with pytest.raises(BackendUnavailable, match="exit status 1: it said nothing"):
        await (await parent.opened()).write([change(NOTHING, ONE)])


async def test_a_reload_command_that_hangs_is_killed_with_its_children(parent: Parent) -> None:
    parent.reload, parent.reload_timeout = ["/bin/sh", "-c", "sleep 60 & echo $! > pid; wait"], 0.3
    parent.reload[2] = parent.reload[2].replace("pid", str(parent.directory / "pid"))
    backend = await parent.opened()
    with pytest.raises(BackendUnavailable, match=r"did not end within 0\.3 s"):
        await backend.write([change(NOTHING, ONE)])
    sleeper = Path("/proc") / (parent.directory / "pid").read_text().strip() / "stat"
    for _ in range(100):
        # Gone, or dead and waiting for whoever adopted it.
        if not sleeper.exists() or sleeper.read_text().split()[2] == "Z":
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("what the command started still runs")


async def test_a_reload_command_that_is_killed_or_missing_is_told(parent: Parent) -> None:
    parent.reload = ["/bin/sh", "-c", "kill -9 $$"]
    with pytest.raises(BackendUnavailable, match="ended with signal 9"):
        await (await parent.opened()).verify([])
    parent.reload = ["/no/such/program", "x"]
    with pytest.raises(BackendMisconfigured, match="cannot run the reload command /no/such/program: No such file"):
        await (await parent.opened()).verify([])


# --- the rest ------------------------------------------------------------------------------------------------------


async def test_reads_may_overlap_a_write(parent: Parent) -> None:
    backend = await parent.opened()
    held = NOTHING
    for after in (ONE, TWO, ONE, TWO):
        readings = [backend.read(ONE.child) for _ in range(20)]
        found, _ = await asyncio.gather(asyncio.gather(*readings), backend.write([change(held, after)]))
        assert {reading.delegation for reading in found} <= {held, after}
        held = after
    assert backend.batch([change(ONE, TWO)] * 7) == 7
    await backend.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zone_file": "zone", "directory": "/d"}, "give the absolute path"),
        ({"zone_file": "/zone", "directory": "/d", "reload": "rndc reload"}, "give a list of arguments"),
        ({"zone_file": "/zone", "directory": "/d", "reload": []}, "names no program"),
        ({"zone_file": "/zone", "directory": "/d", "reload_timeout": 0}, "greater than 0"),
        ({"zone_file": "/zone", "directory": "/d", "reloads": ["x"]}, "Extra inputs"),
        ({"zone_file": "/zone"}, "Field required"),
    ],
)
def test_options_are_checked_with_a_clear_message(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ZonefileOptions.model_validate(options)


def test_the_adapter_is_registered_by_its_hook() -> None:
    (adapter,) = zonecut_adapters()
    assert (adapter.name, adapter.options) == ("zonefile", ZonefileOptions)


def test_a_serial_is_never_zero_and_never_falls() -> None:
    assert [edit.next_serial(serial) for serial in (0, 1, 2**31, 2**32 - 2, 2**32 - 1)] == [
        1,
        2,
        2**31 + 1,
        2**32 - 1,
        1,
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
async def test_an_owner_that_cannot_be_kept_is_told_and_nothing_is_written(
    parent: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await parent.opened()
    os.chown(parent.zone_file, 12345, 12345)
    backend = await parent.opened()

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refused)
    with pytest.raises(BackendMisconfigured, match="cannot be given its owner 12345:12345"):
        await backend.write([change(NOTHING, ONE)])
    assert "2024010100" in parent.text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
async def test_a_directory_in_which_no_new_file_can_be_made_is_told_at_the_opening() -> None:
    """Both files are the daemon's own; without the directory the first change would be accepted and wait for ever."""
    with TemporaryDirectory() as place:
        parent = Parent(Path(place)).hold(APEX)
        await parent.opened()
        for path in parent.directory.iterdir():
            os.chown(path, 12345, 12345)
        parent.directory.chmod(0o755)
        os.seteuid(12345)
        try:
            with pytest.raises(BackendMisconfigured, match="user 12345 must be able to write"):
                await parent.opened()
        finally:
            os.seteuid(0)


def test_a_mount_at_the_name_of_a_file_is_found_and_named() -> None:
    mounts = (
        "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
        "63 22 254:0 /srv/the\\040zones/parent.zone /etc/zones/parent.zone rw shared:1 - ext4 /dev/vdb rw\n"
        "64 22 0:5 / /etc/other\\040zones rw - tmpfs tmpfs rw\n"
    )
    assert mounted_at(Path("/etc/zones/parent.zone"), mounts) == "of /srv/the zones/parent.zone on /dev/vdb"
    assert mounted_at(Path("/etc/other zones"), mounts) == "of / on tmpfs"
    assert mounted_at(Path("/etc/zones/other.zone"), mounts) is None
    assert mounted_at(Path("/etc/zones"), mounts) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount something")
@pytest.mark.parametrize("mounted", ["parent.zone", "parent.example.delegations"])
def test_a_file_that_is_a_mount_of_its_own_is_told_at_the_opening(parent: Parent, mounted: str) -> None:
    """Nothing can be renamed to its name: the first change would be accepted, and wait for ever."""
    program = (
        "import asyncio, sys; from pathlib import Path; from zonefile_support import Parent\n"
        "asyncio.run(Parent(Path(sys.argv[1])).opened())"
    )
    asyncio.run(parent.opened())
    shell = 'mount --bind "$1/$2" "$1/$2" && exec "$3" -c "$4" "$1"'
    words = ["unshare", "--mount", "sh", "-c", shell, "sh", str(parent.directory), mounted, sys.executable, program]
    done = subprocess.run(words, cwd=Path(__file__).parents[2] / "support", capture_output=True, text=True, check=False)
    path = parent.directory / mounted
    assert f"BackendMisconfigured: {path} is a mount of its own (of " in done.stderr
    assert f"mount the directory {parent.directory} instead" in done.stderr


@pytest.mark.parametrize("made", [OSError(28, "No space left on device"), FileNotFoundError(2, "No usable directory")])
async def test_a_reload_without_room_for_what_it_says_is_owed_and_no_defect(
    parent: Parent, monkeypatch: pytest.MonkeyPatch, made: OSError
) -> None:
    ran = parent.directory / "ran"
    parent.reload = ["/bin/sh", "-c", f"echo >> {ran}"]
    backend = await parent.opened()

    def refused(*_: object) -> None:
        raise made

    with monkeypatch.context() as patch:
        patch.setattr("tempfile.TemporaryFile", refused)
        with pytest.raises(BackendUnavailable, match=rf"the reload command /bin/sh needs a temporary.*{made.strerror}"):
            await backend.write([change(NOTHING, ONE)])
    assert not ran.exists()
    assert await backend.verify([change(NOTHING, ONE)]) == ()
    assert ran.read_text() == "\n"
