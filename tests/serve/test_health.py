"""What becomes of operations tells how a server is, and the store keeps it for commands."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from receiver_support import Clock
from zonecut.plugin import (
    Backend,
    BackendConflict,
    BackendError,
    BackendLater,
    BackendMisconfigured,
    BackendRejected,
    BackendUnavailable,
    Change,
    Reading,
)
from zonecut.protocol import names
from zonecut.protocol.delegation import Delegation
from zonecut.protocol.rrset import RRset
from zonecut.serve.health import WRITER, Health, with_tasks
from zonecut.serve.serialized_backend import SerializedBackend
from zonecut.serve.supervisor import Down, Pauses, Supervisor, TaskName
from zonecut.serve.zone_states import StateKeeper
from zonecut.store import ServerState, Store, ZoneState

ZONE = names.from_text("parent.example.")
CHILD = names.from_text("child.parent.example.")
CHANGE = Change(Delegation(CHILD), Delegation(CHILD, (ZONE,)))
AWAY, REFUSED = BackendUnavailable("connection refused"), BackendMisconfigured("the key is refused")


class Scripted(Backend):
    """Does what it is told to, operation by operation: an error is raised, None is success."""

    def __init__(self) -> None:
        self.script: dict[str, BackendError | Exception | None] = {}
        self.asked: list[str] = []
        self.missing: tuple[bytes, ...] = ()

    def _do(self, operation: str) -> None:
        self.asked.append(operation)
        if error := self.script.get(operation):
            raise error

    async def open(self) -> None:
        self._do("open")

    async def close(self) -> None: ...

    async def read(self, child: bytes) -> Reading:
        self._do("read")
        return Reading(Delegation(child))

    def batch(self, changes: Sequence[Change]) -> int:
        return len(changes)

    async def write(self, changes: Sequence[Change]) -> None:
        self._do("write")

    async def verify(self, changes: Sequence[Change]) -> tuple[bytes, ...]:
        self._do("verify")
        return self.missing

    async def children(self) -> AsyncIterator[Reading]:
        yield Reading(Delegation(CHILD))

    async def read_rrsets(self, names: Sequence[bytes]) -> tuple[RRset, ...]:
        self._do("read_rrsets")
        return ()

    async def replace_rrsets(self, before: Sequence[RRset], after: Sequence[RRset]) -> None:
        self._do("replace_rrsets")


class Bench:
    def __init__(self) -> None:
        self.server = Scripted()
        self.clock = Clock()
        self.changed = asyncio.Event()
        self.told: list[tuple[bytes, int, str]] = []
        health = Health(ZONE, self.clock, self.changed)
        self.shared = SerializedBackend(
            self.server, ZONE, health, lambda zone, n, how, _: self.told.append((zone, n, how))
        )

    async def goes(self, operation: str, error: BackendError | None = None) -> ZoneState:
        """The state after one operation, which ends as told."""
        self.clock.now += 1
        self.server.script = {operation: error}
        try:
            match operation:
                case "open":
                    await self.shared.open()
                case "read":
                    await self.shared.read(CHILD)
                case "write":
                    await self.shared.write([CHANGE])
                case "verify":
                    await self.shared.verify([CHANGE])
                case "read_rrsets":
                    await self.shared.read_rrsets([ZONE])
                case "replace_rrsets":
                    await self.shared.replace_rrsets((), ())
        except BackendError:
            pass  # as told
        return self.shared.health.state


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_server_that_opens_is_ready_and_one_that_does_not_is_away_since_then(bench: Bench) -> None:
    assert bench.shared.health.state.state is ServerState.OPENING
    first = await bench.goes("open", AWAY)
    assert (first.state, first.reason) == (ServerState.AWAY, "connection refused")
    assert bench.changed.is_set()
    assert await bench.goes("open", AWAY) == first
    refused = await bench.goes("open", REFUSED)
    assert (refused.state, refused.reason, refused.since) == (
        ServerState.MISCONFIGURED,
        "the key is refused",
        first.since,
    )
    ready = await bench.goes("open")
    assert (ready.state, ready.reason, ready.since) == (ServerState.READY, "", bench.clock.now)
    assert (await bench.goes("read")).since == ready.since


async def test_a_server_that_is_not_asked_for_anything_is_as_it_was(bench: Bench) -> None:
    """What an adapter knows of itself says nothing of its server, and waits for nobody who asks it for more."""
    away = await bench.goes("open", AWAY)
    listing = bench.shared.children()
    await anext(listing)
    async with asyncio.timeout(5):
        assert await bench.shared.progress() is None
    await listing.aclose()
    assert await bench.shared.serial() is None
    assert bench.shared.health.state == away


async def test_trouble_with_writing_is_over_when_a_write_is_answered(bench: Bench) -> None:
    await bench.goes("open")
    away = await bench.goes("write", AWAY)
    assert away.state is ServerState.AWAY
    for operation in ("read", "read_rrsets", "open"):
        assert await bench.goes(operation) == away
    bench.server.missing = (CHILD,)
    assert await bench.goes("verify") == away
    assert await bench.goes("write", AWAY) == away
    bench.server.missing = ()
    assert (await bench.goes("verify")).state is ServerState.READY
    await bench.goes("replace_rrsets", AWAY)
    assert (await bench.goes("replace_rrsets")).state is ServerState.READY


@pytest.mark.parametrize("error", [BackendConflict("other"), BackendRejected("no"), BackendLater("not yet")])
async def test_a_server_that_says_no_is_there(bench: Bench, error: BackendError) -> None:
    await bench.goes("open")
    await bench.goes("write", AWAY)
    assert (await bench.goes("write", error)).state is ServerState.READY


@pytest.mark.parametrize("error", [BackendConflict("other"), BackendRejected("no"), BackendLater("not yet")])
async def test_a_server_that_cannot_be_opened_is_not_ready_whatever_it_says(bench: Bench, error: BackendError) -> None:
    for _ in range(2):
        state = await bench.goes("open", error)
        passes = isinstance(error, BackendLater)
        assert state.state is (ServerState.AWAY if passes else ServerState.MISCONFIGURED)
        assert state.reason == error.reason
    assert (await bench.goes("open")).state is ServerState.READY


async def test_every_transaction_is_told_with_its_size_and_its_end(bench: Bench) -> None:
    await bench.goes("open")
    for error in (None, BackendConflict("x"), BackendRejected("x"), BackendLater("x"), AWAY, REFUSED):
        await bench.goes("write", error)
    endings = ["written", "conflict", "rejected", "later", "unavailable", "unavailable"]
    assert bench.told == [(ZONE, 1, ending) for ending in endings]


async def test_an_adapter_that_cannot_be_closed_keeps_nobody_from_closing_the_rest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def close() -> None:
        raise KeyError("a defect")

    await bench.goes("open")
    monkeypatch.setattr(bench.server, "close", close)
    await bench.shared.close()
    assert not bench.shared.opened.is_set()


async def test_a_zone_without_its_writer_is_halted_whatever_its_server_does(bench: Bench) -> None:
    await bench.goes("open")
    writer, sweep = TaskName(WRITER, ZONE), TaskName("sweep", ZONE)
    elsewhere = Down(TaskName(WRITER, CHILD), "internal error", 5.0)
    assert with_tasks(bench.shared.health.state, [elsewhere]) == bench.shared.health.state
    swept = with_tasks(bench.shared.health.state, [elsewhere, Down(sweep, "internal error (KeyError)", 7.0)])
    assert (swept.state, swept.since) == (ServerState.READY, bench.shared.health.state.since)
    assert swept.reason == "the sweep of this zone is not running: internal error (KeyError)"
    away = await bench.goes("write", AWAY)
    halted = with_tasks(away, [Down(writer, "internal error (KeyError)", 7.0)])
    assert (halted.state, halted.since) == (ServerState.HALTED, 7.0)
    assert halted.reason == "the writer of this zone is not running: internal error (KeyError); connection refused"


async def test_a_server_that_nobody_asks_is_asked_and_no_defect_ends_that(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zonecut.serve.health.IDLE", 0.02)
    monkeypatch.setattr("zonecut.serve.health.DOUBTFUL", 0.01)
    supervisor = Supervisor(pauses=Pauses(first=0.01, longest=0.01))
    watch = supervisor.start(TaskName("watch", ZONE), bench.shared.keep_watch)
    await asyncio.sleep(0.05)
    assert bench.server.asked == []
    await bench.shared.open()
    defect = ValueError("a defect")
    for trouble, state in ((AWAY, ServerState.AWAY), (defect, ServerState.AWAY), (None, ServerState.READY)):
        bench.server.script = {"read_rrsets": trouble}
        asked = len(bench.server.asked)
        async with asyncio.timeout(5):
            while True:
                if len(bench.server.asked) >= asked + 3 and bench.shared.health.state.state is state:
                    break
                await asyncio.sleep(0.01)
        assert not watch.done()
    assert supervisor.restarts == {TaskName("watch", ZONE): 3}
    await supervisor.stop()


async def test_states_are_left_in_the_store_at_once_and_as_a_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    monkeypatch.setattr("zonecut.serve.zone_states.HEARTBEAT", 0.05)
    monkeypatch.setattr("zonecut.serve.zone_states.SETTLING", 0.0)
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        keeper = StateKeeper(store, lambda: [bench.shared.health.state], bench.changed)
        task = asyncio.create_task(keeper.run())

        async def until(state: ServerState) -> ZoneState:
            async with asyncio.timeout(5):
                while True:
                    found = (await store.zones.all()).get(ZONE)
                    if found is not None and found.state is state:
                        return found
                    await asyncio.sleep(0.005)

        await until(ServerState.OPENING)
        await bench.goes("open", AWAY)
        away = await until(ServerState.AWAY)
        assert away.reason == "connection refused"
        await bench.goes("open")
        ready = await until(ServerState.READY)
        await asyncio.sleep(0.2)
        assert (await store.zones.all())[ZONE].seen_at > ready.seen_at
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await keeper.stopped(bench.clock.now)
        stopped = (await store.zones.all())[ZONE]
        assert (stopped.state, stopped.since) == (ServerState.STOPPED, bench.clock.now)


async def test_a_store_that_is_away_is_no_reason_to_stop_watching(tmp_path: Path, bench: Bench) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/zonecut.db")
    await store.close()
    await StateKeeper(store, lambda: [bench.shared.health.state], bench.changed).stopped(1.0)


def test_what_an_adapter_may_do_better_than_the_interface_is_asked_of_the_adapter() -> None:
    asked = {name for name, value in vars(Backend).items() if callable(value) and not name.startswith("_")}
    assert asked <= vars(SerializedBackend).keys()


async def test_what_becomes_of_a_server_that_nobody_asks_for_anything_is_in_the_log(
    tmp_path: Path, bench: Bench
) -> None:
    """An operator reads the journal: a key of TSIG that was changed is told before a child asks for something."""
    now: list[ZoneState] = []
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db") as store:
        keeper = StateKeeper(store, lambda: now, bench.changed)
        with capture_logs() as logs:
            task = asyncio.create_task(keeper.run())
            for state in (ServerState.OPENING, ServerState.READY, ServerState.MISCONFIGURED, ServerState.READY):
                now[:] = [ZoneState(ZONE, state, 1.0, "it says BADSIG" if state is ServerState.MISCONFIGURED else "")]
                bench.changed.set()
                await asyncio.sleep(0.5)
            task.cancel()
    told = [(each["state"], each["reason"]) for each in logs if each["event"] == "zone.state"]
    assert told == [("misconfigured", "it says BADSIG"), ("ready", "")]
