"""Those who make a zone of what is written: how far they are, when that is an alarm, and when it is none any more."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from receiver_support import Clock
from writer_support import Server
from zonecut.plugin import BackendError, BackendRejected, BackendUnavailable, Consumer, Progress
from zonecut.protocol import names
from zonecut.receiver.consumers import Consumers, Watermarks
from zonecut.store import Store, ZoneConsumer

ZONE = names.from_text("parent.example.")
PATIENCE = 900.0
EPOCH = 1_000_000.0
"""By how much a moment is more in seconds since the epoch."""


class Marks:
    """Look after look at one consumer."""

    def __init__(self, *earlier: ZoneConsumer) -> None:
        self.marks = Watermarks()
        self.marks.recall(earlier, EPOCH)
        self.time = 10_000.0

    def look(self, number: int, last: int, *, after: float = 10.0, **about: Any) -> str:
        """What is wrong so many seconds after the look before."""
        self.time += after
        return self.marks.alarms(Progress(last, (Consumer("east", number, **about),)), self.time, PATIENCE)["east"]


def test_who_follows_is_no_alarm_however_long_nothing_changes() -> None:
    marks = Marks()
    assert marks.look(7, 7, idle=86400.0) == ""
    assert marks.look(7, 7, after=86400.0, idle=2 * 86400.0) == ""
    # something comes: it has the whole time from then on
    assert marks.look(7, 9, idle=2 * 86400.0, owing=3.0) == ""
    assert marks.look(7, 9, after=PATIENCE - 20, idle=2 * 86400.0, owing=PATIENCE - 20) == ""
    assert marks.look(9, 9) == ""


def test_who_stands_still_although_there_is_something_new_is_an_alarm_until_he_has_taken_it_up() -> None:
    marks = Marks()
    assert marks.look(7, 9, idle=0.0, owing=0.0) == ""
    assert marks.look(7, 12, after=PATIENCE - 1, idle=0.0) == ""
    told = "consumer east, at 7 of 12, has not taken up what is in the tables for more than 900 s"
    assert marks.look(7, 12, after=2.0, idle=0.0) == told
    # a step does not end it, or it would come and go with each
    assert marks.look(8, 12).startswith("consumer east, at 8 of 12, has not")
    assert marks.look(12, 14) == ""
    assert marks.look(12, 14, after=PATIENCE - 20) == ""


def test_who_goes_on_slowly_is_no_alarm() -> None:
    marks = Marks()
    for number in range(7, 20):
        assert marks.look(number, 100, after=PATIENCE - 1, idle=0.0, owing=5000.0) == ""


def test_after_a_start_times_in_the_tables_tell_how_long_he_stands() -> None:
    assert Marks().look(7, 9, idle=5000.0, owing=PATIENCE + 1) != ""
    # he has said something since, or has owed it for a moment only, or nothing is known
    assert Marks().look(7, 9, idle=5.0, owing=5000.0) == ""
    assert Marks().look(7, 9, idle=5000.0, owing=5.0) == ""
    assert Marks().look(7, 9, idle=5000.0, owing=None) == ""


def test_who_failed_is_an_alarm_with_his_words() -> None:
    marks = Marks()
    assert marks.look(7, 9, failed=True, reason="no SOA") == "consumer east, at 7 of 9, says that it failed: no SOA"
    assert marks.look(7, 9, failed=True) == "consumer east, at 7 of 9, says that it failed: without a reason"
    assert marks.look(9, 9) == ""


def test_a_number_that_goes_back_is_said_until_he_is_there_again() -> None:
    marks = Marks()
    assert marks.look(7, 9) == ""
    told = "consumer east, at 3 of 9, was at 7 before: what it had taken up since is not in its zone any more"
    assert marks.look(3, 9) == told
    assert "was at 7 before" in marks.look(6, 9)
    assert marks.look(7, 9) == ""
    # also when he went back while nobody looked
    assert "was at 7 before" in Marks(ZoneConsumer(ZONE, "east", 7, 9)).look(6, 9)
    # and where the tables were put back, being at their end is enough
    marks = Marks(ZoneConsumer(ZONE, "east", 7, 9))
    assert "was at 7 before" in marks.look(3, 4)
    assert marks.look(4, 4) == ""
    assert marks.look(4, 5) == ""


def test_a_number_above_the_history_is_said() -> None:
    marks = Marks()
    told = "consumer east, at 11 of 9, is above what is in the tables: it made its zone of other ones"
    assert marks.look(11, 9) == told
    assert marks.look(9, 9) == ""


def test_since_when_one_stands_still_is_known_after_a_start_whatever_it_has_written_since() -> None:
    since = EPOCH + 10_000.0 - PATIENCE + 100
    marks = Marks(ZoneConsumer(ZONE, "east", 7, 9, highest=7, standing_since=since))
    assert marks.look(7, 9, idle=1.0, owing=PATIENCE) == ""
    assert marks.look(7, 9, after=100.0, idle=1.0, owing=PATIENCE).startswith("consumer east, at 7 of 9, has not")
    # nor does a clock that was wrong put it off
    marks = Marks(ZoneConsumer(ZONE, "east", 7, 9, highest=7, standing_since=EPOCH + 1e9))
    assert marks.look(7, 9) == ""
    assert marks.look(7, 9, after=PATIENCE).startswith("consumer east, at 7 of 9, has not")


class Tables(Server):
    """A server of which others make the zone."""

    def __init__(self) -> None:
        super().__init__()
        self.told: Progress | Exception | None = Progress(9)
        self.numbered: BackendError | None = None

    async def history_number(self) -> int:
        if self.numbered:
            raise self.numbered
        return 9

    async def progress(self) -> Progress | None:
        if isinstance(self.told, Exception):
            raise self.told
        return self.told


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db", clock=Clock()) as opened:
        yield opened


async def test_they_are_recorded_and_told_once_when_an_alarm_begins_and_ends(store: Store) -> None:
    tables, clock = Tables(), Clock()
    consumers = Consumers(ZONE, tables, store, PATIENCE, clock, clock)
    with structlog.testing.capture_logs() as log:
        await consumers.look()
        assert (consumers.now, await store.consumers.all()) == ((), {})
        tables.told = Progress(9, (Consumer("east", 9), Consumer("west", 8, failed=True, reason="no room")))
        for _ in range(3):
            await consumers.look()
        (east, west) = (await store.consumers.all())[ZONE]
        assert (east.name, east.number, east.history_number, east.behind, east.alarm) == ("east", 9, 9, 0, "")
        assert (west.name, west.behind, west.failed, west.reason) == ("west", 1, True, "no room")
        assert list(consumers.alarms) == [west.alarm]
        tables.told = Progress(9, (Consumer("east", 9), Consumer("west", 9)))
        await consumers.look()
        assert list(consumers.alarms) == []
        tables.told = Progress(9, (dataclasses.replace(tables.told.consumers[0], failed=True),))
        await consumers.look()
        tables.told = None
        await consumers.look()
        assert (consumers.now, await store.consumers.all()) == ((), {})
    assert [(each["event"], each["consumer"]) for each in log] == [
        ("zone.consumer", "west"),
        ("zone.consumer.over", "west"),
        ("zone.consumer", "east"),
        ("zone.consumer.over", "east"),
    ]
    assert log[0]["log_level"] == "warning"
    assert log[0]["reason"] == "consumer west, at 8 of 9, says that it failed: no room"


async def test_an_alarm_outlives_a_restart_until_what_it_is_about_is_over(store: Store) -> None:
    tables, time = Tables(), Clock()
    uptime = Clock()

    async def started() -> Consumers:
        """A new process, on a machine that may have been started anew as well."""
        uptime.now = 5.0
        consumers = Consumers(ZONE, tables, store, PATIENCE, uptime, time)
        await consumers.recall()
        return consumers

    async def looked(consumers: Consumers, *progress: Progress) -> dict[str, str]:
        for tables.told in progress:
            uptime.now, time.now = uptime.now + 10, time.now + 10
            await consumers.look()
        return {each.name: each.alarm for each in consumers.now}

    back = Progress(9, (Consumer("back", 3), Consumer("slow", 8, idle=0.0)))
    told = await looked(await started(), Progress(9, (Consumer("back", 7), Consumer("slow", 8))), back)
    assert "was at 7 before" in told["back"]
    assert told["slow"] == ""
    # it goes on writing that it stands where it stands
    time.now += PATIENCE
    consumers = await started()
    told = await looked(consumers, back)
    assert "was at 7 before" in told["back"]
    assert "at 8 of 9, has not taken up" in told["slow"]
    # a step ends neither, and where the tables were then ends both: as without the restart
    told = await looked(await started(), Progress(12, (Consumer("back", 6), Consumer("slow", 8, idle=0.0))))
    assert "was at 7 before" in told["back"]
    assert "has not taken up" in told["slow"]
    told = await looked(await started(), Progress(12, (Consumer("back", 7), Consumer("slow", 9, idle=0.0))))
    assert told == {"back": "", "slow": ""}


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (BackendRejected("a row makes no sense"), "a row makes no sense"),
        (ValueError("x"), "internal error (ValueError)"),
    ],
)
async def test_consumers_who_cannot_be_seen_are_an_alarm_unless_the_server_is_away(
    store: Store, trouble: Exception, told: str
) -> None:
    tables, clock = Tables(), Clock()
    consumers = Consumers(ZONE, tables, store, PATIENCE, clock, clock)
    tables.told = Progress(9, (Consumer("east", 9),))
    await consumers.look()
    tables.told = trouble
    with structlog.testing.capture_logs() as log:
        for _ in range(3):
            await consumers.look()
        (alarm,) = consumers.alarms
        assert alarm.startswith(f"the consumers of this zone are not seen: {told}")
        assert [each.name for each in consumers.now] == ["east"]
        tables.told = Progress(9)
        await consumers.look()
        assert consumers.alarms == ()
    assert [each["event"] for each in log if each["event"] != "zone.consumers.defect"] == [
        "zone.consumers.unseen",
        "zone.consumers.unseen.over",
    ]
    assert len(log) <= 3
    tables.told = tables.numbered = BackendUnavailable("connection refused")
    await consumers.look()
    assert consumers.alarms == ()
