"""The agents of the configured child zones: put together, started and stopped as the configuration asks."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from zonecut.agent.settings import ChildSection
from zonecut.config import Loaded
from zonecut.configfile import ConfigurationError
from zonecut.plugin import Backend, BackendContext
from zonecut.protocol import names
from zonecut.protocol.delegation import Ttls
from zonecut.serve.supervisor import Run, Supervisor, TaskName
from zonecut.store import Store

if TYPE_CHECKING:
    from zonecut.agent.agents import Agents
    from zonecut.agent.context import AgentContext
    from zonecut.agent.keys.child_keys import ChildKeys
    from zonecut.agent.keys.publishing import KeyPublisher
    from zonecut.agent.pace.backoff import Courtesy
    from zonecut.agent.pace.slots import Slots
    from zonecut.agent.zone.backends import Backends
    from zonecut.agent.zone.source import Source
    from zonecut.resolve import Resolver
    from zonecut.serve.resolvers import Reach

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Common:
    """What the agents of one process share."""

    store: Store
    courtesy: "Courtesy"
    resolvers: "Mapping[Reach, Resolver]"
    clock: Callable[[], float]
    chance: Callable[[], float]


def common(
    loaded: Loaded, store: Store, clock: Callable[[], float] = time.time, courtesy: "Courtesy | None" = None
) -> Common:
    """What the agents of a configuration have in common. Raises ConfigurationError."""
    from zonecut.agent.pace.backoff import Courtesy
    from zonecut.serve.resolvers import make_resolver

    chance = random.Random().random  # noqa: S311 (spreads retries, guards nothing)
    reaches = {section.parent.addresses for section in loaded.configuration.children}
    resolvers = {reach: make_resolver(loaded, clock, reach) for reach in reaches}
    return Common(store, courtesy or Courtesy(5.0, 60.0, chance), resolvers, clock, chance)


def make_workplace(loaded: Loaded, section: ChildSection, shared: Common) -> "AgentContext":
    """The parts of one zone's agent. Raises ConfigurationError, BackendError for options that cannot be used."""
    from zonecut.agent.context import AgentContext

    side = make_side(loaded, section)
    return AgentContext(
        section.apex,
        section.settings(),
        side.keys,
        side.source,
        side.publisher,
        side.doors,
        shared.resolvers[section.parent.addresses],
        shared.courtesy,
        loaded.configuration.codepoints.to_codepoints(),
        shared.store.audit.record,
        shared.clock,
        shared.chance,
    )


@dataclass(frozen=True, slots=True)
class Side:
    """The child's own side of one zone: its keys, and the servers that hold it."""

    keys: "ChildKeys"
    source: "Source"
    publisher: "KeyPublisher"
    doors: "Backends"

    async def close(self) -> None:
        """Release what the zone is read and written with; never raises."""
        await self.source.close()
        await self.doors.close()


def make_side(loaded: Loaded, section: ChildSection) -> Side:
    """Its parts, with nothing opened. Raises ConfigurationError, BackendError for options that cannot be used."""
    from zonecut.agent.keys.child_keys import ChildKeys
    from zonecut.agent.keys.publishing import KeyPublisher
    from zonecut.agent.zone.backends import Backends, BehindDoors
    from zonecut.agent.zone.source import SourceError, make_source

    configuration = loaded.configuration
    apex = section.apex
    directory = configuration.key_directory
    assert directory is not None  # the configuration sees to that
    backend = _backend(loaded, apex)
    signalling = {
        zone: adapter.create(BackendContext(zone, Ttls(), directory), options)
        for zone, (adapter, options) in loaded.signalling[apex].items()
    }
    doors = Backends([*([backend] if backend else []), *signalling.values()], keep=section.primary is None)
    try:
        source = make_source(apex, section.primary, backend)
        if section.primary is None:
            source = BehindDoors(source, doors)
    except SourceError as error:
        raise ConfigurationError(loaded.path, [f"children: {names.to_text(apex)}: {error.reason}"]) from None
    keys = ChildKeys(directory, apex, configuration.codepoints.to_codepoints())
    return Side(keys, source, KeyPublisher(apex, section.key.ttl, backend, signalling), doors)


def _backend(loaded: Loaded, apex: bytes) -> Backend | None:
    if apex not in loaded.child_backends:
        return None
    adapter, options = loaded.child_backends[apex]
    return adapter.create(BackendContext(apex, Ttls(), loaded.configuration.key_directory), options)


class RunningChildren:
    """The agents that `zonecut serve` runs. Without children in the configuration, none of their code is loaded."""

    def __init__(self, store: Store, supervisor: Supervisor, clock: Callable[[], float]) -> None:
        self._store = store
        self._supervisor = supervisor
        self._clock = clock
        self._agents: Agents | None = None
        self._shared: Common | None = None
        self._slots: Slots | None = None
        self._made_of: dict[bytes, object] = {}
        self._noticing: asyncio.Task[None] | None = None

    @property
    def agents(self) -> "Agents | None":
        """Those that run; None if there never were any."""
        return self._agents

    def phases(self) -> Mapping[str, int]:
        """How many zones are how, as `zonecut child status` says it: of each word, if there are zones."""
        if self._agents is None or not self._agents.zones:
            return {}
        from zonecut.agent.outlook import Doubt, outlook
        from zonecut.agent.state import Phase

        counts: dict[str, int] = {word.value: 0 for word in (*Phase, *Doubt)}
        for agent in self._agents.zones.values():
            if agent.trouble is not None:
                # whatever the store says was true then
                counts[Doubt.FAILING.value] += 1
            elif (state := agent.known) is not None:
                counts[outlook(state, agent.place.settings, self._clock()).word.value] += 1
        return counts

    def prepare(self, loaded: Loaded) -> "Prepared":
        """What a configuration asks for, made but not started. Raises ConfigurationError, BackendError."""
        configuration = loaded.configuration
        if not configuration.children:
            return Prepared({}, {}, None)
        # a silent receiver stays known over a reload
        shared = common(loaded, self._store, self._clock, None if self._shared is None else self._shared.courtesy)
        made_of = {section.apex: _material(loaded, section) for section in configuration.children}
        fresh = {
            section.apex: make_workplace(loaded, section, shared)
            for section in configuration.children
            if self._made_of.get(section.apex) != made_of[section.apex]
        }
        return Prepared(made_of, fresh, shared)

    async def switch(self, prepared: "Prepared", slots: int) -> None:
        """Go over to what was prepared; a zone of which nothing changes goes on. `slots` zones work at once."""
        if self._agents is not None:
            gone = [zone for zone in self._made_of if zone in prepared.fresh or zone not in prepared.made_of]
            for zone in gone:
                await self._agents.stop(zone)
        self._made_of = dict(prepared.made_of)
        if prepared.shared is None:
            return
        from zonecut.agent.agents import Agents
        from zonecut.agent.pace.slots import Slots
        from zonecut.agent.zone_agent import ZoneAgent

        self._shared = prepared.shared
        if self._agents is None:
            self._agents = Agents(self._store.agents, self._keep)
            self._noticing = self._supervisor.start(TaskName("agents"), self._agents.notice)
            self._slots = Slots(slots)
        assert self._slots is not None
        for place in prepared.fresh.values():
            primary = place.settings.primary
            if primary is not None and primary.is_exposed:
                _log.warning(
                    "agent.exposed-primary",
                    zone=names.to_text(place.zone),
                    server=primary.server,
                    reason="it is asked without TSIG (`primary.without_tsig`): whoever is on the way there writes"
                    " what is signed, as far as the zone itself does not prove it",
                )
            self._agents.start(ZoneAgent(place, self._store.agents, self._slots))

    def _keep(self, zone: bytes, run: Run) -> asyncio.Task[None]:
        return self._supervisor.start(TaskName("agent"), run, of=zone)

    async def close(self) -> None:
        """Stop all; each goes on from the store."""
        if self._noticing is not None:
            self._noticing.cancel()
            await asyncio.gather(self._noticing, return_exceptions=True)
        if self._agents is not None:
            await self._agents.close()


@dataclass(frozen=True, slots=True)
class Prepared:
    """The children of a configuration: what each is made of, and those that are made anew."""

    made_of: Mapping[bytes, object]
    fresh: "Mapping[bytes, AgentContext]"
    shared: Common | None


def _material(loaded: Loaded, section: ChildSection) -> object:
    """All that an agent is made of: where it differs, the agent is made anew."""
    backends = loaded.child_backends.get(section.apex), loaded.signalling[section.apex]
    return section, backends, loaded.configuration.resolver
