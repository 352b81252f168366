"""The Backend interface over the files of a parent zone and the command that loads it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from zonecut.plugin import Backend, BackendContext, Change, Host, Reading
from zonecut.plugin.threads import to_its_end
from zonecut.protocol.rrset import RRset
from zonecut_zonefile.options import ZonefileOptions
from zonecut_zonefile.parent import ParentZone
from zonecut_zonefile.reload import run_reload

_CHUNK = 500


class ZonefileBackend(Backend):
    """A parent zone kept in a master file. The work on files is done in threads.

    A reload command that fails makes `write` raise BackendUnavailable although the files are written; the reload is
    owed from then on, and the next `write` or `verify` runs the command again before anything is called applied.
    """

    def __init__(self, context: BackendContext, options: ZonefileOptions) -> None:
        self._options = options
        self._parent = ParentZone(context, options.zone_file, options.directory)

    async def open(self) -> None:
        await asyncio.to_thread(self._parent.open)

    async def close(self) -> None:
        """Nothing is held open between operations."""

    async def read(self, child: bytes) -> Reading:
        return await asyncio.to_thread(self._parent.reading, child)

    def batch(self, changes: Sequence[Change]) -> int:
        """All of them: a file has no limit."""
        return len(changes)

    async def write(self, changes: Sequence[Change]) -> None:
        await to_its_end(self._parent.commit, changes)
        await self._reload()

    async def verify(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        await self._reload()
        return await asyncio.to_thread(self._parent.missing, changes)

    async def hosts(self, hosts: Sequence[bytes]) -> Mapping[bytes, Host]:
        return await asyncio.to_thread(self._parent.hosts, hosts)

    async def children(self) -> AsyncIterator[Reading]:
        cuts = await asyncio.to_thread(self._parent.cuts)
        for start in range(0, len(cuts), _CHUNK):
            for reading in await asyncio.to_thread(self._parent.readings, cuts[start : start + _CHUNK]):
                yield reading

    async def read_rrsets(self, names: Sequence[bytes]) -> tuple[RRset, ...]:
        return await asyncio.to_thread(self._parent.rrsets, names)

    async def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        await to_its_end(self._parent.replace_rrsets, before, after)
        await self._reload()

    async def _reload(self) -> None:
        if not self._parent.reload_owed:
            return
        self._parent.reload_owed = False
        if self._options.reload is not None:
            try:
                await asyncio.to_thread(run_reload, self._options.reload, self._options.reload_timeout)
            except BaseException:
                self._parent.reload_owed = True
                raise
