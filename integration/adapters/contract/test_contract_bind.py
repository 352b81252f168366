"""The adapter `bind` under the adapter contract, on a real named."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from contract_bind_world import NamedServer
from lab.zones import Signing
from zonecut.plugin.contract import BackendContract, ContractServer, Serve


def served(directory: Path, signing: Signing) -> Iterator[Serve]:
    with ExitStack() as running:

        def serve(master_file: str) -> ContractServer:
            server = NamedServer(directory / f"named-{signing}", master_file, signing)
            running.callback(server.named.kill)
            return server

        yield serve


class TestBind(BackendContract):
    @pytest.fixture
    def serve(self, tmp_path: Path) -> Iterator[Callable[[str], ContractServer]]:
        yield from served(tmp_path, Signing.NONE)


class TestBindSigningInPlace(BackendContract):
    signs_zones = True

    @pytest.fixture
    def serve(self, tmp_path: Path) -> Iterator[Callable[[str], ContractServer]]:
        yield from served(tmp_path, Signing.IN_PLACE)


class TestBindSigningInline(BackendContract):
    signs_zones = True

    @pytest.fixture
    def serve(self, tmp_path: Path) -> Iterator[Callable[[str], ContractServer]]:
        yield from served(tmp_path, Signing.INLINE)
