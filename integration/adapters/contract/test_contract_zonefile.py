"""The adapter `zonefile` under the adapter contract: files that a real named loads on `rndc reload`."""

import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lab.daemons.named import Named
from lab.unprivileged import unprivileged
from lab.zones import PARENT, ParentZone
from zonecut.plugin import BackendContext
from zonecut.plugin.contract import BackendContract, ContractServer
from zonecut.protocol import names
from zonecut.protocol.codepoints import type_text
from zonecut.protocol.rrset import ResourceRecord
from zonecut_zonefile import ZonefileBackend, ZonefileOptions


class ZoneFiles(ContractServer):
    """The contract's zone in a file, and the named that serves it."""

    patience = 2.0

    def __init__(self, directory: Path, master_file: str) -> None:
        include = directory / f"{PARENT}delegations"
        zone = ParentZone(PARENT, text=f"{master_file}$INCLUDE {include} {PARENT}\n")
        self.named = Named(directory, zone)
        configuration = directory / "named.conf"
        # named refuses to load a zone again that it may change itself.
        configuration.write_text(re.sub(r"allow-update \{[^}]*\};", "", configuration.read_text()))
        self.zone_file = directory / f"{PARENT}zone"
        include.touch()
        self.named.start()

    def backend(self) -> ZonefileBackend:
        return self._backend(PARENT)

    @contextmanager
    def stranger(self) -> Iterator[ZonefileBackend]:
        directory = self.zone_file.parent
        mode = directory.stat().st_mode
        directory.chmod(0)
        try:
            with unprivileged():
                yield self._backend(PARENT)
        finally:
            directory.chmod(mode)

    def misplaced(self) -> ZonefileBackend:
        return self._backend("elsewhere.test.")

    def edit(self, remove: Sequence[tuple[bytes, int]] = (), add: Sequence[ResourceRecord] = ()) -> None:
        gone = {(names.to_text(owner), type_text(rtype)) for owner, rtype in remove}
        lines = self.zone_file.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not any((owner, rtype) in gone for owner, rtype in _owners_and_words(line))]
        self.zone_file.write_text("".join(kept) + "".join(f"{record.to_text()}\n" for record in add))

    def stop(self) -> None:
        self.named.kill()

    def start(self) -> None:
        self.named.start()

    def lose_zone(self) -> None:
        self._text = self.zone_file.read_text()
        self.zone_file.write_text("")

    def find_zone(self) -> None:
        self.zone_file.write_text(self._text)

    def spoil(self, child: bytes) -> bool:
        """A file with a line that makes no sense is no zone, for named either."""
        return False

    def hold(self) -> None:
        self.named.send_signal(signal.SIGSTOP)

    def release(self) -> None:
        self.named.send_signal(signal.SIGCONT)

    def _backend(self, zone: str) -> ZonefileBackend:
        rndc = self.named.rndc_argv("reload", PARENT)
        options = ZonefileOptions(
            zone_file=self.zone_file, directory=self.zone_file.parent, reload=tuple(rndc), reload_timeout=self.patience
        )
        return ZonefileBackend(BackendContext(names.from_text(zone), self.ttls), options)


def _owners_and_words(line: str) -> list[tuple[str, str]]:
    words = line.split()
    return [(words[0], word) for word in words[1:4]] if words else []


class TestZonefile(BackendContract):
    @pytest.fixture
    def serve(self, tmp_path: Path) -> Iterator[Callable[[str], ContractServer]]:
        with ExitStack() as running:

            def serve(master_file: str) -> ContractServer:
                server = ZoneFiles(tmp_path / "named", master_file)
                running.callback(server.named.kill)
                return server

            yield serve
