"""The Backend for Knot: the zone's work is done in one thread, one session on the control socket after the other."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

from zonecut.plugin import (
    Backend,
    BackendContext,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Change,
    Host,
    Reading,
)
from zonecut.plugin.branches import Branch, BranchReader, OutOfOrder
from zonecut.plugin.naming import Naming
from zonecut.plugin.threads import to_its_end
from zonecut.protocol import names
from zonecut.protocol.rrset import RRset
from zonecut_knot import library
from zonecut_knot.below import DeepCuts
from zonecut_knot.control import Connect
from zonecut_knot.knotc import KnotcControl
from zonecut_knot.library import LibraryControl
from zonecut_knot.note import Note
from zonecut_knot.options import Client, KnotOptions
from zonecut_knot.zone import Listing, Zone, records

_LOG = logging.getLogger("zonecut.knot")
_BATCH_RECORDS = 10_000
_CHUNK_RECORDS = 500

T = TypeVar("T")


class KnotBackend(Backend):
    """One parent zone on one knotd."""

    def __init__(self, context: BackendContext, options: KnotOptions) -> None:
        self._context = context
        self._options = options
        self._opened: tuple[Zone, ThreadPoolExecutor] | None = None
        self._rescanning: asyncio.Task[None] | None = None
        self._deep = DeepCuts(context.zone)
        self._naming = Naming(context.zone, self._apex, self._scan, self._cut, self.read)

    async def open(self) -> None:
        await self.close()
        # One thread: knotd serves one client at a time anyway, and a dead knotd holds up nobody else's threads.
        executor = ThreadPoolExecutor(1, thread_name_prefix="zonecut-knot")
        context, options = self._context, self._options
        note = Note(context.state, names.to_text(context.zone), options.socket)
        zone = Zone(self._connect(), context.zone, context.ttls, options.timeout, note)
        self._opened = zone, executor
        try:
            await self._in_turn(zone.check)
            await self._scan()
        except BaseException:
            await self.close()
            raise
        self._rescanning = asyncio.create_task(self._rescan())

    async def close(self) -> None:
        task, self._rescanning = self._rescanning, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        opened, self._opened = self._opened, None
        if opened is not None:
            # What is under way ends, within the time limit of an operation.
            await asyncio.to_thread(opened[1].shutdown)

    async def read(self, child: bytes) -> Reading:
        zone, _ = self._open()
        reading = await self._in_turn(partial(zone.reading, child))
        return replace(reading, nested=self._deep.below(child))

    async def unchanged(self, readings: Sequence[Reading]) -> frozenset[bytes]:
        zone, _ = self._open()
        known = [each for each in readings if each.nested == self._deep.below(each.delegation.child)]
        return await self._in_turn(partial(zone.unchanged, known))

    def batch(self, changes: Sequence[Change]) -> int:
        """knotd has no limit; ours is what a few tenths of a second carry out."""
        room = _BATCH_RECORDS
        for count, change in enumerate(changes):
            room -= len(change.before.records) + len(change.after.records)
            if room < 0:
                return max(count, 1)
        return max(len(changes), 1)

    async def write(self, changes: Sequence[Change]) -> None:
        zone, _ = self._open()
        try:
            await self._in_turn(partial(zone.write, changes))
        except BaseException:
            self._naming.doubt()
            raise
        await self._naming.wrote(changes)
        for change in changes:
            (self._deep.add if change.after.is_delegated else self._deep.discard)(change.child)

    async def verify(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        zone, _ = self._open()
        return await self._in_turn(partial(zone.missing, changes))

    async def hosts(
        self, hosts: Sequence[bytes], *, not_before: float | None = None, shared: bool = False
    ) -> Mapping[bytes, Host]:
        return await self._naming.hosts(hosts, not_before=not_before, shared=shared)

    async def children(self) -> AsyncGenerator[Reading, None]:
        """Every delegation of the zone, hidden ones and orphan glue included.

        The records are in a temporary file; in memory is one topmost delegation at a time, with what lies below it.
        """
        zone, _ = self._open()
        listing, _ = await self._in_turn(zone.spool)
        with listing:
            async for branch in self._branches(listing):
                for reading in branch.readings():
                    yield reading

    async def serial(self) -> int | None:
        return (await self._apex())[0]

    async def read_rrsets(self, names: Sequence[bytes]) -> tuple[RRset, ...]:
        zone, _ = self._open()
        return await self._in_turn(partial(zone.rrsets, names))

    async def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        zone, _ = self._open()
        self._naming.doubt()
        await self._in_turn(partial(zone.replace_rrsets, before, after))

    def _open(self) -> tuple[Zone, ThreadPoolExecutor]:
        if self._opened is None:
            raise BackendUnavailable("the adapter for knotd is not open")
        return self._opened

    async def _in_turn(self, work: Callable[[], T]) -> T:
        """Do this in the thread, after what waits there; BackendUnavailable if the turn does not come in time."""
        _, executor = self._open()
        limit = time.monotonic() + self._options.timeout

        def begun_in_time() -> T:
            if time.monotonic() > limit:
                raise BackendUnavailable(f"knotd at {self._options.socket} is busy: {self._options.timeout:g} s waited")
            return work()

        return await asyncio.get_running_loop().run_in_executor(executor, begun_in_time)

    def _connect(self) -> Connect:
        options, zone = self._options, names.to_text(self._context.zone)
        module = None if options.client is Client.KNOTC else library.load()
        if module is not None:
            return lambda: LibraryControl(module, options.socket, zone, options.timeout)
        if options.client is Client.LIBKNOT:
            raise BackendMisconfigured(
                "libknot cannot be loaded: install zonecut[knot] and Knot's library (Debian: libknot13 or later)"
            )
        if options.client is Client.AUTO:
            _LOG.warning("libknot is missing: each transaction takes a knotc process, and is slower")
        return lambda: KnotcControl(options.knotc, options.socket, zone, options.timeout)

    # Looking for delegations that a look at one name does not show

    async def _branches(self, listing: Listing) -> AsyncGenerator[Branch, None]:
        reader = BranchReader(self._context.zone)
        try:
            # parsing takes longer than receiving did; meanwhile others have the event loop and the socket
            while chunk := await to_its_end(records, listing, _CHUNK_RECORDS):
                for branch in reader.feed(chunk):
                    yield branch
            for branch in reader.finish():
                yield branch
        except OutOfOrder as error:
            raise BackendUnavailable(f"knotd lists the zone out of order: {error}") from error
        except OSError as error:
            raise BackendUnavailable(f"the temporary file with the zone cannot be read: {error}") from error

    async def _scan(self) -> None:
        zone, _ = self._open()
        listed = self._naming.begin()
        listing, serial = await self._in_turn(zone.spool)
        found = DeepCuts(self._context.zone)
        with listing:
            async for branch in self._branches(listing):
                _add(found, branch.cuts)
                listed.take(branch)
        self._deep = found
        zone.known_serial = serial
        self._naming.adopt(listed, int(serial) if serial.isdigit() else None)

    async def _apex(self) -> tuple[int | None, frozenset[bytes]]:
        zone, _ = self._open()
        return await self._in_turn(zone.apex)

    async def _cut(self, places: Sequence[bytes]) -> bytes | None:
        zone, _ = self._open()
        return await self._in_turn(partial(zone.cut, places))

    async def _rescan(self) -> None:
        zone, _ = self._open()
        while True:
            await asyncio.sleep(self._options.rescan)
            try:
                status = await self._in_turn(zone.status)
                if status.get("serial") != zone.known_serial:
                    await self._scan()
            except BackendError as error:
                _LOG.warning("looking for delegations of %s: %s", names.to_text(self._context.zone), error.reason)
            except Exception:
                # a defect is no reason not to look again
                _LOG.exception("looking for delegations of %s", names.to_text(self._context.zone))


def _add(found: DeepCuts, cuts: Iterable[bytes]) -> None:
    for cut in cuts:
        found.add(cut)
