"""The server of the contract of the adapter `bind`."""

import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.daemons.named import Named
from lab.zones import PARENT, ParentZone, Signing
from zonecut.plugin import Backend, BackendContext
from zonecut.plugin.contract import ContractServer
from zonecut.protocol import names
from zonecut.protocol.codepoints import type_text
from zonecut.protocol.rrset import ResourceRecord
from zonecut_bind import BindOptions
from zonecut_bind.backend import BindBackend


class NamedServer(ContractServer):
    """A named with the contract's zone."""

    patience = 2.0

    def __init__(self, directory: Path, master_file: str, signing: Signing) -> None:
        # By default named refuses names of servers that are no host names.
        options = "check-names primary ignore;"
        self.named = Named(directory, ParentZone(PARENT, text=master_file, signing=signing), options=options).start()
        self._configuration = directory / "named.conf"

    def backend(self) -> Backend:
        return self._backend(PARENT, self.named.tsig_file)

    @contextmanager
    def stranger(self) -> Iterator[Backend]:
        file = self.named.directory / "stranger.key"
        file.touch(mode=0o600)
        file.write_text(f'key "update.lab" {{ algorithm hmac-sha256; secret "{"A" * 43}="; }};\n')
        yield self._backend(PARENT, file)

    def misplaced(self) -> Backend:
        return self._backend("elsewhere.test.", self.named.tsig_file)

    def edit(self, remove: Sequence[tuple[bytes, int]] = (), add: Sequence[ResourceRecord] = ()) -> None:
        lines = [f"update delete {names.to_text(owner)} {type_text(rtype)}" for owner, rtype in remove]
        self.named.nsupdate("\n".join([*lines, *(f"update add {record.to_text()}" for record in add)]))

    def stop(self) -> None:
        self.named.kill()

    def start(self) -> None:
        self.named.start()

    def lose_zone(self) -> None:
        """Taken out of the configuration, where a zone above it stays: that answers for all names, with authority."""
        self.named.kill()
        above = PARENT.partition(".")[2]
        file = self.named.directory / "above.zone"
        file.write_text(f"{above} 60 SOA ns h 1 3600 900 604800 300\n{above} 60 NS ns\nns 60 A 127.0.0.1\n")
        self._text = self._configuration.read_text()
        (clause,) = re.findall(rf'^zone "{re.escape(PARENT)}".*$', self._text, re.MULTILINE)
        self._configuration.write_text(
            self._text.replace(clause, f'zone "{above}" {{ type primary; file "{file}"; }};')
        )
        self.named.start_lacking_zones()

    def find_zone(self) -> None:
        self.named.kill()
        self._configuration.write_text(self._text)
        self.named.start()

    def spoil(self, child: bytes) -> bool:
        """named takes no record that it cannot read."""
        return False

    def hold(self) -> None:
        self.named.send_signal(signal.SIGSTOP)

    def release(self) -> None:
        self.named.send_signal(signal.SIGCONT)

    def _backend(self, zone: str, tsig: Path) -> Backend:
        options = BindOptions(server=self.named.server, tsig=tsig, timeout=self.patience)
        return BindBackend(BackendContext(names.from_text(zone), self.ttls), options)
