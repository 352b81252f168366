"""The adapter `zonefile` and other processes: ours take turns, others have no say, and no read waits for a turn."""

import asyncio
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.unprivileged import unprivileged
from zonecut_zonefile.files import LOCK_FILE, locked
from zonefile_support import APEX, Parent, change, delegation

NOTHING = delegation("a.parent.example.")
ONE = delegation("a.parent.example.", "NS ns.b.example.")
TWO = delegation("a.parent.example.", "NS ns2.b.example.")


@pytest.fixture
def parent(tmp_path: Path) -> Parent:
    return Parent(tmp_path).hold(APEX)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """While somebody has this file or directory locked."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


async def test_who_can_read_the_directory_stops_no_write(parent: Parent) -> None:
    backend = await parent.opened()
    with held(parent.directory), held(parent.zone_file), held(parent.include):
        async with asyncio.timeout(2):
            await backend.write([change(NOTHING, ONE)])
            await (await parent.opened()).write([change(ONE, TWO)])


async def test_nobody_else_can_open_what_is_locked(parent: Parent) -> None:
    parent.directory.chmod(0o755)
    backend = await parent.opened()
    await backend.write([change(NOTHING, ONE)])
    lock = parent.directory / LOCK_FILE
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    lock.chmod(0o666)
    await backend.write([change(ONE, TWO)])
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    if os.geteuid() == 0:
        with unprivileged(), pytest.raises(PermissionError):
            lock.open()


async def test_a_link_in_the_place_of_the_lock_leads_nowhere(parent: Parent, tmp_path: Path) -> None:
    (parent.directory / LOCK_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match=LOCK_FILE):
        await parent.opened()
    assert not (tmp_path / "elsewhere").exists()


async def test_no_read_waits_behind_another_process_that_writes(parent: Parent) -> None:
    backend = await parent.opened()
    await backend.write([change(NOTHING, ONE)])
    with held(parent.directory / LOCK_FILE):
        writing = asyncio.create_task(backend.write([change(ONE, TWO)]))
        await asyncio.sleep(0.2)
        async with asyncio.timeout(1):
            assert (await backend.read(ONE.child)).delegation == ONE
            assert await backend.verify([change(NOTHING, ONE)]) == ()
        assert not writing.done()
    async with asyncio.timeout(5):
        await writing
    assert (await backend.read(ONE.child)).delegation == TWO


def test_a_lock_that_was_tidied_away_is_none(tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / LOCK_FILE).unlink()
        with locked(tmp_path):
            assert (tmp_path / LOCK_FILE).exists()
