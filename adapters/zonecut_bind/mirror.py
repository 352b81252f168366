"""A zone as it was transferred last, in a temporary database on disk: its records by name, and who names a host."""

import asyncio
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
from zonecut_bind.increments import Difference, serial_of
from zonecut_bind.transfer import Transfer

_CACHE_KIB = 4096
_NS, _SOA = int(RRType.NS), int(RRType.SOA)
_COLUMNS = "owner, rtype, ttl, rdata"
_OF_DELEGATIONS = f"rtype IN ({', '.join(str(int(rtype)) for rtype in TYPES)})"


class Mirror:
    """Of one zone. It is brought up to date by `refresh`; what it is asked then is of one moment."""

    def __init__(self, zone: bytes, transfer: Callable[[], Transfer], longest: float) -> None:
        """`longest`: after so many seconds it is made anew, whatever serials and incremental transfers say."""
        self._zone = zone
        self._transfer = transfer
        self._longest = longest
        self._database: sqlite3.Connection | None = None
        self._serial: int | None = None
        self._made = float("-inf")
        self._lock = asyncio.Lock()

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
        self._database = self._serial = None

    async def refresh(self, serial: int, not_before: float = float("-inf")) -> None:
        """Have it show the zone with this serial or a later one. Raises BackendUnavailable.

        `not_before`: it is as the zone was then or later, whatever the serial says; on the clock of `time.monotonic`.
        """
        async with self._lock:
            is_old = time.monotonic() - self._made > self._longest or self._made < not_before
            if self._database is not None and not is_old and (serial == self._serial or await self._follow()):
                return
            began, transfer = time.monotonic(), self._transfer()
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
            self.close()
            self._database, self._serial, self._made = database, transfer.serial, began

    async def _follow(self) -> bool:
        """Bring it up to date by what has changed; False where that cannot be told, or does not fit."""
        (soa,) = (each for each in self.at([self._zone]) if each.rtype == _SOA)
        try:
            differences = await self._transfer().since(soa)
        except BackendError:
            return False  # not every server takes such a question; what is wrong with it the whole zone tells
        if differences is None:
            return False
        try:
            for difference in differences:
                self._apply(difference)
            (soa,) = (each for each in self.at([self._zone]) if each.rtype == _SOA)
        except ValueError:
            # it shows something else than the server had, and part of the differences
            self.close()
            return False
        self._serial = serial_of(soa)
        return True

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
