"""The Backend interface over the files of a parent zone, the command that loads it, and what is served then."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial

from zonecut.plugin import (
    Backend,
    BackendContext,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
    Host,
    Reading,
)
from zonecut.plugin.threads import to_its_end
from zonecut.protocol.rrset import RRset
from zonecut.protocol.sig0 import later
from zonecut_zonefile.checking import Check
from zonecut_zonefile.commands import run_reload
from zonecut_zonefile.options import ZonefileOptions
from zonecut_zonefile.parent import ParentZone, Written
from zonecut_zonefile.served import Served

_CHUNK = 500


class ZonefileBackend(Backend):
    """A parent zone kept in a master file. The work on files is done in threads.

    A reload command that fails makes `write` raise BackendUnavailable although the files are written; the reload is
    owed from then on, and the next `write` or `verify` runs the command again before anything is called applied. Where
    `dns` is set, nothing is called applied that is not served, and what the server does not load is taken back.
    """

    def __init__(self, context: BackendContext, options: ZonefileOptions) -> None:
        self._options = options
        check = Check(options.check, options.check_timeout, context.zone) if options.check else None
        self._parent = ParentZone(context, options.zone_file, options.directory, check)
        self._served = Served(context.zone, options.dns, options.served_within) if options.dns else None

    async def open(self) -> None:
        await asyncio.to_thread(self._parent.open)

    async def close(self) -> None:
        """Nothing is held open between operations."""

    async def read(self, child: bytes) -> Reading:
        return await asyncio.to_thread(self._parent.reading, child)

    async def unchanged(self, readings: Sequence[Reading]) -> frozenset[bytes]:
        return await asyncio.to_thread(self._parent.unchanged, readings)

    def batch(self, changes: Sequence[Change]) -> int:
        """All of them: a file has no limit."""
        return len(changes)

    async def write(self, changes: Sequence[Change]) -> None:
        await self._carry_out(partial(self._parent.commit, changes))

    async def verify(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        await self._settle()
        return await asyncio.to_thread(self._parent.missing, changes)

    async def hosts(
        self, hosts: Sequence[bytes], *, not_before: float | None = None, shared: bool = False
    ) -> Mapping[bytes, Host]:
        return await asyncio.to_thread(self._parent.hosts, hosts)

    async def children(self) -> AsyncIterator[Reading]:
        cuts = await asyncio.to_thread(self._parent.cuts)
        for start in range(0, len(cuts), _CHUNK):
            for reading in await asyncio.to_thread(self._parent.readings, cuts[start : start + _CHUNK]):
                yield reading

    async def serial(self) -> int:
        return await asyncio.to_thread(self._parent.serial)

    async def read_rrsets(self, names: Sequence[bytes]) -> tuple[RRset, ...]:
        return await asyncio.to_thread(self._parent.rrsets, names)

    async def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        await self._carry_out(partial(self._parent.replace_rrsets, before, after))

    async def _carry_out(self, write: Callable[[], Written | None]) -> None:
        if self._served is None:
            await to_its_end(write)
            await self._reload()
            return
        before = await self._served.serial()
        serial = await asyncio.to_thread(self._parent.serial)
        # what is not loaded as it is says nothing about the change
        if self._parent.reload_owed or later(serial, before):
            self._parent.reload_owed = True
            await self._settle()
            before = await self._served.serial()
        written = await to_its_end(write)
        if written is None:
            return
        words = await self._reload_or_words()
        if not await self._served.follows(written.former_serial, before, written.serial):
            await self._take_back(self._served, written, words)

    async def _take_back(self, served: Served, written: Written, words: str) -> None:
        """Raises BackendRejected where the server loads the zone without the change, and BackendMisconfigured else."""
        before = await served.serial()
        serial = await to_its_end(self._parent.take_back, written)
        await self._reload_or_words()
        head = f"the server at {self._options.dns} does not serve the zone file within {served.within:g} s"
        if not await served.follows(written.serial, before, serial):
            self._parent.reload_owed = True
            raise BackendMisconfigured(f"{head}, with or without the change: see its log (reload said: {words})")
        raise BackendRejected(f"{head}, and it was taken back: see the server's log (reload said: {words})")

    async def _settle(self) -> None:
        """Do an owed reload. Where `dns` is set, raises BackendMisconfigured unless the file is then served."""
        if not self._parent.reload_owed:
            return
        await self._reload()
        if self._served is None:
            return
        serial = await asyncio.to_thread(self._parent.serial)
        if not await self._served.follows(serial, serial, serial):
            self._parent.reload_owed = True
            raise BackendMisconfigured(
                f"the server at {self._options.dns} does not serve {self._options.zone_file} as it stands, with the "
                f"serial {serial}: see its log"
            )

    async def _reload_or_words(self) -> str:
        """What the reload said, or why it failed: the server's DNS service tells what came of it."""
        try:
            return await self._reload()
        except BackendMisconfigured:
            raise
        except BackendUnavailable as error:
            return error.reason

    async def _reload(self) -> str:
        if not self._parent.reload_owed:
            return ""
        self._parent.reload_owed = False
        if self._options.reload is None:
            return ""
        try:
            return await asyncio.to_thread(run_reload, self._options.reload, self._options.reload_timeout)
        except BaseException:
            self._parent.reload_owed = True
            raise
