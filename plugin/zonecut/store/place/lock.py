"""The lock of a store: one daemon at a time. Commands beside it need none.

It is on a file of its own beside the store, which no other program has a reason to open, and which says what the daemon
has open. A second one is on the store itself, for the case that the first file is removed; it is of another kind than
those of SQLite, which know nothing of it. The kernel lets go of both when the daemon ends, however that comes about.
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from zonecut.store import timestamps
from zonecut.store.engine import display, parse_url
from zonecut.store.errors import StoreReplaced, StoreUnavailable, StoreUnusable
from zonecut.store.place import generations

SUFFIX = ".lock"
PATIENCE = 1.0
"""Seconds for which the lock is waited for: who holds it may be about to end."""
_STEP = 0.05
_MOST_OCTETS = 160
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that has a store, and since when in seconds since the epoch.

    `files`: the inodes of the SQLite file, its `-wal` and its `-shm` that it has open; empty where it has not. A `pid`
    of 0: it does not say.
    """

    pid: int
    since: float
    files: tuple[int, ...] = ()

    def __str__(self) -> str:
        if not self.pid:
            return "a process that does not say which"
        return f"process {self.pid} has it since {timestamps.to_text(self.since)}"

    def to_octets(self) -> bytes:
        # of one length, so that one write takes the place of another whole
        return " ".join(map(str, (self.pid, self.since, *self.files))).ljust(_MOST_OCTETS - 1).encode() + b"\n"

    @classmethod
    def from_octets(cls, octets: bytes) -> "Holder":
        """What a holder has left in the file."""
        try:
            pid, since, *files = octets.decode("ascii").split()
            return cls(int(pid), float(since), tuple(map(int, files)))
        except (ValueError, OverflowError):
            return cls(0, 0.0)


@contextmanager
def locked(url: str, *, patience: float = PATIENCE) -> "Iterator[Lock | None]":
    """The lock, while the store behind a URL is this process's alone; None for a database that is no file.

    Waits up to `patience` seconds. Raises StoreUnusable, which says who has the store, or what is wrong with the file.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        yield None
        return
    held = _take(lock_path(Path(parsed.database or "")), f"store url {display(parsed)!r}", patience)
    # a child that goes on without another program in it would keep the lock when we have ended
    os.register_at_fork(after_in_child=held.close)
    try:
        yield held
    finally:
        held.close()


def holder(store: Path) -> Holder | None:
    """The process that has the store in this file; None where nobody has it, or that cannot be seen."""
    try:
        descriptor = os.open(lock_path(store), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Holder.from_octets(os.pread(descriptor, _MOST_OCTETS, 0))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def lock_path(store: Path) -> Path:
    """The file that is locked for a store: one, by whatever name the store is reached."""
    real = store.resolve()
    return real.with_name(real.name + SUFFIX)


class Lock:
    """The lock of a store, until it is closed."""

    def __init__(self, path: Path, descriptor: int, store: str) -> None:
        """`descriptor` has the lock on the file at `path`; `store` names the store in messages."""
        self._path = path
        self._database: int | None = None
        self._descriptors = [descriptor]
        self._store = store
        self._holder = Holder(os.getpid(), time.time())
        self.publish(())

    def take(self, database: Path) -> None:
        """Lock the SQLite file as well, for as long as this lock is held. Raises StoreUnusable.

        To be called before SQLite opens that file, and the lock closed after it: whatever descriptor of it a process
        closes, SQLite's locks on it are gone.
        """
        try:
            descriptor = os.open(database, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return  # SQLite cannot open it either, and says what has to be so
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            why = "another zonecut serve has it open, whose lock was removed" if error.errno == errno.EAGAIN else error
            raise StoreUnusable(f"{self._store}: {database} cannot be locked: {why}; stop that one first") from None
        self._descriptors.append(descriptor)
        self._database = descriptor

    def generation(self) -> int | None:
        """How far the SQLite file has got without its `-wal`, see `generations`; None where that is not known."""
        return None if self._database is None else generations.read(self._database)

    def publish(self, files: Sequence[int]) -> bool:
        """Say in the locked file what this process has open, see Holder; False where that cannot be written now.

        Nothing is said then, so that others do not go by what is not so any more: they refuse until it is. Raises
        StoreUnavailable where not even that can be had.
        """
        self._holder = replace(self._holder, files=tuple(files))
        octets = self._holder.to_octets()
        try:
            if os.pwrite(self._descriptors[0], octets, 0) == len(octets):
                os.ftruncate(self._descriptors[0], len(octets))
                return True
        except OSError:
            pass
        try:
            os.ftruncate(self._descriptors[0], 0)  # which needs no room
        except OSError as error:
            raise StoreUnavailable(
                f"{self._path} cannot be written ({error.strerror or error}), so that no command can tell which files "
                "zonecut serve has open; see to its file system"
            ) from None
        return False

    def check(self) -> None:
        """Raise StoreReplaced if another process could have taken the lock as well: its file was removed."""
        try:
            there = _is_at(self._descriptors[0], self._path)
        except OSError:
            there = False
        if not there:
            raise StoreReplaced(
                f"{self._path} was removed or replaced beneath zonecut: another zonecut serve may use the store now, "
                "so nothing is recorded; restart zonecut"
            )

    def close(self) -> None:
        self._database = None
        while self._descriptors:
            os.close(self._descriptors.pop())


def _take(path: Path, store: str, patience: float) -> Lock:
    """Raises StoreUnusable."""
    until = time.monotonic() + patience
    while True:
        try:
            descriptor = os.open(path, _FLAGS, 0o600)
        except FileNotFoundError:
            raise StoreUnusable(f"{store}: there is no directory {str(path.parent)!r}; create it first") from None
        except OSError as error:
            if isinstance(error, PermissionError) and not path.exists():
                raise StoreUnusable(
                    f"{store}: user {os.geteuid()} may not make files in {str(path.parent)!r}: chown it to the user of "
                    "zonecut"
                ) from None
            raise StoreUnusable(
                f"{store}: its lock {path} cannot be opened: {error.strerror or error}; it has to be a file of mode "
                "0600 that belongs to the user of zonecut, or not to be there"
            ) from None
        try:
            _check(descriptor, path, store)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                return Lock(path, descriptor, store)
        except BlockingIOError:
            if time.monotonic() >= until:
                holder = Holder.from_octets(os.pread(descriptor, _MOST_OCTETS, 0))
                os.close(descriptor)
                raise StoreUnusable(
                    f"{store}: another zonecut serve runs on it ({holder}): stop that "
                    "one first, or give this one a store of its own"
                ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        time.sleep(_STEP)


def _check(descriptor: int, path: Path, store: str) -> None:
    """Raise StoreUnusable for a file that somebody else might lock, or that is somebody else's."""
    found = os.fstat(descriptor)
    problem = None
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        problem = "is no file of its own"
    elif found.st_uid != os.geteuid():
        problem = "belongs to another user"
    elif found.st_mode & 0o077:
        problem = f"can be opened by others (mode {stat.S_IMODE(found.st_mode):04o}, not 0600)"
    if problem is not None:
        raise StoreUnusable(f"{store}: its lock {path} {problem}; remove it while no zonecut serve runs")


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether a descriptor's file still has its name: it may have been removed before it was locked."""
    try:
        named = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    found = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (found.st_dev, found.st_ino)
