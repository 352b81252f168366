"""The world as each parent zone's methods and checks see it, made of the configuration's resolvers.

A zone that never looks anything up costs none of the code for it: that is imported when it is needed.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import structlog

from zonecut.config import Loaded, ParentSection
from zonecut.configfile import ConfigurationError
from zonecut.plugin.bootstrap import Presence, Security, Sighting
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.store import Store

if TYPE_CHECKING:
    from zonecut.receiver.checks.conduct import Checks
    from zonecut.receiver.world import World

_log = structlog.get_logger(__name__)


def make_world(loaded: Loaded, section: ParentSection, clock: Callable[[], float]) -> "World | None":
    """Look-ups for one parent zone; servers are asked only at addresses that its policy accepts as glue.

    None where no method and no check wants any, or where there are only checks and this machine has no resolver.
    Reads the trust anchors. Raises ConfigurationError.
    """
    methods = loaded.methods[section.apex]
    if not methods and section.checks.are_off:
        return None
    from zonecut.receiver.world import VantagePoint, World
    from zonecut.resolve import (
        ROOT_ANCHORS,
        Nameserver,
        ResolveError,
        Resolver,
        TrustAnchors,
        is_global_unicast,
        system_nameservers,
    )

    settings = loaded.configuration.resolver
    allowed = is_global_unicast if section.policy.glue_addresses == "global" else _any
    try:
        nameservers: Sequence[Nameserver]
        if settings.nameservers is not None:
            nameservers = [Nameserver.from_text(text) for text in settings.nameservers]
        else:
            try:
                nameservers = system_nameservers()
            except ResolveError as error:
                if methods:
                    raise
                _log.warning("checks.no-vantage", zone=names.to_text(section.apex), reason=str(error))
                return None
        anchors = TrustAnchors.from_file(settings.trust_anchors) if settings.trust_anchors else ROOT_ANCHORS
        resolver = Resolver(nameservers, anchors, trusted=settings.trusted, clock=clock, allowed=allowed)
        places = {}
        for point in settings.vantage_points:
            elsewhere = None
            if point.resolver is not None:
                elsewhere = Resolver([Nameserver.from_text(point.resolver)], anchors, clock=clock, allowed=allowed)
            places[point.name] = VantagePoint(elsewhere, point.source)
    except ResolveError as error:
        raise ConfigurationError(loaded.path, [f"resolver: {error}"]) from None
    return World(resolver, places)


def make_checks(
    section: ParentSection, world: "World | None", store: Store, clock: Callable[[], float]
) -> "Checks | None":
    """The checks of one parent zone; None where all of them are off."""
    if section.checks.are_off:
        return None
    from zonecut.receiver.checks.conduct import Checks

    return Checks(section.apex, section.checks, world, store.audit.record, clock)


class Nowhere:
    """A place from which nothing is seen, for a zone whose keys are all trusted by an operator."""

    vantage_points: Sequence[str] = ()

    async def keys_at(self, name: bytes) -> Sighting:
        reason = "nothing is looked up for this zone"
        return Sighting(f"KEY at {names.to_text(name)}", Presence.FAILED, Security.INDETERMINATE, reason=reason)

    async def keys_from_servers(self, delegation: Delegation, vantage_point: str | None = None) -> Sequence[Sighting]:
        return [await self.keys_at(delegation.child)]


def _any(address: str) -> bool:
    return True
