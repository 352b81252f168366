"""All that the tour plays with: a directory, the parent's server, zonecut as a daemon and as commands, and messages."""

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from zonecut.demo.answers import Answer, exchange
from zonecut.demo.authority import PARENT, Authority, ZoneFile, master_file, of_child, records, serial
from zonecut.demo.knotd import Knotd
from zonecut.demo.named import Named
from zonecut.demo.pdns import PowerDns
from zonecut.demo.processes import LOOPBACK, Process, environment, free_port
from zonecut.demo.report import DemoFailure
from zonecut.demo.tree import Tree
from zonecut.protocol import message, names
from zonecut.protocol.codepoints import Rcode, RRType

Render = Callable[[bytes], str]
"""A message in dig's style."""

AUTHORITIES: dict[str, Callable[[Path, str], Authority]] = {
    "zonefile": ZoneFile,
    "bind": Named,
    "knot": Knotd,
    "powerdns": PowerDns,
}
"""What there is a tour for, by the adapter's name."""

CONFIGURATION = "zonecut.yaml"
ANCHORS = "anchors.key"
_COMMAND_SECONDS = 30.0
_EVENT_SECONDS = 20.0
_POLL_SECONDS = 0.02
_BACKEND_IS_OPEN = '"event":"zone.ready"'
# the console script, run by the interpreter that runs us wherever it is installed; -P: not what lies in the directory
_ZONECUT = (sys.executable, "-P", "-c", "import sys; from zonecut.cli import main; sys.exit(main())")


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was run: how a person types it, its exit status, and what it printed."""

    line: str
    status: int
    output: str


class Stage:
    """Everything lives in `directory`; commands are run there, so that a person can type them there as well."""

    def __init__(self, adapter: str, directory: Path, render: Render) -> None:
        self.directory = directory
        self.render = render
        self.zone_name = names.from_text(PARENT)
        self.tree = Tree()
        self.authority = AUTHORITIES[adapter](directory, master_file(self.tree.alpha_ds))
        self._tree_running = ExitStack()
        self.port = free_port()
        self._daemon = Process(
            "zonecut", [*_ZONECUT, "serve", "--config", CONFIGURATION, "--log-format", "json"], directory
        )
        self._messages = 0

    def start(self) -> None:
        """Start the parent's server and zonecut. Raises DemoFailure."""
        (self.directory / "messages").mkdir()
        self.authority.start()
        self._tree_running.enter_context(self.tree.resolver)
        self._configure()
        self._daemon.start(self._answers)
        # the adapter of a zone file makes a part of it, so there is no whole zone before
        self.sign_parent()

    def stop(self) -> None:
        """End all that runs."""
        try:
            self._daemon.stop()
        finally:
            self._tree_running.close()
            self.authority.stop()

    @property
    def configuration(self) -> str:
        """The text of the configuration file."""
        return (self.directory / CONFIGURATION).read_text()

    def zonecut(self, *arguments: str, expect: int = 0) -> Command:
        """Run a zonecut command. Raises DemoFailure if its exit status is another than expected."""
        argv = [*arguments, "--config", CONFIGURATION]
        line = shlex.join(["zonecut", *argv])
        try:
            done = subprocess.run(  # noqa: S603 (ourselves)
                [*_ZONECUT, *argv],
                cwd=self.directory,
                env=environment(),
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

    def zonecut_each(self, *commands: Sequence[str]) -> list[Command]:
        """Run commands that do not depend on each other at the same time."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda arguments: self.zonecut(*arguments), commands))

    def keep(self, wire: bytes, name: str) -> str:
        """Write a message to a file, as a capture would; its path as commands take it."""
        self._messages += 1
        path = Path("messages", f"{self._messages}-{name}.bin")
        (self.directory / path).write_bytes(wire)
        return str(path)

    def send(self, wire: bytes) -> Answer:
        """Send a message to the receiver. Raises DemoFailure if nothing comes back."""
        return exchange(wire, self.port)

    def records(self) -> list[str]:
        """All that the parent's server holds."""
        return records(self.authority.zone())

    def records_of(self, child: str) -> list[str]:
        """What it holds at and below a child."""
        return of_child(self.records(), child)

    def serial(self) -> int:
        """The serial of the parent zone."""
        return serial(self.authority.zone())

    def sign_parent(self) -> None:
        """Have what is looked up show the parent zone as its server has it now."""
        self.tree.sign_parent(self.authority.zone())

    def logged(self, event: str) -> str:
        """The first line of zonecut's log with an event, waited for. Raises DemoFailure if there is none in time."""
        deadline = time.monotonic() + _EVENT_SECONDS
        while time.monotonic() < deadline:
            for line in self._daemon.log().splitlines(keepends=True):
                if f'"event":"{event}"' in line and line.endswith("\n"):
                    return line.strip()
            time.sleep(_POLL_SECONDS)
        raise DemoFailure(f"zonecut did not log {event} within {_EVENT_SECONDS:g} s")

    def logs(self) -> dict[str, str]:
        """The last lines that each daemon wrote."""
        processes = (*self.authority.processes, self._daemon)
        return {process.name: tail for process in processes if (tail := process.log_tail())}

    def _configure(self) -> None:
        (self.directory / ANCHORS).write_text(self.tree.trust_anchor)
        document = {
            "version": 1,
            "store": {"url": f"sqlite:///{self.directory}/zonecut.db"},
            "receiver": {"listen": [f"{LOOPBACK}:{self.port}"]},
            "resolver": {"nameservers": [self.tree.nameserver], "trust_anchors": str(self.directory / ANCHORS)},
            "parents": [
                {
                    "zone": PARENT,
                    "addresses": [LOOPBACK],
                    "bootstrap": ["at-apex", "manual"],
                    "backend": dict(self.authority.backend),
                    # glue in the tour is of the documentation prefixes, which are refused by default
                    "policy": {"min_ns": 2, "glue_addresses": "any"},
                    # those would ask the children's name servers, which are names only
                    "checks": {"ds_continuity": "off", "ns_consistency": "off"},
                }
            ],
        }
        path = self.directory / CONFIGURATION
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def _answers(self) -> bool:
        # it listens before its backend is open, and a change that comes in between is told to come again
        if _BACKEND_IS_OPEN not in self._daemon.log():
            return False
        question = message.query(0, self.zone_name, RRType.SOA)
        with suppress(DemoFailure):
            return self.send(question).rcode == Rcode.NOERROR
        return False
