"""Files read and replaced so that nobody, at any moment, finds half of one."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from zonecut.files.regularfile import open_regular

_READ_ATTEMPTS = 5
_CHUNK_OCTETS = 1 << 18
LOCK_FILE = ".zonecut-lock"
"""In the directory of the generated files."""
_LOCK_ATTEMPTS = 1000
_LOCK_PAUSE = 0.01
"""Seconds between attempts."""
_CLOCK_GRAIN_NS = 50_000_000
"""A file that changed less than this ago may change again without a new time stamp: the kernel's clock has ticks."""


class Stamp(NamedTuple):
    """What tells one state of a file from another without reading it."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was read. `settled`: its stamp will change if its contents do."""

    path: Path
    data: bytes
    stamp: Stamp
    settled: bool


def read(path: Path) -> Source:
    """The file's contents at one moment. Raises OSError, also when it does not hold still."""
    with open_regular(path) as file:
        for _ in range(_READ_ATTEMPTS):
            before = Stamp.of(os.fstat(file.fileno()))
            file.seek(0)
            data = file.read()
            if Stamp.of(os.fstat(file.fileno())) == before and len(data) == before.size:
                return Source(path, data, before, _is_settled(before))
    raise OSError(f"{path} changes while it is read")


def refreshed(source: Source, *, force: bool = False) -> Source:
    """The same object if the file is still what was read, else what it is now. Raises OSError.

    With `force` its contents are looked at even where its stamp says that they are the same.
    """
    if not force and source.settled and Stamp.of(source.path.stat()) == source.stamp:
        return source
    if (stamp := _stamp_of_same(source)) is None:
        return read(source.path)
    settled = _is_settled(stamp)
    return (
        source if (stamp, settled) == (source.stamp, source.settled) else replace(source, stamp=stamp, settled=settled)
    )


def is_unchanged(source: Source) -> bool:
    """True if the file is still what was read: the check immediately before it is replaced. Raises OSError."""
    if Stamp.of(source.path.stat()) != source.stamp:
        return False
    return source.settled or _stamp_of_same(source) is not None


def _stamp_of_same(source: Source) -> Stamp | None:
    """The stamp of a file whose contents are what was read, None if they are not. A large file is not read at once:
    its octets would be in memory twice."""
    known = source.data
    with open_regular(source.path) as file:
        before, at = Stamp.of(os.fstat(file.fileno())), 0
        while chunk := file.read(_CHUNK_OCTETS):
            if known[at : at + len(chunk)] != chunk:
                return None
            at += len(chunk)
        return before if at == len(known) and Stamp.of(os.fstat(file.fileno())) == before else None


def _is_settled(stamp: Stamp) -> bool:
    return time.time_ns() - max(stamp.mtime_ns, stamp.ctime_ns) > _CLOCK_GRAIN_NS


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other processes of ours from writing: a command may do so beside the daemon. Raises OSError, also when
    the lock is not to be had within some seconds.

    The lock is on a file that nobody else can open: who can open a file, be it to read, can lock it.
    """
    path = directory / LOCK_FILE
    for _ in range(_LOCK_ATTEMPTS):
        if (descriptor := _lock(path)) is not None:
            break
        time.sleep(_LOCK_PAUSE)
    else:
        raise BlockingIOError(errno.EAGAIN, "another process keeps it locked", str(path))
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path) -> int | None:
    """The descriptor that holds the lock, None while another one does. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_nlink > 1:
            raise PermissionError(errno.EPERM, "it is no lock that we have made: take it away", str(path))
        if status.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # somebody may have tidied up meanwhile: the lock counts on the file that others find
        if os.path.samestat(status, os.lstat(path)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


class Staged:
    """New contents of a file, safely on disk beside it, waiting to take its place. `commit` or `discard` it."""

    def __init__(self, target: Path, data: bytes, like: Path) -> None:
        """Write and fsync `data`, with permissions, owner and extended attributes of `like`. Raises OSError."""
        self._target = target
        self._data = data
        self._temporary = target.parent / f".{target.name}.zonecut-new"
        # What a crash left behind is in the way of O_EXCL, which keeps us from writing through anybody's link.
        self._temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self._temporary, flags, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
            _take_after(self._descriptor, like)
            os.fsync(self._descriptor)
        except BaseException:
            self.discard()
            raise

    @property
    def path(self) -> Path:
        """Where it waits."""
        return self._temporary

    def commit(self, *, durable: bool = True) -> Source:
        """Put it in the target's place and say what stands there now; without `durable`, a power cut may undo it
        until somebody calls `fsync` for the directory. Raises OSError."""
        try:
            self._temporary.rename(self._target)
            if durable:
                fsync(self._target.parent)
            stamp = Stamp.of(os.fstat(self._descriptor))
        finally:
            self.discard()
        return Source(self._target, self._data, stamp, False)

    def discard(self) -> None:
        """Take it away again; nothing happens after `commit`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            with suppress(OSError):
                self._temporary.unlink()


def fsync(path: Path) -> None:
    """Make the contents of a file, or the renames in a directory, durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _take_after(descriptor: int, like: Path) -> None:
    status = like.stat()
    ours = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (ours.st_uid, ours.st_gid):
        try:
            os.fchown(descriptor, status.st_uid, status.st_gid)
        except PermissionError as error:
            owner = f"{status.st_uid}:{status.st_gid}"
            raise PermissionError(error.errno, f"a new file cannot be given its owner {owner}", str(like)) from error
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & 0o777)  # no zone file runs as somebody
    # Access control lists and the like; a file system without them has none to lose.
    with suppress(OSError):
        for attribute in os.listxattr(like):
            if attribute == "security.capability":
                continue
            with suppress(OSError):
                os.setxattr(descriptor, attribute, os.getxattr(like, attribute))
