"""The SQLite file that is open, told from another one that has taken its place.

Whoever removes or replaces the file, or its `-wal`, beneath a process that has it open leaves that process writing
where nobody will ever read: SQLite does not notice.
"""

from pathlib import Path

from zonecut.store.errors import StoreReplaced

_Identity = tuple[int, int]
"""Device and inode."""

_LOST = "what is recorded now would be lost, so nothing is"


class StoreFile:
    """One store's file as it was when this was made, and the `-wal` beside it as it was first seen since `closed`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log_path = path.with_name(f"{path.name}-wal")
        self.identity = self._look(self._path)
        """Device and inode."""
        self._log: _Identity | None = None

    def closed(self) -> None:
        """The connection is closed: SQLite removes the `-wal` then, and the next connection makes another."""
        self._log = None

    def check(self) -> None:
        """Raise StoreReplaced unless what is open is what stands in the directory. It costs some microseconds."""
        file = self._look(self._path)
        if file is None:
            raise StoreReplaced(
                f"{self._path} was removed beneath zonecut; {_LOST}: put that file back, or restart zonecut"
            )
        if file != self.identity:
            raise StoreReplaced(
                f"another file has taken the place of {self._path} beneath zonecut; {_LOST}: stop zonecut, "
                "see what zonecut store check says of that file, and start again"
            )
        log = self._look(self._log_path)
        if self._log is None:
            self._log = log
        elif log != self._log:
            how = "was removed" if log is None else "was replaced"
            raise StoreReplaced(f"{self._log_path} {how} beneath zonecut; {_LOST}: restart zonecut")

    def _look(self, path: Path) -> _Identity | None:
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreReplaced(f"{path} cannot be looked at: {error.strerror}; {_LOST}") from None
        return status.st_dev, status.st_ino
