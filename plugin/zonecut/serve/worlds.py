"""The world as each parent zone's methods and checks see it, made of the configuration's resolvers."""

from collections.abc import Callable

from zonecut.config import Loaded, ParentSection
from zonecut.configfile import ConfigurationError
from zonecut.receiver.world import VantagePoint, World
from zonecut.resolve import ROOT_ANCHORS, Nameserver, ResolveError, Resolver, TrustAnchors, is_global_unicast


def make_world(loaded: Loaded, section: ParentSection, clock: Callable[[], float]) -> World:
    """Look-ups for one parent zone; servers are asked only at addresses that its policy accepts as glue.

    Reads the trust anchors. Raises ConfigurationError.
    """
    settings = loaded.configuration.resolver
    allowed = is_global_unicast if section.policy.glue_addresses == "global" else _any
    try:
        anchors = TrustAnchors.from_file(settings.trust_anchors) if settings.trust_anchors else ROOT_ANCHORS
        nameservers = None if settings.nameservers is None else [Nameserver.from_text(n) for n in settings.nameservers]
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


def _any(address: str) -> bool:
    return True
