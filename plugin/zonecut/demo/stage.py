"""All that the tour plays with: a directory, the parent's server, zonecut on both sides, and messages."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import yaml

from zonecut.demo.alpha import Alpha
from zonecut.demo.answers import Answer, exchange
from zonecut.demo.daemon import Daemon
from zonecut.demo.processes import LOOPBACK, free_port
from zonecut.demo.report import DemoFailure
from zonecut.demo.servers.authority import PARENT, Authority, ZoneFile, master_file, of_child, records, serial
from zonecut.demo.servers.knotd import Knotd
from zonecut.demo.servers.named import Named
from zonecut.demo.servers.pdns import PowerDns
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


class Stage:
    """Everything lives in `directory`; commands are run there, so that a person can type them there as well."""

    def __init__(self, adapter: str, directory: Path, render: Render) -> None:
        self.directory = directory
        self.render = render
        self.zone_name = names.from_text(PARENT)
        self.alpha = Alpha(directory)
        self.tree = Tree(self.alpha.server)
        self.authority = AUTHORITIES[adapter](directory, master_file(self.alpha.ds))
        self._tree_running = ExitStack()
        self.port = free_port()
        self.receiver = Daemon("zonecut", CONFIGURATION, directory)
        self._messages = 0

    def start(self) -> None:
        """Start both sides' servers and the receiver; the agent is started by the tour. Raises DemoFailure."""
        (self.directory / "messages").mkdir()
        self.alpha.prepare()
        self.authority.start()
        self._tree_running.enter_context(self.tree.running())
        self._configure()
        self.receiver.start(self._answers)
        # the adapter of a zone file makes a part of it, so there is no whole zone before
        self.sign_parent()

    def stop(self) -> None:
        """End all that runs."""
        with ExitStack() as ending:
            ending.callback(self.authority.stop)
            ending.callback(self._tree_running.close)
            ending.callback(self.receiver.stop)
            ending.callback(self.alpha.agent.stop)

    @property
    def configuration(self) -> str:
        """The text of the configuration file."""
        return (self.directory / CONFIGURATION).read_text()

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

    def logs(self) -> dict[str, str]:
        """The last lines that each daemon wrote."""
        processes = (*self.authority.processes, self.receiver, self.alpha.agent)
        return {process.name: tail for process in processes if (tail := process.log_tail())}

    def _configure(self) -> None:
        anchors = self.directory / ANCHORS
        anchors.write_text(self.tree.trust_anchor)
        resolver = {"nameservers": [self.tree.nameserver], "trust_anchors": str(anchors)}
        self.alpha.configure(dict(resolver), self.authority.port)
        document = {
            "version": 1,
            "store": {"url": f"sqlite:///{self.directory}/zonecut.db"},
            "receiver": {"listen": [f"{LOOPBACK}:{self.port}"]},
            "resolver": resolver,
            "parents": [
                {
                    "zone": PARENT,
                    "addresses": [LOOPBACK],
                    "bootstrap": ["at-apex", "manual"],
                    "backend": dict(self.authority.backend),
                    # glue in the tour is on loopback or for documentation, which is refused by default
                    "policy": {"min_ns": 2, "glue_addresses": "any"},
                    # those would ask the children's name servers at port 53, where none of the tour answers
                    "checks": {"ds_continuity": "off", "ns_consistency": "off"},
                }
            ],
        }
        path = self.directory / CONFIGURATION
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def _answers(self) -> bool:
        # it listens before its backend is open, and a change that comes in between is told to come again
        if not self.receiver.events("zone.ready"):
            return False
        question = message.query(0, self.zone_name, RRType.SOA)
        with suppress(DemoFailure):
            return self.send(question).rcode == Rcode.NOERROR
        return False
