"""The adapter `rfc2136` under the adapter contract: on knotd by DDNS, PowerDNS with `dnsupdate`, and named."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from contract_bind_world import NamedServer
from contract_knot_world import KnotServer
from contract_powerdns_world import ContractPowerDns
from lab.daemons.knotd import Knotd
from lab.daemons.named import Named
from lab.daemons.pdns import PowerDns
from lab.zones import PARENT, ParentZone, Signing
from zonecut.plugin import Backend, BackendContext, BackendRejected
from zonecut.plugin.contract import BackendContract, ContractServer, Serve
from zonecut.plugin.contract.base import ContractTests
from zonecut.plugin.contract.looking import opened, reads
from zonecut.plugin.contract.trouble import TroubleContract
from zonecut.plugin.contract.writing import WritingContract
from zonecut.protocol import names
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.rrset import RRset
from zonecut_bind import Rfc2136Options
from zonecut_bind.anyserver.backend import AnyServerBackend
from zonecut_knot.options import Client

_PATIENCE = 2.0


class UpdatedServer(ContractServer):
    """What is the same for all servers: there is a key, and who has another one is a stranger."""

    patience = _PATIENCE
    lab: Knotd | Named | PowerDns

    def backend(self) -> Backend:
        return self._at(PARENT, self.lab.tsig_file)

    @contextmanager
    def stranger(self) -> Iterator[Backend]:
        file = self.lab.directory / "stranger.key"
        file.touch(mode=0o600)
        file.write_text(f'key "update.lab" {{ algorithm hmac-sha256; secret "{"A" * 43}="; }};\n')
        yield self._at(PARENT, file)

    def misplaced(self) -> Backend:
        return self._at("elsewhere.test.", self.lab.tsig_file)

    def _at(self, zone: str, tsig: Path) -> Backend:
        options = Rfc2136Options(server=self.lab.server, tsig=tsig, timeout=_PATIENCE)
        return AnyServerBackend(BackendContext(names.from_text(zone), self.ttls), options)


class UpdatedKnot(UpdatedServer, KnotServer):
    """knotd: its operator edits by knotc."""

    def __init__(self, directory: Path, master_file: str, signing: Signing) -> None:
        KnotServer.__init__(self, directory, master_file, signing, Client.LIBKNOT, ddns=True)
        self.lab = self.knotd


class UpdatedPowerDns(UpdatedServer, ContractPowerDns):
    """PowerDNS: its operator edits by pdnsutil."""

    def __init__(self, pdns: PowerDns) -> None:
        ContractPowerDns.__init__(self, pdns, by_dns=False)
        self.lab = pdns


class UpdatedNamed(UpdatedServer, NamedServer):
    """named: its operator edits by nsupdate."""

    def __init__(self, directory: Path, master_file: str, signing: Signing) -> None:
        NamedServer.__init__(self, directory, master_file, signing)
        self.lab = self.named


class OnKnot(ContractTests):
    signing = Signing.NONE
    # what is listed goes through the same file on disk as with PowerDNS' API, whose contract has many more
    delegations = 3000

    @pytest.fixture
    def serve(self, tmp_path: Path) -> Iterator[Serve]:
        with ExitStack() as running:

            def serve(master_file: str) -> ContractServer:
                server = UpdatedKnot(tmp_path / "knotd", master_file, self.signing)
                running.callback(server.knotd.kill)
                return server

            yield serve


class TestKnot(OnKnot, BackendContract):
    pass


class TestKnotSigning(OnKnot, WritingContract, TroubleContract):
    signing = Signing.IN_PLACE
    signs_zones = True


class OnPowerDns(ContractTests):
    """Unusual names are written as on other servers; but no DSYNC is taken by UPDATE."""

    signing = Signing.NONE
    delegations = 3000

    @pytest.fixture
    def serve(self, tmp_path: Path) -> Iterator[Serve]:
        with ExitStack() as stack:

            def serve(master_file: str) -> ContractServer:
                zone = ParentZone(PARENT, master_file, signing=self.signing)
                return UpdatedPowerDns(stack.enter_context(PowerDns(tmp_path / "pdns", zone, ddns=True)))

            yield serve

    async def test_what_zonecut_publishes_is_written_read_and_removed(self, server: ContractServer) -> None:
        """All but DSYNC, of which is said what becomes of it."""
        dsync, *ours = self.announcements()
        places = [dsync.owner, ours[0].owner]
        async with opened(server) as backend:
            with pytest.raises(BackendRejected, match=r"DSYNC.*publish: false"):
                await backend.replace_rrsets((), [dsync, *ours])
            assert await backend.read_rrsets(places) == ()
            await backend.replace_rrsets((), ours)
            await reads(backend, places, ours)
            moved = RRset(ours[0].owner, RRType.A, 61, ours[0].rdatas[:1])
            await backend.replace_rrsets([ours[0], ours[2]], [moved])
            await reads(backend, places, [moved, ours[1]])
            await backend.replace_rrsets([moved, ours[1]], ())
            await reads(backend, places, ())

    async def test_what_a_wildcard_would_answer_is_not_read(self, server: ContractServer) -> None:
        async with opened(server) as backend:
            wild = RRset(self.name("*._dsync"), RRType.A, 60, (bytes([11, 0, 0, 1]),))
            await backend.replace_rrsets((), [wild])
            await reads(backend, [wild.owner], [wild])
            assert await backend.read_rrsets([self.name("child._dsync")]) == ()


class TestPowerDns(OnPowerDns, BackendContract):
    pass


class TestPowerDnsSigning(OnPowerDns, WritingContract, TroubleContract):
    signing = Signing.IN_PLACE
    signs_zones = True


class TestNamed(WritingContract, TroubleContract):
    @pytest.fixture
    def serve(self, tmp_path: Path) -> Iterator[Serve]:
        with ExitStack() as running:

            def serve(master_file: str) -> ContractServer:
                server = UpdatedNamed(tmp_path / "named", master_file, Signing.NONE)
                running.callback(server.named.kill)
                return server

            yield serve
