"""The operator's commands: the one that checks a zone file, and the one that makes the server load it again."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from zonecut.plugin import BackendMisconfigured, BackendUnavailable
from zonecut_zonefile.explained import TRANSIENT

FILE = "{file}"
"""What stands for the file to look at among the words of a command that checks."""

_TAIL_OCTETS = 4096
_LINE_CHARACTERS = 200
_CHECK_LINES = 5


class Done(NamedTuple):
    """How a command ended, for people (empty for success), and the last lines that it said."""

    trouble: str
    lines: Sequence[str]


def run_reload(argv: Sequence[str], timeout: float) -> str:
    """Run the command without a shell and wait for it, at most `timeout` seconds; its last line.

    Raises BackendUnavailable with its exit status and that line; BackendMisconfigured when it cannot be run at all.
    Blocks.
    """
    done = _run("reload", argv, timeout, None)
    last = done.lines[-1] if done.lines else "it said nothing"
    if done.trouble:
        raise BackendUnavailable(f"the reload command {argv[0]} ended with {done.trouble}: {last}")
    return last


def complaint(argv: Sequence[str], timeout: float, path: Path, directory: Path) -> str | None:
    """What the command that checks has to say against a zone file; None if it takes it.

    It runs in the directory of the zone's own file, from which relative names of files count. Raises as `run_reload`
    does, for a command that does not end or cannot be run. Blocks.
    """
    done = _run("check", [word.replace(FILE, str(path)) for word in argv], timeout, directory)
    if not done.trouble:
        return None
    return "; ".join(done.lines[-_CHECK_LINES:]) or f"{done.trouble}, and not a word"


def _run(what: str, argv: Sequence[str], timeout: float, directory: Path | None) -> Done:
    program = argv[0]
    try:
        # A file, not a pipe: a daemon that the command leaves behind may hold its output open for ever.
        with tempfile.TemporaryFile() as output:
            status = _status(what, argv, timeout, directory, output)
            size = output.seek(0, os.SEEK_END)
            output.seek(max(0, size - _TAIL_OCTETS))
            said = output.read().decode(errors="replace").strip().splitlines()
    except OSError as error:
        raise BackendUnavailable(
            f"the {what} command {program} needs a temporary file for what it says (TMPDIR says where, and most systems"
            f" have /tmp): {error.strerror or error}"
        ) from error
    lines = [line[:_LINE_CHARACTERS] for line in said if line.strip()]
    return Done("" if status == 0 else f"exit status {status}" if status > 0 else f"signal {-status}", lines)


def _status(what: str, argv: Sequence[str], timeout: float, directory: Path | None, output: IO[bytes]) -> int:
    """The exit status of a command, or minus the signal that ended it; what it says goes to `output`."""
    program = argv[0]
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own command, and no shell
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=directory, start_new_session=True
        )
    except OSError as error:
        kind = BackendUnavailable if error.errno in TRANSIENT else BackendMisconfigured
        raise kind(f"cannot run the {what} command {program}: {error.strerror or error}") from error
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise BackendUnavailable(f"the {what} command {program} did not end within {timeout:g} s") from None
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
