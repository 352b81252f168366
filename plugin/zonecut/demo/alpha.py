"""alpha, the child that an agent looks after: its zone file, the server that signs and serves it, and the agent."""

from collections.abc import Callable
from pathlib import Path

import yaml

from zonecut.demo.daemon import Daemon, Event
from zonecut.demo.processes import LOOPBACK
from zonecut.demo.report import DemoFailure
from zonecut.demo.servers.authority import ALPHA, serial
from zonecut.demo.servers.filed import FileAuthority, FiledZone

DIRECTORY = "alpha"
"""Where all of alpha is."""
PROVIDER = "dns.provider.example."
PROVIDER_ADDRESS = "127.0.0.14"
"""A name server that alpha will have, and that its operator does not run."""
NEW_ADDRESS = "127.0.0.13"
"""Of ns1."""
_CONFIGURATION = f"{DIRECTORY}/zonecut.yaml"
_ZONE = f"""\
$ORIGIN {ALPHA}
$TTL 3600
@    SOA  ns1 hostmaster 1 7200 3600 1209600 300
@    NS   ns1
@    NS   ns2
ns1  A    127.0.0.11
ns2  A    127.0.0.12
www  A    192.0.2.80
"""


class Alpha:
    """Everything is in `DIRECTORY` below the directory of the tour."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.filed = FiledZone(ALPHA, directory / DIRECTORY, _ZONE, signed=True)
        self.server = FileAuthority(self.filed, (LOOPBACK, "127.0.0.11", "127.0.0.12", NEW_ADDRESS, PROVIDER_ADDRESS))
        self.agent = Daemon("alpha", _CONFIGURATION, directory)

    @property
    def ds(self) -> str:
        """The data of the DS record that belongs to the key with which the zone is signed."""
        return str(self.filed.zone.ds[0])

    @property
    def configuration(self) -> str:
        """The text of the agent's configuration."""
        return (self._directory / _CONFIGURATION).read_text()

    @property
    def file(self) -> str:
        """The zone file, as commands take it."""
        return str(self.filed.file.relative_to(self._directory))

    def prepare(self) -> None:
        """Make the zone file, before it is served."""
        (self._directory / DIRECTORY).mkdir(mode=0o700)
        self.filed.write()

    def configure(self, resolver: dict[str, object], parent_port: int) -> None:
        """Write the agent's configuration; the parent's name servers answer at `parent_port`."""
        document = {
            "version": 1,
            "store": {"url": f"sqlite:///{self._directory}/{DIRECTORY}/zonecut.db"},
            "resolver": resolver,
            "children": [
                {
                    "zone": ALPHA,
                    "primary": {"server": f"{LOOPBACK}:{self.server.port}"},
                    "backend": self.filed.backend,
                    # everybody is on loopback here, and a tour has no patience
                    "parent": {"addresses": "any", "port": parent_port},
                    "poll": 0.5,
                    "retry_first": 0.25,
                    "looks": {"port": self.server.port, "again": 0.5},
                }
            ],
        }
        path = self._directory / _CONFIGURATION
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def start(self) -> None:
        """Start the agent. Raises DemoFailure."""
        self.agent.start(lambda: bool(self.agent.events("serve.started")))

    def edit(self, *changes: tuple[str, str]) -> None:
        """Replace lines of the zone file, as an editor does, the serial as well, and have it loaded."""
        text = self.filed.file.read_text()
        now = serial(self.filed.read())
        for before, after in ((f"hostmaster {now} ", f"hostmaster {now + 1} "), *changes):
            assert before in text
            text = text.replace(before, after)
        self.filed.file.write_text(text)
        self.filed.reload()

    def states(self) -> list[Event]:
        """What the agent logged of where the zone stands."""
        return self.agent.events("agent.state")

    def wait_for(self, phase: str, after: int = 0) -> list[Event]:
        """The states that followed the first `after` ones, once the last of them is this phase. Raises DemoFailure."""

        def reached(states: list[Event]) -> bool:
            return len(states) > after and states[-1]["phase"] == phase

        return self._wait(reached, phase)[after:]

    def wait_for_refusal(self, after: int) -> None:
        """Wait for a state after the first `after` ones that tells of one. Raises DemoFailure."""
        self._wait(lambda states: any("REFUSED" in state["reason"] for state in states[after:]), "a refusal")

    @property
    def refusals(self) -> int:
        """How often what the agent sent was refused."""
        return sum(1 for event in self.agent.events("agent.change") if event["result"] == "refused")

    def _wait(self, reached: Callable[[list[Event]], bool], what: str) -> list[Event]:
        try:
            return self.agent.wait("agent.state", reached)
        except DemoFailure as failure:
            last = next((f"{state['phase']}: {state['reason']}" for state in reversed(self.states())), "nothing yet")
            raise DemoFailure(f"{failure}\n  expected: {what}\n  found:    {last}") from None
