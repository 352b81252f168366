"""Whether the DNS service that is to be asked shows what is in the database: it counts only as long as it does.

What stands at the address may be a cache before the server (dnsdist with a packet cache, say), a view of its own, or
another server altogether: a change would then never be seen, and somebody else's edit would. So some delegations are
compared at the start; DNS counts only once a write of ours was seen there at once, having been asked for just before;
and where it says something else than the API later, it does not count any more.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

from zonecut.plugin.branches import visible
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut_powerdns.queries import Queries

_LOG = logging.getLogger("zonecut.powerdns")

_PROOFS = 50
"""So many children of a transaction are asked for until DNS is proven."""


class Dns:
    """The DNS service of one zone's server; `queries` is None where it is not known."""

    def __init__(self, zone: bytes, queries: Queries | None, flush: Callable[[], Awaitable[None]]) -> None:
        """`flush` has the server forget what it has cached of the zone."""
        self._zone = zone
        self._queries = queries
        self._flush = flush
        self._primed: dict[bytes, Delegation | None] = {}
        self._is_proven = False
        self.trouble: str | None = None
        """Why it is asked no more."""

    @property
    def is_proven(self) -> bool:
        """Whether what it says counts."""
        return self._is_proven and self.trouble is None

    @property
    def _is_unproven(self) -> bool:
        return self._queries is not None and not self._is_proven and self.trouble is None

    def can_show(self, delegation: Delegation) -> bool:
        """Whether an answer tells of all that is visible of such a delegation."""
        return self._queries is not None and self._queries.can_show(delegation)

    async def shown(self, children: Sequence[bytes], *, flush: bool = True) -> list[Delegation | None]:
        """What it shows of each of these children; None where it proves nothing. Raises BackendUnavailable."""
        if self._queries is None or not children:
            return []
        if flush:
            await self._flush()
        return await self._queries.delegations(children)

    async def contradicted(self, delegations: Sequence[Delegation]) -> tuple[bytes, ...]:
        """The children of those delegations of which it shows something else now. Raises BackendUnavailable."""
        seen = await self.shown([each.child for each in delegations])
        pairs = zip(delegations, seen, strict=False)
        return tuple(each.child for each, found in pairs if found is not None and found != visible(each))

    async def prime(self, children: Sequence[bytes]) -> None:
        """Ask for these before they are written, so that whatever keeps answers has an old one."""
        if self._is_unproven:
            children = children[:_PROOFS]
            self._primed = dict(zip(children, await self.shown(children), strict=True))

    async def prove(self, delegations: Sequence[Delegation]) -> None:
        """See whether it shows these, which the API has just shown, and something else before they were written."""
        if not self._is_unproven:
            return
        asked = [each for each in delegations if each.child in self._primed and self.can_show(each)]
        primed, self._primed = self._primed, {}
        seen = await self.shown([each.child for each in asked])
        for each, found in zip(asked, seen, strict=True):
            if found is not None and found != visible(each):
                # once more: the server itself may have cached what it read just before
                if each.child in await self.contradicted([each]):
                    self.distrust(each.child)
                    return
            elif found is not None and primed[each.child] not in (None, found):
                self._is_proven = True

    def distrust(self, child: bytes) -> None:
        """It shows something else of this child than the API does: it counts no more."""
        server = "the DNS service" if self._queries is None else self._queries.server
        self.trouble = (
            f"{server} shows something else of {names.to_text(child)} than the API: it is a cache, a view or another "
            "server; the API counts, and is read instead. Give in `dns` the address of this PowerDNS itself, or leave "
            "it out"
        )
        _LOG.error("%s: %s", names.to_text(self._zone), self.trouble)
