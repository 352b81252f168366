"""The adapter `knot` under the adapter contract, on a real knotd: through libknot, through knotc, and signed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from contract_knot_world import KnotServer
from lab.zones import Signing
from zonecut.plugin.contract import BackendContract, ContractServer
from zonecut_knot.options import Client


class KnotContract(BackendContract):
    signing = Signing.NONE
    client = Client.LIBKNOT

    @pytest.fixture
    def serve(self, tmp_path: Path) -> Iterator[Callable[[str], ContractServer]]:
        with ExitStack() as running:

            def serve(master_file: str) -> ContractServer:
                server = KnotServer(tmp_path / "knotd", master_file, self.signing, self.client)
                running.callback(server.knotd.kill)
                return server

            yield serve


class TestKnot(KnotContract):
    pass


class TestKnotSigning(KnotContract):
    signing = Signing.IN_PLACE
    signs_zones = True


class TestKnotByKnotc(KnotContract):
    client = Client.KNOTC
