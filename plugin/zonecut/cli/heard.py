"""Whether a daemon was heard of lately: it leaves in the store how the servers of its parent zones are."""

from time import time

from zonecut.store import ServerState, Store

SILENT = 60.0
"""Seconds after which a daemon that has said nothing is not believed to run: it says something every twenty."""


async def is_served(store: Store, zone: bytes) -> bool:
    """Whether `zonecut serve` seems to run for a parent zone. Raises StoreUnavailable."""
    state = (await store.zones.all()).get(zone)
    return state is not None and state.state is not ServerState.STOPPED and time() - state.seen_at < SILENT
