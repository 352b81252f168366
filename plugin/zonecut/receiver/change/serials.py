"""Whether a parent zone was written while this machine was not there to know: by its serial, at the first change.

A restart of the daemon, a crash included, says nothing of that kind: what waits is conditional, and goes on. But where
the machine was started anew, its disk may have been put back to an earlier state, as by a snapshot: what waits in the
ledger may have been written and undone since, without a trace in the zone but its serial.
"""

import asyncio
from contextlib import suppress

import structlog

from zonecut.plugin import Backend, BackendError
from zonecut.protocol import names
from zonecut.protocol.sig0 import later
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.change.ordering import ChildOrder
from zonecut.receiver.outcome import Outcome
from zonecut.receiver.trouble import Trouble
from zonecut.store import StoreUnavailable, ZoneSerial

SETTLING = 1.0
"""Seconds between a change and the look at the serial that it has left: others share that look."""
PERIOD = 60.0
"""Seconds between two looks at a zone in which nothing is written by us."""
SIGNING = 5.0
"""Seconds that a signer may take to raise the serial, before it is looked at again whether it stays."""

_log = structlog.get_logger(__name__)


class Serials:
    """Of one parent zone. `run` it in a task while its backend is open."""

    def __init__(self, zone: bytes, backend: Backend, ledger: Ledger, order: ChildOrder) -> None:
        self._zone = zone
        self._backend = backend
        self._ledger = ledger
        self._order = order
        self._known: ZoneSerial | None = None
        self._compared = False
        self._doubt: str | None = None
        self._resumed: list[asyncio.Future[Outcome]] = []
        self._due = asyncio.Event()
        self._written = False
        self._stays = Trouble("zone.serial.stays", zone=names.to_text(zone))
        self._unrecorded = Trouble("zone.serial.unrecorded", zone=names.to_text(zone))

    async def begin(self) -> None:
        """Before anything is written. Raises StoreUnavailable."""
        self._known = await self._ledger.last_serial()

    def expect(self, settled: "asyncio.Future[Outcome]") -> None:
        """A change was taken up again that an earlier process had accepted: the old serial counts until it ends."""
        self._resumed.append(settled)

    async def doubt(self) -> str | None:
        """Why what was taken up again is not to be written unless it is asked for anew; None where nothing speaks
        against that.

        It is to be asked before the first write. Raises BackendError, StoreUnavailable.
        """
        if not self._compared:
            self._doubt = await self._compare()
            self._compared = True
        return self._doubt

    async def _compare(self) -> str | None:
        known, boot = self._known, self._ledger.boot
        if known is None or boot in ("", known.boot) or not self._resumed:
            return None
        serial = await self._backend.serial()
        if serial in (None, known.serial):
            return None
        self._order.floor = max(await self._ledger.distrust(), self._order.floor or 0.0)
        _log.error("zone.written-since", zone=names.to_text(self._zone), known=known.serial, serial=serial)
        return (
            f"this machine was started anew, and the zone has the serial {serial} where {known.serial} was seen last: "
            "if the disk was put back to an earlier state, this may have been written and undone since"
        )

    def written(self) -> None:
        """We have changed the zone."""
        self._written = True
        self._due.set()

    def stayed(self, serial: int) -> None:
        """The zone was seen to change, and its serial did not: it is told as where it does not rise with a write."""
        self._stays.again(f"it is {serial} before and after a change: secondaries do not fetch the zone")

    async def run(self) -> None:
        """Record the zone's serial until cancelled, and tell where it does not rise with what is written."""
        if self._resumed:
            # not gathered: whoever ends this task ends none of the changes
            await asyncio.wait(self._resumed)
        while True:
            try:
                await self._look()
            except BackendError:
                pass  # its health tells
            except Exception:
                # a defect of an adapter: nobody stops writing since nobody counts
                _log.exception("zone.serial.defect", zone=names.to_text(self._zone))
            with suppress(TimeoutError):
                async with asyncio.timeout(PERIOD):
                    await self._due.wait()
                await asyncio.sleep(SETTLING)
            self._due.clear()

    async def _look(self) -> None:
        written, self._written = self._written, False
        serial = await self._backend.serial()
        if serial is None:
            return
        known = self._known
        rises = True
        if written and known is not None and known.boot == self._ledger.boot and not later(serial, known.serial):
            await asyncio.sleep(SIGNING)
            serial = await self._backend.serial()
            rises = serial is None or later(serial, known.serial)
            if not rises:
                self._stays.again(
                    f"it is {known.serial} before and {serial} after a change: secondaries do not fetch the zone"
                )
        if written and rises:
            self._stays.over()
        if serial is None or (known is not None and (serial, self._ledger.boot) == (known.serial, known.boot)):
            return
        seen = ZoneSerial(self._zone, serial, self._ledger.boot)
        try:
            await self._ledger.note_serial(seen)
            self._known = seen
            self._unrecorded.over()
        except StoreUnavailable as error:
            self._unrecorded.again(error.reason)
