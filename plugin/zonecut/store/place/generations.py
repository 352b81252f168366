"""How far a SQLite file has got without its `-wal`: a number in its first page that only rises, see Marking.

It tells an older copy that was put beneath the `-wal` of a newer file before SQLite mixes them.
"""

import os
from pathlib import Path

_AT = 60
"""Where in a SQLite file its `user_version` stands (https://sqlite.org/fileformat2.html)."""
_OCTETS = 4


def read(descriptor: int) -> int | None:
    """The number in an open file; None where it cannot be read, or there is nothing in the file yet."""
    try:
        octets = os.pread(descriptor, _OCTETS, _AT)
    except OSError:
        return None
    return int.from_bytes(octets, "big", signed=True) if len(octets) == _OCTETS else None


def look(path: Path) -> int | None:
    """The same of a file that this process has not open: SQLite's locks on one that it has would be gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return read(descriptor)
    finally:
        os.close(descriptor)
