"""Which children a server has listed, in bounded memory: a temporary database of SQLite, which keeps them on disk."""

import sqlite3
from collections.abc import Iterable
from types import TracebackType
from typing import Self

_CACHE_KIB = 4096


class Listed:
    """A set of names that may be larger than memory. Use it with `with`."""

    def __init__(self) -> None:
        # no name: a temporary file, unlinked at once
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE listed (child BLOB PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def add(self, children: Iterable[bytes]) -> None:
        self._database.executemany("INSERT OR IGNORE INTO listed VALUES (?)", ((child,) for child in children))

    def missing(self, children: Iterable[bytes]) -> list[bytes]:
        """Those that were not added."""
        return [child for child in children if not self._has(child)]

    def _has(self, child: bytes) -> bool:
        return self._database.execute("SELECT 1 FROM listed WHERE child = ?", (child,)).fetchone() is not None
