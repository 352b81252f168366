"""The adapter contract: what every adapter must do on its real server, as one test class for pytest.

    class TestMine(BackendContract):
        @pytest.fixture
        def serve(self, tmp_path):
            with ExitStack() as stack:
                yield lambda master_file: stack.enter_context(MyServer(tmp_path, master_file))

`serve` starts a server with the zone `BackendContract.zone_name` from the text of a master file, and returns the
`ContractServer` by which the tests reach it. The tests are coroutines: pytest-asyncio has to be there, in any mode.
`ZONECUT_CONTRACT_DELEGATIONS` says how large the large zone is (20,000).
"""

import pytest

_PARTS = ("base", "looking", "publishing", "reading", "shapes", "trouble", "writing")
# so that a failed assertion shows its values; pytest does that for test files only
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))

from zonecut.plugin.contract.publishing import PublishingContract
from zonecut.plugin.contract.reading import ReadingContract
from zonecut.plugin.contract.server import ContractServer, Serve, generated, master_file
from zonecut.plugin.contract.shapes import ShapesContract
from zonecut.plugin.contract.trouble import TroubleContract
from zonecut.plugin.contract.writing import WritingContract

__all__ = ["BackendContract", "ContractServer", "Serve", "generated", "master_file"]


class BackendContract(ReadingContract, WritingContract, ShapesContract, PublishingContract, TroubleContract):
    """Subclass it, give it the fixture `serve`, and run pytest."""
