"""The server of the contract of the adapter `knot`."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.daemons.knotd import Knotd
from lab.unprivileged import unprivileged
from lab.zones import PARENT, ParentZone, Signing
from zonecut.plugin import Backend, BackendContext
from zonecut.plugin.contract import ContractServer
from zonecut.protocol import names
from zonecut.protocol.codepoints import type_text
from zonecut.protocol.delegation import rdata_text
from zonecut.protocol.rrset import ResourceRecord
from zonecut_knot import KnotOptions
from zonecut_knot.backend import KnotBackend
from zonecut_knot.options import Client


class KnotServer(ContractServer):
    """A knotd with the contract's zone."""

    def __init__(
        self, directory: Path, master_file: str, signing: Signing, client: Client, *, ddns: bool = False
    ) -> None:
        zone = ParentZone(PARENT, text=master_file, signing=signing)
        self.knotd = Knotd(directory, zone, ddns=ddns).start()
        self._client = client
        # knotc is a process for each operation, which a busy machine is slow to start
        self.patience = 6.0 if client is Client.KNOTC else 2.0

    def backend(self) -> Backend:
        return self._backend(PARENT)

    @contextmanager
    def stranger(self) -> Iterator[Backend]:
        """There are no credentials but the permissions of the socket."""
        mode = self.knotd.directory.stat().st_mode
        self.knotd.directory.chmod(0)
        try:
            with unprivileged():
                yield self._backend(PARENT)
        finally:
            self.knotd.directory.chmod(mode)

    def misplaced(self) -> Backend:
        return self._backend("elsewhere.test.")

    def edit(self, remove: Sequence[tuple[bytes, int]] = (), add: Sequence[ResourceRecord] = ()) -> None:
        self.knotd.transaction(
            *(("unset", names.to_text(owner), type_text(rtype)) for owner, rtype in remove),
            *(
                ("set", names.to_text(each.owner), str(each.ttl), type_text(each.rtype), rdata_text(*each[1::2]))
                for each in add
            ),
        )

    def stop(self) -> None:
        self.knotd.kill()

    def start(self) -> None:
        self.knotd.start()

    def lose_zone(self) -> None:
        self.knotd.kill()
        self._text = self.knotd.zone_file(PARENT).read_text()
        self.knotd.zone_file(PARENT).write_text(f"{self._text}this is ( no zone\n")
        self.knotd.start_lacking_zones()

    def find_zone(self) -> None:
        self.knotd.kill()
        self.knotd.zone_file(PARENT).write_text(self._text)
        self.knotd.start()

    def spoil(self, child: bytes) -> bool:
        """knotd takes no record that it cannot read."""
        return False

    def hold(self) -> None:
        self.knotd.send_signal(signal.SIGSTOP)

    def release(self) -> None:
        self.knotd.send_signal(signal.SIGCONT)

    def _backend(self, zone: str) -> Backend:
        options = KnotOptions(socket=self.knotd.socket, timeout=self.patience, client=self._client)
        return KnotBackend(BackendContext(names.from_text(zone), self.ttls), options)
