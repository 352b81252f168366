"""zonecut as a daemon and as commands, and what its log says."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zonecut.demo.processes import Process, environment
from zonecut.demo.report import DemoFailure

_COMMAND_SECONDS = 30.0
_COLUMNS = 95
"""What the narrator has room for."""
_EVENT_SECONDS = 20.0
_POLL_SECONDS = 0.02
# the console script, run by the interpreter that runs us wherever it is installed; -P: not what lies in the directory
_ZONECUT = (sys.executable, "-P", "-c", "import sys; from zonecut.cli import main; sys.exit(main())")

Event = dict[str, Any]
"""A line of the log."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was run: how a person types it, its exit status, and what it printed."""

    line: str
    status: int
    output: str


class Daemon(Process):
    """`zonecut serve` with a configuration, given as its path in `directory`, where commands are run, too."""

    def __init__(self, name: str, configuration: str, directory: Path) -> None:
        argv = [*_ZONECUT, "serve", "--config", configuration, "--log-format", "json"]
        super().__init__(name, argv, directory)
        self.configuration = configuration
        self._directory = directory

    def run(self, *arguments: str, expect: int = 0) -> Command:
        """Run a zonecut command with the same configuration. Raises DemoFailure if its exit status is another."""
        argv = [*arguments, "--config", self.configuration]
        line = shlex.join(["zonecut", *argv])
        try:
            done = subprocess.run(  # noqa: S603 (ourselves)
                [*_ZONECUT, *argv],
                cwd=self._directory,
                env={**environment(), "COLUMNS": str(_COLUMNS)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DemoFailure(f"{line}\n  took longer than {_COMMAND_SECONDS:g} s") from None
        output = done.stdout + done.stderr
        if done.returncode != expect:
            raise DemoFailure(f"{line}\n  expected: exit status {expect}\n  found:    {done.returncode}\n{output}")
        return Command(line, done.returncode, output)

    def run_each(self, *commands: Sequence[str]) -> list[Command]:
        """Run commands that do not depend on each other at the same time."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda arguments: self.run(*arguments), commands))

    def events(self, name: str | None = None) -> list[Event]:
        """What it logged so far, the oldest first; only the events of this name."""
        # the last line may be half written
        lines = self.log().rpartition("\n")[0].splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in found if name in (None, event["event"])]

    def wait(self, name: str, wanted: Callable[[list[Event]], bool] = bool) -> list[Event]:
        """The events of a name once they are as they shall be; by default, once there is one.

        Raises DemoFailure if they do not become so in time.
        """
        deadline = time.monotonic() + _EVENT_SECONDS
        while time.monotonic() < deadline:
            if wanted(found := self.events(name)):
                return found
            time.sleep(_POLL_SECONDS)
        raise DemoFailure(f"{self.name} did not log what it should of {name} within {_EVENT_SECONDS:g} s")
