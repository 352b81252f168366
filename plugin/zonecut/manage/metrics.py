"""What Prometheus is told of a running zonecut. No label is a child's: there may be a million of them.

Counts are read where they are kept when somebody asks; only how long transactions take is collected here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Histogram, Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode
from zonecut.receiver.change.change_counts import ChangeCounts
from zonecut.receiver.message.counters import Counters
from zonecut.store import KeyState, ServerState, Store, StoreUnavailable, Waiting, ZoneConsumer, ZoneState

KEYS_AGE = 60.0
"""Seconds for which the number of keys is good: counting a million takes a tenth of a second of the store's time."""
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class Task:
    """A long-lived task, of a parent zone's or of the whole: how often it failed and was started again.

    `running` is None for one that is not wanted any more.
    """

    task: str
    zone: bytes | None
    restarts: int
    running: bool | None


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the numbers are. `clock` gives seconds since the epoch."""

    tally: Counters
    counts: Callable[[], Mapping[bytes, ChangeCounts]]
    """Of each parent zone."""
    states: Callable[[], Sequence[ZoneState]]
    consumers: Callable[[], Sequence[ZoneConsumer]]
    """Those who make parent zones of what is written to their servers."""
    tasks: Callable[[], Sequence[Task]]
    agents: Callable[[], Mapping[str, int]]
    """The zones of `children`, by how they do."""
    store: Store
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the store says."""

    at: float
    waiting: Mapping[bytes, Waiting]
    pending_keys: Mapping[str, int]
    keys: Mapping[KeyState, int]
    keys_at: float
    away: Mapping[bytes, int]
    suspect: Mapping[bytes, int]


class Metrics:
    """A registry of its own and what is in it."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._registry = CollectorRegistry()
        Info("zonecut", "The version that runs.", registry=self._registry).info({"version": version("zonecut")})
        ProcessCollector(registry=self._registry)
        self._sizes = Histogram(
            "zonecut_batch_changes", "Changes in one transaction.", ["zone"], buckets=SIZES, registry=self._registry
        )
        self._seconds = Histogram(
            "zonecut_backend_write_seconds",
            "How long transactions take, by how they end.",
            ["zone", "result"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._reading = _Reading(sources)
        self._registry.register(self._reading)

    def written(self, zone: bytes, changes: int, result: str, seconds: float) -> None:
        """A transaction of so many changes has ended."""
        text = names.to_text(zone)
        self._sizes.labels(text).observe(changes)
        self._seconds.labels(text, result).observe(seconds)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics as they are now, in the format that an `Accept` header asks for, and its media type."""
        await self._reading.refresh()
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


@dataclass(slots=True, eq=False)
class _Reading(Collector):
    """Everything that is counted elsewhere."""

    sources: Sources
    _stored: _Stored | None = field(default=None, init=False)

    async def refresh(self) -> None:
        """Ask the store; without it, what it would say is left out."""
        known, self._stored = self._stored, None
        store, now = self.sources.store, self.sources.clock()
        try:
            waiting, pending = await store.statistics.waiting(), await store.statistics.bootstraps()
            away, suspect = await store.watches.all_away(), await store.watches.all_suspect()
            if known is not None and now - known.keys_at < KEYS_AGE:
                keys, keys_at = known.keys, known.keys_at
            else:
                keys, keys_at = await store.statistics.keys(), now
        except StoreUnavailable:
            return
        self._stored = _Stored(now, waiting, pending, keys, keys_at, away, suspect)

    def collect(self) -> Iterator[Metric]:
        yield from self._requests()
        yield from self._zones()
        yield from self._tasks()
        yield from self._agents()
        yield from self._store()

    def _requests(self) -> Iterator[Metric]:
        tally = self.sources.tally
        requests = CounterMetricFamily(
            "zonecut_requests", "Messages by how they ended, and the rule that decided.", labels=["result", "rule"]
        )
        for (result, rule), count in sorted(tally.results.items()):
            requests.add_metric([result.value, rule], count)
        yield requests
        responses = CounterMetricFamily("zonecut_responses", "Responses by RCODE.", labels=["rcode"])
        for rcode, count in sorted(tally.responses.items()):
            responses.add_metric([Rcode(rcode).name], count)
        yield responses

    def _zones(self) -> Iterator[Metric]:
        changes = CounterMetricFamily(
            "zonecut_changes", "Changes of delegations that reached a state.", labels=["zone", "state"]
        )
        for zone, counts in self.sources.counts().items():
            for state in ("accepted", "applied", "failed"):
                changes.add_metric([names.to_text(zone), state], getattr(counts, state))
        yield changes
        up = GaugeMetricFamily("zonecut_backend_up", "1 while a zone's server does what it is asked.", labels=["zone"])
        for each in self.sources.states():
            up.add_metric([names.to_text(each.zone)], each.state is ServerState.READY)
        yield up
        yield from self._consumers()

    def _consumers(self) -> Iterator[Metric]:
        behind = GaugeMetricFamily(
            "zonecut_consumer_behind_changes",
            "Changes of a row that a zone's consumer has not taken up, by its own word.",
            labels=["zone", "consumer"],
        )
        well = GaugeMetricFamily(
            "zonecut_consumer_up",
            "1 while a zone's consumer goes on, 0 while it has failed, gone back or stands still.",
            labels=["zone", "consumer"],
        )
        for each in self.sources.consumers():
            labels = [names.to_text(each.zone), each.name]
            behind.add_metric(labels, each.behind)
            well.add_metric(labels, not each.alarm)
        yield behind
        yield well

    def _tasks(self) -> Iterator[Metric]:
        restarts = CounterMetricFamily(
            "zonecut_task_restarts",
            "How often a long-lived task failed and was started again; without a zone, one of the whole.",
            labels=["zone", "task"],
        )
        running = GaugeMetricFamily(
            "zonecut_task_running",
            "1 while a long-lived task runs, 0 until it is started again.",
            labels=["zone", "task"],
        )
        for each in self.sources.tasks():
            labels = ["" if each.zone is None else names.to_text(each.zone), each.task]
            restarts.add_metric(labels, each.restarts)
            if each.running is not None:
                running.add_metric(labels, each.running)
        yield restarts
        yield running

    def _agents(self) -> Iterator[Metric]:
        agents = GaugeMetricFamily(
            "zonecut_agents", "Child zones that are looked after, by their phase.", labels=["phase"]
        )
        for phase, count in self.sources.agents().items():
            agents.add_metric([phase], count)
        yield agents

    def _store(self) -> Iterator[Metric]:
        stored = self._stored
        yield GaugeMetricFamily("zonecut_store_up", "1 while the store can be read.", value=stored is not None)
        if stored is None:
            return
        waiting = GaugeMetricFamily(
            "zonecut_changes_waiting", "Changes that are accepted and neither applied nor failed.", labels=["zone"]
        )
        oldest = GaugeMetricFamily(
            "zonecut_oldest_waiting_change_seconds", "How long the oldest of those waits; 0 for none.", labels=["zone"]
        )
        gone = GaugeMetricFamily(
            "zonecut_delegations_away", "Children with trusted keys whose delegation is away.", labels=["zone"]
        )
        suspect = GaugeMetricFamily(
            "zonecut_delegations_suspect",
            "Children with trusted keys whose name servers may be somebody else's.",
            labels=["zone"],
        )
        for zone in self.sources.counts():
            suspect.add_metric([names.to_text(zone)], stored.suspect.get(zone, 0))
            gone.add_metric([names.to_text(zone)], stored.away.get(zone, 0))
            text, there = names.to_text(zone), stored.waiting.get(zone)
            waiting.add_metric([text], there.count if there else 0)
            oldest.add_metric([text], max(0.0, stored.at - there.oldest_at) if there else 0)
        yield waiting
        yield oldest
        yield gone
        yield suspect
        keys = GaugeMetricFamily("zonecut_keys", "The children's keys by state.", labels=["state"])
        for state in KeyState:
            keys.add_metric([state.value], stored.keys.get(state, 0))
        yield keys
        pending = GaugeMetricFamily(
            "zonecut_bootstraps", "Keys on their way to trust: by a method, or waiting for an operator.", labels=["by"]
        )
        for by, count in stored.pending_keys.items():
            pending.add_metric([by], count)
        yield pending
