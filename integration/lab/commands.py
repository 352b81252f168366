"""The zonecut command, forked off a process that has it imported: most of a short command's time is its imports.

What runs is what the installed script runs, in a process of its own that ends as any other does. Run as a program, this
is that process: for each connection to its socket it forks, and runs what it is asked to.
"""

import atexit
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

_NOT_FOR_COMMANDS = ("zonecut.plugin.contract", "zonecut.store.migrations.")
_PATIENCE = 10.0
"""Seconds beyond a command's own time limit after which the process that runs it is given up."""


def run_command(argv: Sequence[str], *, cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """As subprocess.run with `argv`, the installed zonecut and its arguments: output captured, input empty."""
    request = {"argv": list(argv), "cwd": str(cwd), "environment": dict(os.environ), "timeout": timeout}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout + _PATIENCE)
        connection.connect(_server().path)
        connection.sendall(json.dumps(request).encode())
        connection.shutdown(socket.SHUT_WR)
        answer = json.loads(_received(connection))
    if answer["status"] is None:
        raise subprocess.TimeoutExpired(list(argv), timeout, answer["stdout"], answer["stderr"])
    return subprocess.CompletedProcess(list(argv), answer["status"], answer["stdout"], answer["stderr"])


class _Server:
    """The process that forks; it ends with the one that has started it."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="zonecut-commands-")
        self.path = f"{self._directory.name}/socket"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self.path)
            listening.listen(64)
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(listening.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=[listening.fileno()],
                start_new_session=True,
            )

    def close(self) -> None:
        self._process.communicate(timeout=_PATIENCE)
        self._directory.cleanup()


@cache
def _server() -> _Server:
    server = _Server()
    atexit.register(server.close)
    return server


def _received(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


# What follows runs in the process that forks, and in those that it has forked.


def _serve(listening: socket.socket) -> None:
    """Fork for each connection until standard input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([listening, sys.stdin.buffer], [], [])
        if sys.stdin.buffer in ready:
            return
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _answer(connection)
            os._exit(0)
        connection.close()


def _answer(connection: socket.socket) -> None:
    """Run the command that a client asks for in a process below this one, and send what became of it."""
    request = json.loads(_received(connection))
    outputs = [os.memfd_create(name) for name in ("stdout", "stderr")]
    command = os.fork()
    if command == 0:
        connection.close()
        _run(request, outputs)
    timed_out = False

    def kill(*_: object) -> None:
        nonlocal timed_out
        timed_out = True
        os.kill(command, signal.SIGKILL)

    signal.signal(signal.SIGALRM, kill)
    signal.setitimer(signal.ITIMER_REAL, request["timeout"])
    _, status = os.waitpid(command, 0)
    stdout, stderr = (os.pread(output, os.fstat(output).st_size, 0).decode() for output in outputs)
    answer = {
        "status": None if timed_out else os.waitstatus_to_exitcode(status),
        "stdout": stdout,
        "stderr": stderr,
    }
    connection.sendall(json.dumps(answer).encode())


def _run(request: dict[str, Any], outputs: Sequence[int]) -> None:
    """Become the command: the interpreter ends when it returns."""
    from zonecut.cli import main

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, output in enumerate(outputs, 1):
        os.dup2(output, descriptor)
        os.close(output)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["argv"]
    sys.exit(main())


def _import_all() -> None:
    """Import what a command may need."""
    packages = ["zonecut", *(each.value for each in entry_points(group="zonecut.adapters"))]
    for package in packages:
        for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
            if not module.name.startswith(_NOT_FOR_COMMANDS):
                import_module(module.name)


if __name__ == "__main__":
    _import_all()
    _serve(socket.socket(fileno=int(sys.argv[1])))
