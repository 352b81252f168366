"""The lock of a store: one daemon at a time. Commands beside it need none.

It is on a file of its own beside the store, which no other program has a reason to open: locks on the store itself are
SQLite's. The kernel lets go of it when the daemon ends, however that comes about.
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zonecut.store import timestamps
from zonecut.store.engine import display, parse_url
from zonecut.store.errors import StoreUnusable

SUFFIX = ".lock"
PATIENCE = 1.0
"""Seconds for which the lock is waited for: who holds it may be about to end."""
_STEP = 0.05
_MOST_OCTETS = 100
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that has a store, and since when in seconds since the epoch."""

    pid: int
    since: float

    def __str__(self) -> str:
        return f"process {self.pid} has it since {timestamps.to_text(self.since)}"

    def to_octets(self) -> bytes:
        return f"{self.pid} {self.since}\n".encode()

    @classmethod
    def from_octets(cls, octets: bytes) -> "Holder | None":
        """What a holder has left in the file; None where that cannot be read."""
        try:
            pid, since = octets.decode("ascii").split()
            return cls(int(pid), float(since))
        except ValueError:
            return None


@contextmanager
def locked(url: str, *, patience: float = PATIENCE) -> Iterator[None]:
    """While the store behind a URL is this process's alone; nothing for a database that is no file.

    Waits up to `patience` seconds. Raises StoreUnusable, which says who has the store, or what is wrong with the file.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        yield
        return
    held = _Held(_take(lock_path(Path(parsed.database or "")), f"store url {display(parsed)!r}", patience))
    # a child that goes on without another program in it would keep the lock when we have ended
    os.register_at_fork(after_in_child=held.close)
    try:
        yield
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


class _Held:
    """The descriptor that has the lock, until it is closed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _take(path: Path, store: str, patience: float) -> int:
    """A descriptor that has the lock. Raises StoreUnusable."""
    until = time.monotonic() + patience
    while True:
        try:
            descriptor = os.open(path, _FLAGS, 0o600)
        except FileNotFoundError:
            raise StoreUnusable(f"{store}: there is no directory {str(path.parent)!r}; create it first") from None
        except OSError as error:
            raise StoreUnusable(
                f"{store}: its lock {path} cannot be opened: {error.strerror or error}; it has to be a file of mode "
                "0600 that belongs to the user of zonecut, or not to be there"
            ) from None
        try:
            _check(descriptor, path, store)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, Holder(os.getpid(), time.time()).to_octets(), 0)
                return descriptor
        except BlockingIOError:
            if time.monotonic() >= until:
                holder = Holder.from_octets(os.pread(descriptor, _MOST_OCTETS, 0))
                os.close(descriptor)
                raise StoreUnusable(
                    f"{store}: another zonecut serve runs on it ({holder or 'who does not say what it is'}): stop that "
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
