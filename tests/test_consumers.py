"""Those who make a zone of what is written: how far they are, when that is an alarm, and when it is none any more."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from receiver_support import Clock
from test_writer import Server
from zonecut.plugin import Consumer, Progress
from zonecut.protocol import names
from zonecut.receiver.consumers import Consumers, Watermarks
from zonecut.store import Store, ZoneConsumer

ZONE = names.from_text("parent.example.")
PATIENCE = 900.0


class Marks:
    """Look after look at one consumer."""

    def __init__(self, *earlier: ZoneConsumer) -> None:
        self.marks = Watermarks()
        self.marks.recall(earlier)
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


class Tables(Server):
    """A server of which others make the zone."""

    def __init__(self) -> None:
        super().__init__()
        self.told: Progress | None = Progress(9)

    async def progress(self) -> Progress | None:
        return self.told


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(f"sqlite:///{tmp_path}/zonecut.db", clock=Clock()) as opened:
        yield opened


async def test_they_are_recorded_and_told_once_when_an_alarm_begins_and_ends(store: Store) -> None:
    tables, clock = Tables(), Clock()
    consumers = Consumers(ZONE, tables, store, PATIENCE, clock)
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
