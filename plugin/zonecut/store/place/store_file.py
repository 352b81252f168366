"""The SQLite file that is open, told from another one that has taken its place.

Whoever removes or replaces the file, or its `-wal` or `-shm`, beneath a process that has it open leaves that process
writing where nobody will ever read, and the next one that opens it with files of its own: SQLite does not notice.
"""

import os
from contextlib import suppress
from pathlib import Path

from zonecut.store.errors import StoreReplaced, StoreUnavailable
from zonecut.store.place.lock import Lock, holder

_Identity = tuple[int, int]
"""Device and inode."""

_LOST = "what is recorded now would be lost, so nothing is"


class StoreFile:
    """One store's file as it was when this was made, and what is beside it as it was first seen since `closed`."""

    def __init__(self, path: Path, configured: Path, lock: Lock | None) -> None:
        """`configured` is the name by which `path` was found: it may be, or lead through, a symbolic link.

        `lock` is the daemon's, which tells others what it has open; a command compares with that.
        """
        self._path = path
        self._stamp = (0, 0)
        self._configured = configured
        self._lock = lock
        self._found = self._look(self._configured)
        self._beside: dict[Path, _Identity | None] = {
            path.with_name(f"{path.name}-wal"): None,
            path.with_name(f"{path.name}-shm"): None,
        }
        self._published = False
        self._generation: int | None = None
        self._read_at: tuple[int, int] | None = None

    @property
    def generation(self) -> int | None:
        """How far the file had got without its `-wal` when `check` last looked; None where that is not known."""
        return self._generation

    @property
    def identity(self) -> int | None:
        """The inode."""
        return None if self._found is None else self._found[1]

    def closed(self) -> None:
        """The connection is about to be closed: SQLite may remove the files beside, and the next makes others."""
        self._beside = dict.fromkeys(self._beside)
        published, self._published = self._published, False
        if self._lock is not None and published:
            # what stays there where this fails is of files that may be gone: whoever compares with them refuses
            with suppress(StoreUnavailable):
                self._lock.publish(())

    @property
    def stamp(self) -> tuple[int, int]:
        """The file's size, and when it was changed in nanoseconds since the epoch, as `check` last saw them."""
        return self._stamp

    def check(self) -> None:
        """Raise StoreReplaced unless what is open is what stands in the directory. It costs some microseconds.

        Raises StoreUnavailable where others cannot be told, or do not tell, which files are open.
        """
        file = self._look(self._configured)
        if file is None:
            raise StoreReplaced(
                f"{self._configured} was removed beneath zonecut; {_LOST}: put that very file back, or stop zonecut "
                "and restore a backup (deploy/README.md says how)"
            )
        if file != self._found:
            raise StoreReplaced(
                f"another file has taken the place of {self._configured} beneath zonecut; {_LOST}: stop zonecut, "
                "see what zonecut store check says of that file, and start again"
            )
        if os.path.realpath(self._configured) != str(self._path):
            # whoever finds it by that name looks for what is beside it there: two writers would not see each other
            raise StoreReplaced(
                f"{self._configured} leads to {os.path.realpath(self._configured)}, and was opened as {self._path}: "
                f"the file was moved beneath zonecut; {_LOST}: stop zonecut first, and move what is beside it, too"
            )
        for path, seen in self._beside.items():
            found = self._look(path)
            if seen is None:
                self._beside[path] = found
            elif found != seen:
                how = "was removed" if found is None else "was replaced"
                raise StoreReplaced(f"{path} {how} beneath zonecut; {_LOST}: restart zonecut")
        if self._lock is None:
            self._compare()
            return
        self._lock.check()
        self._check_generation(self._lock)
        if not self._published:
            self._publish(self._lock)

    def _check_generation(self, lock: Lock) -> None:
        """Raise StoreReplaced if an older copy was written into the file, beneath a `-wal` that SQLite goes on reading.

        Where the `-wal` is empty nothing is mixed: what the store holds then tells that it is an older one.
        """
        if self._stamp == self._read_at:
            return
        found = lock.generation()
        log = self._path.with_name(f"{self._path.name}-wal")
        # none in a file that is being written anew
        if self._generation is not None and (found is None or found < self._generation) and _is_filled(log):
            raise StoreReplaced(
                f"an older copy was written into {self._path} beneath zonecut, while {log} goes with a newer one; "
                f"{_LOST}: stop zonecut, and restore a backup (deploy/README.md says how)"
            )
        self._generation, self._read_at = found, self._stamp

    def _publish(self, lock: Lock) -> None:
        files = self._found, *self._beside.values()
        inodes = [identity[1] for identity in files if identity is not None]
        if len(inodes) == len(files):
            self._published = lock.publish(inodes)  # else it is tried again at the next check

    def _compare(self) -> None:
        """Raise StoreReplaced unless the daemon, where one runs, has the same files open."""
        daemon = holder(self._path)
        if daemon is None or daemon.pid == os.getpid():
            return
        if not daemon.pid:
            raise StoreUnavailable(
                f"{self._path}: zonecut serve has it and does not say which files it has open, as on a full disk: what "
                "is recorded here might not reach it, so nothing is; see to the disk, and try again"
            )
        if not daemon.files:
            return
        here = [self._look(path) for path in (self._path, *self._beside)]
        for path, found, inode in zip((self._path, *self._beside), here, daemon.files, strict=False):
            if found is None or found[1] != inode:
                raise StoreReplaced(
                    f"{path} was removed or replaced beneath zonecut serve ({daemon}): what is recorded here would not "
                    "reach it and may be lost, so nothing is; restart it first"
                )

    def _look(self, path: Path) -> _Identity | None:
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreReplaced(f"{path} cannot be looked at: {error.strerror}; {_LOST}") from None
        if path == self._configured:
            self._stamp = status.st_size, status.st_mtime_ns
        return status.st_dev, status.st_ino


def _is_filled(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
