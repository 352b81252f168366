"""A zone as it was transferred last, in a temporary database on disk: its records by name, and who names a host."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import aclosing

from zonecut.plugin import BackendError, BackendUnavailable, Reading
from zonecut.plugin.branches import BranchReader, ChildFilter
from zonecut.plugin.spool import place
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.delegation import TYPES
from zonecut.protocol.rrset import ResourceRecord
from zonecut.protocol.sig0 import later
from zonecut_bind.increments import Difference, serial_of
from zonecut_bind.transfer import Transfer

_LOG = logging.getLogger("zonecut.bind")

_CACHE_KIB = 4096
_FOR_PROOF = 10.0
"""Seconds for which a whole zone is waited for at most."""
_BACK_AT_FIRST = 5.0
"""Seconds; it doubles each time that a serial goes back again."""
_NS, _SOA = int(RRType.NS), int(RRType.SOA)
_COLUMNS = "owner, rtype, ttl, rdata"
_OF_DELEGATIONS = f"rtype IN ({', '.join(str(int(rtype)) for rtype in TYPES)})"


class Mirror:
    """Of one zone. It is brought up to date by `refresh`; what it is asked then is of one moment."""

    def __init__(
        self,
        zone: bytes,
        transfer: Callable[[], Transfer],
        longest: float,
        *,
        patience: float = 1.5,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`longest`: after so many seconds it is made anew, whatever serials and incremental transfers say.

        `patience`: for so many seconds somebody waits for a transfer: less than the answer to a child may take.
        """
        self._zone = zone
        self._transfer = transfer
        self._longest = longest
        self._patience = patience
        self._monotonic = monotonic
        self._database: sqlite3.Connection | None = None
        self._serial: int | None = None
        self._made = float("-inf")
        self._took = 0.0
        self._renewed_at = float("-inf")
        self._renewing: asyncio.Task[None] | None = None
        self._trouble: str | None = None
        self._back_at = float("-inf")
        """When it was last made anew because the serial went back, and for how many seconds that has to do."""
        self._back_for = 0.0

    def close(self) -> None:
        renewing, self._renewing = self._renewing, None
        if renewing is not None:
            renewing.cancel()
        self._drop()

    def _drop(self) -> None:
        if self._database is not None:
            self._database.close()
        self._database = self._serial = None

    async def refresh(
        self,
        serial: int,
        not_before: float = float("-inf"),
        *,
        asked: float = float("inf"),
        patiently: bool = False,
    ) -> None:
        """Have it show the zone with this serial or a later one. Raises BackendError.

        Where a transfer takes longer than anybody waits, that is BackendUnavailable, and the transfer goes on.
        `not_before`: it is as the zone was then or later, whatever the serial says. `asked`: when the server was asked
        for the serial; both on the clock of `monotonic`. `patiently`: wait as long as it takes.
        """
        until = self._monotonic() + self._patience_for(not_before)
        while not self._shows(serial, not_before, asked):
            task, is_ours = self._renewing, False
            if task is None:
                is_ours = True
                task = self._renewing = asyncio.create_task(self._renew(serial, not_before))
                task.add_done_callback(self._renewed)
            await asyncio.wait([task], timeout=None if patiently else max(until - self._monotonic(), 0.0))
            if not task.done():
                raise BackendUnavailable(
                    f"a transfer of {names.to_text(self._zone)} is under way, and takes longer than an answer may wait"
                )
            if task.cancelled():
                raise BackendUnavailable(f"the transfer of {names.to_text(self._zone)} was given up")
            task.result()
            if is_ours:
                return

    def _shows(self, serial: int, not_before: float, asked: float) -> bool:
        if self._database is None or self._serial is None or self._is_old(not_before):
            return False
        if serial == self._serial:
            return True
        # it was brought up to date since; or one of several servers lags, and it was that one which was asked
        known = asked < self._renewed_at or self._monotonic() < self._back_at + self._back_for
        return known and later(self._serial, serial)

    def _patience_for(self, not_before: float) -> float:
        """Who needs proof has the whole zone transferred: where that takes its time, nothing else would ever do."""
        return self._patience if not_before == float("-inf") else max(self._patience, min(2 * self._took, _FOR_PROOF))

    def _is_old(self, not_before: float) -> bool:
        return self._monotonic() - self._made > self._longest or self._made < not_before

    def _renewed(self, task: "asyncio.Task[None]") -> None:
        if self._renewing is task:
            self._renewing = None
        if task.cancelled():
            return
        error = task.exception()
        trouble = error.reason if isinstance(error, BackendError) else None
        if trouble is not None and trouble != self._trouble:
            _LOG.warning("%s cannot be brought up to date: %s", names.to_text(self._zone), trouble)
        self._trouble = trouble

    async def _renew(self, serial: int, not_before: float) -> None:
        known, is_back = self._serial, False
        if self._database is not None and known is not None and not self._is_old(not_before):
            is_back = not later(serial, known)
            if not is_back and await self._follow():
                self._renewed_at = self._monotonic()
                return
        await self._make_anew()
        self._renewed_at = self._monotonic()
        if is_back:
            self._went_back(known, serial)

    def _went_back(self, known: int | None, serial: int) -> None:
        now = self._monotonic()
        again = now - self._back_at < self._longest
        self._back_for = min(2 * self._back_for if again else _BACK_AT_FIRST, self._longest)
        self._back_at = now
        _LOG.warning(
            "the serial of %s went back from %s to %d: it was put back, or one of several servers lags behind; it was "
            "transferred anew, with the serial %s, and the next time that it goes back not before %g s",
            names.to_text(self._zone), known, serial, self._serial, self._back_for,
        )  # fmt: skip

    async def _make_anew(self) -> None:
        began, transfer = self._monotonic(), self._transfer()
        database = _create()
        try:
            async with aclosing(transfer.everything()) as everything:
                async for records in everything:
                    rows = ((place(each.owner), *each) for each in records)
                    database.executemany("INSERT OR IGNORE INTO record VALUES (?, ?, ?, ?, ?)", rows)
            database.execute("CREATE INDEX named ON record (rdata) WHERE rtype = 2")
        except BaseException:
            database.close()
            raise
        self._drop()
        self._database, self._serial, self._made = database, transfer.serial, began
        self._took = self._monotonic() - began

    async def _follow(self) -> bool:
        """Bring it up to date by what has changed; False where that cannot be told, or does not fit."""
        try:
            differences = await self._transfer().since(self._soa())
        except (BackendError, ValueError):
            return False  # not every server takes such a question; what is wrong with it the whole zone tells
        if differences is None:
            return False
        try:
            for difference in differences:
                self._apply(difference)
            self._serial = serial_of(self._soa())
        except ValueError:
            # it shows something else than the server had, and part of the differences
            self._drop()
            return False
        return True

    def _soa(self) -> ResourceRecord:
        """Raises ValueError where there is not exactly one."""
        (soa,) = (each for each in self.at([self._zone]) if each.rtype == _SOA)
        return soa

    def _apply(self, difference: Difference) -> None:
        """Raises ValueError where a record is to go that is not there."""
        database = self._open()
        for each in difference.removed:
            key = (place(each.owner), each.rtype, each.rdata)
            if not database.execute("DELETE FROM record WHERE place = ? AND rtype = ? AND rdata = ?", key).rowcount:
                raise ValueError(f"{names.to_text(each.owner)} has no such record")
        rows = ((place(each.owner), *each) for each in difference.added)
        database.executemany("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?)", rows)

    def read(self, child: bytes) -> Reading:
        """What the zone holds for a name below its apex."""
        top = self.topmost_cut((*names.between(child, self._zone), child)) or child
        chosen, reader = ChildFilter(child), BranchReader(self._zone)
        first = place(top)
        # all that lies below begins with the same octets, of which the last is a zero
        query = f"SELECT {_COLUMNS} FROM record WHERE place >= ? AND place < ? AND {_OF_DELEGATIONS} ORDER BY place"  # noqa: S608
        for row in self._open().execute(query, (first, first[:-1] + b"\1")):
            for branch in reader.feed([ResourceRecord(*row)]):
                chosen.take(branch)
        for branch in reader.finish():
            chosen.take(branch)
        return chosen.reading()

    def topmost_cut(self, above: Iterable[bytes]) -> bytes | None:
        """The first of these names at which the zone has NS."""
        return next((name for name in above if any(each.rtype == _NS for each in self.at([name]))), None)

    def at(self, owners: Collection[bytes]) -> Sequence[ResourceRecord]:
        """All records at these names."""
        query = f"SELECT {_COLUMNS} FROM record WHERE place = ?"  # noqa: S608
        database = self._open()
        return [ResourceRecord(*row) for owner in owners for row in database.execute(query, (place(owner),))]

    def naming(self, host: bytes, most: int) -> tuple[bytes, ...]:
        """Owners of NS records that name a host, the apex first; at most so many."""
        query = "SELECT owner FROM record WHERE rtype = 2 AND rdata = ? ORDER BY length(place) > ?, place LIMIT ?"
        found = self._open().execute(query, (host, len(place(self._zone)), most))
        return tuple(owner for (owner,) in found)

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            raise BackendUnavailable(f"{names.to_text(self._zone)} has not been transferred yet")
        return self._database


def _create() -> sqlite3.Connection:
    # no name: a temporary file, unlinked at once
    database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
    database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA synchronous = OFF")
    database.execute(
        "CREATE TABLE record (place BLOB, owner BLOB, rtype INTEGER, ttl INTEGER, rdata BLOB,"
        " PRIMARY KEY (place, rtype, rdata)) WITHOUT ROWID"
    )
    database.execute("BEGIN")
    return database
