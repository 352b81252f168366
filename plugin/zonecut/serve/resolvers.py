"""The resolver that a configuration asks for."""

from collections.abc import Callable
from typing import Literal

import structlog

from zonecut.config import Loaded
from zonecut.configfile import ConfigurationError
from zonecut.protocol.addresses import is_global_unicast
from zonecut.resolve import (
    ROOT_ANCHORS,
    Nameserver,
    ResolveError,
    Resolver,
    TrustAnchors,
    system_nameservers,
)

_log = structlog.get_logger(__name__)

Reach = Literal["global", "any"]
"""Which addresses may be asked themselves: those that the world can reach, or any."""


def make_resolver(
    loaded: Loaded,
    clock: Callable[[], float],
    reach: Reach,
    elsewhere: str | None = None,
    source: str | None = None,
) -> Resolver:
    """The resolver of `resolver` in the configuration, or with its trust anchors the one at another place.

    That one is asked from `source`.

    `clock` gives seconds since the epoch. Reads the trust anchors. Raises ConfigurationError; NoResolver if the
    configuration names none and this machine has none.
    """
    settings = loaded.configuration.resolver
    allowed = is_global_unicast if reach == "global" else _any
    try:
        anchors = TrustAnchors.from_file(settings.trust_anchors) if settings.trust_anchors else ROOT_ANCHORS
        for reason in anchors.skipped:
            _log.warning("resolver.no-anchor", reason=reason)
        if elsewhere is not None:
            place = [Nameserver.from_text(elsewhere)]
            return Resolver(place, anchors, clock=clock, source=source, allowed=allowed)
        if settings.nameservers is not None:
            nameservers = tuple(Nameserver.from_text(text) for text in settings.nameservers)
        else:
            nameservers = _of_the_system(loaded)
        return Resolver(nameservers, anchors, trusted=settings.trusted, clock=clock, allowed=allowed)
    except ResolveError as error:
        raise ConfigurationError(loaded.path, [f"resolver: {error}"]) from None


class NoResolver(ConfigurationError):
    """The configuration names no resolver, and this machine has none."""


def _of_the_system(loaded: Loaded) -> tuple[Nameserver, ...]:
    try:
        return system_nameservers()
    except ResolveError as error:
        raise NoResolver(loaded.path, [f"resolver: {error}"]) from None


def _any(address: str) -> bool:
    return True
