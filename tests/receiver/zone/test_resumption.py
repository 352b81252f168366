"""What a zone takes up at its start, and what it leaves to a person: the ledger may know less than the zone."""

import asyncio
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from receiver_support import CHILD, NOW, ZONE, Site, ns_of, replace_ns, site
from zonecut.plugin import BackendUnavailable, Change
from zonecut.protocol.codepoints import Rcode
from zonecut.receiver.zone.resumption import RESUME_WITHIN
from zonecut.store import ChangeState, ServerState, Settlement, Store, StoredChange, ZoneState

A, B, C = "a.ns.example.", "b.ns.example.", "c.ns.example."


async def _away(changes: Sequence[Change]) -> None:
    raise BackendUnavailable("the server is away")


def back_up(directory: Path) -> None:
    with (
        closing(sqlite3.connect(directory / "zonecut.db")) as source,
        closing(sqlite3.connect(directory / "copy")) as copy,
    ):
        source.backup(copy)


def restore(directory: Path) -> None:
    for file in directory.glob("zonecut.db*"):
        file.unlink()
    shutil.copy(directory / "copy", directory / "zonecut.db")


async def ask(here: Site, *servers: str) -> int:
    here.clock.now += 1
    return (await here.ask(here.signed(*replace_ns(CHILD, *servers)))).rcode


async def leave_waiting(here: Site, monkeypatch: pytest.MonkeyPatch, *servers: str) -> None:
    """Have a change accepted that the server does not take."""
    with monkeypatch.context() as patch:
        patch.setattr(here.backend, "write", _away)
        assert await ask(here, *servers) == Rcode.NOERROR


async def _restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, Site]:
    """Back up while B waits to be added; it is added, removed again; the backup is put in place.

    The zone holds what B was added to: nothing in it tells that B came and went.
    """
    async with site(tmp_path) as here:
        pair = await here.trust(CHILD)
        assert await ask(here, A) == Rcode.NOERROR
        await leave_waiting(here, monkeypatch, A, B)
        back_up(tmp_path)
    async with site(tmp_path) as here:
        here.pairs[CHILD] = pair
        assert await here.zone.writer.drain(5)
        here.clock.now = NOW + 100
        old = here.signed(*replace_ns(CHILD, C))
        assert (await here.ask(old)).rcode == Rcode.NOERROR
        assert await ask(here, A) == Rcode.NOERROR
    restore(tmp_path)
    here.pairs[CHILD] = pair
    return old, here


async def test_nothing_of_a_restored_store_is_written_and_nothing_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, before = await _restored(tmp_path, monkeypatch)
    async with site(tmp_path) as here:
        here.pairs, here.clock.now = before.pairs, NOW + 200
        for _ in range(2):
            answer = await here.ask(old)
            assert (answer.rcode, answer.error and answer.error.text) == (
                Rcode.SERVFAIL,
                "store",
            )
            assert await ask(here, C) == Rcode.SERVFAIL
            await asyncio.sleep(0.2)
        assert await here.served() == ns_of(CHILD, A)
        assert not here.zone.is_resumed


async def test_an_accepted_restore_goes_on_beside_a_running_receiver_and_old_messages_stay_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, before = await _restored(tmp_path, monkeypatch)
    async with site(tmp_path) as here:
        here.pairs, here.clock.now = before.pairs, NOW + 200
        async with Store.open(f"sqlite:///{tmp_path}/zonecut.db", clock=here.clock) as operator:
            (waiting,) = await operator.changes.unsettled()
            await operator.restores.accept(
                "operator:test", [Settlement(waiting.id, ChangeState.FAILED, "lost", 1)], [], 300
            )
        async with asyncio.timeout(5):
            while not here.zone.is_resumed:  # noqa: ASYNC110 (as an operator waits)
                await asyncio.sleep(0.05)
        here.clock.now = NOW + 420
        again = await here.ask(old)
        assert (again.rcode, again.error is None) == (Rcode.BADTIME, False)
        assert again.error is not None
        assert "since the store was restored from a backup, or the zone was: sign it anew" in again.error.text
        assert await here.served() == ns_of(CHILD, A)
        here.clock.now = NOW + 1000
        assert await ask(here, C) == Rcode.NOERROR
        assert await here.served() == ns_of(CHILD, C)


async def _served_until(directory: Path, at: float) -> None:
    async with Store.open(f"sqlite:///{directory}/zonecut.db", clock=lambda: at) as store:
        await store.zones.record([ZoneState(ZONE, ServerState.READY, at)])


@pytest.mark.parametrize("away", [RESUME_WITHIN - 60, RESUME_WITHIN + 60])
async def test_what_waited_is_written_after_a_restart_and_not_when_the_zone_was_not_served_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: float
) -> None:
    async with site(tmp_path) as here:
        await here.trust(CHILD)
        assert await ask(here, A) == Rcode.NOERROR
        await leave_waiting(here, monkeypatch, A, B)
    await _served_until(tmp_path, NOW - away)
    async with site(tmp_path) as here:
        assert await here.zone.writer.drain(5)
        await asyncio.sleep(0.2)
        change = (await here.store.changes.list(child=CHILD))[0]
        if away < RESUME_WITHIN:
            assert await here.served() == ns_of(CHILD, A, B)
            assert change.state is ChangeState.APPLIED
        else:
            assert await here.served() == ns_of(CHILD, A)
            # it may be the clock that is wrong: nothing that was accepted is lost
            assert change.state is ChangeState.HELD
            assert change.reason == (
                "the zone was not served for 1.0 hours, and may have been changed meanwhile; it is not in the zone"
            )


async def test_what_the_server_holds_by_now_is_applied_however_long_it_waited(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.trust(CHILD)
        assert await ask(here, A, B) == Rcode.NOERROR
    with closing(sqlite3.connect(tmp_path / "zonecut.db")) as database:
        # as a crash leaves it between the zone and the ledger
        database.execute("UPDATE changes SET state = 'accepted'")
        database.commit()
    await _served_until(tmp_path, NOW - 1_000_000)
    async with site(tmp_path) as here:
        assert await here.zone.writer.drain(5)
        await asyncio.sleep(0.2)
        assert await here.served() == ns_of(CHILD, A, B)
        assert (await here.store.changes.list(child=CHILD))[0].state is ChangeState.APPLIED


async def _recorded(here: Site) -> int:
    """The serial that the store has of the zone, once that is the zone's."""
    async with asyncio.timeout(5):
        while True:
            seen = await here.store.serials.last(ZONE)
            if seen is not None and seen.serial == await here.backend.serial():
                return seen.serial
            await asyncio.sleep(0.05)


async def _latest(here: Site) -> StoredChange:
    (latest,) = await here.store.changes.list(limit=1)
    return latest


@pytest.mark.parametrize(
    ("boot", "written", "held"),
    [
        ("the next", True, True),
        ("the next", False, False),
        # the daemon alone was killed: whatever others write is judged by what they wrote
        ("the first", True, False),
    ],
)
async def test_what_waited_is_not_written_onto_a_zone_that_was_written_while_the_machine_was_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot: str, written: bool, held: bool
) -> None:
    """B waited when the disk was saved; it was added and removed since, as the serial alone tells."""
    async with site(tmp_path, boot="the first") as here:
        pair = await here.trust(CHILD)
        assert await ask(here, A) == Rcode.NOERROR
        serial = await _recorded(here)
        await leave_waiting(here, monkeypatch, A, B)
    zone_file = tmp_path / "parent.zone"
    if written:
        text = zone_file.read_text()
        zone_file.write_text(text.replace(f" {serial} ", f" {serial + 2} "))
        assert zone_file.read_text() != text
    async with site(tmp_path, boot=boot) as here:
        here.pairs[CHILD], here.clock.now = pair, NOW + 50
        old = here.signed(*replace_ns(CHILD, C))
        here.clock.now = NOW + 100
        assert await here.zone.writer.drain(5)
        async with asyncio.timeout(5):
            while (change := await _latest(here)).state is ChangeState.ACCEPTED:  # noqa: ASYNC110 (it is looked for)
                await asyncio.sleep(0.05)
        if not held:
            assert change.state is ChangeState.APPLIED
            assert await here.served() == ns_of(CHILD, A, B)
            return
        assert change.state is ChangeState.HELD
        assert change.reason is not None
        assert f"the zone has the serial {serial + 2} where {serial} was seen last" in change.reason
        assert await here.served() == ns_of(CHILD, A)
        assert (await here.ask(old)).rcode == Rcode.BADTIME
        # it counts once it is asked for anew, and is not in doubt any more
        here.clock.now = NOW + 1000
        assert await ask(here, A, B) == Rcode.NOERROR
        assert await here.served() == ns_of(CHILD, A, B)
        assert await _recorded(here)
    async with site(tmp_path, boot="a third") as here:
        here.pairs[CHILD] = pair
        assert (await here.ask(old)).rcode == Rcode.BADTIME  # it does not wear off
