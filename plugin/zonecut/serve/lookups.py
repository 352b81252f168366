"""The world as each parent zone's methods and checks see it, made of the configuration's resolvers.

A zone that never looks anything up costs none of the code for it: that is imported when it is needed.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import structlog

from zonecut.config import Loaded, ParentSection
from zonecut.plugin.bootstrap import Presence, Security, Sighting
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.store import Store

if TYPE_CHECKING:
    from zonecut.receiver.checks.lookups import ResolverLookups
    from zonecut.receiver.checks.runner import Checks

_log = structlog.get_logger(__name__)


def make_world(loaded: Loaded, section: ParentSection, clock: Callable[[], float]) -> "ResolverLookups | None":
    """Look-ups for one parent zone; servers are asked only at addresses that its policy accepts as glue.

    None where nothing wants any, or where there are only checks and this machine has no resolver.
    Reads the trust anchors. Raises ConfigurationError.
    """
    methods = loaded.methods[section.apex]
    looks_for_keys = bool(methods) or section.trust.on_demand
    if not looks_for_keys and section.checks.are_off:
        return None
    from zonecut.receiver.checks.lookups import ResolverLookups, VantagePoint
    from zonecut.serve.resolvers import NoResolver, make_resolver

    reach = section.policy.glue_addresses
    try:
        resolver = make_resolver(loaded, clock, reach)
    except NoResolver as error:
        if looks_for_keys:
            raise
        reason = error.problems[0].removeprefix("resolver: ")
        _log.warning("checks.no-vantage", zone=names.to_text(section.apex), reason=reason)
        return None
    places = {}
    for point in loaded.configuration.resolver.vantage_points:
        elsewhere = (
            None if point.resolver is None else make_resolver(loaded, clock, reach, point.resolver, point.source)
        )
        places[point.name] = VantagePoint(elsewhere, point.source)
    return ResolverLookups(resolver, places)


def make_checks(
    section: ParentSection, world: "ResolverLookups | None", store: Store, clock: Callable[[], float]
) -> "Checks | None":
    """The checks of one parent zone; None where all of them are off."""
    if section.checks.are_off:
        return None
    from zonecut.receiver.checks.runner import Checks

    return Checks(section.apex, section.checks, world, store.audit.record, clock)


class Nowhere:
    """A place from which nothing is seen, for a zone whose keys are all trusted by an operator."""

    vantage_points: Sequence[str] = ()

    async def keys_at(self, name: bytes) -> Sighting:
        reason = "nothing is looked up for this zone"
        return Sighting(f"KEY at {names.to_text(name)}", Presence.FAILED, Security.INDETERMINATE, reason=reason)

    async def keys_under(self, delegation: Delegation) -> Sighting:
        return await self.keys_at(delegation.child)

    async def ds_at(self, child: bytes) -> Sighting:
        return await self.keys_at(child)

    async def keys_from_servers(self, delegation: Delegation, vantage_point: str | None = None) -> Sequence[Sighting]:
        return [await self.keys_at(delegation.child)]
