"""Files that somebody names: only a regular one is opened; nobody waits for what a pipe or a device never says."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = (
    (stat.S_ISDIR, "directory"),
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


def open_regular(path: Path) -> BinaryIO:
    """A regular file, or a link to one, open for reading; nothing else is opened, and nothing waited for.

    Raises OSError, whose `strerror` says what stands there instead.
    """
    # before it is opened: that alone may do something to a device
    _check(path, path.stat())
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        _check(path, os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most: int = -1) -> bytes:
    """The content of a regular file, or its first octets. Raises OSError, as `open_regular`."""
    with open_regular(path) as file:
        return file.read(most)


def check_regular(path: Path) -> None:
    """For a file that somebody else's code is about to open. Raises OSError, as `open_regular`."""
    open_regular(path).close()


def _check(path: Path, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kind = next((name for is_it, name in _KINDS if is_it(status.st_mode)), "something else")
    number = errno.EISDIR if kind == "directory" else errno.EINVAL
    raise OSError(number, f"it is a {kind}, and a file belongs there", str(path))
