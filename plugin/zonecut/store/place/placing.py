"""What may be opened in the place of a store: to be seen before SQLite mixes one file with the `-wal` of another."""

import os
import time
from pathlib import Path

from zonecut.store import timestamps
from zonecut.store.errors import StoreUnusable
from zonecut.store.place import generations
from zonecut.store.place.lock import holder
from zonecut.store.place.mark import Mark, MarkFile

_LOCKS = Path("/proc/locks")
_SHARED = ("1073741826", "1073742335")
"""The range of octets that SQLite locks in a file which it has open, with a `-wal` (https://sqlite.org/fileformat2.html,
the page of locking bytes)."""
_PATIENCE = 1.0
"""Seconds in which a process that opens a store has made its `-wal`."""


def lost(url: str, mark: Mark, file: MarkFile) -> str:
    """A sentence about a store that is gone while its mark is there."""
    return (
        f"store url {url!r}: the file is gone, and it was used until {timestamps.to_text(mark.at)}: put a backup in "
        f"its place (deploy/README.md says how), or remove {file.path} as well to begin with an empty store"
    )


def check_place(url: str, store: Path, inode: int | None, mark: Mark | None, file: MarkFile) -> None:
    """Raise StoreUnusable for a file that cannot be used in the place where another one, or a newer one, was marked.

    `inode` is that of the SQLite file. It is to be called before anything is opened: with another file's `-wal` beside
    it, that would damage it.
    """
    if mark is None or (mark.copied and (who := holder(store)) is not None and who.pid != os.getpid()):
        # a copied mark knows nothing of this file, which the daemon that has it has looked at when it began
        return
    log = store.with_name(f"{store.name}-wal")
    covered = log.exists() and log.stat().st_size
    if mark.file not in (None, inode):
        _check_held(url, store)
        was = "another file was there before"
    elif covered and mark.generation is not None and (generations.look(store) or 0) < mark.generation:
        was = "a newer file was there before"
    else:
        return
    if covered:
        raise StoreUnusable(
            f"store url {url!r}: {was}, and {log} may not have been made with this one: what "
            f"is in it would be mixed into a backup that was put in its place, and is lost without it. Copy {store}, "
            f"{log} and {file.path} to where they are kept; then, if only {store.name} was put there, remove {log} and "
            f"{store.name}-shm; if all of them came here together, remove {file.path}"
        )


def check_only_place(url: str, store: Path) -> None:
    """Raise StoreUnusable for a file that another process has open by another name, with a `-wal` beside that one.

    Through a link, or where the file alone is mounted elsewhere: SQLite would make another `-wal` here, and the two
    would not see what the other one writes, and damage the file.
    """
    log = store.with_name(f"{store.name}-wal")
    patience = time.monotonic() + _PATIENCE
    while (others := _others(store)) and not log.exists():
        if time.monotonic() > patience:
            raise StoreUnusable(
                f"store url {url!r}: process {', '.join(others)} has this file open by another name, for {log} is not "
                "there: nothing that is done here would reach it, and the file would be damaged; use that name, or "
                "stop that process first"
            )
        time.sleep(0.05)


def _others(store: Path) -> list[str]:
    """The other processes that have a SQLite file open, as far as the system tells."""
    try:
        status = store.stat()
        locks = _LOCKS.read_text()
    except OSError:
        return []
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    found = set()
    for line in locks.splitlines():
        words = line.split()
        if len(words) == 8 and words[5] == file and tuple(words[6:]) == _SHARED and words[4] != str(os.getpid()):
            found.add(words[4])
    return sorted(found)


def _check_held(url: str, store: Path) -> None:
    who = holder(store)
    if who is not None and who.pid != os.getpid():
        raise StoreUnusable(
            f"store url {url!r}: another file has taken its place beneath zonecut serve ({who}), which has the one "
            "open that was there: nothing that is done here would reach it, and nothing that it does would last; stop "
            "it first"
        )
