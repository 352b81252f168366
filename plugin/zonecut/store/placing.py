"""What may be opened in the place of a store: to be seen before SQLite mixes one file with the `-wal` of another."""

import os
from pathlib import Path

from zonecut.store import generations, timestamps
from zonecut.store.errors import StoreUnusable
from zonecut.store.lock import holder
from zonecut.store.mark import Mark, MarkFile


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
    if mark is None:
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


def _check_held(url: str, store: Path) -> None:
    who = holder(store)
    if who is not None and who.pid != os.getpid():
        raise StoreUnusable(
            f"store url {url!r}: another file has taken its place beneath zonecut serve ({who}), which has the one "
            "open that was there: nothing that is done here would reach it, and nothing that it does would last; stop "
            "it first"
        )
