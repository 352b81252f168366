"""A mark outside of the database: how far the store had got. One that has not got so far was restored from a backup.

The mark is a small file beside the SQLite file. It names the newest entry of the audit trail that was durable, since
whatever a store decides leaves an entry there in the same transaction. It is written after what it tells of is on the
disk, and never tells more: a crash leaves a mark that is too old, which says nothing against the store. It is on the
disk itself before it takes the place of an older one, so that no power cut leaves an empty one; and it bears the name
of the store (see `naming`), which without it is a copy of unknown age.
"""

import json
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from zonecut.store import tables, timestamps

_MOST_OCTETS = 1000
_END_OF_TIME = 2.0**37
"""In seconds since the epoch: what is later has no date of four digits."""
_AUDIT = tables.audit
_NEWEST = select(_AUDIT.c.id, _AUDIT.c.at).order_by(_AUDIT.c.id.desc()).limit(1)


@dataclass(frozen=True, slots=True)
class Mark:
    """The newest entry of an audit trail: its number, and when it was recorded, in seconds since the epoch.

    `file` is the inode of the SQLite file that held it, where that is known: its device may have another number after
    each boot. `store` is the name of the store; None in a mark that an older version has written. `generation`: how far
    the SQLite file had got without its `-wal`, see `placing`; None where that is not known.
    """

    entry: int
    at: float
    file: int | None = None
    store: str | None = None
    generation: int | None = None


NOTHING = Mark(0, 0.0)
"""The mark of a store whose audit trail is empty."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What shows that a store is not the one that was here: the mark, and how far the store has got.

    `mark` is None where a store that has had one came without, to `path`; `another`: the mark is one of another store.
    """

    mark: Mark | None
    newest: Mark
    path: Path
    another: bool = False

    @property
    def reason(self) -> str:
        """A sentence that says what is wrong, and what an operator does about it."""
        has = f"ends at {timestamps.to_text(self.newest.at)}" if self.newest.entry else "is empty"
        if self.mark is None:
            shown = (
                f"its mark {self.path} is not there or cannot be read, so that nothing tells how old it is (its audit "
                f"trail {has}); where it was moved here while no zonecut ran, put that file beside it as well, else"
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
            return _parse(os.read(descriptor, _MOST_OCTETS)) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
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
                json.dump(asdict(mark), file)
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


def _parse(octets: bytes) -> Mark | None:
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
    store, generation = document.get("store"), document.get("generation")
    if not isinstance(store, str | None) or not isinstance(generation, int | None):
        return None
    return Mark(entry, float(at), file, store, generation)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
