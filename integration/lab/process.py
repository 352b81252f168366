"""One real program as a process in its own session, its output in files, ended without leaving anything behind."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Self

# Shells that are not login shells may lack the directories where Debian keeps servers.
_SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_POLL_SECONDS = 0.01
_TAIL_LINES = 30


class LabError(Exception):
    """The lab itself does not work: a server that will not start, a tool that is missing, an answer that never came."""


def find_command(name: str) -> str:
    """The absolute path of an installed program."""
    found = shutil.which(name, path=_SEARCH_PATH)
    if found is None:
        raise LabError(f"{name} is not installed; integration/install-servers installs what the tests need")
    return found


def unconfined(program: str, directory: Path) -> Path:
    """The server to run: a copy in `directory` where AppArmor would keep the installed one, by its path, out of there.

    Debian's profiles allow no directory but the service's own.
    """
    installed = Path(find_command(program))
    switch = Path("/sys/module/apparmor/parameters/enabled")
    if not (switch.exists() and switch.read_text().startswith("Y")):
        return installed
    copy = directory / program
    if not copy.exists():
        shutil.copy(installed, copy)
    return copy


def run(argv: Sequence[str | Path], *, cwd: Path | None = None, timeout: float = 60.0) -> str:
    """Run a program to its end and return its standard output; anything but exit status 0 is a LabError."""
    done = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        raise LabError(f"{argv[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def until(condition: Callable[[], bool], *, timeout: float, what: str) -> None:
    """Return as soon as `condition` is true; LabError about `what` when it is not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {timeout:g} s")
        time.sleep(_POLL_SECONDS)


class Process:
    """A program that runs until it is stopped.

    It may be started again after it ended, in the same directory; its output is appended to the same files: standard
    error to `NAME.log`, standard output to `NAME.out`. `cpus` pins it to some cores.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        name: str,
        directory: Path,
        ready: Callable[[], bool],
        start_timeout: float = 10.0,
        stop_timeout: float = 10.0,
        cpus: Collection[int] | None = None,
    ) -> None:
        self.argv = [str(argument) for argument in argv]
        if cpus is not None:
            # taskset replaces itself by the program, so that its threads, too, are pinned from the first on.
            self.argv = [find_command("taskset"), "-c", ",".join(str(cpu) for cpu in sorted(cpus)), *self.argv]
        self.name = name
        self.directory = directory
        self.log_file = directory / f"{name}.log"
        self.output_file = directory / f"{name}.out"
        self._ready = ready
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        if self._child is None or not self.running:
            raise LabError(f"{self.name} is not running")
        return self._child.pid

    @property
    def exit_status(self) -> int | None:
        """How it ended last, negative for a signal; None while it runs or before its first start."""
        return None if self._child is None else self._child.poll()

    def start(self) -> Self:
        """Start it and return when it is ready; LabError with the end of its log when it is not."""
        if self.running:
            raise LabError(f"{self.name} runs already")
        with self.log_file.open("ab") as log, self.output_file.open("ab") as output:
            self._child = subprocess.Popen(
                self.argv,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                start_new_session=True,
                # as systemd has it, which ignores SIGPIPE; and a limit on the size of files is an error, not the end
                restore_signals=False,
            )
        deadline = time.monotonic() + self._start_timeout
        try:
            while not self._ready():
                if self._child.poll() is not None:
                    raise LabError(f"{self.name} ended with {self._child.returncode} at start:\n{self.log_tail()}")
                if time.monotonic() > deadline:
                    raise LabError(f"{self.name} not ready after {self._start_timeout:g} s:\n{self.log_tail()}")
                time.sleep(_POLL_SECONDS)
        except BaseException:
            self.kill()
            raise
        return self

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def stop(self) -> int:
        """Ask it to end (SIGTERM), insist (SIGKILL) when it does not, and return its exit status."""
        if self._child is None:
            raise LabError(f"{self.name} was never started")
        if self.running:
            self._child.terminate()
            self._wait_unreaped(self._stop_timeout)
            self._kill_session()
        return self._child.wait()

    def kill(self) -> None:
        """SIGKILL, to it and to everything that it started. Nothing happens when it does not run."""
        if self._child is not None and self.running:
            self._kill_session()
            self._child.wait()

    def restart(self) -> Self:
        """Stop it when it runs, and start it."""
        if self.running:
            self.stop()
        return self.start()

    def log_text(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def log_tail(self, lines: int = _TAIL_LINES) -> str:
        return "\n".join(self.log_text().splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(self, *_: object) -> None:
        if self.running:
            self.stop()

    def _wait_unreaped(self, timeout: float) -> None:
        """Wait for its end but leave its process number taken, so that signalling its group can hit nobody else."""
        assert self._child is not None
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                return
            time.sleep(_POLL_SECONDS)

    def _kill_session(self) -> None:
        assert self._child is not None
        # It leads its own session, so its process number is also that of its group.
        os.killpg(self._child.pid, signal.SIGKILL)
