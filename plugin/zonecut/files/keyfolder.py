"""A directory of SIG(0) keys of our own: made for one user only, changed under a lock, and nothing in it ever deleted.

The keys are BIND key files. What counts of them, and when, is said by those who keep one.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zonecut.files import keyfiles
from zonecut.files.keyfiles import file_stem
from zonecut.protocol.codepoints import CodePoints
from zonecut.protocol.keys import HOST_KEY, Key, KeyPair

_TAG_ATTEMPTS = 20
_RETIRED = "retired"


class KeyFolder:
    """All methods block, and raise UnusableKey, naming the file, or OSError."""

    def __init__(self, path: Path, codepoints: CodePoints) -> None:
        self.path = path
        self._codepoints = codepoints

    @property
    def retired(self) -> "KeyFolder":
        """Where keys go that are done with."""
        return KeyFolder(self.path / _RETIRED, self._codepoints)

    def make(self) -> None:
        """Make the directory if it is not there."""
        with suppress(FileExistsError):
            self.path.mkdir(mode=0o700)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While nobody changes anything. Who only looks leaves nothing behind."""
        if not self._lock_file.exists():
            yield
            return
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def changing(self) -> Iterator[None]:
        """While nobody else reads or changes anything. The directory must be there."""
        with self._locked(fcntl.LOCK_EX):
            yield

    def files(self, owner: bytes) -> list[Path]:
        """The `.key` files of an owner name, sorted; none where there is no directory."""
        prefix = f"{file_prefix(owner)}+"
        try:
            # `glob` takes a directory that may not be read for an empty one
            found = [path for path in self.path.iterdir() if path.name.startswith(prefix) and path.suffix == ".key"]
        except FileNotFoundError:
            return []
        return sorted(found)

    def new_pair(self, owner: bytes, algorithm: int, ttl: int | None = None) -> tuple[Path, KeyPair]:
        """A new key with the path of its `.key` file; `ttl`, in seconds, is written into the record there."""
        taken = {path.name.rpartition("+")[2] for path in self.files(owner)}
        for _ in range(_TAG_ATTEMPTS):
            pair = KeyPair.generate(owner, algorithm, self._codepoints)
            # two keys of one tag would be told apart, but not by the people who look at them
            if f"{pair.key.tag:05d}.key" not in taken:
                break
        path = keyfiles.write_pair(self.path, pair, self._codepoints, ttl)
        return path, pair

    def retire(self, key: Key) -> None:
        """Move the files of a key into `retired`."""
        retired = self.retired.path
        self.retired.make()
        # a `.private` file alone, as it is left by whoever is cut off here, is taken for no key
        for ending in (".key", ".private"):
            name = file_stem(key) + ending
            (self.path / name).rename(retired / name)
        sync(retired)
        sync(self.path)

    @property
    def _lock_file(self) -> Path:
        return self.path / ".lock"

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)


def file_prefix(owner: bytes) -> str:
    """How the names of the files of this owner begin: up to the first `+`, which no name has unescaped."""
    return file_stem(Key(owner, HOST_KEY, 3, 0, b"\0")).partition("+")[0]


def sync(directory: Path) -> None:
    """Have what was made, renamed or removed in a directory on the disk (fsync)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
