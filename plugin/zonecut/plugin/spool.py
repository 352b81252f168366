"""A zone's records in canonical order, in bounded memory: the server lists them in an order of its own.

They are sorted in a temporary database of SQLite, which keeps on disk what is too much, and is gone when it is closed.
"""

import sqlite3
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from types import TracebackType
from typing import Self

from zonecut.protocol import names
from zonecut.protocol.rrset import ResourceRecord

_CACHE_KIB = 4096
_CHUNK = 1000


class Spool:
    """Records go in as they come, and out in canonical order of their owners. To be used from one task at a time."""

    def __init__(self) -> None:
        # no name: a temporary file, unlinked at once
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE record (place BLOB, owner BLOB, rtype INTEGER, ttl INTEGER, rdata BLOB)")
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._database.close()

    def put(self, records: Iterable[ResourceRecord]) -> None:
        """Take records."""
        rows = ((place(record.owner), *record) for record in records)
        self._database.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?)", rows)

    def sorted(self) -> Generator[Sequence[ResourceRecord], None, None]:
        """All records in canonical order (RFC 4034 section 6.1), some at a time; to be closed before the spool is."""
        # The rows are sorted with their contents, in runs that SQLite writes to disk; an index would hop through them.
        with closing(self._database.execute("SELECT owner, rtype, ttl, rdata FROM record ORDER BY place")) as rows:
            while found := rows.fetchmany(_CHUNK):
                yield [ResourceRecord(*row) for row in found]


def place(name: bytes) -> bytes:
    """Octets that sort as the name does in canonical order."""
    return b"".join(
        label.replace(b"\1", b"\1\2").replace(b"\0", b"\1\1") + b"\0" for label in reversed(names.labels(name))
    )
