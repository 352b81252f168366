"""A real knotd on loopback, primary for the parent zone, which whoever reaches its control socket may edit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zonecut.demo.processes import LOOPBACK
from zonecut.demo.report import DemoFailure
from zonecut.demo.servers.authority import PARENT
from zonecut.demo.servers.server import Server, output

_LONGEST_SOCKET = 107
"""Octets of a path in sun_path, without the final zero."""

_CONFIGURATION = """\
server:
    listen: {loopback}@{port}
    rundir: "{directory}"
control:
    listen: "{socket}"
database:
    storage: "{directory}"
log:
  - target: stderr
    any: info
acl:
  - id: loopback
    address: {loopback}
    action: transfer
zone:
  - domain: {zone}
    file: "{file}"
    acl: loopback
    zonefile-sync: -1
    zonefile-load: difference
    journal-content: changes
"""


class Knotd(Server):
    """knotd with a zone that is edited in transactions."""

    program = "knotd"
    product = "Knot DNS"
    packages = "knot"

    def __init__(self, directory: Path, content: str) -> None:
        super().__init__(directory, content)
        self._socket = directory / "knot.sock"
        if len(str(self._socket).encode()) > _LONGEST_SOCKET:
            raise DemoFailure(
                f"{self._socket} is too long for the path of a socket ({_LONGEST_SOCKET} octets): TMPDIR should name a"
                " directory with a shorter path"
            )

    @property
    def description(self) -> str:
        version = output(self._path, "--version").split()[-1]
        return f"Knot DNS {version} ({self._path}), written to over its control socket"

    @property
    def backend(self) -> Mapping[str, Any]:
        return {"adapter": "knot", "socket": str(self._socket)}

    def prepare(self, file: Path) -> Sequence[str]:
        configuration = self.directory / "knot.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                loopback=LOOPBACK,
                port=self.port,
                directory=self.directory,
                socket=self._socket,
                zone=PARENT,
                file=file,
            )
        )
        return ["-c", str(configuration)]

    def answers(self) -> bool:
        return self._socket.exists() and super().answers()
