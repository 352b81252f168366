"""Programs that run beside the tour, and end with it."""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from zonecut.demo.report import DemoFailure

LOOPBACK = "127.0.0.1"
START_SECONDS = 20.0
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.02
_TAIL_LINES = 12

# below the ports from which the kernel takes those of outgoing connections, so that nothing takes one in between
_PORTS = range(20000, 32000)


def free_port() -> int:
    """A port of 127.0.0.1 that is free for UDP and TCP now. Raises DemoFailure."""
    for port in secrets.SystemRandom().sample(_PORTS, 1000):
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind((LOOPBACK, port))
        except OSError:
            continue
        return port
    raise DemoFailure(f"no free port on {LOOPBACK}")


def environment() -> dict[str, str]:
    """The environment for programs that we start: ours, less what is meant for us alone."""
    ours = ("NOTIFY_SOCKET", "ZONECUT_CONFIG")
    return {name: value for name, value in os.environ.items() if name not in ours}


class Process:
    """A daemon in the foreground. All that it writes goes to `NAME.log` in its directory."""

    def __init__(self, name: str, argv: Sequence[str], directory: Path) -> None:
        self.name = name
        self._argv = list(argv)
        self._directory = directory
        self._log = directory / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, ready: Callable[[], bool]) -> None:
        """Start it and return when it is ready. Raises DemoFailure if it ends or takes too long."""
        with self._log.open("ab") as log:
            # a session of its own: ^C at the terminal is for the tour, which then ends its programs in order
            self._child = subprocess.Popen(  # noqa: S603 (our own programs)
                self._argv,
                cwd=self._directory,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if self._child.poll() is not None:
                raise DemoFailure(f"{self.name} ended with {self._child.returncode} instead of serving")
            if time.monotonic() > deadline:
                raise DemoFailure(f"{self.name} did not answer within {START_SECONDS:g} s")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End it, by force if it takes too long; nothing happens if it does not run."""
        child = self._child
        if child is None or child.poll() is not None:
            return
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def log(self) -> str:
        """All that it wrote so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def log_tail(self) -> str:
        """The last lines that it wrote."""
        return "\n".join(self.log().splitlines()[-_TAIL_LINES:])
