"""The operator's command that makes the server load the zone again."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress

from zonecut.plugin import BackendMisconfigured, BackendUnavailable

_TAIL_OCTETS = 4096
_LINE_CHARACTERS = 200


def run_reload(argv: Sequence[str], timeout: float) -> None:
    """Run the command without a shell and wait for it, at most `timeout` seconds.

    Raises BackendUnavailable with its exit status and the last line of its standard error; BackendMisconfigured when
    it cannot be run at all. Blocks.
    """
    program = argv[0]
    # A file, not a pipe: a daemon that the command leaves behind may hold its standard error open for ever.
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own command, and no shell
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
            )
        except OSError as error:
            raise BackendMisconfigured(f"cannot run the reload command {program}: {error.strerror or error}") from error
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise BackendUnavailable(f"the reload command {program} did not end within {timeout:g} s") from None
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if status != 0:
            size = errors.seek(0, os.SEEK_END)
            errors.seek(max(0, size - _TAIL_OCTETS))
            said = errors.read().decode(errors="replace").strip().splitlines()
            how = f"exit status {status}" if status > 0 else f"signal {-status}"
            last = said[-1][:_LINE_CHARACTERS] if said else "it said nothing"
            raise BackendUnavailable(f"the reload command {program} ended with {how}: {last}")
