"""Somebody else's adapter, with defects: BIND's, which raises what no adapter may where a file asks for that.

The file `faults/OPERATION` holds how often the operation fails, or how often at a child: `COUNT [CHILD]`.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from zonecut.plugin import Adapter, Backend, BackendContext, Change, Reading, hookimpl
from zonecut.protocol import names
from zonecut.protocol.rrset import RRset
from zonecut_bind.backend import BindBackend
from zonecut_bind.options import BindOptions

NAME = "faulty"


class FaultyOptions(BindOptions):
    """Those of the adapter for BIND."""

    faults: Path = Field(description="The directory with the files that ask for faults.")


class FaultyBackend(BindBackend):
    """A zone on BIND."""

    def __init__(self, context: BackendContext, options: FaultyOptions) -> None:
        super().__init__(context, options)
        self._faults = options.faults

    async def open(self) -> None:
        self._fail("open")
        await super().open()

    async def close(self) -> None:
        await super().close()
        self._fail("close")

    async def read(self, child: bytes) -> Reading:
        self._fail("read", child)
        return await super().read(child)

    def batch(self, changes: Sequence[Change]) -> int:
        self._fail("batch")
        return super().batch(changes)

    async def write(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._fail("write", change.child)
        await super().write(changes)

    async def read_rrsets(self, names: Sequence[bytes]) -> tuple[RRset, ...]:
        self._fail("read_rrsets")
        return await super().read_rrsets(names)

    def _fail(self, operation: str, child: bytes | None = None) -> None:
        file = self._faults / operation
        if not file.exists():
            return
        count, _, at = file.read_text().partition(" ")
        if int(count) and (not at or (child is not None and names.to_text(child) == at)):
            file.write_text(f"{int(count) - 1} {at}".rstrip())
            raise KeyError(f"a defect in {operation}")


@hookimpl
def zonecut_adapters() -> list[Adapter]:
    """The adapter that this package brings."""
    return [Adapter(name=NAME, options=FaultyOptions, create=_create)]


def _create(context: BackendContext, options: FaultyOptions) -> Backend:
    return FaultyBackend(context, options)
