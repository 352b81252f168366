"""The adapter `manual` under the adapter contract: somebody does with nsupdate, to a real named, what it says."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from contract_bind_world import NamedServer
from lab.daemons.named import Named
from lab.nsupdate import nsupdate
from lab.zones import Signing
from zonecut.plugin import Backend, BackendContext, BackendLater, Change
from zonecut.plugin.contract import BackendContract, ContractServer, Serve
from zonecut.protocol import names
from zonecut.protocol.rrset import RRset
from zonecut_bind import ManualOptions
from zonecut_bind.manual.backend import ManualBackend
from zonecut_bind.manual.nsupdate import rrsets_text

_PATIENCE = 2.0


class Attended(ManualBackend):
    """With somebody who does at once what is to be done."""

    def __init__(self, context: BackendContext, options: ManualOptions, named: Named) -> None:
        super().__init__(context, options)
        self._named = named

    async def write(self, changes: Sequence[Change]) -> None:
        try:
            await super().write(changes)
        except BackendLater as later:
            await self._do(self.by_hand([change for change in changes if change.child in later.children]))
            await super().write(changes)

    async def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        try:
            await super().replace_rrsets(before, after)
        except BackendLater:
            await self._do(rrsets_text(self._zone, before, after))

    async def _do(self, lines: str) -> None:
        named = self._named
        done = await asyncio.to_thread(
            nsupdate, lines.removesuffix("send\n"), port=named.port, key_file=named.tsig_file, tcp=True
        )
        assert done.rcode == "NOERROR", f"{lines}{done.stderr}"


class AttendedNamed(NamedServer):
    def backend(self) -> Backend:
        return self._attended(self.named.zones[0].name, self.named.tsig_file)

    @contextmanager
    def stranger(self) -> Iterator[Backend]:
        """Without the key that a transfer needs."""
        yield self._attended(self.named.zones[0].name, None)

    def misplaced(self) -> Backend:
        return self._attended("elsewhere.test.", self.named.tsig_file)

    def _attended(self, zone: str, tsig: Path | None) -> Backend:
        options = ManualOptions(
            server=self.named.server, tsig=tsig, timeout=_PATIENCE, transfer_timeout=_PATIENCE, look=1, rescan=300
        )
        return Attended(BackendContext(names.from_text(zone), self.ttls), options, self.named)


class TestManual(BackendContract):
    # nobody writes here but who makes the zone
    makes_zones = True
    delegations = 3000

    @pytest.fixture
    def serve(self, tmp_path: Path) -> Iterator[Serve]:
        with ExitStack() as running:

            def serve(master_file: str) -> ContractServer:
                server = AttendedNamed(tmp_path / "named", master_file, Signing.NONE)
                running.callback(server.named.kill)
                return server

            yield serve
