"""zonecut itself, run as its operators run it: the installed command and a configuration file."""

import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from json import JSONDecodeError, loads
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query
import yaml

from lab.commands import run_command
from lab.process import LabError, Process

COMMAND = Path(sys.executable).with_name("zonecut")
CHECKS_OFF = {"ds_continuity": "off", "ns_consistency": "off"}
"""`checks` of a parent zone whose children's servers are not asked: no test sends a packet beyond loopback."""


class CommandFailed(Exception):
    """A zonecut command ended with another exit status than the test expected."""

    def __init__(self, argv: list[str], done: subprocess.CompletedProcess[str]) -> None:
        super().__init__(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        self.exit_status = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr


class ZonecutProcess(Process):
    """`zonecut serve` with `configuration` (as in the YAML file) in `directory`.

    Ready means: it answers a query over TCP at the first address of `receiver.listen`, or of `agent.listen` where there
    are no parents.
    """

    def __init__(
        self,
        directory: Path,
        configuration: Mapping[str, Any],
        *,
        start_timeout: float = 20.0,
        stop_timeout: float = 20.0,
        cpus: Collection[int] | None = None,
        command: Path = COMMAND,
    ) -> None:
        """`command`: the zonecut to run, where it is not the one that is tested everywhere else."""
        directory.mkdir(parents=True, exist_ok=True)
        self.command = command
        self.config_file = directory / "zonecut.yaml"
        self.configuration = configuration
        self.configure(configuration)
        self.host, self.port = _first_address(configuration)
        super().__init__(
            [command, "serve", "--config", self.config_file],
            name="zonecut",
            directory=directory,
            ready=self._answers,
            start_timeout=start_timeout,
            stop_timeout=stop_timeout,
            cpus=cpus,
        )

    def configure(self, configuration: Mapping[str, Any]) -> None:
        """Write another configuration; it counts after SIGHUP or a restart.

        Checks by look-up are off unless it turns them on: the children of tests name servers that are somebody's.
        """
        self.config_file.touch(mode=0o600)
        self.config_file.write_text(yaml.safe_dump(without_checks(configuration), sort_keys=False))
        self.configuration = configuration

    def stop(self) -> int:
        """SIGTERM; it must end by itself with exit status 0."""
        status = super().stop()
        if status != 0:
            raise LabError(f"zonecut ended with {status} after SIGTERM:\n{self.log_tail()}")
        return status

    def cli(self, *arguments: str | Path, json: bool = True, expect: int | None = 0, timeout: float = 60.0) -> Any:
        """Run another zonecut command with the same configuration.

        Returns what it printed, parsed with `json`, else as text; CommandFailed when its exit status is not `expect`
        (None: any).
        """
        argv = [
            str(self.command),
            *map(str, arguments),
            "--config",
            str(self.config_file),
            *(["--json"] if json else []),
        ]
        # what is on PYTHONPATH is not installed where commands have their imports from
        if self.command == COMMAND and "PYTHONPATH" not in os.environ:
            done = run_command(argv, cwd=self.directory, timeout=timeout)
        else:
            done = subprocess.run(
                argv, cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
            )
        if (expect is not None and done.returncode != expect) or (json and not done.stdout):
            raise CommandFailed(argv, done)
        return loads(done.stdout) if json else done.stdout

    def log_events(self, event: str | None = None) -> list[dict[str, Any]]:
        """The events of the log, oldest first; with `event`, those of that name."""
        events = [parsed for _, parsed in self._log_lines() if parsed is not None]
        return events if event is None else [parsed for parsed in events if parsed.get("event") == event]

    def stray_lines(self) -> list[str]:
        """The lines of the log that are no event: tracebacks, warnings, a line cut short by a kill."""
        return [line for line, parsed in self._log_lines() if parsed is None]

    def _log_lines(self) -> Iterator[tuple[str, dict[str, Any] | None]]:
        for line in self.log_text().splitlines():
            try:
                parsed = loads(line)
            except JSONDecodeError:
                parsed = None
            yield line, parsed if isinstance(parsed, dict) else None

    def _answers(self) -> bool:
        parents = self.configuration.get("parents") or [{"zone": "."}]
        question = dns.message.make_query(str(parents[0]["zone"]), "SOA")
        try:
            dns.query.tcp(question, self.host, port=self.port, timeout=1.0)
        except (dns.exception.DNSException, OSError):
            return False
        return True


def without_checks(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with each check off that it says nothing of."""
    parents = configuration.get("parents")
    if not isinstance(parents, Sequence):
        return dict(configuration)
    off = [{**parent, "checks": {**CHECKS_OFF, **parent.get("checks", {})}} for parent in parents]
    return {**configuration, "parents": off}


StartZonecut = Callable[..., ZonecutProcess]


def _first_address(configuration: Mapping[str, Any]) -> tuple[str, int]:
    section = configuration["receiver" if configuration.get("parents") or "agent" not in configuration else "agent"]
    host, _, port = str(section["listen"][0]).rpartition(":")
    return host.strip("[]"), int(port)
