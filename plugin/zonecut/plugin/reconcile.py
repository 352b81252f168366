"""Have a zone hold what it should: read, plan, write and look again, until there is nothing left to do."""

import asyncio
from collections.abc import Callable, Sequence

from zonecut.plugin.backend import Backend, BackendConflict, BackendRejected
from zonecut.protocol.rrset import RRset, RRsetDifference

Plan = Callable[[Sequence[RRset]], RRsetDifference]
"""What is to change where the zone holds these RRsets. May raise BackendError."""

_ATTEMPTS = 5
_LOOKS = 20
_BETWEEN_LOOKS = 0.1
"""Seconds between looks at what was written: some servers show it a moment later."""


async def reconcile(backend: Backend, names: Sequence[bytes], plan: Plan) -> tuple[RRsetDifference, tuple[RRset, ...]]:
    """The difference that there was at these names, and what the zone holds in the end.

    A server may keep a TTL lower than it is told: then that is what the zone holds.
    Raises BackendError, BackendRejected also when the server was told and still differs.
    """
    first: RRsetDifference | None = None
    for _ in range(_ATTEMPTS):
        held = await backend.read_rrsets(names)
        difference = plan(held)
        first = difference if first is None else first
        if not difference:
            return first, held
        try:
            await backend.replace_rrsets(difference.before, difference.after)
        except BackendConflict:
            continue  # somebody was faster: what is there now is the ground of the next plan
        for _ in range(_LOOKS):
            held = await backend.read_rrsets(names)
            difference = plan(held)
            if not difference or _is_capped(difference):
                return first, held
            await asyncio.sleep(_BETWEEN_LOOKS)
    left = "; ".join(difference.to_text().splitlines())
    raise BackendRejected(f"the server was told, and still differs: {left}")


def _is_capped(left: RRsetDifference) -> bool:
    """True if nothing is missing but TTLs that the server keeps lower than it was told (BIND's max-zone-ttl)."""
    after = {rrset.key: rrset for rrset in left.after}
    return len(left.before) == len(after) and all(
        rrset.key in after and rrset.rdatas == after[rrset.key].rdatas and rrset.ttl < after[rrset.key].ttl
        for rrset in left.before
    )
