"""What Prometheus is told."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from receiver_support import Clock
from trust_support import new_pair
from zonecut.manage.metrics import Metrics, Sources, Task
from zonecut.manage.scrape import ScrapeEndpoint
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode
from zonecut.protocol.delegation import Delegation
from zonecut.receiver.change.change_counts import ChangeCounts
from zonecut.receiver.message.counters import Counters, Result
from zonecut.store import KeyState, NewChange, ServerState, Store, ZoneConsumer, ZoneState

ZONE, OTHER = names.from_text("parent.example."), names.from_text("other.example.")
CHILD = names.from_text("child.parent.example.")

CONSUMED = [("behind_changes", "east"), ("behind_changes", "west"), ("up", "east"), ("up", "west")]

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Bench:
    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.tally = Counters()
        self.counts = {ZONE: ChangeCounts(3, 2, 1), OTHER: ChangeCounts()}
        self.states = [ZoneState(ZONE, ServerState.READY, 0.0), ZoneState(OTHER, ServerState.AWAY, 0.0, "x")]
        self.consumers = [ZoneConsumer(ZONE, "east", 7, 9), ZoneConsumer(ZONE, "west", 9, 9, alarm="failed")]
        self.tasks = [Task("writer", ZONE, 3, False), Task("sweep", ZONE, 0, True), Task("publisher", OTHER, 1, None)]
        self.agents = {"in-sync": 3, "failing": 1}
        sources = Sources(
            self.tally,
            lambda: self.counts,
            lambda: self.states,
            lambda: self.consumers,
            lambda: self.tasks,
            lambda: self.agents,
            store,
            clock,
        )
        self.metrics = Metrics(sources)

    async def scraped(self) -> Samples:
        body, media_type = await self.metrics.exposition("text/plain")
        assert media_type.startswith("text/plain")
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }


def sample(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = Clock()
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db", clock=clock) as store:
        yield Bench(store, clock)


async def test_requests_responses_and_changes_are_counted(bench: Bench) -> None:
    for rule, result in (("accepted", Result.ACCEPTED), ("ns-count", Result.REFUSED), ("ns-count", Result.REFUSED)):
        bench.tally.end(rule, result, 0.0)
    bench.tally.count("repeated", 0.0)
    bench.tally.responses[Rcode.REFUSED] += 2
    samples = await bench.scraped()
    assert sample(samples, "zonecut_requests_total", result="refused", rule="ns-count") == 2
    assert sample(samples, "zonecut_requests_total", result="accepted", rule="accepted") == 1
    assert sum(value for (name, _), value in samples.items() if name == "zonecut_requests_total") == 3
    assert sample(samples, "zonecut_responses_total", rcode="REFUSED") == 2
    zone = "parent.example."
    states = [sample(samples, "zonecut_changes_total", zone=zone, state=s) for s in ("accepted", "applied", "failed")]
    assert states == [3, 2, 1]
    assert sample(samples, "zonecut_backend_up", zone=zone) == 1
    assert sample(samples, "zonecut_backend_up", zone="other.example.") == 0
    consumers = [sample(samples, f"zonecut_consumer_{what}", zone=zone, consumer=who) for what, who in CONSUMED]
    assert consumers == [2, 0, 1, 0]
    (version,) = [labels for name, labels in samples if name == "zonecut_info"]
    assert dict(version)["version"]
    assert ("process_resident_memory_bytes", frozenset()) in samples


async def test_child_zones_are_counted_by_how_they_do(bench: Bench) -> None:
    samples = await bench.scraped()
    assert [sample(samples, "zonecut_agents", phase=phase) for phase in ("in-sync", "failing")] == [3, 1]


async def test_tasks_are_counted_as_often_as_they_were_started_again(bench: Bench) -> None:
    bench.tasks.append(Task("states", None, 2, True))
    samples, zone = await bench.scraped(), "parent.example."
    assert sample(samples, "zonecut_task_restarts_total", zone=zone, task="writer") == 3
    assert sample(samples, "zonecut_task_restarts_total", zone="", task="states") == 2
    assert sample(samples, "zonecut_task_restarts_total", zone="other.example.", task="publisher") == 1
    assert sample(samples, "zonecut_task_running", zone=zone, task="writer") == 0
    assert sample(samples, "zonecut_task_running", zone=zone, task="sweep") == 1
    # a task that is not wanted any more is not down
    assert [
        labels for name, labels in samples if name == "zonecut_task_running" and ("task", "publisher") in labels
    ] == []


async def test_transactions_are_counted_by_size_and_time(bench: Bench) -> None:
    bench.metrics.written(ZONE, 7, "written", 0.03)
    bench.metrics.written(ZONE, 1, "unavailable", 5.5)
    samples, zone = await bench.scraped(), "parent.example."
    assert sample(samples, "zonecut_batch_changes_count", zone=zone) == 2
    assert sample(samples, "zonecut_batch_changes_sum", zone=zone) == 8
    assert sample(samples, "zonecut_batch_changes_bucket", zone=zone, le="5.0") == 1
    assert sample(samples, "zonecut_backend_write_seconds_sum", zone=zone, result="written") == 0.03
    assert sample(samples, "zonecut_backend_write_seconds_bucket", zone=zone, result="unavailable", le="5.0") == 0


async def test_what_waits_and_keys_on_their_way_are_gauges(bench: Bench) -> None:
    empty = await bench.scraped()
    assert sample(empty, "zonecut_changes_waiting", zone="parent.example.") == 0
    assert sample(empty, "zonecut_oldest_waiting_change_seconds", zone="parent.example.") == 0
    for _ in range(2):
        await bench.store.changes.append(
            NewChange(ZONE, Delegation(CHILD), Delegation(CHILD, (ZONE,)), "test", "test", b"message")
        )
        bench.clock.now += 10
    key = new_pair().key
    stored, _ = await bench.store.keys.add(key, KeyState.KNOWN, "test", "test")
    await bench.store.keys.set_state(stored.id, KeyState.TRUSTED, "test", "")
    samples = await bench.scraped()
    assert sample(samples, "zonecut_changes_waiting", zone="parent.example.") == 2
    assert sample(samples, "zonecut_oldest_waiting_change_seconds", zone="parent.example.") == 20
    assert sample(samples, "zonecut_changes_waiting", zone="other.example.") == 0
    assert sample(samples, "zonecut_bootstraps", by="operator") == 0
    # counted a minute ago at most
    assert sample(samples, "zonecut_keys", state="trusted") == 0
    bench.clock.now += 60
    assert sample(await bench.scraped(), "zonecut_keys", state="trusted") == 1


async def test_without_the_store_the_rest_is_told(bench: Bench) -> None:
    await bench.scraped()
    await bench.store.close()
    samples = await bench.scraped()
    assert sample(samples, "zonecut_store_up") == 0
    assert not [name for name, _ in samples if name in ("zonecut_keys", "zonecut_changes_waiting")]
    assert sample(samples, "zonecut_backend_up", zone="parent.example.") == 1


async def test_no_label_is_a_child_s(bench: Bench) -> None:
    samples = await bench.scraped()
    labels = {label for _, labels in samples for label, _ in labels}
    assert labels <= {"version", "zone", "state", "by", "le", "task", "phase", "consumer"}
    assert all(name.startswith(("zonecut_", "process_")) for name, _ in samples)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /metrics HTTP/1.1\r\nHost: x", 200),
        ("HEAD /metrics?x=y HTTP/1.0", 200),
        ("GET / HTTP/1.1", 404),
        ("POST /metrics HTTP/1.1", 405),
        ("GET /metrics", 400),
        ("\x00\xff", 400),
    ],
)
async def test_only_a_get_of_the_metrics_is_answered(head: str, status: int) -> None:
    async def render(accept: str) -> tuple[bytes, str]:
        return b"x 1\n", "text/plain"

    response = await ScrapeEndpoint(render)._response(f"{head}\r\n\r\n")
    assert response.split(b" ")[1] == str(status).encode()
    assert response.endswith(b"x 1\n") == (head.startswith("GET") and status == 200)
