"""What we are about to do to a transaction, kept where it outlives us: it proves that one without mark is ours.

A transaction of ours is without its mark twice, for some microseconds: between its begin and its mark, and between the
end of its mark and its commit.
"""

import fcntl
import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from zonecut_knot.control import Command, Item
from zonecut_knot.text import name, type_number

_BEGIN = "begin"
_COMMIT = "commit"
_FIELD, _LINE, _END = "\x1f", "\n", "\x04"
_MAX_OCTETS = 1 << 26


class Note:
    """The note about one zone, in a file of `directory`; without a directory it lasts as long as the process does.

    knotd keeps no transaction over its own end, so a note has to outlive our process and not the machine: nothing here
    waits for a disk. Where the file cannot be written there is just no proof, and somebody has to end what a crash
    left. Who holds the lock of the file is the one zonecut that may have a transaction now.
    """

    def __init__(self, directory: Path | None, zone: str, socket: Path) -> None:
        digest = hashlib.sha256(f"{zone} {socket}".encode()).hexdigest()[:16]
        self._path = None if directory is None else directory / f"knot-{digest}.transaction"
        self._socket = socket
        self._text = ""
        self._file: int | None = None

    def take(self) -> bool:
        """Take the lock until `leave`; False if another process has it."""
        if self._path is None:
            return True
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        self._file = file
        return True

    def leave(self) -> None:
        """Give the lock back. The note stays."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def begins(self) -> str:
        """A transaction is about to be begun. What was noted before, for `restore`."""
        before = self._read()
        self._write(_LINE.join((self._knotd(), _BEGIN)))
        return before

    def commits(self, serial: str, commands: Sequence[Command]) -> None:
        """The transaction of these commands, on the zone with this serial, is about to lose its mark."""
        self._write(_LINE.join((self._knotd(), _COMMIT, serial, *map(_FIELD.join, commands))))

    def restore(self, text: str = "") -> None:
        """Nothing is about to be done after all, or it is done."""
        self._write(text)

    def proves(self, diff: Sequence[Item], serial: str) -> bool:
        """True if an open transaction with these differences, of a zone with this serial, is the one of the note.

        A commit moves the serial, and knotd's end ends the transaction: an old note proves nothing about what others
        did since.
        """
        knotd, _, noted = self._read().partition(_LINE)
        stage, *rest = noted.split(_LINE)
        if knotd != self._knotd():
            return False
        if not diff:
            return stage == _BEGIN
        if stage != _COMMIT or not rest or rest[0] != serial:
            return False
        commands = [Command(*line.split(_FIELD)) for line in rest[1:]]
        try:
            changed = {(name(command.owner), type_number(command.rtype)) for command in commands}
            return all((name(item.owner), type_number(item.rtype)) in changed for item in diff)
        except ValueError:
            return False  # a name or a type that we do not know is none of ours

    def _knotd(self) -> str:
        """The knotd that runs now: each one makes its socket anew. Empty where there is none."""
        try:
            status = self._socket.stat()
        except OSError:
            return ""
        return f"{status.st_ino} {status.st_ctime_ns}"

    def _read(self) -> str:
        if self._file is None:
            return self._text
        with suppress(OSError):
            text, end, _ = os.pread(self._file, _MAX_OCTETS, 0).decode("utf-8", "replace").partition(_END)
            return text if end else ""
        return self._text

    def _write(self, text: str) -> None:
        self._text = text
        if self._file is not None:
            # what a longer note left is beyond the end
            with suppress(OSError):
                os.pwrite(self._file, (text + _END).encode(), 0)
