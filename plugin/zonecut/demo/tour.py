"""The tour as a whole: the stage is set, the steps are gone through, and everything is cleaned up, whatever happens."""

import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from zonecut.demo.cast import Cast
from zonecut.demo.narrator import Narrator
from zonecut.demo.parts import by_hand, ending, introduction, looked_after, refusals
from zonecut.demo.report import DemoFailure, Report
from zonecut.demo.stage import Render, Stage

StepFunction = Callable[[Cast], None]

STEPS: tuple[StepFunction, ...] = (
    introduction.before,
    introduction.announce,
    introduction.discover,
    looked_after.begins,
    looked_after.edited,
    looked_after.recorded,
    looked_after.mistaken,
    by_hand.upload,
    by_hand.trusted,
    by_hand.changed,
    refusals.forged,
    refusals.against_policy,
    refusals.strangers_child,
    refusals.replayed,
    refusals.revoked,
    ending.compare,
)
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def run(
    adapter: str, console: Console, render: Render, *, keep: bool = False, steps: Sequence[StepFunction] = STEPS
) -> Report:
    """Take the tour with one of `stage.AUTHORITIES`; it is told on the console, and again in what is returned.

    `render` shows a message in dig's style. Nothing is left behind unless `keep`.
    """
    report = Report(adapter)
    tell = Narrator(console, report)
    began = time.monotonic()
    with _ended_in_order(), _directory(keep, report) as directory:
        try:
            _play(Stage(adapter, directory, render), tell, steps, report)
        except (DemoFailure, OSError) as failure:
            report.failure = str(failure)
    report.seconds = time.monotonic() - began
    _conclude(tell, report)
    return report


def _play(stage: Stage, tell: Narrator, steps: Sequence[StepFunction], report: Report) -> None:
    try:
        stage.start()
        tell.title(
            "zonecut: a parent zone, two children, and everything that may happen between them",
            f"Parent: {stage.authority.description}; beside it zonecut, the receiver. Child alpha: a zone file, and"
            " beside it zonecut, the agent. Child beta: a person with nsupdate. All of it is on 127.0.0.1 and in a"
            " temporary directory; the names are those reserved for documentation. After $ stands what a"
            " person types. Commands of zonecut are really run; what vi, jq, nsupdate and dig would do the tour does"
            " by itself, so that it does not need them.",
        )
        cast = Cast(stage, tell)
        for step in steps:
            step(cast)
        tell.complete()
    except (DemoFailure, OSError):
        report.logs = stage.logs()
        raise
    finally:
        stage.stop()


def _conclude(tell: Narrator, report: Report) -> None:
    if report.failure is not None:
        tell.fail(f"The tour ended early:\n{report.failure}")
        for name, tail in report.logs.items():
            tell.fail(f"\nThe end of {name}'s log:")
            tell.plain(tail)
    else:
        count = sum(len(step.checks) for step in report.steps)
        tell.title(
            f"All {len(report.steps)} steps did what they say ({count} checks, {report.seconds:.1f} s).",
            "To have this in front of your own zone, see README.md.",
        )
    if report.directory:
        tell.title("Everything is kept in:", report.directory)


@contextmanager
def _directory(keep: bool, report: Report) -> Iterator[Path]:
    # the real path: named and the adapters take what they are given literally
    if keep:
        path = Path(tempfile.mkdtemp(prefix="zonecut-demo-")).resolve()
        report.directory = str(path)
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="zonecut-demo-") as name:
        yield Path(name).resolve()


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP end the tour as ^C does: what it started and made is cleaned up."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, end) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
