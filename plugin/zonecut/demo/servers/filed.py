"""A zone in a master file, and the small name server that loads it when it is told to."""

import threading
from collections.abc import Sequence
from pathlib import Path

import dns.exception
import dns.message
import dns.zone

from zonecut.demo.loopback import Exchange, LoopbackAuthority, LoopbackZone, Transport
from zonecut.demo.processes import LOOPBACK
from zonecut.demo.report import DemoFailure


class FiledZone:
    """A zone in `directory`, with an include for what zonecut writes; served as it was when it was loaded last.

    `touch NAME.reload` tells the server that serves it to load it anew. `content` is the zone to begin with, as a
    master file; whether the server signs it says `signed`.
    """

    def __init__(self, name: str, directory: Path, content: str, *, signed: bool) -> None:
        self.name = name
        stem = name.rstrip(".")
        self.file = directory / f"{stem}.zone"
        self.generated = directory / f"{stem}.delegations"
        """What the adapter makes."""
        self._directory = directory
        self._told = directory / f"{stem}.reload"
        self._content = content
        self._lock = threading.Lock()
        self.zone = LoopbackZone(name, content, signed=signed)

    @property
    def backend(self) -> dict[str, object]:
        """`backend` of zonecut's configuration."""
        return {
            "adapter": "zonefile",
            "zone_file": str(self.file),
            "directory": str(self._directory),
            "reload": ["touch", str(self._told)],
        }

    def write(self) -> None:
        """Make the file; the adapter makes the one that is included."""
        include = f"\n; what zonecut maintains\n$INCLUDE {self.generated} {self.name}\n"
        self.file.write_text(self._content + include)

    def read(self) -> dns.zone.Zone:
        """The zone as it stands in the files. Raises DemoFailure."""
        try:
            return dns.zone.from_file(str(self.file), self.name, relativize=False, allow_include=True)
        except (dns.exception.DNSException, OSError) as error:
            raise DemoFailure(f"no server would load {self.file.name}: {error}") from error

    def text(self) -> str:
        """Both files."""
        # the directory is a temporary one with a long name, which teaches nothing
        return (self.file.read_text() + self.generated.read_text()).replace(f"{self._directory}/", "")

    def reload(self) -> None:
        """Tell the server, as `backend.reload` does."""
        self._told.touch()

    def load_if_told(self) -> None:
        """Load the zone if the server was told to."""
        with self._lock:
            if self._told.exists():
                # before it is read: what is written later comes with another file of this name
                self._told.unlink()
                self.zone.load(self.read())


class FileAuthority(LoopbackAuthority):
    """Serves one such zone."""

    def __init__(self, filed: FiledZone, addresses: Sequence[str] = (LOOPBACK,)) -> None:
        super().__init__([filed.zone], addresses)
        self._filed = filed

    def exchange(self, query: dns.message.Message, address: str, transport: Transport) -> Exchange:
        self._filed.load_if_told()
        return super().exchange(query, address, transport)
