"""The control socket through one knotc process for each session, for where libknot is missing.

knotc reads commands from its standard input and writes answers that do not say where they end: after each command a
`status version` follows, whose answer does. It buffers what goes to a pipe, so its output is a pseudo-terminal.
"""

import math
import os
import re
import selectors
import subprocess
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from zonecut.plugin import BackendMisconfigured, BackendUnavailable
from zonecut_knot.answers import failure, unreachable
from zonecut_knot.control import Command, Item, Reply

_END = re.compile(r"(?:Version: )?\d+\.\d+\S*")
"""What `status version` answers: the bare number since Knot 3.4."""
_ERROR = re.compile(r"error: (?:\[[^\]]*\] )?\((?P<words>[^)]*)\)")
_NO_CONNECTION = "failed to connect to socket"
_RECORD = re.compile(r"\[[^\]]*\] (?P<sign>[+-]?)(?P<owner>\S+) (?P<ttl>\d+) (?P<type>\S+) ?(?P<data>.*)")
_AHEAD = 16
_READ_OCTETS = 65536


class KnotcControl:
    """A session by one knotc process, which connects anew for each command."""

    def __init__(self, program: str, path: Path, zone: str, timeout: float) -> None:
        self._path = path
        self._zone = zone
        self._timeout = timeout
        self._pending = b""
        self.is_lost = False
        terminal, other_end = os.openpty()
        argv = [program, "-x", "-s", str(path), "-t", str(math.ceil(timeout))]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the operator's own program, and no shell
                argv,
                stdin=subprocess.PIPE,
                stdout=other_end,
                stderr=other_end,
                start_new_session=True,
                # else it writes its history, all of it after each command, to where the operator has theirs
                env={**os.environ, "HOME": "/nonexistent"},
            )
        except OSError as error:
            os.close(terminal)
            raise BackendMisconfigured(
                f"{program} cannot be run ({error.strerror}), and libknot is not there either: install knot's "
                f"utilities, or zonecut[knot] beside Knot's library"
            ) from error
        finally:
            os.close(other_end)
        self._terminal = terminal
        os.set_blocking(terminal, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(terminal, selectors.EVENT_READ)

    def close(self) -> None:
        self._selector.close()
        os.close(self._terminal)
        self._process.kill()
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        self._process.wait()

    def run(self, commands: Sequence[Command]) -> list[Reply]:
        deadline = time.monotonic() + self._timeout
        replies: list[Reply] = []
        for start in range(0, len(commands), _AHEAD):
            some = commands[start : start + _AHEAD]
            self._write(some)
            replies += [self._reply(deadline) for _ in some]
        return replies

    def stream(self, command: Command, rtypes: Collection[str]) -> Iterator[Item]:
        self._write([command])
        error = ""
        while not _END.fullmatch(line := self._line(time.monotonic() + self._timeout)):
            if (item := _item(line)) and item.rtype in rtypes:
                yield item
            error = self._error(line) or error
        if error:
            raise failure(self._zone, command.name, error)

    def status(self) -> dict[str, str]:
        self._write([Command("status")])
        deadline = time.monotonic() + self._timeout
        fields = {}
        while not _END.fullmatch(line := self._line(deadline)):
            if error := self._error(line):
                raise failure(self._zone, "status", error)
            for field in line.partition("] ")[2].split(" | "):
                name, _, value = field.partition(": ")
                fields[name] = value
        return fields

    def setting(self, section: str, identifier: str, item: str) -> str:
        self._send([f"conf-read {section}[{identifier}].{item}"])
        deadline = time.monotonic() + self._timeout
        value = ""
        while not _END.fullmatch(line := self._line(deadline)):
            self._error(line)
            if line.startswith(f"{section}["):
                value = line.partition(" = ")[2]
        return value.strip().strip('"')

    def _write(self, commands: Sequence[Command]) -> None:
        self._send([self._written(command) for command in commands])

    def _send(self, commands: Sequence[str]) -> None:
        assert self._process.stdin is not None
        lines = "".join(f"{command}\nstatus version\n" for command in commands)
        try:
            self._process.stdin.write(lines.encode())
            self._process.stdin.flush()
        except OSError as error:
            self.is_lost = True
            raise BackendUnavailable(f"knotc ended: {error.strerror}") from error

    def _written(self, command: Command) -> str:
        words = [word for word in command[1:] if word]
        return " ".join([f"zone-{command.name}", self._zone, *map(_quoted, words)])

    def _reply(self, deadline: float) -> Reply:
        items = []
        error = ""
        while not _END.fullmatch(line := self._line(deadline)):
            if item := _item(line):
                items.append(item)
            error = self._error(line) or error
        return Reply(tuple(items), error)

    def _error(self, line: str) -> str:
        if _NO_CONNECTION in line:
            self.is_lost = True
            raise unreachable(self._path, line)
        found = _ERROR.match(line)
        if found is None and line.startswith(("error:", "warning:")):
            self.is_lost = True
            raise BackendUnavailable(f"knotc with knotd at {self._path} says: {line}")
        return found["words"] if found else ""

    def _line(self, deadline: float) -> str:
        while b"\n" not in self._pending:
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                self.is_lost = True
                raise BackendUnavailable(f"knotd at {self._path} did not answer within {self._timeout:g} s")
            try:
                octets = os.read(self._terminal, _READ_OCTETS)
            except OSError:
                octets = b""  # how a pseudo-terminal says that the other end is closed
            if not octets:
                self.is_lost = True
                raise BackendUnavailable(f"knotc ended with {self._process.poll()}")
            self._pending += octets
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode("ascii", "backslashreplace").rstrip("\r")


def _item(line: str) -> Item | None:
    found = _RECORD.fullmatch(line)
    return Item(found["owner"], found["ttl"], found["type"], found["data"], found["sign"]) if found else None


def _quoted(word: str) -> str:
    """A word as knotc's line reader takes it: between single quotes nothing is special."""
    return "'" + word.replace("'", "'\"'\"'") + "'"
