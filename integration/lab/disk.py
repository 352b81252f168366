"""Disks that are full and files that are read-only, without mounting anything: as root, and in any container."""

import os
import resource
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.process import Process, find_command


@contextmanager
def full_disk(process: Process, room: int = 0) -> Iterator[None]:
    """A running process cannot write beyond the first `room` octets of any file: EFBIG, as on a disk that is full."""
    pid = process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        if process.running and process.pid == pid:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(*paths: Path) -> Iterator[None]:
    """Files and directories that nobody may write, not even their owner; see `bound_by_modes`."""
    before = {path: path.stat().st_mode for path in paths}
    for path, mode in before.items():
        path.chmod(mode & 0o555)
    try:
        yield
    finally:
        for path, mode in before.items():
            path.chmod(mode)


def bound_by_modes(argv: Sequence[str | Path]) -> list[str]:
    """The command line of a program that file modes bind although root runs it; as it is where they bind us."""
    words = [str(word) for word in argv]
    if not _passes_over_modes():
        return words
    return [find_command("setpriv"), "--bounding-set=-dac_override,-dac_read_search", "--", *words]


def _passes_over_modes() -> bool:
    with tempfile.NamedTemporaryFile() as file:
        os.fchmod(file.fileno(), 0o400)
        return os.access(file.name, os.W_OK)
