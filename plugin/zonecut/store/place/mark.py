"""A mark outside of the database: how far the store had got. One that has not got so far was restored from a backup.

The mark is a small file beside the SQLite file. It names the newest entry of the audit trail that was durable, since
whatever a store decides leaves an entry there in the same transaction. It is written after what it tells of is on the
disk, and never tells more: a crash leaves a mark that is too old, which says nothing against the store. It is on the
disk itself before it takes the place of an older one, so that no power cut leaves an empty one; it bears the name of
the store (see `naming`), which without it is a copy of unknown age; and it says which file it was written into, so that
one that was put back together with its store, as from a backup of the whole directory, is known for a copy, too.
"""

import fcntl
import json
import os
import stat
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from zonecut.store import tables, timestamps

_MOST_OCTETS = 1000
_GET_VERSION = 0x80087601
"""FS_IOC_GETVERSION of Linux on 64 bits: the generation of an inode, another one each time its number is used again."""
_END_OF_TIME = 2.0**37
"""In seconds since the epoch: what is later has no date of four digits."""
_AUDIT = tables.audit
_NEWEST = select(_AUDIT.c.id, _AUDIT.c.at).order_by(_AUDIT.c.id.desc()).limit(1)


@dataclass(frozen=True, slots=True)
class Mark:
    """The newest entry of an audit trail: its number, and when it was recorded, in seconds since the epoch.

    `file` is the inode of the SQLite file that held it, where that is known: its device may have another number after
    each boot. `store` is the name of the store; None in a mark that an older version has written. `generation`: how far
    the SQLite file had got without its `-wal`, see `placing`; None where that is not known. `copied`: it was read from
    another file than it was written into.
    """

    entry: int
    at: float
    file: int | None = None
    store: str | None = None
    generation: int | None = None
    copied: bool = False


NOTHING = Mark(0, 0.0)
"""The mark of a store whose audit trail is empty."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What shows that a store is not the one that was here: the mark, and how far the store has got.

    `mark` is None where a store that has had one came without it, to `path`, or with a copy of it: `copied`. `another`:
    the mark is one of another store.
    """

    mark: Mark | None
    newest: Mark
    path: Path
    another: bool = False
    copied: bool = False

    @property
    def reason(self) -> str:
        """A sentence that says what is wrong, and what an operator does about it."""
        has = f"ends at {timestamps.to_text(self.newest.at)}" if self.newest.entry else "is empty"
        if self.copied:
            shown = (
                f"its mark {self.path} is a copy that came here together with it, from a backup or from elsewhere, so "
                f"that nothing tells how old they are (its audit trail {has});"
            )
        elif self.mark is None:
            shown = (
                f"its mark {self.path} is not there or cannot be read, so that nothing tells how old it is (its audit "
                f"trail {has});"
            )
        elif self.another:
            shown = (
                f"the mark {self.path} is one of another store, which was used until "
                f"{timestamps.to_text(self.mark.at)}, and the audit trail of this one {has};"
            )
        else:
            if self.newest.entry >= self.mark.entry:
                has = "has gone another way since"
            shown = f"it was used until {timestamps.to_text(self.mark.at)}, and its audit trail {has};"
        return (
            f"the store was restored from a backup: {shown} nothing is accepted until an operator has run zonecut "
            "store check, and then zonecut store accept"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "used_until": timestamps.to_text(self.mark.at) if self.mark else None,
            "entry": self.mark.entry if self.mark else None,
            "reaches_until": timestamps.to_text(self.newest.at) if self.newest.entry else None,
            "newest_entry": self.newest.entry,
        }


def newest(connection: Connection) -> Mark:
    """How far a store has got."""
    row = connection.execute(_NEWEST).one_or_none()
    return NOTHING if row is None else Mark(row.id, row.at)


def holds(connection: Connection, mark: Mark | None) -> bool:
    """Whether a store holds all that a mark tells of; True where there is none."""
    if mark is None or not mark.entry:
        return True
    at = connection.execute(select(_AUDIT.c.at).where(_AUDIT.c.id == mark.entry)).scalar_one_or_none()
    return bool(at == mark.at)


class MarkFile:
    """The file that holds the mark of a SQLite store.

    Its name begins with a dot: `rm zonecut.db*` before a backup is put back takes the `-wal` with it, and not the mark.
    """

    def __init__(self, store: Path) -> None:
        store = store.resolve()
        self.path = store.with_name(f".{store.name}.mark")

    def read(self) -> Mark | None:
        """The mark; None where there is none, or none that can be read."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            # anything else, such as a pipe, might be waited for
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            return _parse(os.read(descriptor, _MOST_OCTETS), _self(descriptor))
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def write(self, mark: Mark, *, lasting: bool = False) -> None:
        """Put another mark in place of the one that is there, in one step. Raises OSError.

        Whatever comes, one of the two is there, whole. With `lasting` it is this one: where there was none before.
        """
        # under a name of its own: a command may write one at the same time
        descriptor, name = tempfile.mkstemp(prefix=f"{self.path.name}.", dir=self.path.parent)
        new = Path(name)
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(_document(mark, _self(file.fileno())), file)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
            if lasting:
                _sync(self.path.parent)
        except OSError:
            with suppress(OSError):
                new.unlink()
            raise


def _self(descriptor: int) -> list[int]:
    """What tells an open file from every copy of it: its inode, and the generation of that where it has one."""
    identity = [os.fstat(descriptor).st_ino]
    with suppress(OSError):
        generation = fcntl.ioctl(descriptor, _GET_VERSION, bytes(8))
        identity.append(int.from_bytes(generation[:4], sys.byteorder))
    return identity


def _document(mark: Mark, written_into: list[int]) -> dict[str, Any]:
    return {
        "entry": mark.entry,
        "at": mark.at,
        "file": mark.file,
        "store": mark.store,
        "generation": mark.generation,
        "self": written_into,
    }


def _parse(octets: bytes, found_in: list[int]) -> Mark | None:
    """The mark in a file; None where it is not what `write` makes."""
    try:
        document = json.loads(octets)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    entry, at, file = (document.get(name) for name in ("entry", "at", "file"))
    if isinstance(entry, bool) or not isinstance(entry, int) or not 0 <= entry < 2**63:
        return None
    if not isinstance(at, int | float) or not 0 <= at < _END_OF_TIME:
        return None
    if file is not None and (not isinstance(file, int) or not 0 <= file < 2**64):
        return None
    # a mark of an older version does not say into which file it was written
    store, generation, written_into = document.get("store"), document.get("generation"), document.get("self", [])
    if not isinstance(store, str | None) or not isinstance(generation, int | None):
        return None
    if not isinstance(written_into, list):
        return None
    copied = any(said != found for said, found in zip(written_into, found_in, strict=False))
    return Mark(entry, float(at), file, store, generation, copied)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
