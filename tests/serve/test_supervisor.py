"""Long-lived tasks that fail are started again, ever more seldom, counted and told."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from receiver_support import Clock
from zonecut.plugin import BackendUnavailable
from zonecut.protocol import names
from zonecut.receiver.change.change_log import is_told
from zonecut.serve.supervisor import Pauses, Supervisor, TaskName
from zonecut.serve.unhandled import Unhandled
from zonecut.store import StoreUnavailable

ZONE = names.from_text("parent.example.")
NAME = TaskName("writer", ZONE)
PAUSES = Pauses(first=1.0, longest=60.0, calm=300.0)


class Bench:
    """A supervisor whose time passes only in its pauses and where a task says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pauses: list[float] = []
        self.seen: list[tuple[bool, ...]] = []
        self.supervisor = Supervisor(
            self._changed, pauses=PAUSES, clock=self.clock, monotonic=self.clock, sleep=self._sleep
        )

    def _changed(self) -> None:
        self.seen.append(tuple(self.supervisor.running.values()))

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.now += seconds
        await asyncio.sleep(0)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while True:
                if condition():
                    return
                await asyncio.sleep(0)


class Faulty:
    """Fails so many times, each after a run of so many seconds; then it runs."""

    def __init__(self, bench: Bench, *runs: float, error: Exception | None = None) -> None:
        self._clock = bench.clock
        self._runs = list(runs)
        self._error = error or KeyError("a defect")
        self.runs = False

    async def run(self) -> None:
        if not self._runs:
            self.runs = True
            await asyncio.Event().wait()
        self._clock.now += self._runs.pop(0)
        raise self._error


@pytest.fixture
def bench() -> Iterator[Bench]:
    with capture_logs():
        yield Bench()


def test_pauses_double_up_to_a_bound_and_a_calm_run_ends_the_row() -> None:
    assert [PAUSES.after(failures) for failures in (1, 2, 3, 6, 7, 8, 10_000)] == [1, 2, 4, 32, 60, 60, 60]
    assert PAUSES.in_a_row(0, 0.0) == 1
    assert PAUSES.in_a_row(7, 299.0) == 8
    assert PAUSES.in_a_row(7, 300.0) == 1


def test_the_log_tells_of_ever_fewer_failures_of_a_row() -> None:
    assert [failures for failures in range(1, 100) if is_told(failures)] == [1, 2, 4, 8, 16, 32, 64]


async def test_a_task_that_fails_is_started_again_after_growing_pauses(bench: Bench) -> None:
    task = Faulty(bench, 0, 5, 0, 299, 301, 0)
    bench.supervisor.start(NAME, task.run)
    await bench.until(lambda: task.runs)
    assert bench.pauses == [1, 2, 4, 8, 1, 2]
    assert bench.supervisor.restarts == {NAME: 6}
    assert bench.supervisor.down == []
    assert bench.seen == [(False,), (True,)] * 6
    await bench.supervisor.stop()


async def test_what_is_down_says_why_and_since_when_it_fails(bench: Bench) -> None:
    began = bench.clock.now
    paused = asyncio.Event()

    async def sleep(seconds: float) -> None:
        bench.clock.now += seconds
        if bench.supervisor.restarts[NAME] == 2:
            await paused.wait()

    bench.supervisor._sleep = sleep
    task = Faulty(bench, 7, 0, 0, error=BackendUnavailable("connection refused"))
    bench.supervisor.start(NAME, task.run)
    await bench.until(lambda: bench.supervisor.restarts[NAME] == 2)
    await bench.until(lambda: bool(bench.supervisor.down))
    (down,) = bench.supervisor.down
    assert (str(down.name), down.reason) == ("writer of parent.example.", "connection refused")
    assert down.since == began + 7
    paused.set()
    await bench.until(lambda: task.runs)
    await bench.supervisor.stop()


async def test_one_that_fails_takes_no_other_with_it(bench: Bench) -> None:
    others = [Faulty(bench), Faulty(bench)]
    for number, other in enumerate(others):
        bench.supervisor.start(TaskName(f"other{number}", ZONE), other.run)
    failing = Faulty(bench, *[0.0] * 50)
    bench.supervisor.start(NAME, failing.run)
    await bench.until(lambda: failing.runs)
    assert all(other.runs for other in others)
    assert bench.supervisor.restarts == {NAME: 50, TaskName("other0", ZONE): 0, TaskName("other1", ZONE): 0}
    await bench.supervisor.stop()


async def test_several_under_one_name_run_only_if_each_does(bench: Bench) -> None:
    agent = TaskName("agent")
    held = asyncio.Event()

    async def sleep(_: float) -> None:
        await held.wait()

    bench.supervisor._sleep = sleep
    good, bad = Faulty(bench), Faulty(bench, 0)
    bench.supervisor.start(agent, bad.run, of=ZONE)
    bench.supervisor.start(agent, good.run, of=ZONE)
    await bench.until(lambda: good.runs and bool(bench.supervisor.down))
    assert bench.supervisor.running == {agent: False}
    held.set()
    await bench.until(lambda: bad.runs)
    assert bench.supervisor.running == {agent: True}
    await bench.supervisor.stop()


async def test_a_defect_is_logged_with_its_traceback_once_and_then_at_a_growing_distance(bench: Bench) -> None:
    task = Faulty(bench, *[0.0] * 20)
    with capture_logs() as logs:
        bench.supervisor.start(NAME, task.run)
        await bench.until(lambda: task.runs)
    assert [entry["failures"] for entry in logs] == [1, 2, 4, 8, 16]
    first = logs[0]
    assert (first["event"], first["log_level"]) == ("task.failed", "error")
    assert (first["task"], first["zone"], first["again_in"]) == ("writer", "parent.example.", 1.0)
    assert isinstance(first["exc_info"], KeyError)
    assert "a defect" not in first["reason"], "what a defect says is in the traceback alone"
    await bench.supervisor.stop()


@pytest.mark.parametrize("error", [StoreUnavailable("the disk is full"), OSError(28, "No space left on device")])
async def test_an_error_that_says_what_is_wrong_needs_no_traceback(bench: Bench, error: Exception) -> None:
    task = Faulty(bench, 0.0, error=error)
    with capture_logs() as logs:
        bench.supervisor.start(TaskName("agent"), task.run, of=ZONE)
        await bench.until(lambda: task.runs)
    (told,) = logs
    assert (told["exc_info"], told["reason"], told["zone"]) == (None, str(error), "parent.example.")
    await bench.supervisor.stop()


async def test_the_one_error_of_a_group_is_told_for_itself(bench: Bench) -> None:
    task = Faulty(bench, 0.0, error=ExceptionGroup("two tasks", [StoreUnavailable("the disk is full")]))
    with capture_logs() as logs:
        bench.supervisor.start(NAME, task.run)
        await bench.until(lambda: task.runs)
    assert logs[0]["reason"] == "the disk is full"
    await bench.supervisor.stop()


async def test_what_nobody_waits_for_is_told_ever_more_seldom() -> None:
    handler, loop = Unhandled(), asyncio.get_running_loop()
    with capture_logs() as logs:
        for number in range(20):
            handler(loop, {"message": "Task exception was never retrieved", "exception": KeyError(number)})
        handler(loop, {"message": "socket.accept() out of system resource", "exception": OSError(24, "Too many")})
    assert [(entry["event"], entry["count"]) for entry in logs] == [("serve.defect", n) for n in (1, 2, 4, 8, 16, 1)]


async def test_a_task_that_returns_has_failed_as_well(bench: Bench) -> None:
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            await asyncio.Event().wait()

    with capture_logs() as logs:
        bench.supervisor.start(NAME, run)
        await bench.until(lambda: runs == 3)
    assert logs[0]["reason"] == "it ended by itself"
    await bench.supervisor.stop()


async def test_a_task_that_is_cancelled_ends_and_is_shown_no_more(bench: Bench) -> None:
    running = Faulty(bench)
    task = bench.supervisor.start(NAME, running.run)
    await bench.until(lambda: running.runs)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert bench.supervisor.running == {}
    assert bench.supervisor.restarts == {NAME: 0}, "what was counted stays"


async def test_a_task_whose_own_work_was_cancelled_by_somebody_else_goes_on(bench: Bench) -> None:
    """What waits for a future that is cancelled sees the same exception as who is cancelled himself."""
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        await asyncio.Event().wait()

    bench.supervisor.start(NAME, run)
    await bench.until(lambda: runs == 2)
    assert bench.supervisor.restarts == {NAME: 1}
    await bench.supervisor.stop()


async def test_a_log_that_cannot_be_written_ends_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zonecut.serve.supervisor._log.error", full, raising=False)
    task = Faulty(bench, 0, 0)
    bench.supervisor.start(NAME, task.run)
    await bench.until(lambda: task.runs)
    await bench.supervisor.stop()
