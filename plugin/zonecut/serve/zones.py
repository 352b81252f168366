"""The running parent zones: opened and closed as the configuration asks, the rest left alone at a reload."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import structlog
from pydantic import BaseModel

from zonecut.config import Loaded, ParentSection
from zonecut.plugin import Adapter, BackendContext
from zonecut.protocol import names
from zonecut.receiver.announce.key_directory import Identities
from zonecut.receiver.announce.publication import Announcement
from zonecut.receiver.message.key_lookup import KeyLookup
from zonecut.receiver.message.replay import ReplayMemory
from zonecut.receiver.served_zone import ServedZone
from zonecut.serve.assembly import ZoneParts, make_zone
from zonecut.serve.health import WRITER, Health, with_alarms, with_tasks
from zonecut.serve.publisher import Publisher
from zonecut.serve.serialized_backend import SerializedBackend, Written
from zonecut.serve.supervisor import Run, Supervisor, TaskName
from zonecut.store import Store, ZoneConsumer, ZoneState

_log = structlog.get_logger(__name__)

_Backend = tuple[Adapter, BaseModel, BackendContext, Any]
"""What a zone must be made anew for when it changes: its backend, and all that its look-ups depend on."""

HANDOVER = 1.0
"""Seconds for which a zone that is replaced may record what it has written, so that its successor need not look."""


class RunningZones:
    """The parent zones and the tasks that write them."""

    def __init__(
        self,
        store: Store,
        replay: ReplayMemory,
        identities: Identities,
        keys: KeyLookup,
        written: Written,
        supervisor: Supervisor,
        states_changed: asyncio.Event,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """`written` is told of each transaction with a server; `states_changed` is set when a zone's state changes."""
        self._store = store
        self._replay = replay
        self._identities = identities
        self._keys = keys
        self._written = written
        self._supervisor = supervisor
        self._clock = clock
        self._monotonic = monotonic
        self._zones: dict[bytes, ServedZone] = {}
        self._publishers: dict[bytes, Publisher] = {}
        self._backends: dict[bytes, _Backend] = {}
        self._shared: dict[bytes, SerializedBackend] = {}
        self._tasks: dict[bytes, list[asyncio.Task[None]]] = {}
        self._states_changed = states_changed

    @property
    def zones(self) -> Mapping[bytes, ServedZone]:
        return dict(self._zones)

    def states(self) -> list[ZoneState]:
        """How the zones are now: their servers, and the tasks that work for them."""
        down = self._supervisor.down
        return [
            with_alarms(with_tasks(shared.health.state, down), self._zones[apex].consumers.alarms)
            for apex, shared in self._shared.items()
        ]

    def consumers(self) -> list[ZoneConsumer]:
        """Those who make the zones of what is written to their servers."""
        return [each for zone in self._zones.values() for each in zone.consumers.now]

    def served(self) -> list[ZoneState]:
        """The same, of those zones that know how long they were not served: after that it may be recorded anew."""
        known = {apex for apex, zone in self._zones.items() if zone.delegations.knows_absence}
        return [state for state in self.states() if state.zone in known]

    def prepare(self, loaded: Loaded) -> "Preparation":
        """What a configuration asks for, made but not started.

        Raises BackendError or ConfigurationError for options that cannot be used.
        """
        kept, fresh = {}, {}
        resolver = loaded.configuration.resolver
        announcements = {
            section.apex: (loaded.configuration.announcement(section), section.publish)
            for section in loaded.configuration.parents
        }
        for section in loaded.configuration.parents:
            apex = section.apex
            context = BackendContext(apex, section.policy.ttl.to_ttls(), loaded.configuration.key_directory)
            methods = tuple((kind.name, options) for kind, options in loaded.methods[apex])
            looks = (methods, section.trust, section.checks, resolver, section.policy.glue_addresses)
            backend = (*loaded.backends[apex], context, looks)
            if self._backends.get(apex) == backend:
                kept[apex] = section
            else:
                fresh[apex] = self._make(loaded, section, backend)
        return Preparation(kept, fresh, announcements)

    def look(self, targets: Collection[bytes]) -> None:
        """Have what is published looked at where the receiver's keys at these target names have changed."""
        for publisher in self._publishers.values():
            if publisher.target in targets:
                publisher.look()

    async def switch(self, preparation: "Preparation", use: Callable[[Mapping[bytes, ServedZone]], None]) -> None:
        """Go over to what was prepared; `use` is called with the zones that serve from now on.

        A zone that is replaced first stops to accept, then to write; what it leaves in the ledger the new one takes up
        as soon as that can be read. Raises nothing: whoever has begun to go over has to get there.
        """
        gone = [apex for apex in self._zones if apex not in preparation.kept]
        old = [(self._zones.pop(apex), self._tasks.pop(apex)) for apex in gone]
        for apex in gone:
            del self._backends[apex], self._publishers[apex], self._shared[apex]
            if apex not in preparation.fresh:
                # a typo in its name looks like this
                _log.warning("zone.removed", zone=names.to_text(apex), reason="it is not in the configuration any more")
        for apex, section in preparation.kept.items():
            self._zones[apex].reconfigure(section.rules(preparation.announcements), section.settings())
            announcement, publish = preparation.announcements[apex]
            self._publishers[apex].reconfigure(announcement, publish=publish)
        for apex, (zone, backend, shared) in preparation.fresh.items():
            self._zones[apex], self._backends[apex], self._shared[apex] = zone, backend, shared
        self._states_changed.set()
        use(self.zones)
        for zone, tasks in old:
            await zone.delegations.retire()
            await _end(tasks)
            await zone.delegations.close(HANDOVER)
        for apex, (zone, _, shared) in preparation.fresh.items():
            announcement, publish = preparation.announcements[apex]
            publisher = Publisher(
                shared,
                self._identities,
                announcement,
                publish=publish,
                clock=self._clock,
                monotonic=self._monotonic,
            )
            self._publishers[apex] = publisher
            self._tasks[apex] = self._start(apex, zone, publisher, shared)

    async def close(self, patience: float) -> None:
        """Finish what is in work, for `patience` seconds at most; the ledger keeps the rest."""
        await asyncio.gather(*(zone.delegations.drain(patience) for zone in self._zones.values()))
        await _end([task for tasks in self._tasks.values() for task in tasks])
        await asyncio.gather(*(zone.delegations.close(patience) for zone in self._zones.values()))

    def _start(
        self, apex: bytes, zone: ServedZone, publisher: Publisher, shared: SerializedBackend
    ) -> list[asyncio.Task[None]]:
        """Each on its own: one that fails takes no other with it."""
        work: dict[str, Run] = {
            WRITER: zone.delegations.run,
            "bootstrapper": zone.bootstrapper.run,
            "waiting": zone.bootstrapper.waiting.run,
            "sweep": zone.sweep.run,
            "publisher": publisher.run,
            "watch": shared.keep_watch,
            "consumers": partial(_once_open, shared, zone.consumers.run),
        }
        return [self._supervisor.start(TaskName(task, apex), run) for task, run in work.items()]

    def _make(
        self, loaded: Loaded, section: ParentSection, backend: _Backend
    ) -> tuple[ServedZone, _Backend, SerializedBackend]:
        adapter, options, context, _ = backend
        health = Health(context.zone, self._clock, self._states_changed)
        shared = SerializedBackend(adapter.create(context, options), context.zone, health, self._written)
        parts = ZoneParts(
            loaded,
            section,
            self._store,
            self._replay,
            self._keys,
            self._identities,
            self._zones.keys,
            self._clock,
            self._monotonic,
        )
        return make_zone(parts, shared), backend, shared


async def _once_open(shared: SerializedBackend, run: Run) -> None:
    await shared.opened.wait()
    await run()


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Preparation:
    """Zones that stay as they are but for their rules and settings, and zones that are made anew."""

    def __init__(
        self,
        kept: Mapping[bytes, ParentSection],
        fresh: Mapping[bytes, tuple[ServedZone, _Backend, SerializedBackend]],
        announcements: Mapping[bytes, tuple[Announcement, bool]],
    ) -> None:
        self.kept = kept
        self.fresh = fresh
        self.announcements = announcements
