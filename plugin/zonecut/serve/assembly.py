"""One parent zone put together of its parts, as the configuration asks."""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

from zonecut.config import Loaded, ParentSection
from zonecut.plugin import Backend
from zonecut.plugin.bootstrap import Lookups
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.announce.key_directory import Identities
from zonecut.receiver.change.ledger import Ledger
from zonecut.receiver.consumers import Consumers
from zonecut.receiver.keys.bootstrapper import Bootstrapper
from zonecut.receiver.keys.on_demand import OnDemand
from zonecut.receiver.keys.published import Published
from zonecut.receiver.keys.retry import Retry
from zonecut.receiver.keys.sweep import Sweep
from zonecut.receiver.keys.trust import Trust
from zonecut.receiver.keys.watching import Watching
from zonecut.receiver.message.admission import TokenBuckets
from zonecut.receiver.message.key_lookup import KeyLookup
from zonecut.receiver.message.replay import ReplayMemory
from zonecut.receiver.message.responder import Responder
from zonecut.receiver.served_zone import ServedZone
from zonecut.receiver.zone.parent_zone import ParentZone
from zonecut.serve.boot import boot_name
from zonecut.serve.lookups import Nowhere, make_checks, make_world
from zonecut.store import Store


@dataclass(frozen=True, slots=True)
class ZoneParts:
    """What a zone is made of, beside its backend."""

    loaded: Loaded
    section: ParentSection
    store: Store
    replay: ReplayMemory
    keys: KeyLookup
    identities: Identities
    apexes: Callable[[], Collection[bytes]]
    """Of all zones that are served now."""
    clock: Callable[[], float]
    monotonic: Callable[[], float]


class _Delegations:
    """The bootstrapper and the sweep read delegations through the zone, which is made after them."""

    zone: ParentZone

    async def of(self, child: bytes) -> Delegation:
        return await self.zone.delegation_of(child)

    async def look(self, child: bytes) -> Delegation:
        return await self.zone.look_at(child)

    async def delegated(self, child: bytes) -> Delegation:
        return await self.zone.delegated(child)


def make_zone(parts: ZoneParts, backend: Backend) -> ServedZone:
    """A zone that is not started yet. Raises ConfigurationError for a resolver that cannot be used."""
    section, loaded = parts.section, parts.loaded
    receiver, codepoints = loaded.configuration.receiver, loaded.configuration.codepoints.to_codepoints()
    apex, trust_settings = section.apex, section.trust
    rules = section.rules(each.apex for each in loaded.configuration.parents)
    jitter = random.Random()  # noqa: S311 (spreads retries, guards nothing)
    methods = [(kind.name, kind.create(options)) for kind, options in loaded.methods[apex]]
    world = make_world(loaded, section, parts.clock)
    lookups: Lookups = world or Nowhere()
    delegations = _Delegations()
    bootstrapper = Bootstrapper(
        apex,
        methods,
        "manual" in section.bootstrap_names,
        Retry(
            trust_settings.retry_first,
            trust_settings.retry_longest,
            trust_settings.attempts,
            trust_settings.cool_down,
        ),
        parts.store,
        lookups,
        delegations.of,
        max_trusted=trust_settings.trusted_per_child,
        unpublished=trust_settings.unpublished,
        clock=parts.clock,
        jitter=jitter,
    )
    published = Published(
        apex, lookups, delegations.delegated, trust_settings.cool_down, codepoints, monotonic=parts.monotonic
    )
    trust = Trust(
        apex, trust_settings, section.policy.rollover, parts.store, parts.keys, bootstrapper, published, codepoints
    )
    watching = Watching(apex, trust_settings, parts.store, parts.keys, parts.apexes, parts.clock, parts.monotonic)
    delegations.zone = ParentZone(
        rules,
        section.settings(),
        backend,
        Ledger(parts.store, apex, boot_name()),
        parts.replay,
        watching.noticed,
        watching.suspends,
        watching.ds_taken_out,
        bootstrapper.seen,
        watching.displaced,
        max_waiting=receiver.limits.max_pending_per_child,
        monotonic=parts.monotonic,
        jitter=jitter,
        checks=make_checks(section, world, parts.store, parts.clock),
    )
    budget = TokenBuckets(receiver.responses.unverified_burst, receiver.responses.unverified_rate)
    responder = Responder(
        receiver.responses,
        lambda now: parts.identities.signer(rules.target, now),
        budget,
        codepoints,
        clock=parts.clock,
        monotonic=parts.monotonic,
    )
    sweep = Sweep(apex, parts.store, delegations.look, watching, trust_settings)
    on_demand = None
    if trust_settings.on_demand:
        on_demand = OnDemand(
            apex,
            published,
            lambda key, source: trust.fetched(key, source, parts.clock()),
            receiver.signatures,
            codepoints,
            clock=parts.clock,
        )
    consumers = Consumers(apex, backend, parts.store, section.consumers_within, parts.monotonic, parts.clock)
    return ServedZone(delegations.zone, trust, bootstrapper, responder, sweep, watching, consumers, on_demand)
