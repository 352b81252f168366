"""The serial of a zone after a change: one that stays is told, for secondaries never come."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from zonecut.plugin import Backend
from zonecut.protocol import names
from zonecut.receiver.change import serials
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.change.ordering import ChildOrder
from zonecut.receiver.change.serials import Serials
from zonecut.receiver.outcome import APPLIED, Outcome
from zonecut.store import Store, ZoneSerial

ZONE = names.from_text("parent.example.")


class Numbered:
    """A server of which nothing but the serial is asked; it shows these, and then the last one."""

    def __init__(self, *shown: int | None) -> None:
        self._shown: Iterator[int | None] = iter(shown)
        self.last: int | None = None

    async def serial(self) -> int | None:
        self.last = next(self._shown, self.last)
        return self.last


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        ((7, 8), False),
        ((7, 7, 8), False),  # a signer takes its time
        ((7, 7, 7), True),
        ((7, 3, 3), True),  # a lower one is none that secondaries fetch, either
        ((7, 3, 8), False),
        ((2**32 - 1, 0), False),  # RFC 1982
        ((None,), False),
    ],
)
async def test_a_serial_that_stays_after_a_change_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: tuple[int | None, ...], told: bool
) -> None:
    monkeypatch.setattr(serials, "SETTLING", 0.01)
    monkeypatch.setattr(serials, "SIGNING", 0.01)
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        ledger = Ledger(store, ZONE, "this boot")
        kept = Serials(ZONE, cast(Backend, Numbered(*shown)), ledger, ChildOrder(ledger))
        await kept.begin()
        with capture_logs() as logs:
            task = asyncio.create_task(kept.run())
            await asyncio.sleep(0.3)
            kept.written()
            await asyncio.sleep(0.3)
            task.cancel()
        stays = [each for each in logs if each["event"] == "zone.serial.stays"]
        assert bool(stays) is told
        if told:
            assert stays[0]["reason"] == (
                f"it is 7 before and {shown[-1]} after a change: secondaries do not fetch the zone"
            )


async def test_whoever_ends_the_looks_ends_no_change_and_a_defect_ends_no_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They run beside the writer, and are begun anew with it, while what was taken up again waits for the server."""
    monkeypatch.setattr(serials, "PERIOD", 0.01)

    class Faulty(Numbered):
        async def serial(self) -> int | None:
            if self.last is None:
                self.last = 7
                raise ZeroDivisionError
            return await super().serial()

    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        ledger = Ledger(store, ZONE, "this boot")
        kept = Serials(ZONE, cast(Backend, Faulty(8)), ledger, ChildOrder(ledger))
        await kept.begin()
        waits: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        kept.expect(waits)
        task = asyncio.create_task(kept.run())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not waits.done()
        waits.set_result(APPLIED)
        with capture_logs() as logs:
            task = asyncio.create_task(kept.run())
            await asyncio.sleep(0.3)
            task.cancel()
        assert [each["event"] for each in logs] == ["zone.serial.defect"]
        assert (await store.serials.last(ZONE)) == ZoneSerial(ZONE, 8, "this boot")
