"""What the contract's tests do over and over: open a backend, and wait until the server shows what it was told.

A server may show a change a moment after it was taken, and somebody else's edit a moment after it was made.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from zonecut.plugin.backend import Backend, Reading
from zonecut.plugin.branches import visible
from zonecut.plugin.contract.server import ContractServer
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.rrset import RRset

_SETTLED_SECONDS = 5.0


@asynccontextmanager
async def opened(server: ContractServer) -> AsyncIterator[Backend]:
    """A backend on this server while the context lasts."""
    async with opened_backend(server.backend()) as backend:
        yield backend


@asynccontextmanager
async def opened_backend(backend: Backend) -> AsyncIterator[Backend]:
    """This backend, open while the context lasts."""
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


async def shows(backend: Backend, delegation: Delegation) -> None:
    """Return when the server shows this delegation, orphan glue aside; fail if it never does."""
    await _eventually(lambda: _visible(backend, delegation.child), visible(delegation))


async def differs(backend: Backend, delegation: Delegation) -> None:
    """Return when the server shows something else."""
    deadline = time.monotonic() + _SETTLED_SECONDS
    while await _visible(backend, delegation.child) == visible(delegation):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def unchanged(backend: Backend, delegations: Sequence[Delegation]) -> None:
    """The server holds these, and nothing is about to change that."""
    await asyncio.sleep(0.05)
    for delegation in delegations:
        assert await _visible(backend, delegation.child) == visible(delegation)


async def listed(backend: Backend) -> dict[bytes, Delegation]:
    """All delegations by child."""
    found = {}
    async for reading in backend.children():
        assert isinstance(reading, Reading), f"{reading.name} is unreadable: {reading.reason}"
        assert reading.delegation.child not in found
        found[reading.delegation.child] = reading.delegation
    return found


async def lists(backend: Backend, delegation: Delegation) -> None:
    """Return when a listing has this delegation, orphan glue included; fail if it never does."""

    async def look() -> Delegation | None:
        return (await listed(backend)).get(delegation.child)

    await _eventually(look, delegation)


async def reads(backend: Backend, places: Sequence[bytes], rrsets: Sequence[RRset]) -> None:
    """Return when exactly these RRsets are read at those names; fail if they never are."""

    async def read() -> frozenset[RRset]:
        return frozenset(await backend.read_rrsets(places))

    await _eventually(read, frozenset(rrsets))


async def _visible(backend: Backend, child: bytes) -> Delegation:
    return visible((await backend.read(child)).delegation)


async def _eventually(look: Callable[[], object], wanted: object) -> None:
    deadline = time.monotonic() + _SETTLED_SECONDS
    while True:
        seen = look()
        assert asyncio.iscoroutine(seen)
        found = await seen
        if found == wanted or time.monotonic() > deadline:
            assert found == wanted
            return
        await asyncio.sleep(0.01)
