"""A real named on loopback, primary for the parent zone, which one TSIG key may update."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zonecut.demo.processes import LOOPBACK
from zonecut.demo.servers.authority import PARENT
from zonecut.demo.servers.server import Server, output, write_private

_CONFIGURATION = """\
include "{tsig}";
options {{
    directory "{directory}";
    pid-file "{directory}/named.pid";
    session-keyfile "{directory}/session.key";
    managed-keys-directory "{directory}";
    listen-on port {port} {{ {loopback}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
    empty-zones-enable no;
    notify no;
    automatic-interface-scan no;
}};
controls {{ }};
zone "{zone}" {{
    type primary;
    file "{file}";
    allow-update {{ key zonecut; }};
    allow-transfer {{ {loopback}; }};
}};
"""


class Named(Server):
    """named with a dynamic zone."""

    program = "named"
    product = "BIND 9"
    packages = "bind9"

    def __init__(self, directory: Path, content: str) -> None:
        super().__init__(directory, content)
        self._keygen = self.find("tsig-keygen")
        self._tsig = self.directory / "tsig.key"

    @property
    def description(self) -> str:
        version = " ".join(output(self._path, "-v").split()[:2])
        return f"{version} ({self._path}) with a dynamic zone"

    @property
    def backend(self) -> Mapping[str, Any]:
        return {"adapter": "bind", "server": f"{LOOPBACK}:{self.port}", "tsig": str(self._tsig)}

    def prepare(self, file: Path) -> Sequence[str]:
        # the secret goes from one program's output straight into the file
        write_private(self._tsig, output(self._keygen, "-a", "hmac-sha256", "zonecut"))
        configuration = self.directory / "named.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                tsig=self._tsig, directory=self.directory, port=self.port, loopback=LOOPBACK, zone=PARENT, file=file
            )
        )
        return ["-g", "-c", str(configuration)]
