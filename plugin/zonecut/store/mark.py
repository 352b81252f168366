"""A mark outside of the database: how far the store had got. One that has not got so far was restored from a backup.

The mark is a small file beside the SQLite file. It names the newest entry of the audit trail that was durable, since
whatever a store decides leaves an entry there in the same transaction. It is written after what it tells of is on the
disk, and never tells more: a crash leaves a mark that is too old, which says nothing against the store.
"""

import json
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from zonecut.store import tables, timestamps
from zonecut.store.errors import StoreUnusable
from zonecut.store.lock import holder

_MOST_OCTETS = 1000
_END_OF_TIME = 2.0**37
"""In seconds since the epoch: what is later has no date of four digits."""
_AUDIT = tables.audit
_NEWEST = select(_AUDIT.c.id, _AUDIT.c.at).order_by(_AUDIT.c.id.desc()).limit(1)


@dataclass(frozen=True, slots=True)
class Mark:
    """The newest entry of an audit trail: its number, and when it was recorded, in seconds since the epoch.

    `file` is the inode of the SQLite file that held it, where that is known: its device may have another number after
    each boot.
    """

    entry: int
    at: float
    file: int | None = None


NOTHING = Mark(0, 0.0)
"""The mark of a store whose audit trail is empty."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What shows that a store is not the one that was here: the mark, and how far the store has got."""

    mark: Mark
    newest: Mark

    @property
    def reason(self) -> str:
        """A sentence that says what is wrong, and what an operator does about it."""
        until = timestamps.to_text(self.mark.at)
        has = f"ends at {timestamps.to_text(self.newest.at)}" if self.newest.entry else "is empty"
        if self.newest.entry >= self.mark.entry:
            has = "has gone another way since"
        return (
            f"the store was restored from a backup: it was used until {until}, and its audit trail {has}; "
            "nothing is accepted until an operator has run zonecut store check, and then zonecut store accept"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "used_until": timestamps.to_text(self.mark.at),
            "entry": self.mark.entry,
            "reaches_until": timestamps.to_text(self.newest.at) if self.newest.entry else None,
            "newest_entry": self.newest.entry,
        }


def newest(connection: Connection) -> Mark:
    """How far a store has got."""
    row = connection.execute(_NEWEST).one_or_none()
    return NOTHING if row is None else Mark(row.id, row.at)


def compare(connection: Connection, mark: Mark | None) -> Restored | None:
    """None if a store holds all that its mark tells of, or there is no mark."""
    if mark is None or not mark.entry:
        return None
    at = connection.execute(select(_AUDIT.c.at).where(_AUDIT.c.id == mark.entry)).scalar_one_or_none()
    return None if at == mark.at else Restored(mark, newest(connection))


class MarkFile:
    """The file that holds the mark of a SQLite store.

    Its name begins with a dot: `rm zonecut.db*` before a backup is put back takes the `-wal` with it, and not the mark.
    """

    def __init__(self, store: Path) -> None:
        store = store.resolve()
        self.path = store.with_name(f".{store.name}.mark")

    def read(self) -> Mark | None:
        """The mark; None where there is none, or none that can be read: a power cut may leave it empty."""
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

    def write(self, mark: Mark) -> None:
        """Put another mark in place of the one that is there, in one step. Raises OSError."""
        # under a name of its own: a command may write one at the same time
        descriptor, name = tempfile.mkstemp(prefix=f"{self.path.name}.", dir=self.path.parent)
        new = Path(name)
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump({"entry": mark.entry, "at": mark.at, "file": mark.file}, file)
                file.write("\n")
            new.replace(self.path)
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
    return Mark(entry, float(at), file)


def lost(url: str, mark: Mark, file: MarkFile) -> str:
    """A sentence about a store that is gone while its mark is there."""
    return (
        f"store url {url!r}: the file is gone, and it was used until {timestamps.to_text(mark.at)}: put a backup in "
        f"its place (deploy/README.md says how), or remove {file.path} as well to begin with an empty store"
    )


def check_moved(url: str, store: Path, mark: MarkFile) -> None:
    """Raise StoreUnusable for a file that cannot be used in the place where another one was marked.

    It is to be called before anything is opened: with another file's `-wal` beside it, that would damage it.
    """
    who = holder(store)
    if who is not None and who.pid != os.getpid():
        raise StoreUnusable(
            f"store url {url!r}: another file has taken its place beneath zonecut serve ({who}), which has the one "
            "open that was there: nothing that is done here would reach it, and nothing that it does would last; stop "
            "it first"
        )
    log = store.with_name(f"{store.name}-wal")
    if log.exists() and log.stat().st_size:
        raise StoreUnusable(
            f"store url {url!r}: another file was there before, and {log} may not have been made with this one: what "
            f"is in it would be mixed into a backup that was put in its place, and is lost without it. Copy {store}, "
            f"{log} and {mark.path} to where they are kept; then, if only {store.name} was put there, remove {log} and "
            f"{store.name}-shm; if all of them came here together, remove {mark.path}"
        )
